//! AWS IoT's device gateway for WebSockets, as far as it decides who may enter: TLS, then the
//! signature in the URL.
//!
//! Requests whose signature the [`EmbeddedAws`] finds good are handed to a broker's plain WebSocket
//! door; the others are refused as AWS does it. Every handshake is kept with the access key id that
//! it was signed with.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

use crate::embedded_aws::EmbeddedAws;
use crate::embedded_iot::EmbeddedIot;
use crate::served::Served;

const SERVICE: &str = "iotdevicegateway";
const LONGEST_HEAD: usize = 16 * 1024;

/// A running gateway; its connections end when the handle is dropped.
pub struct Gateway {
    served: Served,
    shared: Arc<Shared>,
}

/// One handshake, as the gateway saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handshake {
    /// Whom it was signed by, or why it was refused.
    pub signed_by: Result<String, String>,
}

/// From a `Host` header and a path with query: whose key it is, or why not.
type Verify = Box<dyn Fn(&str, &str) -> Result<String, String> + Send + Sync>;

struct Shared {
    verify: Verify,
    date: Box<dyn Fn() -> String + Send + Sync>,
    handshakes: Mutex<Vec<Handshake>>,
    cut: Notify,
    broker: SocketAddr,
}

impl Gateway {
    /// A gateway with the certificate of `iot`, in front of a broker's WebSocket door.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(aws: &EmbeddedAws, iot: &EmbeddedIot, broker: SocketAddr) -> Self {
        let (certificate, key) = iot.server_identity();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .map(|one| one.expect("PEM"))
            .collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the versions are those of the provider")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("the key is the certificate's");
        let shared = Arc::new(Shared {
            verify: Box::new(aws.presigned_verifier(SERVICE)),
            date: Box::new(aws.dates()),
            handshakes: Mutex::default(),
            cut: Notify::new(),
            broker,
        });
        let (serving, acceptor) = (Arc::clone(&shared), TlsAcceptor::from(Arc::new(config)));
        let served =
            Served::start(move |stream| serve(stream, acceptor.clone(), Arc::clone(&serving)));
        Self { served, shared }
    }

    /// `localhost:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.served.endpoint()
    }

    /// The address behind that.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// All handshakes so far.
    #[must_use]
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.shared
            .handshakes
            .lock()
            .expect("nothing panics while it holds the list")
            .clone()
    }

    /// Cuts the connections that stand.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) -> io::Result<()> {
    let mut client = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST_HEAD {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let host = head.lines().find_map(|line| {
        line.split_once(": ")
            .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
    });
    let host = host.map(|(_, value)| value).unwrap_or_default();
    let verdict = (shared.verify)(host, target);
    let handshake = Handshake {
        signed_by: verdict.clone(),
    };
    shared
        .handshakes
        .lock()
        .expect("nothing panics while it holds the list")
        .push(handshake);
    if let Err(message) = verdict {
        let date = (shared.date)();
        let body = serde_json::json!({ "message": message, "traceId": "00000000-0000-0000-0000-000000000000" });
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\ndate: {date}\r\n\
             x-amzn-ErrorType: ForbiddenException\r\nx-amzn-RequestId: 5ef5\r\n\r\n{body}",
            body.len()
        );
        client.write_all(answer.as_bytes()).await?;
        return client.shutdown().await;
    }
    let mut broker = TcpStream::connect(shared.broker).await?;
    broker
        .write_all(head.replacen(target, "/mqtt", 1).as_bytes())
        .await?;
    tokio::select! {
        copied = tokio::io::copy_bidirectional(&mut client, &mut broker) => copied.map(drop),
        () = shared.cut.notified() => Ok(()),
    }
}
