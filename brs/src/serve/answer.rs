//! Answers: credentials, refusals, and what a connection writes.
//!
//! Owns the two spellings of errors, the order of a credentials answer's members, and the limit of
//! messages. Nothing here decides anything.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use brs_core::TemporaryCredentials;
use brs_core::kit::iso8601;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use zeroize::Zeroizing;

use super::pace::Pace;

/// What is said about a set that does not end: clients refuse an answer without an end.
const WITHOUT_END: Duration = Duration::from_secs(30 * 60);
/// How long a message may be, in characters.
const LONGEST_MESSAGE: usize = 500;

/// What a connection writes.
pub(super) type Content = Either<Full<Bytes>, UnsyncBoxBody<Bytes, Infallible>>;

/// An answer before it goes to its connection.
pub(super) type Reply = Response<Content>;

/// Why a request is not answered with what it asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// When to ask again.
    pub(super) retry_after: Option<Duration>,
    /// Whether the connection is of no further use.
    pub(super) closes: bool,
    /// The method that is answered.
    pub(super) allow: Option<&'static str>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl fmt::Display) -> Self {
        Self {
            status,
            code,
            message: shortened(&message.to_string()),
            retry_after: None,
            closes: false,
            allow: None,
        }
    }

    /// The request may not be answered.
    pub(super) fn denied(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    /// The request is not one that an AWS SDK sends; what follows it on its connection may not be
    /// one at all.
    pub(super) fn malformed(message: impl fmt::Display) -> Self {
        Self {
            closes: true,
            ..Self::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
        }
    }

    pub(super) fn no_such_session(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NoSuchSession", message)
    }

    pub(super) fn needs_person(message: impl fmt::Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, "NeedsPerson", message)
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        let message = format_args!("only {allow} is answered here");
        Self {
            allow: Some(allow),
            closes: true,
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
        }
    }

    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self {
            retry_after: Some(wait),
            ..self
        }
    }

    pub(super) fn closing(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }

    /// As the SDKs' container providers read it: Go and the specification have small names,
    /// JavaScript has capitals.
    pub(super) fn into_json(self) -> Reply {
        let (code, message) = (self.code, self.message.as_str());
        let body = Failure {
            code,
            message,
            also_code: code,
            also_message: message,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        self.with_body(body.into(), "application/json")
    }

    /// As the metadata service has it: the status counts.
    pub(super) fn into_text(self) -> Reply {
        let body = format!("{}: {}\n", self.code, self.message);
        self.with_body(body.into(), "text/plain")
    }

    fn with_body(&self, body: Bytes, content_type: &'static str) -> Reply {
        let mut reply = full(self.status, body, content_type);
        let headers = reply.headers_mut();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().clamp(1.0, 3600.0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds as u64));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(rename = "Code")]
    also_code: &'a str,
    #[serde(rename = "Message")]
    also_message: &'a str,
}

/// On one line, and not longer than clients show to people.
fn shortened(message: &str) -> String {
    let plain = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = plain.clone().take(LONGEST_MESSAGE).collect();
    if plain.count() > LONGEST_MESSAGE {
        short.pop();
        short.push('…');
    }
    short
}

/// An answer with a whole body, which no cache keeps.
pub(super) fn full(status: StatusCode, body: Bytes, content_type: &'static str) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// A plain text.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    full(status, body.into(), "text/plain")
}

/// A JSON document.
pub(super) fn json(body: impl Into<Bytes>) -> Reply {
    full(StatusCode::OK, body.into(), "application/json")
}

/// The members of a credentials answer, in the order in which they are written.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Members<'a> {
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'a>>,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
}

/// What the metadata service has beside it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    code: &'a str,
    last_updated: String,
    r#type: &'a str,
}

/// A set as the container endpoint gives it. The bytes wipe themselves.
pub(super) fn container(
    set: &TemporaryCredentials,
    role_arn: Option<&str>,
    now: SystemTime,
) -> Bytes {
    let account = set
        .account_id()
        .or_else(|| role_arn.and_then(super::pattern::account));
    members(set, None, role_arn, account, now)
}

