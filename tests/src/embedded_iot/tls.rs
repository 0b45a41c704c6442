//! The server's side of TLS: versions, its certificate, and how client certificates are checked.
//!
//! All judgements of time are the harness's clock's. Sessions can be resumed, as at AWS.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::KeyPair;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivatePkcs8KeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::time_provider::TimeProvider;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::authority::{Authority, Chain, KeyKind};
use crate::embedded_aws::server::State;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const HERE: &[&str] = &["localhost", "127.0.0.1"];

/// Which versions of TLS the server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersions {
    /// Only 1.2.
    Tls12,
    /// Only 1.3.
    Tls13,
    /// Both, the newer one preferred.
    #[default]
    Both,
}

/// What is right or wrong with the server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerCertificate {
    /// For `localhost` and 127.0.0.1, valid from ten years before the server's present until ten
    /// years after it.
    #[default]
    Good,
    /// Ended a day before the server's present.
    Expired,
    /// Begins a day after the server's present.
    NotYetValid,
    /// For `elsewhere.example` alone.
    WrongHost,
    /// Of an authority that is not in [`trust_store`](super::EmbeddedIot::trust_store).
    Untrusted,
}

impl TlsVersions {
    fn supported(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&TLS12],
            Self::Tls13 => vec![&TLS13],
            Self::Both => vec![&TLS13, &TLS12],
        }
    }
}

/// What a server of `servers` tells and asks of its clients, who are certified by `devices`.
pub(super) fn config(
    aws: &Arc<State>,
    servers: &Authority,
    devices: &Authority,
    versions: TlsVersions,
    certificate: ServerCertificate,
) -> ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(devices.root()).expect("the root is well-formed");
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("the verifier has a root");

    let now = aws.now();
    let (chain, key) = match certificate {
        ServerCertificate::Good => issue(servers, HERE, usual(now)),
        ServerCertificate::Expired => issue(servers, HERE, now - 30 * DAY..now - DAY),
        ServerCertificate::NotYetValid => issue(servers, HERE, now + DAY..now + 30 * DAY),
        ServerCertificate::WrongHost => issue(servers, &["elsewhere.example"], usual(now)),
        ServerCertificate::Untrusted => issue(&Authority::new("Unknown"), HERE, usual(now)),
    };
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    ServerConfig::builder_with_details(provider, Arc::new(HarnessClock(Arc::clone(aws))))
        .with_protocol_versions(&versions.supported())
        .expect("the provider supports both versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![chain.leaf, chain.intermediate], key.into())
        .expect("key and certificate belong together")
}

/// A certificate of `servers` for this machine, and its key.
pub(super) fn good_certificate(aws: &State, servers: &Authority) -> (Chain, KeyPair) {
    issue(servers, HERE, usual(aws.now()))
}

fn issue(authority: &Authority, names: &[&str], validity: Range<SystemTime>) -> (Chain, KeyPair) {
    let key = KeyKind::EcP256.generate();
    (authority.server(names, &key, &validity), key)
}

fn usual(now: SystemTime) -> Range<SystemTime> {
    now - 3653 * DAY..now + 3653 * DAY
}

struct HarnessClock(Arc<State>);

impl TimeProvider for HarnessClock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0
            .now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .map(UnixTime::since_unix_epoch)
    }
}

impl fmt::Debug for HarnessClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HarnessClock").field(&self.0.now()).finish()
    }
}
