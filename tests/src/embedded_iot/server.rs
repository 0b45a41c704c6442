//! The server's two doors: mutual TLS for devices, and plain HTTP for a proxy that has done the
//! handshake itself.
//!
//! Owns sockets, envelopes and the counts of connections and handshakes; `provider` decides what an
//! answer says. A refused handshake ends in order: its alert is sent, and what the client still
//! says is read, so that the client sees the alert and not a reset.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::server::ServerConnection;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};

use super::log::IotRequest;
use super::provider::{self, Answer};
use super::registry::{Registry, certificate_id};
use crate::embedded_aws::faults::Faults;
use crate::embedded_aws::log::Journal;
use crate::embedded_aws::server::{Dropped, State, request_id};

/// How long a client whose handshake was refused may keep talking.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a proxy tells about the client that it shook hands with.
const PROXIED_CERTIFICATE: &str = "x-client-cert-pem";
const PROXIED_VERSION: &str = "x-client-cert-tls-version";
const PROXIED_REUSE: &str = "x-client-cert-session-reused";
const PROXIED_SERVER_NAME: &str = "x-client-cert-server-name";
const PROXIED_CONNECTION: &str = "x-client-cert-connection";

/// What all connections of one server share.
pub(super) struct Shared {
    pub(super) aws: Arc<State>,
    pub(super) registry: Mutex<Registry>,
    pub(super) faults: Faults,
    pub(super) journal: Journal<IotRequest>,
    pub(super) counts: Counts,
    pub(super) tls: Mutex<Arc<ServerConfig>>,
    /// Changes when all connections are to end.
    pub(super) ended: watch::Sender<u64>,
    /// While this is true, nobody gets an answer to the first words of a handshake.
    pub(super) silent: watch::Sender<bool>,
    pub(super) manners: Manners,
}

/// How answers are given, whatever they say.
#[derive(Debug, Default)]
pub(super) struct Manners {
    pub(super) retry_after: Mutex<Option<HeaderValue>>,
    pub(super) closes: AtomicBool,
    pub(super) stalls: AtomicBool,
}

/// What happened before any request.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) connections: watch::Sender<usize>,
    pub(super) full_handshakes: AtomicUsize,
    pub(super) resumed_handshakes: AtomicUsize,
    pub(super) refusals: watch::Sender<Vec<String>>,
}

impl Shared {
    pub(super) fn manners(&self) -> &Manners {
        &self.manners
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        // The registry panics on a test's mistake, before it has changed anything.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is at the other end, as far as the handshake told.
#[derive(Clone, Debug, Default)]
struct Peer {
    leaf: Option<CertificateDer<'static>>,
    server_name: Option<String>,
    tls_version: Option<String>,
    resumed: bool,
    connection: usize,
}

/// Serves devices.
pub(super) async fn accept_tls(listener: TcpListener, shared: Arc<Shared>) {
    while let Some(stream) = accept(&listener).await {
        shared
            .counts
            .connections
            .send_modify(|connections| *connections += 1);
        let number = *shared.counts.connections.borrow();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut ended = shared.ended.subscribe();
            tokio::select! {
                () = secure(stream, &shared, number) => {}
                _ = ended.changed() => {}
            }
        });
    }
}

/// Serves a proxy.
pub(super) async fn accept_plain(listener: TcpListener, shared: Arc<Shared>) {
    while let Some(stream) = accept(&listener).await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move { serve(stream, &shared, None).await });
    }
}

/// The next connection; what ends the loop is the end of the runtime.
async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // As servers do: else an answer may wait 40 ms until what TLS sent before it is
                // acknowledged.
                let _ = stream.set_nodelay(true);
                return Some(stream);
            }
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn secure(stream: TcpStream, shared: &Arc<Shared>, number: usize) {
    let mut silent = shared.silent.subscribe();
    // The sender lives as long as what is served here.
    let _ = silent.wait_for(|silent| !silent).await;
    let config = Arc::clone(
        &shared
            .tls
            .lock()
            .expect("nothing panics while it holds the settings"),
    );
    match TlsAcceptor::from(config)
        .accept(stream)
        .into_fallible()
        .await
    {
        Ok(stream) => {
            let peer = shake(stream.get_ref().1, number, &shared.counts);
            serve(stream, shared, Some(peer)).await;
        }
        Err((error, mut stream)) => {
            shared
                .counts
                .refusals
                .send_modify(|refusals| refusals.push(error.to_string()));
            let _ = stream.shutdown().await;
            let drained = async { while matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {} };
            let _ = tokio::time::timeout(FAREWELL, drained).await;
        }
    }
}

/// Counts a finished handshake.
fn shake(connection: &ServerConnection, number: usize, counts: &Counts) -> Peer {
    let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
    let count = if resumed {
        &counts.resumed_handshakes
    } else {
        &counts.full_handshakes
    };
    count.fetch_add(1, Ordering::SeqCst);
    Peer {
        leaf: connection
            .peer_certificates()
            .and_then(<[_]>::first)
            .cloned(),
        server_name: connection.server_name().map(str::to_owned),
        tls_version: connection
            .protocol_version()
            .and_then(|version| version.as_str())
            .map(spelled),
        resumed,
        connection: number,
    }
}

