//! IAM Roles Anywhere inside the test's process: `CreateSession` over TLS on a free port of
//! 127.0.0.1.
//!
//! Every request is verified as AWS documents it, by code that shares nothing with brs: the
//! canonical request is made of what arrived, the signature checked with the certificate's key, the
//! chain followed to the trust anchor by webpki. What a client gets is known to the [`EmbeddedAws`]
//! that the server was started for. The trust anchor is the authority of an [`EmbeddedIot`]'s
//! devices, so that one certificate works at both, and the server's certificate is of that one's
//! servers. Requests are counted, and faults are planned as at the embedded STS.
//!
//! This file owns the handle. `server` speaks HTTP, `verify` authenticates a request, `session`
//! decides, `registry` knows trust anchors and profiles, `log` is what tests read.
//!
//! Of the refusals, these are AWS's own words, as users have reported them: `Untrusted signing
//! certificate`, `Untrusted certificate. Insufficient certificate`, `Certificate revoked`, `Invalid
//! signature`, `Trust anchor is disabled`, `Profile is disabled`, `Not authorized to set
//! roleSessionName.`, `Unable to assume role for …` and, after it, `The requested DurationSeconds
//! exceeds the MaxSessionDuration set for this role.` The others have the API's documented codes,
//! and words of ours.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::embedded_aws::faults::Faults;
use crate::embedded_aws::log::Journal;
use crate::embedded_aws::server::{Server, WAIT_LIMIT};
use crate::embedded_aws::{EmbeddedAws, Failure, Hold};
use crate::embedded_iot::EmbeddedIot;

mod log;
mod registry;
mod server;
mod session;
mod verify;

pub use log::AnywhereRequest;

use registry::{Profile, Registry, TrustAnchor};
use server::Shared;

/// The region of the server and of all that is registered with it.
pub const REGION: &str = "eu-west-1";

/// A running server; it stops when the handle is dropped.
pub struct EmbeddedAnywhere {
    shared: Arc<Shared>,
    server: Server,
    trust_anchor_arn: String,
    profile_arn: String,
}

