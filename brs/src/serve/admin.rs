//! The admin listener: status page, its data, its updates, and metrics, behind a token.
//!
//! A browser shows the token as a password (the user name does not matter), programs as they do
//! elsewhere. It is no cookie: a browser sends those to every port of an address.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64ct::{Base64, Encoding};
use bytes::Bytes;
use futures_util::stream;
use http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Either, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::{self, Refusal, Reply};
use super::guard::{self, Door, Ends};
use super::shared::Shared;
use super::status::Status;
use super::{metrics, page, token};

/// How long a wrong token holds up its connection.
const SLOWED: Duration = Duration::from_millis(100);
/// Updates come at least this often, since what is left goes down…
const AT_LEAST: Duration = Duration::from_secs(5);
/// …and at most this often.
const AT_MOST: Duration = Duration::from_millis(250);

/// Answers a request, whatever it is.
pub(super) async fn answer(shared: &Arc<Shared>, parts: &Parts, ends: Ends) -> Reply {
    let mut reply = match decide(shared, parts, ends).await {
        Ok(reply) => reply,
        Err(refusal) => {
            let is_asking = refusal.status == StatusCode::UNAUTHORIZED;
            let mut reply = refusal.into_text();
            if is_asking {
                let challenge = HeaderValue::from_static("Basic realm=\"brs\", charset=\"UTF-8\"");
                reply.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            }
            reply
        }
    };
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        reply
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    reply
}

async fn decide(shared: &Arc<Shared>, parts: &Parts, ends: Ends) -> Result<Reply, Refusal> {
    guard::check(parts, ends, Door::Admin)?;
    if parts.method != Method::GET {
        return Err(Refusal::method_not_allowed("GET"));
    }
    authorized(shared, parts).await?;
    match parts.uri.path() {
        "/" => whole(shared),
        "/status.json" => Ok(answer::json(json(&Status::of(shared)))),
        "/events" => Ok(events(shared)),
        "/metrics" => {
            let text = metrics::text(shared).map_err(|_| failed())?;
            Ok(answer::full(
                StatusCode::OK,
                text.into(),
                metrics::CONTENT_TYPE,
            ))
        }
        _ => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "NotFound",
            "there is nothing here: ask for `/`, `/status.json`, `/events` or `/metrics`",
        )),
    }
}

fn failed() -> Refusal {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refusal::new(
        status,
        "InternalFailure",
        "the metrics could not be written",
    )
}

async fn authorized(shared: &Shared, parts: &Parts) -> Result<(), Refusal> {
    let unauthorized = |message: &str| {
        Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "AccessDenied",
            message,
        ))
    };
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return unauthorized(
            "show the admin token, as a password or as `Authorization: Bearer TOKEN`",
        );
    };
    let password = password(value.as_bytes());
    let presented = match &password {
        Some(password) => password.as_slice(),
        None => token::presented(value.as_bytes()),
    };
    let expected = token::hash(shared.admin_token.expose().as_bytes());
    if verify_slices_are_equal(&token::hash(presented), &expected).is_ok() {
        return Ok(());
    }
    tokio::time::sleep_until(Instant::now() + SLOWED).await;
    unauthorized("the token is not that of the status page")
}

/// The password of basic authentication.
fn password(value: &[u8]) -> Option<Vec<u8>> {
    let (scheme, encoded) = value.split_at_checked("basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let encoded = std::str::from_utf8(encoded.trim_ascii()).ok()?;
    let decoded = Base64::decode_vec(encoded).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

fn whole(shared: &Shared) -> Result<Reply, Refusal> {
    let (page, policy) = page::whole(&Status::of(shared));
    let mut reply = answer::full(StatusCode::OK, page.into(), "text/html; charset=utf-8");
    let policy = HeaderValue::from_str(&policy).map_err(|_| failed())?;
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    Ok(reply)
}

fn json(status: &Status) -> String {
    // Texts and numbers: it cannot fail.
    serde_json::to_string(status).unwrap_or_default()
}

/// The state of an update stream.
struct Updates {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    last: Option<Instant>,
}

/// Server-sent events: `status`, the data, and `page`, the middle of the page as a JSON string.
fn events(shared: &Arc<Shared>) -> Reply {
    let updates = Updates {
        changes: shared.changes.subscribe(),
        stop: shared.stop.subscribe(),
        shared: Arc::clone(shared),
        last: None,
    };
    let stream = stream::unfold(updates, |mut updates| async move {
        let bytes = updates.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), updates))
    });
    let mut reply = answer::full(StatusCode::OK, Bytes::new(), "text/event-stream");
    *reply.body_mut() = Either::Right(StreamBody::new(stream).boxed_unsync());
    reply
}

impl Updates {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(last) = self.last {
            tokio::time::sleep_until(last + AT_MOST).await;
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep_until(last + AT_LEAST) => {}
                _ = self.stop.wait_for(|stop| *stop) => return None,
            }
        }
        self.changes.mark_unchanged();
        self.last = Some(Instant::now());
        let status = Status::of(&self.shared);
        let page = serde_json::to_string(&page::middle(&status)).unwrap_or_default();
        let text = format!(
            "event: status\ndata: {}\n\nevent: page\ndata: {page}\n\n",
            json(&status)
        );
        Some(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_what_comes_after_the_first_colon() {
        let of = |text: &str| {
            let value = format!("Basic {}", Base64::encode_string(text.as_bytes()));
            password(value.as_bytes())
        };
        assert_eq!(of("brs:tok:en").as_deref(), Some(&b"tok:en"[..]));
        assert_eq!(of(":token").as_deref(), Some(&b"token"[..]));
        assert_eq!(of("token"), None);
        assert_eq!(password(b"Bearer x"), None);
        assert_eq!(password(b"Basic !!!"), None);
    }
}
