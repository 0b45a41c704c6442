//! WebSockets: a URL signed with the session's current credentials, and the handshake with it.
//!
//! Owns the signature (SigV4 in the query, service `iotdevicegateway`, the session token after the
//! signature as AWS IoT wants it) and what a refusal means. A signed URL is a secret: it is wiped
//! and never shown.
//!
//! The handshake is hyper's and not tungstenite's, which would be shorter: tungstenite writes the
//! request, and with it the signed URL, to the log at level `trace`, and of a refusal's body it
//! returns only what arrived together with the headers.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_tungstenite::WebSocketStream;
use async_tungstenite::bytes::{ByteReader, ByteWriter};
use async_tungstenite::tokio::TokioAdapter;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::handshake::client::generate_key;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SessionTokenMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use brs_core::kit::iso8601;
use brs_core::kit::{clean, with_cause};
use brs_core::{Clock, Error, RefreshableSession};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::{Either, ready, select};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use crate::error::lost;
use crate::transport::endpoint::Endpoint;
use crate::transport::{Stream, Watched};

const SERVICE: &str = "iotdevicegateway";
const SUBPROTOCOL: &str = "mqtt";
/// Limits for an answer: its head (hyper's minimum), and a refusal's body.
const MAX_HEAD: usize = 8192;
const MAX_BODY: usize = 16 * 1024;
/// The handshake follows at once; AWS accepts up to a day.
const VALID_FOR: Duration = Duration::from_secs(300);
/// How long the credentials must still be valid.
const FOR_A_HANDSHAKE: Duration = Duration::from_secs(2);
/// Beyond what AWS IoT sends in one message, and in the frames that servers make of several.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// A difference that explains a refused signature: AWS accepts five minutes.
const CLOCKS_APART: Duration = Duration::from_secs(240);

/// Signs with a session's credentials.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) session: RefreshableSession,
    pub(crate) region: String,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A URL for one handshake: its path and query.
