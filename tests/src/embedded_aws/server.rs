//! The HTTP/1.1 server: a thread with its own runtime that accepts, reads, asks a service and
//! answers.
//!
//! Owns sockets and envelopes; a service decides what an answer says. The listener is bound before
//! the thread starts, so the address answers from the first moment. Connections end with the
//! runtime. The thread itself serves the other embedded servers too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::call::{Call, Service};
use super::directory::{Directory, random};
use super::error::AwsError;
use super::faults::Faults;
use super::log::{Journal, RequestLog};
use super::sts::{self, Answer};
use super::xml;
use super::{dynamodb, s3, sso};

/// How long a test waits for requests to arrive.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// The longest request body that is read.
pub(crate) const BODY_LIMIT: usize = 256 << 10;

/// What all connections of one server share.
pub(crate) struct State {
    pub(crate) clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    pub(crate) allowed_skew: Duration,
    pub(crate) directory: Mutex<Directory>,
    pub(crate) issuing: Mutex<Issuing>,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal<RequestLog>,
    pub(crate) connections: Connections,
    /// What S3 has, by bucket and key.
    pub(super) objects: Mutex<BTreeMap<String, Bytes>>,
    /// What DynamoDB has, by table and key.
    pub(super) items: Mutex<BTreeMap<String, serde_json::Value>>,
}

/// How many connections there were, and how many are still open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) accepted: AtomicUsize,
    pub(crate) open: AtomicUsize,
}

/// How long the sessions issued from now on live.
#[derive(Debug)]
pub(crate) struct Issuing {
    /// Used in place of the requested duration.
    pub(crate) lifetime: Option<Duration>,
    /// Whether `DurationSeconds` below 900 is accepted.
    pub(crate) short_durations: bool,
}

impl State {
    pub(crate) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// When a session that is issued now ends.
    pub(crate) fn expiration(
        &self,
        now: SystemTime,
        requested: Duration,
        expired: bool,
    ) -> SystemTime {
        if expired {
            now - Duration::from_secs(60)
        } else {
            now + self.issuing().lifetime.unwrap_or(requested)
        }
    }

    /// The clock's reading as a `Date` header has it.
    pub(crate) fn date(&self) -> String {
        let date = DateTime::from_secs(DateTime::from(self.now()).secs()).fmt(Format::HttpDate);
        date.expect("the server's clock shows a year of four digits")
    }

    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        // The directory panics on a test's mistake, before it has changed anything.
        self.directory
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects
            .lock()
            .expect("nothing panics while it holds the objects")
    }

    pub(super) fn items(&self) -> MutexGuard<'_, BTreeMap<String, serde_json::Value>> {
        self.items
            .lock()
            .expect("nothing panics while it holds the items")
    }

    pub(crate) fn issuing(&self) -> MutexGuard<'_, Issuing> {
        self.issuing
            .lock()
            .expect("nothing panics while it holds the settings")
    }
}

/// The running thread; dropping it stops the server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) handle: Handle,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds a port of 127.0.0.1 and serves it in a thread of that name until the handle is
    /// dropped.
    pub(crate) fn start<F: Future<Output = ()>>(
        name: &str,
        serve: impl FnOnce(tokio::net::TcpListener) -> F + Send + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener)
                        .expect("the listener is non-blocking");
                    tokio::select! {
                        () = serve(listener) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Whether `enough` holds before half a minute is over; it is asked again with every change.
    /// Needs no runtime of the caller's and does not move with paused time.
    pub(crate) async fn wait_until<T: Send + Sync + 'static>(
        &self,
        mut changes: watch::Receiver<T>,
        enough: impl Fn(&T) -> bool + Send + Sync + 'static,
    ) -> bool {
        let arrived = self.handle.spawn(async move {
            let enough = changes.wait_for(|value| enough(value));
            matches!(tokio::time::timeout(WAIT_LIMIT, enough).await, Ok(Ok(_)))
        });
        arrived.await.expect("waiting does not panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been reported by its own hook; a second one here
            // could abort.
            let _ = thread.join();
        }
    }
}

/// Serves STS and the portal.
pub(crate) async fn accept(listener: tokio::net::TcpListener, state: Arc<State>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let state = Arc::clone(&state);
        state.connections.accepted.fetch_add(1, Ordering::SeqCst);
        state.connections.open.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let state = Arc::clone(&state);
                async move { answer(&state, request).await }
            });
            // Clients that leave and connections that are dropped on purpose are what tests are
            // for.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
            state.connections.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(
    state: &State,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let (parts, body) = request.into_parts();
    let (body, too_large) = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => (body.to_bytes(), false),
        Err(error) if error.is::<LengthLimitError>() => (Bytes::new(), true),
        // The client left in the middle of its request.
        Err(_) => return Err(Dropped),
    };
    let call = Call::new(parts, body);
    let number = state.journal.arrived(call.log_entry(state.now()));

    let service = call.service();
    let outcome = match service {
        _ if too_large => Err(AwsError::too_large()),
        Service::Portal => sso::respond(state, &call).await,
        Service::S3 => s3::respond(state, &call).await,
        Service::DynamoDb => dynamodb::respond(state, &call).await,
        Service::Sts => sts::respond(state, &call).await,
    };
    let request_id = request_id();
    let (status, error_code, body) = match outcome {
        Ok(Answer::Result(result)) => (
            200,
            None,
            xml::response(call.action(), &result, &request_id).into(),
        ),
        Ok(Answer::Raw(status, body)) => (status, None, body),
        Ok(Answer::Json(body)) => (200, None, body.into()),
        Ok(Answer::Drop) => return Err(Dropped),
        Err(error) => {
            let body = match service {
                Service::Portal if call.action() != sso::ACTION => error.oauth(),
                Service::Portal => error.json(),
                Service::S3 => s3::error(&error, &request_id),
                Service::DynamoDb => dynamodb::error(&error),
                Service::Sts => xml::error(&error, &request_id),
            };
            (error.status, Some(error.code), body.into())
        }
    };
    state.journal.answered(number, status, error_code);
    let content_type = match service {
        Service::Portal => "application/json",
        Service::DynamoDb => "application/x-amz-json-1.0",
        Service::S3 | Service::Sts => "text/xml",
    };
    let mut response = Response::builder();
    if let Some(code) = error_code.filter(|_| call.is_portal()) {
        response = response.header("x-amzn-errortype", code);
    }
    let response = response
        .status(status)
        .header("content-type", content_type)
        .header("date", state.date())
        .header("x-amzn-requestid", request_id)
        .body(Full::new(body));
    Ok(response.expect("status and headers are valid"))
}

pub(crate) fn request_id() -> String {
    let part = |length| random(length, b"0123456789abcdef");
    format!(
        "{}-{}-{}-{}-{}",
        part(8),
        part(4),
        part(4),
        part(4),
        part(12)
    )
}

/// Ends the connection: hyper closes it when its service fails.
#[derive(Debug)]
pub(crate) struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection dropped on purpose")
    }
}

impl std::error::Error for Dropped {}
