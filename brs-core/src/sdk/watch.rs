//! The HTTP client of a session's SDK clients, which notices when a service rejects the session's credentials.
//!
//! `SdkConfig` carries neither interceptors nor retry classifiers, so this is the one place that sees every client's
//! answers. A 400, 401 or 403 is looked at: its error header, else the beginning of its body. Where it says that the
//! credentials have expired or were revoked, those that signed the request (their key is in its `Authorization`) are
//! invalidated, at the engine's pace. Successful answers are never touched.
//!
//! The first such answer of a call is handed to the SDK as an error worth another try, if its request can be sent
//! again: the SDK then retries within the same call, and resolves the new credentials for it. A second one passes
//! untouched, with the service's own error; so does one whose credentials would not be other ones, and one that the
//! SDK's retry quota has no room for (`quota`).
//!
//! Holds the engine, never the session.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::ErrorKind;

use super::peek::peek;
use super::quota::QUOTAS;
use super::rejection;
use crate::refresh::{Engine, Rejected};

/// How many calls are remembered that were handed back once.
const REMEMBERED: usize = 256;

/// Whether a rejected call is tried again within itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    Off,
    On,
    /// The clients are in the adaptive retry mode.
    Adaptive,
}

/// An HTTP client that watches for rejections of one session's credentials.
#[derive(Debug)]
pub(crate) struct Watch {
    inner: SharedHttpClient,
    watcher: Arc<Watcher>,
}

struct Watcher {
    engine: Arc<Engine>,
    retry: Retry,
    /// The calls, by the SDK's id of each, that were handed back.
    handed_back: Mutex<VecDeque<String>>,
}

impl Watch {
    pub(crate) fn new(inner: SharedHttpClient, engine: Arc<Engine>, retry: Retry) -> Self {
        Self { inner, watcher: Arc::new(Watcher { engine, retry, handed_back: Mutex::default() }) }
    }
}

impl HttpClient for Watch {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(WatchedConnector {
            inner: self.inner.http_connector(settings, components),
            sleep: components.sleep_impl(),
            watcher: Arc::clone(&self.watcher),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.inner.validate_base_client_config(components, config)
    }

    fn validate_final_config(&self, components: &RuntimeComponents, config: &ConfigBag) -> Result<(), BoxError> {
        self.inner.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

#[derive(Debug)]
struct WatchedConnector {
    inner: SharedHttpConnector,
    sleep: Option<SharedAsyncSleep>,
    watcher: Arc<Watcher>,
}

impl HttpConnector for WatchedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // What is not signed, in the query string, or by somebody else has nothing to do with the session's
        // credentials: where one session stands on another's configuration, each looks at what it has signed itself.
        let watcher = Arc::clone(&self.watcher);
        let sent = Sent::of(&request, watcher.retry).filter(|sent| watcher.engine.issued(&sent.access_key_id));
        let Some(sent) = sent else { return self.inner.call(request) };
        let answer = self.inner.call(request);
        let sleep = self.sleep.clone();
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let status = answer.status();
            if status.is_success() {
                if sent.attempt == 1 {
                    QUOTAS.succeeded(&sent.scope);
                }
            } else if rejection::may_be_one(status.as_u16()) && is_rejection(&mut answer, sent.is_head, sleep).await {
                let rejected = watcher.engine.reject(&sent.access_key_id);
                if let Some(kind) = watcher.hands_back(&sent, rejected) {
                    return Err(ConnectorError::other(HandedBack.into(), Some(kind)));
                }
            }
            Ok(answer)
        })
    }
}

/// What is to be known of a request once it is gone.
struct Sent {
    access_key_id: String,
    /// What it was signed for: region and service.
    scope: String,
    /// The SDK's id of the call that the request belongs to.
    invocation: Option<String>,
    is_head: bool,
    attempt: u32,
    /// Whether the SDK would send it again.
    can_be_repeated: bool,
}

impl Sent {
    fn of(request: &HttpRequest, retry: Retry) -> Option<Self> {
        let headers = request.headers();
        let (_, credential) = headers.get("authorization")?.split_once("Credential=")?;
        let (access_key_id, scope) = credential.split(',').next()?.split_once('/')?;
        let (_date, scope) = scope.split_once('/').unwrap_or(("", scope));
        let (attempt, attempts_left) = attempts(headers.get("amz-sdk-request").unwrap_or_default());
        Some(Self {
            access_key_id: access_key_id.to_owned(),
            scope: scope.trim_end_matches("/aws4_request").to_owned(),
            invocation: headers.get("amz-sdk-invocation-id").map(str::to_owned),
            is_head: request.method() == "HEAD",
            attempt,
            can_be_repeated: retry != Retry::Off && attempts_left && request.body().try_clone().is_some(),
        })
    }
}

/// Which attempt of a call this is, and whether there may be another: `attempt=1; max=3`.
fn attempts(request: &str) -> (u32, bool) {
    let number = |name: &str| {
        request.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')?.parse::<u32>().ok())
    };
    match (number("attempt"), number("max")) {
        (Some(attempt), Some(max)) => (attempt, attempt < max),
        (attempt, _) => (attempt.unwrap_or(1), false),
    }
}

async fn is_rejection(answer: &mut HttpResponse, is_head: bool, sleep: Option<SharedAsyncSleep>) -> bool {
    if let Some(error_type) = answer.headers().get("x-amzn-errortype") {
        return rejection::is_error_type(error_type);
    }
    if is_head {
        return false;
    }
    let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
    let (beginning, body) = peek(body, sleep).await;
    *answer.body_mut() = body;
    rejection::is_body(&beginning)
}

impl Watcher {
    /// Whether the call is to be made again, and as what kind of error: once, and only with other credentials.
    fn hands_back(&self, sent: &Sent, rejected: Rejected) -> Option<ErrorKind> {
        if !sent.can_be_repeated || !matches!(rejected, Rejected::Honoured | Rejected::Replaced) {
            return None;
        }
        let invocation = sent.invocation.as_ref()?;
        let mut calls = self.handed_back.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.contains(invocation) {
            return None;
        }
        let kind = QUOTAS.take(&sent.scope, self.retry == Retry::Adaptive)?;
        if calls.len() == REMEMBERED {
            calls.pop_front();
        }
        calls.push_back(invocation.clone());
        Some(kind)
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("retry", &self.retry).finish_non_exhaustive()
    }
}

/// Tells the SDK to try again.
#[derive(Debug, thiserror::Error)]
#[error("the service rejected the session's credentials as expired or revoked; they are replaced")]
struct HandedBack;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_from_the_sdks_header() {
        for (header, expected) in [
            ("attempt=1; max=3", (1, true)),
            ("ttl=20260101T000000Z; attempt=2; max=3", (2, true)),
            ("attempt=3; max=3", (3, false)),
            ("attempt=1", (1, false)),
            ("", (1, false)),
        ] {
            assert_eq!(attempts(header), expected, "{header}");
        }
    }
}
