//! The HTTP client of a session's SDK clients, which notices when a service rejects the session's
//! credentials.
//!
//! `SdkConfig` carries neither interceptors nor retry classifiers, so this is the one place that
//! sees every client's answers. It looks at each 400, 401 or 403: at its error headers, else at the
//! beginning of its body. If it says that the credentials are expired or invalid, those that signed
//! the request (their key is in its `Authorization`) are invalidated, at the engine's pace.
//! Successful answers are never touched.
//!
//! The first such answer of a call gets a status that the SDK retries, if its request can be sent
//! again: the SDK then retries within the same call, and resolves the new credentials for it. If
//! its retry quota has no room, its caller still gets the service's own code and message: all but
//! the status is as the service sent it. A second rejection passes untouched, and so does one that
//! no other credentials would replace.
//!
//! EC2 answers `RequestExpired` to an expired set and to a wrong clock. It counts only if the
//! answer's own `Date` is near the set's expiration or past it: both are AWS's time.
//!
//! Holds the engine, never the session.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_async::rt::sleep::SharedAsyncSleep;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::date_time::Format;

use super::peek::peek;
use super::rejection::{self, Code};
use crate::kit::per_process::PerProcess;
use crate::refresh::{Engine, Rejected};

/// How many calls are remembered that were handed back once.
const REMEMBERED: usize = 256;

/// A status that the SDK retries, in every retry mode and for every service.
const RETRIED: u16 = 503;

/// How long before a set's expiration EC2's `RequestExpired` may be about the set.
const NEAR_END: Duration = Duration::from_secs(60);

/// An HTTP client that watches for rejections of one session's credentials.
#[derive(Debug)]
pub(crate) struct Watch {
    inner: SharedHttpClient,
    watcher: Arc<Watcher>,
}

struct Watcher {
    engine: Arc<Engine>,
    /// Whether a rejected call is tried again within itself.
    retry: bool,
    /// The calls, by the SDK's id of each, that were handed back.
    handed_back: PerProcess<Mutex<VecDeque<String>>>,
}

impl Watch {
    pub(crate) fn new(inner: SharedHttpClient, engine: Arc<Engine>, retry: bool) -> Self {
        Self {
            inner,
            watcher: Arc::new(Watcher {
                engine,
                retry,
                handed_back: PerProcess::new(),
            }),
        }
    }
}

impl HttpClient for Watch {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
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

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
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
        // What is not signed, in the query string, or by somebody else has nothing to do with the
        // session's credentials: where one session stands on another's configuration, each looks at
        // what it has signed itself.
        let watcher = Arc::clone(&self.watcher);
        let sent = Sent::of(&request, watcher.retry)
            .filter(|sent| watcher.engine.issued(&sent.access_key_id));
        let Some(sent) = sent else {
            return self.inner.call(request);
        };
        let expiration = watcher.expiration(&sent.access_key_id);
        let answer = self.inner.call(request);
        let sleep = self.sleep.clone();
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            if rejection::may_be_one(answer.status().as_u16()) {
                let is_rejection = match code(&mut answer, sent.is_head, sleep).await {
                    Code::Rejection => true,
                    Code::RequestExpired => expiration.is_some_and(|end| is_near(end, &answer)),
                    Code::Other => false,
                };
                if is_rejection {
                    let rejected = watcher.engine.reject(&sent.access_key_id);
                    if watcher.hands_back(&sent, rejected)
                        && let Ok(retried) = StatusCode::try_from(RETRIED)
                    {
                        *answer.status_mut() = retried;
                    }
                }
            }
            Ok(answer)
        })
    }
}

/// Whether the service's time is near an expiration or past it. An answer from a cache tells
/// another time.
fn is_near(expiration: SystemTime, answer: &HttpResponse) -> bool {
    let headers = answer.headers();
    let date = headers.get("date").filter(|_| !headers.contains_key("age"));
    let date = date.and_then(|date| DateTime::from_str(date, Format::HttpDate).ok());
    let date = date.and_then(|date| SystemTime::try_from(date).ok());
    date.and_then(|date| date.checked_add(NEAR_END))
        .is_some_and(|date| date >= expiration)
}

/// What is to be known of a request once it is gone.
struct Sent {
    access_key_id: String,
    /// The SDK's id of the call that the request belongs to.
    invocation: Option<String>,
    is_head: bool,
    /// Whether the SDK would send it again.
    can_be_repeated: bool,
}

impl Sent {
    fn of(request: &HttpRequest, retry: bool) -> Option<Self> {
        let headers = request.headers();
        let (_, credential) = headers.get("authorization")?.split_once("Credential=")?;
        let (access_key_id, _) = credential.split_once('/')?;
        let attempts_left = attempts_left(headers.get("amz-sdk-request").unwrap_or_default());
        Some(Self {
            access_key_id: access_key_id.to_owned(),
            invocation: headers.get("amz-sdk-invocation-id").map(str::to_owned),
            is_head: request.method() == "HEAD",
            can_be_repeated: retry && attempts_left && request.body().try_clone().is_some(),
        })
    }
}

/// Whether a call may have another attempt: `attempt=1; max=3`.
fn attempts_left(request: &str) -> bool {
    let number = |name: &str| {
        request.split(';').find_map(|part| {
            part.trim()
                .strip_prefix(name)?
                .strip_prefix('=')?
                .parse::<u32>()
                .ok()
        })
    };
    matches!((number("attempt"), number("max")), (Some(attempt), Some(max)) if attempt < max)
}

/// What an answer's code says, wherever the protocol puts it.
async fn code(answer: &mut HttpResponse, is_head: bool, sleep: Option<SharedAsyncSleep>) -> Code {
    let headers = answer.headers();
    if let Some(code) = rejection::of_headers(
        headers.get("x-amzn-errortype"),
        headers.get("x-amzn-query-error"),
    ) {
        return code;
    }
    if is_head {
        return Code::Other;
    }
    let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
    let (beginning, body) = peek(body, sleep).await;
    *answer.body_mut() = body;
    rejection::of_body(&beginning)
}

impl Watcher {
    /// When the session's set with this key expires by AWS's clock, if it is the current one.
    fn expiration(&self, access_key_id: &str) -> Option<SystemTime> {
        let of = |key: &str, expiration| (key == access_key_id).then_some(expiration).flatten();
        // Mostly no lock is needed to know.
        let read = self.engine.read(|set| {
            of(
                set.credentials.access_key_id(),
                set.credentials.expiration(),
            )
        });
        read.unwrap_or_else(|| {
            let status = self.engine.status();
            of(status.access_key_id()?, status.expiration())
        })
    }

    /// Whether the call is to be made again: once, and only with other credentials.
    fn hands_back(&self, sent: &Sent, rejected: Rejected) -> bool {
        if !sent.can_be_repeated || !matches!(rejected, Rejected::Honoured | Rejected::Replaced) {
            return false;
        }
        let Some(invocation) = &sent.invocation else {
            return false;
        };
        let calls = self.handed_back.get();
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.contains(invocation) {
            return false;
        }
        if calls.len() == REMEMBERED {
            calls.pop_front();
        }
        calls.push_back(invocation.clone());
        true
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_read_from_the_sdks_header() {
        for (header, expected) in [
            ("attempt=1; max=3", true),
            ("ttl=20260101T000000Z; attempt=2; max=3", true),
            ("attempt=3; max=3", false),
            ("attempt=1", false),
            ("", false),
        ] {
            assert_eq!(attempts_left(header), expected, "{header}");
        }
    }
}