pub(crate) struct Signed {
    target: Zeroizing<String>,
    access_key_id: String,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

impl Signed {
    /// What must not be shown if a server repeats it: the URL, and its secret parts in each encoding.
    fn secrets(&self) -> Vec<Zeroizing<String>> {
        const SECRET: [&str; 2] = ["X-Amz-Signature", "X-Amz-Security-Token"];
        let values = self
            .target
            .split(['?', '&'])
            .filter_map(|pair| pair.split_once('='));
        let values = values
            .filter(|(name, _)| SECRET.contains(name))
            .flat_map(|(_, value)| {
                let plain = percent_encoding::percent_decode_str(value)
                    .decode_utf8_lossy()
                    .into_owned();
                [value.to_owned(), plain]
            });
        values
            .chain([self.target.to_string(), self.access_key_id.clone()])
            .map(Zeroizing::new)
            .collect()
    }
}

impl Signer {
    /// Signs a URL with the current credentials, which are refreshed first if that is due.
    pub(crate) async fn sign(&self, endpoint: &Endpoint) -> Result<Signed, Error> {
        // A session may keep an expired credential set while its source is away: it must not sign.
        let set = self.session.credentials_valid_for(FOR_A_HANDSHAKE).await?;
        let identity = Credentials::new(
            set.access_key_id(),
            set.secret_access_key(),
            set.session_token().map(str::to_owned),
            None,
            "brs-mqtt",
        )
        .into();
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.session_token_mode = SessionTokenMode::Exclude;
        settings.expires_in = Some(VALID_FOR);
        let failed = |error: &(dyn std::error::Error + 'static)| {
            with_cause(
                Error::credential("the WebSocket's URL could not be signed"),
                error,
                &[],
            )
        };
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(SERVICE)
            .time(self.clock.now())
            .settings(settings)
            .build()
            .map_err(|error| failed(&error))?
            .into();
        let authority = endpoint.authority();
        let plain = format!("https://{authority}/mqtt");
        let headers = [("host", authority.as_str())].into_iter();
        let signable = SignableRequest::new("GET", &plain, headers, SignableBody::Bytes(b""))
            .map_err(|error| failed(&error))?;
        let (instructions, _) = sign(signable, &params)
            .map_err(|error| failed(&error))?
            .into_parts();
        let mut request = http::Request::get(&plain)
            .body(())
            .map_err(|error| failed(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        let target = request
            .uri()
            .path_and_query()
            .map(|target| Zeroizing::new(target.as_str().to_owned()));
        Ok(Signed {
            target: target.unwrap_or_default(),
            access_key_id: set.access_key_id().to_owned(),
        })
    }
}

/// The WebSocket handshake over TLS (RFC 6455, section 4.1).
pub(crate) async fn open(
    signed: Signed,
    stream: TlsStream<Watched>,
    endpoint: &Endpoint,
    signer: &Signer,
) -> Result<Stream, Error> {
    let unreached = |error: &hyper::Error| {
        let secrets = signed.secrets();
        let hidden: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
        lost::unreached(&endpoint.host, error, &hidden)
    };
    let key = generate_key();
    let request = Request::get(signed.target.as_str())
        .header(header::HOST, endpoint.authority())
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(Empty::<Bytes>::new())
        .map_err(|_| {
            Error::connection("the WebSocket's request could not be built from the endpoint")
        })?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreached(&error))?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| unreached(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status != StatusCode::SWITCHING_PROTOCOLS {
            // Bounded by the attempt's time limit; if it breaks off, the status is reported alone.
            let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
            let body = body.map(Collected::to_bytes).unwrap_or_default();
            return Err(refused(
                status.as_u16(),
                &headers,
                &body,
                endpoint,
                signer,
                &signed,
            ));
        }
        let is = |name, expected: &str| headers.get(name).is_some_and(|value| value == expected);
        let accepted = derive_accept_key(key.as_bytes());
        if !is(header::SEC_WEBSOCKET_ACCEPT, &accepted)
            || !is(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        {
            return Err(Error::connection(format!(
                "`{}` opened a WebSocket but does not speak MQTT over it: check the endpoint and the port",
                endpoint.host
            )));
        }
        hyper::upgrade::on(response)
            .await
            .map_err(|error| unreached(&error))
    };
    let (connection, exchange) = (pin!(connection.with_upgrades()), pin!(exchange));
    let upgraded = match select(exchange, connection).await {
        Either::Left((upgraded, _)) => upgraded,
        // The exchange gets what the connection has read, and how it ended.
        Either::Right((_, exchange)) => exchange.await,
    }?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let stream = TokioAdapter::new(TokioIo::new(upgraded));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Client, Some(config)).await;
    let (sender, receiver) = socket.split();
    // The reader would read the texts of pings and closes as data, and an empty message as the end.
    let receiver = receiver
        .take_while(|message| ready(!matches!(message, Ok(Message::Close(_)))))
        .filter(|message| ready(!matches!(message, Ok(Message::Ping(_) | Message::Pong(_)))))
        .filter(|message| ready(!matches!(message, Ok(message) if message.is_empty())));
    Ok(Box::new(tokio::io::join(
        ByteReader::new(receiver),
        ByteWriter::new(sender),
    )))
}

/// The server answered the handshake with something else.
fn refused(
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    endpoint: &Endpoint,
    signer: &Signer,
    signed: &Signed,
) -> Error {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let secrets = signed.secrets();
    let hidden: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
    let said = clean(said(body).trim(), &hidden);
    let now = signer.clock.now();
    let apart = header("date")
        .and_then(http_date)
        .map(|date| (apart(now, date), date));
    let clock = match apart {
        Some((apart, date)) if apart >= CLOCKS_APART => format!(
            "; this machine's clock shows {} and the server's {}, too far apart for a signature: correct the clock",
            iso8601(now),
            iso8601(date)
        ),
        _ => String::new(),
    };
    let quoted = if said.is_empty() {
        String::new()
    } else {
        format!(", `{said}`")
    };
    let message = match status {
        403 if clock.is_empty() => format!(
            "`{}` refused the WebSocket (403{quoted}): check that the credentials' policy allows `iot:Connect`, that \
             the endpoint belongs to their account, and that the region is `{}`",
            endpoint.host, signer.region
        ),
        403 => format!(
            "`{}` refused the WebSocket (403{quoted}){clock}",
            endpoint.host
        ),
        404 | 426 | 200..=399 => format!(
            "`{}` answered the WebSocket with {status}: check that this is the account's data endpoint",
            endpoint.host
        ),
        _ => format!(
            "`{}` answered the WebSocket with {status}{clock}",
            endpoint.host
        ),
    };
    let mut error = match status {
        403 => Error::request(message),
        429 => Error::request(message).throttled(),
        _ => Error::request(message).retryable(),
    };
    error = error
        .with_status(status)
        .with_detail("access_key_id", &signed.access_key_id);
    if !said.is_empty() {
        error = error.with_detail("aws_message", &said);
    }
    if let Some(id) = header("x-amzn-requestid") {
        error = error.with_detail("request_id", clean(id, &hidden));
    }
    if let Some((apart, _)) = apart {
        error = error.with_detail("clock_difference_seconds", apart.as_secs());
    }
    if let Some(code) = header("x-amzn-errortype") {
        error = error.with_code(clean(code.split(':').next().unwrap_or(code), &hidden));
    }
    // The credentials were rejected as expired or invalid, not only the signature: refresh them
    // before the next attempt.
    if status == 403 && said.to_ascii_lowercase().contains("security token") {
        signer.session.report_rejected(&signed.access_key_id);
    }
    error
}

/// The text of `{"message": "…"}`, which is how AWS IoT answers, else the whole answer. It is not
/// shortened here, since a secret that is cut in two would not be recognised.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Answer {
        message: String,
    }
    serde_json::from_slice(body).map_or_else(
        |_| String::from_utf8_lossy(body).into_owned(),
        |Answer { message }| message,
    )
}

