//! The server's door: TLS without client certificates, HTTP/1.1.
//!
//! Owns sockets and envelopes; `session` decides what an answer says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::log::AnywhereRequest;
use super::registry::Registry;
use super::session::{self, Answer};
use crate::embedded_aws::faults::Faults;
use crate::embedded_aws::log::Journal;
use crate::embedded_aws::server::{BODY_LIMIT, Dropped, State, request_id};

/// What all connections of one server share.
pub(super) struct Shared {
    pub(super) aws: Arc<State>,
    pub(super) registry: Mutex<Registry>,
    pub(super) faults: Faults,
    pub(super) journal: Journal<AnywhereRequest>,
    pub(super) tls: Arc<ServerConfig>,
    /// Changes when all connections are to end.
    pub(super) ended: watch::Sender<u64>,
    pub(super) connections: watch::Sender<usize>,
}

impl Shared {
    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        // The registry panics on a test's mistake, before it has changed anything.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves clients.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        shared.connections.send_modify(|count| *count += 1);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut ended = shared.ended.subscribe();
            tokio::select! {
                () = serve(stream, &shared) => {}
                _ = ended.changed() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, shared: &Arc<Shared>) {
    let acceptor = TlsAcceptor::from(Arc::clone(&shared.tls));
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(|request| {
        let shared = Arc::clone(shared);
        async move { answer(&shared, request).await }
    });
    // Clients that leave and connections that are dropped on purpose are what tests are for.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    // A longer one is not JSON.
    let body = Limited::new(body, BODY_LIMIT).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let entry = AnywhereRequest {
        method: head.method.to_string(),
        path: head.uri.to_string(),
        host: header("host"),
        user_agent: header("user-agent"),
        date: header("x-amz-date"),
        authorization: header("authorization"),
        certificate: header("x-amz-x509"),
        chain: header("x-amz-x509-chain"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        request_id: request_id(),
        status: None,
        error_code: None,
        time: shared.aws.now(),
    };
    let request_id = entry.request_id.clone();
    let number = shared.journal.arrived(entry);
    let outcome = session::respond(shared, &head, &body).await;
    let mut response = Response::builder().header("date", shared.aws.date());
    let (status, content_type, body, code) = match outcome {
        Ok(Answer::Drop) => return Err(Dropped),
        Ok(Answer::Body(status, content_type, body)) => (status, content_type, body, None),
        Err(error) => (
            error.status,
            "application/json",
            error.json().into(),
            Some(error.code),
        ),
    };
    shared.journal.answered(number, status, code);
    if let Some(code) = code {
        // As AWS's JSON services write it.
        let value = format!("{code}:http://internal.amazon.com/coral/com.amazonaws.rolesanywhere/");
        response = response.header("x-amzn-errortype", value);
    }
    let response = response
        .status(status)
        .header("content-type", content_type)
        .header("x-amzn-requestid", request_id)
        .body(Full::new(body));
    Ok(response.expect("status and headers are valid"))
}