impl EmbeddedAnywhere {
    /// Starts a server whose trust anchor is the authority of `iot`'s devices. Clock, roles and the
    /// rules of issuing are those of `aws`. Its profile has no role yet.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(aws: &EmbeddedAws, iot: &EmbeddedIot) -> Self {
        let (chain, key) = iot.server_identity();
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .expect("the chain is PEM");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("the key is PEM");
        let tls = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider supports both versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("key and certificate belong together");
        let shared = Arc::new(Shared {
            aws: Arc::clone(&aws.state),
            registry: Mutex::new(Registry::default()),
            faults: Faults::new(session::ACTION),
            journal: Journal::new(),
            tls: Arc::new(tls),
            ended: watch::Sender::new(0),
            connections: watch::Sender::new(0),
        });
        let server = Server::start("embedded-anywhere", {
            let shared = Arc::clone(&shared);
            move |listener| server::accept(listener, shared)
        })
        .expect("a port of 127.0.0.1 can be bound");
        let (trust_anchor_arn, profile_arn) = {
            let mut registry = shared.registry();
            (
                registry.add_trust_anchor(&iot.device_trust_store()),
                registry.add_profile(),
            )
        };
        Self {
            shared,
            server,
            trust_anchor_arn,
            profile_arn,
        }
    }

    /// The endpoint: `localhost:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.server.address.port())
    }

    /// The first trust anchor: the authority of the devices.
    #[must_use]
    pub fn trust_anchor_arn(&self) -> &str {
        &self.trust_anchor_arn
    }

    /// The first profile.
    #[must_use]
    pub fn profile_arn(&self) -> &str {
        &self.profile_arn
    }

    /// Registers a further authority, whose certificate is PEM; any intermediate will do.
    ///
    /// # Panics
    ///
    /// If it is none.
    #[must_use]
    pub fn add_trust_anchor(&self, certificate_pem: &str) -> String {
        self.shared.registry().add_trust_anchor(certificate_pem)
    }

    /// Makes a further profile, without roles.
    #[must_use]
    pub fn add_profile(&self) -> String {
        self.shared.registry().add_profile()
    }

    /// Lets the first profile assume a role.
    pub fn add_role(&self, role_arn: &str) {
        self.profile(|profile| profile.roles.insert(role_arn.to_owned()));
    }

    /// Takes a role from the first profile.
    pub fn remove_role(&self, role_arn: &str) {
        self.profile(|profile| profile.roles.remove(role_arn));
    }

    /// Sets the longest session of the first profile. Default: an hour, as at AWS.
    pub fn set_profile_duration(&self, duration: Duration) {
        self.profile(|profile| profile.duration = duration);
    }

    /// Lets callers of the first profile name their sessions. Default: no, as at AWS.
    pub fn accept_role_session_name(&self, accept: bool) {
        self.profile(|profile| profile.accepts_session_name = accept);
    }

    /// Wants instance properties of callers of the first profile. Default: no.
    pub fn require_instance_properties(&self, require: bool) {
        self.profile(|profile| profile.requires_properties = require);
    }

    /// Disables or enables the first trust anchor.
    pub fn enable_trust_anchor(&self, enabled: bool) {
        let arn = self.trust_anchor_arn.clone();
        let mut registry = self.shared.registry();
        let anchor: &mut TrustAnchor = registry
            .trust_anchors
            .get_mut(&arn)
            .expect("it was added at the start");
        anchor.enabled = enabled;
    }

    /// Disables or enables the first profile.
    pub fn enable_profile(&self, enabled: bool) {
        self.profile(|profile| profile.enabled = enabled);
    }

    /// Puts a certificate, the first one of a PEM text, on the revocation list.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn revoke(&self, certificate_pem: impl AsRef<str>) {
        let leaf = registry::first(certificate_pem.as_ref());
        self.shared.registry().revoked.insert(leaf.to_vec());
    }

    /// Takes a certificate off the revocation list.
    ///
    /// # Panics
    ///
    /// As [`revoke`](Self::revoke).
    pub fn unrevoke(&self, certificate_pem: impl AsRef<str>) {
        let leaf = registry::first(certificate_pem.as_ref());
        self.shared.registry().revoked.remove(&leaf[..]);
    }

    /// Fails the next requests that are verified, one failure a request.
    ///
    /// # Panics
    ///
    /// If a failure's status is not from 200 to 599.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        self.shared.faults.fail_next(session::ACTION, failures);
    }

    /// Fails every request for which [`fail_next`](Self::fail_next) has nothing; `None` ends it.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    pub fn fail_always(&self, failure: Option<Failure>) {
        self.shared.faults.fail_always(session::ACTION, failure);
    }

    /// Keeps the answers to requests that arrive from now on until the guard is dropped.
    pub fn hold(&self) -> Hold {
        self.shared.faults.hold()
    }

    /// Closes all connections, those in the middle of something too.
    pub fn close_connections(&self) {
        self.shared.ended.send_modify(|times| *times += 1);
    }

    /// How many connections were accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Everything that was asked so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<AnywhereRequest> {
        self.shared.journal.snapshot()
    }

    /// How many requests have arrived, answered or not.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.journal.calls(session::ACTION)
    }

    /// Waits until at least `count` requests have arrived. It needs no runtime and does not move
    /// with paused time.
    ///
    /// # Panics
    ///
    /// If they have not arrived within 30 s; the message shows the log.
    ///
    /// # Cancel safety
    ///
    /// Leaving early changes nothing.
    pub async fn wait_for_calls(&self, count: usize) {
        let shared = Arc::clone(&self.shared);
        let arrivals = self.shared.journal.arrivals();
        let enough = move |_: &usize| shared.journal.calls(session::ACTION) >= count;
        if !self.server.wait_until(arrivals, enough).await {
            panic!(
                "{count} requests did not arrive in {WAIT_LIMIT:?}: {:#?}",
                self.requests()
            );
        }
    }

    fn profile<T>(&self, change: impl FnOnce(&mut Profile) -> T) -> T {
        let mut registry = self.shared.registry();
        let profile = registry.profiles.get_mut(&self.profile_arn);
        change(profile.expect("it was added at the start"))
    }
}

impl fmt::Debug for EmbeddedAnywhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedAnywhere")
            .field("endpoint", &self.endpoint())
            .field("requests", &self.calls())
            .finish_non_exhaustive()
    }
}