/// A set as the metadata service gives it.
pub(super) fn metadata(
    set: &TemporaryCredentials,
    account_id: Option<&str>,
    last_updated: SystemTime,
    now: SystemTime,
) -> Bytes {
    let metadata = Metadata {
        code: "Success",
        last_updated: to_seconds(last_updated),
        r#type: "AWS-HMAC",
    };
    members(set, Some(metadata), None, account_id, now)
}

fn members(
    set: &TemporaryCredentials,
    metadata: Option<Metadata<'_>>,
    role_arn: Option<&str>,
    account_id: Option<&str>,
    now: SystemTime,
) -> Bytes {
    let body = Members {
        metadata,
        access_key_id: set.access_key_id(),
        secret_access_key: set.secret_access_key(),
        token: set.session_token().unwrap_or_default(),
        expiration: to_seconds(set.expiration().unwrap_or(now + WITHOUT_END)),
        role_arn,
        account_id,
    };
    // Room for all of it: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(
        1024 + 2 * set.session_token().map_or(0, str::len),
    ));
    // Texts and nothing else: it cannot fail.
    let _ = serde_json::to_writer(&mut *bytes, &body);
    Bytes::from_owner(bytes)
}

/// Whole seconds: not every client reads fractions.
pub(super) fn to_seconds(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    iso8601(SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

/// An answer on its way: its connection is at work until all of it is handed over.
#[derive(Debug)]
pub(super) struct Answering {
    content: Content,
    _pace: AtWork,
}

impl Answering {
    pub(super) fn new(content: Content, pace: Arc<Pace>) -> Self {
        Self {
            content,
            _pace: AtWork(pace),
        }
    }
}

#[derive(Debug)]
struct AtWork(Arc<Pace>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.idle();
    }
}

impl Body for Answering {
    type Data = Bytes;
    type Error = Box<dyn StdError + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.content).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn set(token: Option<&str>, expiration: Option<SystemTime>) -> TemporaryCredentials {
        TemporaryCredentials::new(
            "ASIAEXAMPLE",
            "sec\"ret",
            token.map(str::to_owned),
            expiration,
        )
    }

    fn shown(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_set_is_written_in_the_documented_order_with_whole_seconds() {
        let end = UNIX_EPOCH + Duration::from_millis(1_900_000_000_500);
        let role = "arn:aws:iam::123456789012:role/app";
        let body = container(&set(Some("tok/en=="), Some(end)), Some(role), UNIX_EPOCH);
        assert_eq!(
            shown(&body),
            concat!(
                r#"{"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"sec\"ret","Token":"tok/en==","#,
                r#""Expiration":"2030-03-17T17:46:40Z","RoleArn":"arn:aws:iam::123456789012:role/app","#,
                r#""AccountId":"123456789012"}"#
            )
        );
    }

    #[test]
    fn a_set_without_token_and_end_has_an_empty_token_and_half_an_hour() {
        let body = container(&set(None, None), None, UNIX_EPOCH);
        assert_eq!(
            shown(&body),
            concat!(
                r#"{"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"sec\"ret","Token":"","#,
                r#""Expiration":"1970-01-01T00:30:00Z"}"#
            )
        );
    }

    #[test]
    fn the_metadata_service_adds_three_members() {
        let body = metadata(&set(Some("t"), None), None, UNIX_EPOCH, UNIX_EPOCH);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            [&body["Code"], &body["LastUpdated"], &body["Type"]],
            ["Success", "1970-01-01T00:00:00Z", "AWS-HMAC"]
        );
    }

    #[test]
    fn messages_are_one_short_line() {
        let refusal = Refusal::denied(format_args!("a\r\nb{}", "é".repeat(600)));
        assert_eq!(refusal.message.chars().count(), LONGEST_MESSAGE);
        assert!(refusal.message.starts_with("a  b") && refusal.message.ends_with('…'));
        assert_eq!(shortened(&"x".repeat(500)), "x".repeat(500));
    }
}
