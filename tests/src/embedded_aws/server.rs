//! The HTTP/1.1 server: a thread with its own runtime that accepts, reads, asks a service and answers.
//!
//! Owns sockets and envelopes; a service decides what an answer says. The listener is bound before the thread
//! starts, so the address answers from the first moment. Connections end with the runtime.

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
use tokio::sync::oneshot;

use super::call::{Call, Service};
use super::directory::{Directory, random};
use super::error::AwsError;
use super::faults::Faults;
use super::log::Journal;
use super::sts::{self, Answer};
use super::xml;
use super::{dynamodb, s3, sso};

/// The longest request body that is read.
const BODY_LIMIT: usize = 64 << 10;

/// What all connections of one server share.
pub(super) struct State {
    pub(super) clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    pub(super) allowed_skew: Duration,
    pub(super) directory: Mutex<Directory>,
    pub(super) issuing: Mutex<Issuing>,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    pub(super) connections: Connections,
    /// What S3 has, by bucket and key.
    pub(super) objects: Mutex<BTreeMap<String, Bytes>>,
    /// What DynamoDB has, by table and key.
    pub(super) items: Mutex<BTreeMap<String, serde_json::Value>>,
}

/// How many connections there were, and how many are still open.
#[derive(Debug, Default)]
pub(super) struct Connections {
    pub(super) accepted: AtomicUsize,
    pub(super) open: AtomicUsize,
}

/// How long the sessions issued from now on live.
#[derive(Debug)]
pub(super) struct Issuing {
    /// Used in place of the requested duration.
    pub(super) lifetime: Option<Duration>,
    /// Whether `DurationSeconds` below 900 is accepted.
    pub(super) short_durations: bool,
}

impl State {
    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// When a session that is issued now ends.
    pub(super) fn expiration(&self, now: SystemTime, requested: Duration, expired: bool) -> SystemTime {
        if expired { now - Duration::from_secs(60) } else { now + self.issuing().lifetime.unwrap_or(requested) }
    }

    pub(super) fn directory(&self) -> MutexGuard<'_, Directory> {
        // The directory panics on a test's mistake, before it has changed anything.
        self.directory.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().expect("nothing panics while it holds the objects")
    }

    pub(super) fn items(&self) -> MutexGuard<'_, BTreeMap<String, serde_json::Value>> {
        self.items.lock().expect("nothing panics while it holds the items")
    }

    pub(super) fn issuing(&self) -> MutexGuard<'_, Issuing> {
        self.issuing.lock().expect("nothing panics while it holds the settings")
    }
}

/// The running thread; dropping it stops the server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) handle: Handle,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(state: Arc<State>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("embedded-aws".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, state) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, handle, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been reported by its own hook; a second one here could abort.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is non-blocking");
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
            // Clients that leave and connections that are dropped on purpose are what tests are for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            state.connections.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn answer(state: &State, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Dropped> {
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
        Ok(Answer::Result(result)) => (200, None, xml::response(call.action(), &result, &request_id).into()),
        Ok(Answer::Raw(status, body)) => (status, None, body),
        Ok(Answer::Json(body)) => (200, None, body.into()),
        Ok(Answer::Drop) => return Err(Dropped),
        Err(error) => {
            let body = match service {
                Service::Portal => error.json(),
                Service::S3 => s3::error(&error, &request_id),
                Service::DynamoDb => dynamodb::error(&error),
                Service::Sts => xml::error(&error, &request_id),
            };
            (error.status, Some(error.code), body.into())
        }
    };
    state.journal.answered(number, status, error_code);
    let date = DateTime::from_secs(DateTime::from(state.now()).secs()).fmt(Format::HttpDate);
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
        .header("date", date.expect("the server's clock shows a year of four digits"))
        .header("x-amzn-requestid", request_id)
        .body(Full::new(body));
    Ok(response.expect("status and headers are valid"))
}

fn request_id() -> String {
    let part = |length| random(length, b"0123456789abcdef");
    format!("{}-{}-{}-{}-{}", part(8), part(4), part(4), part(4), part(12))
}

/// Ends the connection: hyper closes it when its service fails.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection dropped on purpose")
    }
}

impl std::error::Error for Dropped {}
