//! AWS IoT's door for MQTT over mutual TLS, as far as TLS goes: a device's certificate is demanded,
//! and ALPN spoken.
//!
//! What mosquitto 2.0 cannot: agree to a protocol by ALPN, as AWS does on port 443, or refuse to,
//! as a middlebox does that takes all of 443 for HTTP. What is within TLS goes to a plain door.
//! Every handshake is kept.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use crate::embedded_iot::EmbeddedIot;
use crate::served::Served;

/// A running door; its connections end when the handle is dropped.
pub struct TlsDoor {
    served: Served,
    shown: Arc<Mutex<Vec<Shown>>>,
}

/// What a client has shown in one handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shown {
    /// Its certificate's id: the SHA-256, as AWS IoT names certificates.
    pub certificate_id: String,
    /// What was agreed to by ALPN.
    pub protocol: Option<String>,
}

impl TlsDoor {
    /// A door with the certificate of `iot`, for its devices, that agrees to one of `protocols`, if
    /// there are any.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(iot: &EmbeddedIot, protocols: &[&str], target: SocketAddr) -> Self {
        Self::open(iot, protocols, target, true)
    }

    /// The door that AWS IoT has for custom authorizers: it demands no certificate, since those
    /// judge a name and a password. What is shown without one has an empty id.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_without_certificates(
        iot: &EmbeddedIot,
        protocols: &[&str],
        target: SocketAddr,
    ) -> Self {
        Self::open(iot, protocols, target, false)
    }

    fn open(iot: &EmbeddedIot, protocols: &[&str], target: SocketAddr, demands: bool) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(config(iot, protocols, demands)));
        let shown = Arc::new(Mutex::default());
        let seen = Arc::clone(&shown);
        let served =
            Served::start(move |stream| serve(stream, acceptor.clone(), Arc::clone(&seen), target));
        Self { served, shown }
    }

    /// What to give to a client as its endpoint: `localhost:PORT`.
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
    pub fn shown(&self) -> Vec<Shown> {
        self.shown
            .lock()
            .expect("nothing panics while it holds the list")
            .clone()
    }
}

impl fmt::Debug for TlsDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDoor")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

fn config(iot: &EmbeddedIot, protocols: &[&str], demands: bool) -> ServerConfig {
    let certificates = |pem: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|one| one.expect("PEM"))
            .collect()
    };
    let (certificate, key) = iot.server_identity();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&iot.device_trust_store()));
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let verifier = if demands {
        verifier
    } else {
        verifier.allow_unauthenticated()
    };
    let verifier = verifier.build().expect("the verifier has a root");
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions are those of the provider")
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&certificate), key)
        .expect("the key is the certificate's");
    config.alpn_protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    config
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    shown: Arc<Mutex<Vec<Shown>>>,
    target: SocketAddr,
) -> io::Result<()> {
    let mut client = acceptor.accept(stream).await?;
    let tls = client.get_ref().1;
    let leaf = tls
        .peer_certificates()
        .and_then(|chain| chain.first())
        .map(|leaf| digest(&SHA256, leaf));
    let bytes = leaf.as_ref().map_or(&[][..], |digest| digest.as_ref());
    let certificate_id = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let protocol = tls
        .alpn_protocol()
        .map(|protocol| String::from_utf8_lossy(protocol).into_owned());
    shown
        .lock()
        .expect("nothing panics while it holds the list")
        .push(Shown {
            certificate_id,
            protocol,
        });
    let mut target = TcpStream::connect(target).await?;
    let copied = tokio::io::copy_bidirectional(&mut client, &mut target)
        .await
        .map(drop);
    if copied.is_err() {
        // However what is behind it ends, the door closes in an orderly way, with TLS's
        // `close_notify`.
        client.shutdown().await?;
    }
    copied
}