/// For fuzzing: the parsing of an answer.
pub(crate) fn read_answer(date: &str, body: &[u8]) {
    let _ = (http_date(date), clean(said(body).trim(), &[]));
}

fn http_date(text: &str) -> Option<SystemTime> {
    DateTime::from_str(text, Format::HttpDate)
        .ok()?
        .try_into()
        .ok()
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|error| error.duration())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_in_what_aws_answers() {
        assert_eq!(
            said(br#"{"message":"say \"no\"","traceId":"x"}"#),
            "say \"no\""
        );
        for other in ["<html>", r#"{"error": {"message": 1}}"#, ""] {
            assert_eq!(said(other.as_bytes()), other);
        }
    }

    #[test]
    fn what_a_server_repeats_of_a_signed_url_is_not_shown() {
        let token = format!("to/ken+{}=", "x".repeat(2000));
        let encoded =
            percent_encoding::utf8_percent_encode(&token, percent_encoding::NON_ALPHANUMERIC);
        let target = format!(
            "/mqtt?X-Amz-Algorithm=A&X-Amz-Signature=0123abcd&X-Amz-Security-Token={encoded}"
        );
        let signed = Signed {
            target: Zeroizing::new(target.clone()),
            access_key_id: "ASIAHIDDEN".to_owned(),
        };
        let secrets = signed.secrets();
        let hidden: Vec<&str> = secrets.iter().map(|secret| secret.as_str()).collect();
        let escaped = target.replace('&', "&amp;");
        for body in [
            &target,
            &escaped,
            &token,
            &format!("{}{target}", "y".repeat(200)),
        ] {
            let shown = clean(&said(body.as_bytes()), &hidden);
            assert!(
                !shown.contains("0123abcd") && !shown.contains("xxx") && !shown.contains("ASIA"),
                "{shown}"
            );
        }
    }

    #[test]
    fn dates_of_http_are_read() {
        let date = http_date("Tue, 01 Jan 2030 00:00:00 GMT").unwrap();
        assert_eq!(iso8601(date), "2030-01-01T00:00:00Z");
        assert!(http_date("yesterday").is_none());
    }
}