/// `TLSv1_3` as everybody else writes it.
fn spelled(version: &str) -> String {
    version.replace('_', ".")
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    shared: &Arc<Shared>,
    peer: Option<Peer>,
) {
    let service = service_fn(|request| {
        let (shared, peer) = (Arc::clone(shared), peer.clone());
        async move { answer(&shared, &request, peer).await }
    });
    // Clients that leave and connections that are dropped on purpose are what tests are for.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    shared: &Shared,
    request: &Request<Incoming>,
    peer: Option<Peer>,
) -> Result<Response<Paced>, Dropped> {
    let peer = peer.unwrap_or_else(|| proxied(request));
    let entry = entry(request, &peer, shared);
    let number = shared.journal.arrived(entry.clone());
    let outcome = provider::respond(shared, &entry, peer.leaf.as_ref()).await;
    let mut response = Response::builder().header("date", shared.aws.date());
    let (status, content_type, body, error_code) = match outcome {
        Ok(Answer::Drop) => return Err(Dropped),
        Ok(Answer::Body(status, content_type, body)) => (status, content_type, body, None),
        Err(error) => (
            error.status,
            "application/json",
            error.json().into(),
            Some(error.code),
        ),
    };
    shared.journal.answered(number, status, error_code);
    if let Some(code) = error_code {
        response = response.header("x-amzn-errortype", code);
    }
    let manners = shared.manners();
    let retry_after = manners
        .retry_after
        .lock()
        .expect("nothing panics while it holds a header")
        .clone();
    if let Some(value) = retry_after.filter(|_| status >= 400) {
        response = response.header("retry-after", value);
    }
    if manners.closes.load(Ordering::SeqCst) {
        response = response.header("connection", "close");
    }
    let stalls = manners.stalls.swap(false, Ordering::SeqCst);
    let response = response
        .status(status)
        .header("content-type", content_type)
        .header("x-amzn-requestid", entry.request_id)
        .header("content-length", body.len())
        .body(Paced::new(body, stalls));
    Ok(response.expect("status and headers are valid"))
}

/// A body that comes whole, or only to its half.
struct Paced {
    data: Option<Bytes>,
    stalls: bool,
}

impl Paced {
    fn new(mut body: Bytes, stalls: bool) -> Self {
        if stalls {
            body.truncate(body.len() / 2);
        }
        Self {
            data: Some(body).filter(|body| !body.is_empty()),
            stalls,
        }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match (self.data.take(), self.stalls) {
            (Some(data), _) => Poll::Ready(Some(Ok(Frame::data(data)))),
            // Nobody wakes it: the client leaves.
            (None, true) => Poll::Pending,
            (None, false) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none() && !self.stalls
    }
}

fn entry<B>(request: &Request<B>, peer: &Peer, shared: &Shared) -> IotRequest {
    let path = request.uri().path();
    let alias = path
        .strip_prefix("/role-aliases/")
        .and_then(|rest| rest.strip_suffix("/credentials"));
    let alias = alias
        .filter(|alias| !alias.contains('/'))
        .map(percent_decode_str);
    IotRequest {
        method: request.method().to_string(),
        path: request.uri().to_string(),
        role_alias: alias
            .and_then(|alias| alias.decode_utf8().ok())
            .map(|alias| alias.into_owned()),
        thing_name: header(request, "x-amzn-iot-thingname"),
        duration_seconds: header(request, "x-amzn-iot-credential-duration-seconds"),
        host: header(request, "host"),
        user_agent: header(request, "user-agent"),
        certificate_id: peer.leaf.as_ref().map(certificate_id),
        server_name: peer.server_name.clone(),
        tls_version: peer.tls_version.clone(),
        resumed: peer.resumed,
        connection: peer.connection,
        request_id: request_id(),
        status: None,
        error_code: None,
        time: shared.aws.now(),
    }
}

/// The client that a proxy speaks for.
fn proxied<B>(request: &Request<B>) -> Peer {
    let pem = header(request, PROXIED_CERTIFICATE).unwrap_or_default();
    let pem: Vec<u8> = percent_decode_str(&pem).collect();
    Peer {
        leaf: CertificateDer::from_pem_slice(&pem).ok(),
        server_name: header(request, PROXIED_SERVER_NAME).filter(|name| !name.is_empty()),
        tls_version: header(request, PROXIED_VERSION),
        resumed: header(request, PROXIED_REUSE).as_deref() == Some("r"),
        connection: header(request, PROXIED_CONNECTION)
            .and_then(|number| number.parse().ok())
            .unwrap_or_default(),
    }
}

fn header<B>(request: &Request<B>, name: &str) -> Option<String> {
    request
        .headers()
        .get(name)?
        .to_str()
        .ok()
        .map(str::to_owned)
}
