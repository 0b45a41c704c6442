//! AWS IoT's credentials provider inside the test's process: mutual TLS on a free port of
//! 127.0.0.1.
//!
//! A device must have a certificate of this server's authority, checked in the handshake by the
//! test's clock, through an intermediate as in real life. What it gets is known to the
//! [`EmbeddedAws`] that the server was started for: requests signed with it are accepted there,
//! expire and can be revoked. Refusals carry the status and wording that AWS answers with; faults
//! are planned as at the embedded STS. Connections and handshakes are counted. It runs in a thread
//! with a runtime of its own.
//!
//! This file owns the handle. `authority` makes certificates, `tls` sets up the handshake, `server`
//! speaks HTTP and counts, `provider` decides, `registry` knows certificates, things and role
//! aliases, `log` is what tests read.
//!
//! ```
//! use brs_tests::EmbeddedAws;
//! use brs_tests::embedded_iot::{EmbeddedIot, KeyKind};
//!
//! let aws = EmbeddedAws::start();
//! let iot = EmbeddedIot::start(&aws);
//! iot.add_role_alias("demo", "arn:aws:iam::123456789012:role/demo", None);
//! let device = iot.add_device("lamp", KeyKind::EcP256);
//! assert!(iot.endpoint().starts_with("localhost:"));
//! assert_eq!(device.thing_name, "lamp");
//! assert_eq!(iot.calls(), 0);
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateSigningRequestParams, PublicKeyData, SubjectPublicKeyInfo};
use tokio::sync::watch;

use crate::embedded_aws::faults::Faults;
use crate::embedded_aws::log::Journal;
use crate::embedded_aws::server::{Server, WAIT_LIMIT};
use crate::embedded_aws::{EmbeddedAws, Failure, Hold};

mod authority;
mod builder;
mod log;
mod provider;
mod registry;
mod server;
mod tls;

pub use authority::{Device, KeyKind};
pub use builder::Builder;
pub use log::IotRequest;
pub use tls::{ServerCertificate, TlsVersions};

use authority::{Authority, Chain};
use registry::{ALIAS_DURATION, Alias, Registry};
use server::{Counts, Manners, Shared};
use tls::DAY;

/// A running server; it stops when the handle is dropped.
pub struct EmbeddedIot {
    shared: Arc<Shared>,
    server: Server,
    back_door: OnceLock<Server>,
    servers: Authority,
    devices: Authority,
    versions: TlsVersions,
}

/// Keeps handshakes that begin after it waiting for the server's first word; they go on when it is
/// dropped.
#[derive(Debug)]
#[must_use = "the silence ends when it is dropped"]
pub struct Silence(watch::Sender<bool>);

impl Drop for Silence {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl EmbeddedIot {
    /// Starts a server with a good certificate and both versions of TLS.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(aws: &EmbeddedAws) -> Self {
        Self::builder(aws).start()
    }

    /// Starts from settings. Clock, roles, and the rules of issuing are those of `aws`.
    pub fn builder(aws: &EmbeddedAws) -> Builder<'_> {
        Builder {
            aws,
            versions: TlsVersions::default(),
            certificate: ServerCertificate::default(),
        }
    }

    /// The endpoint as AWS would tell it, with a port: `localhost:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.server.address.port())
    }

    /// The root that clients have to trust, as PEM.
    #[must_use]
    pub fn trust_store(&self) -> String {
        self.servers.root_pem()
    }

    /// The root that a server has to trust in place of this one to let devices in, as PEM.
    #[must_use]
    pub fn device_trust_store(&self) -> String {
        self.devices.root_pem()
    }

    /// A certificate (with its chain) and a key, both PEM, for another server that has the names of
    /// this one.
    #[must_use]
    pub fn server_identity(&self) -> (String, String) {
        let (chain, key) = tls::good_certificate(&self.shared.aws, &self.servers);
        (chain.pem, key.serialize_pem())
    }

    /// Changes the certificate for handshakes to come. Sessions from before it cannot be resumed
    /// any more.
    pub fn set_certificate(&self, certificate: ServerCertificate) {
        let config = tls::config(
            &self.shared.aws,
            &self.servers,
            &self.devices,
            self.versions,
            certificate,
        );
        *self
            .shared
            .tls
            .lock()
            .expect("nothing panics while it holds the settings") = Arc::new(config);
    }

    /// Makes a key and registers a certificate for it, active, with the thing attached, valid from
    /// a year ago for ten more years. For a thing that exists it is a further certificate, as a
    /// rotation has it.
    #[must_use]
    pub fn add_device(&self, thing_name: &str, key: KeyKind) -> Device {
        self.add_device_valid(thing_name, key, self.usual_validity())
    }

    /// As [`add_device`](Self::add_device), with another validity.
    #[must_use]
    pub fn add_device_valid(
        &self,
        thing_name: &str,
        key: KeyKind,
        validity: Range<SystemTime>,
    ) -> Device {
        let key = key.generate();
        let (certificate_pem, certificate_id) = self.register(thing_name, &key, &validity);
        let thing_name = thing_name.to_owned();
        Device {
            certificate_pem,
            private_key_pem: key.serialize_pem(),
            thing_name,
            certificate_id,
        }
    }

    /// Registers a certificate for a key that is elsewhere, as [`add_device`](Self::add_device)
    /// does, and returns it with its chain.
    #[must_use]
    pub fn certify(&self, thing_name: &str, public_key: &impl PublicKeyData) -> String {
        self.certify_valid(thing_name, public_key, self.usual_validity())
    }

    /// As [`certify`](Self::certify), with another validity.
    #[must_use]
    pub fn certify_valid(
        &self,
        thing_name: &str,
        public_key: &impl PublicKeyData,
        validity: Range<SystemTime>,
    ) -> String {
        self.register(thing_name, public_key, &validity).0
    }

    /// As [`certify`](Self::certify), for a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Panics
    ///
    /// If it is not one.
    #[must_use]
    pub fn certify_der(&self, thing_name: &str, public_key: &[u8]) -> String {
        self.certify(
            thing_name,
            &SubjectPublicKeyInfo::from_der(public_key).expect("a public key in DER"),
        )
    }

    /// As [`certify`](Self::certify), for a request in PEM, of which only the key is used.
    ///
    /// # Panics
    ///
    /// If it is not one, or its signature is wrong.
    #[must_use]
    pub fn certify_request(&self, thing_name: &str, request_pem: &str) -> String {
        let request = CertificateSigningRequestParams::from_pem(request_pem)
            .expect("a certificate request as PEM");
        self.certify(thing_name, &request.public_key)
    }

    /// Makes a certificate inactive: 403 `Certificate is invalid on this endpoint`.
    ///
    /// # Panics
    ///
    /// If the certificate, a [`Device`] or a PEM text, is not this server's.
    pub fn deactivate(&self, certificate: impl AsRef<str>) {
        self.shared.registry().of_pem(certificate.as_ref()).inactive = true;
    }

    /// Undoes [`deactivate`](Self::deactivate), and panics as it does.
    pub fn activate(&self, certificate: impl AsRef<str>) {
        self.shared.registry().of_pem(certificate.as_ref()).inactive = false;
    }

    /// Attaches a further thing to a certificate.
    ///
    /// # Panics
    ///
    /// As [`deactivate`](Self::deactivate).
    pub fn attach_thing(&self, certificate: impl AsRef<str>, thing_name: &str) {
        self.shared
            .registry()
            .of_pem(certificate.as_ref())
            .things
            .insert(thing_name.to_owned());
    }

    /// Detaches a thing from a certificate: 403 `Invalid thing name passed` for a request that
    /// names it.
    ///
    /// # Panics
    ///
    /// As [`deactivate`](Self::deactivate).
    pub fn detach_thing(&self, certificate: impl AsRef<str>, thing_name: &str) {
        self.shared
            .registry()
            .of_pem(certificate.as_ref())
            .things
            .remove(thing_name);
    }

    /// Takes `iot:AssumeRoleWithCertificate` from a certificate's policy: 403 `Access Denied`.
    ///
    /// # Panics
    ///
    /// As [`deactivate`](Self::deactivate).
    pub fn deny(&self, certificate: impl AsRef<str>) {
        self.shared.registry().of_pem(certificate.as_ref()).denied = true;
    }

    /// Undoes [`deny`](Self::deny), and panics as it does.
    pub fn allow(&self, certificate: impl AsRef<str>) {
        self.shared.registry().of_pem(certificate.as_ref()).denied = false;
    }

    /// Adds a role alias that issues an hour to who asks for no duration, or changes its role. A
    /// longest duration is that of the role, whatever identity assumes it: 400 for a call that asks for
    /// more.
    ///
    /// # Panics
    ///
    /// If it is not the ARN of a role.
    pub fn add_role_alias(
        &self,
        alias: &str,
        role_arn: &str,
        longest: impl Into<Option<Duration>>,
    ) {
        let longest = longest.into();
        let mut directory = self.shared.aws.directory();
        let conditions = directory.conditions_of(role_arn);
        conditions.max_duration = longest.or(conditions.max_duration);
        drop(directory);
        let duration = ALIAS_DURATION.min(longest.unwrap_or(ALIAS_DURATION));
        let entry = Alias {
            role_arn: role_arn.to_owned(),
            duration,
            trust_broken: false,
        };
        self.shared
            .registry()
            .aliases
            .insert(alias.to_owned(), entry);
    }

    /// Sets what an alias issues to who asks for no duration.
    ///
    /// # Panics
    ///
    /// If there is no such alias.
    pub fn set_alias_duration(&self, alias: &str, duration: Duration) {
        self.shared.registry().alias_mut(alias).duration = duration;
    }

    /// Removes a role alias: 404 `Role alias does not exist`.
    pub fn remove_role_alias(&self, alias: &str) {
        self.shared.registry().aliases.remove(alias);
    }

    /// Lets the role of an alias trust AWS IoT no longer: 400 `Unable to assume the role, …`.
    ///
    /// # Panics
    ///
    /// If there is no such alias.
    pub fn break_trust(&self, alias: &str) {
        self.shared.registry().alias_mut(alias).trust_broken = true;
    }

    /// Undoes [`break_trust`](Self::break_trust), and panics as it does.
    pub fn mend_trust(&self, alias: &str) {
        self.shared.registry().alias_mut(alias).trust_broken = false;
    }

    /// Fails the next requests of active certificates, one failure a request, after those already
    /// planned.
    ///
    /// # Panics
    ///
    /// If a failure's status is not from 200 to 599.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        self.shared.faults.fail_next(provider::ACTION, failures);
    }

    /// Fails every request for which [`fail_next`](Self::fail_next) has nothing; `None` ends it.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    pub fn fail_always(&self, failure: Option<Failure>) {
        self.shared.faults.fail_always(provider::ACTION, failure);
    }

    /// Answers all requests that hang at this moment as if nothing had been.
    pub fn release_hangs(&self) {
        self.shared.faults.release_hangs();
    }

    /// Keeps the answers to requests that arrive from now on until the guard is dropped.
    pub fn hold(&self) -> Hold {
        self.shared.faults.hold()
    }

    /// Waits this long, in real time, before every answer.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.faults.set_latency(latency);
    }

    /// Says `Retry-After` in every refusal from now on; `None` ends it.
    ///
    /// # Panics
    ///
    /// If it is no header's value.
    pub fn set_retry_after(&self, value: Option<&str>) {
        let value = value.map(|value| value.parse().expect("a header's value"));
        *self
            .shared
            .manners()
            .retry_after
            .lock()
            .expect("nothing panics while it holds a header") = value;
    }

    /// Whether a connection is kept after an answer. Default: yes.
    pub fn set_keep_alive(&self, keep_alive: bool) {
        self.shared
            .manners()
            .closes
            .store(!keep_alive, Ordering::SeqCst);
    }

    /// Sends the head and the first half of the next answer's body, and then nothing more.
    pub fn stall_next_body(&self) {
        self.shared.manners().stalls.store(true, Ordering::SeqCst);
    }

    /// Accepts connections and leaves handshakes without an answer until the guard is dropped.
    pub fn silence(&self) -> Silence {
        self.shared.silent.send_replace(true);
        Silence(self.shared.silent.clone())
    }

    /// Closes all connections, those in the middle of something too.
    pub fn close_connections(&self) {
        self.shared.ended.send_modify(|times| *times += 1);
    }

    /// Everything that was asked so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<IotRequest> {
        self.shared.journal.snapshot()
    }

    /// How many requests have arrived, answered or not.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.shared.journal.calls(provider::ACTION)
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
        let enough = move |_: &usize| shared.journal.calls(provider::ACTION) >= count;
        if !self.server.wait_until(arrivals, enough).await {
            panic!(
                "{count} requests did not arrive in {WAIT_LIMIT:?}: {:#?}",
                self.requests()
            );
        }
    }

    /// As [`wait_for_calls`](Self::wait_for_calls), for connections, whatever becomes of them.
    ///
    /// # Panics
    ///
    /// As [`wait_for_calls`](Self::wait_for_calls).
    ///
    /// # Cancel safety
    ///
    /// Leaving early changes nothing.
    pub async fn wait_for_connections(&self, count: usize) {
        let connections = self.shared.counts.connections.subscribe();
        if !self
            .server
            .wait_until(connections, move |&connections| connections >= count)
            .await
        {
            panic!("{count} connections did not arrive in {WAIT_LIMIT:?}: {self:#?}");
        }
    }

    /// How many connections were accepted, those without a finished handshake included.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.shared.counts.connections.borrow()
    }

    /// How many handshakes with certificates and signatures were finished.
    #[must_use]
    pub fn full_handshakes(&self) -> usize {
        read(&self.shared.counts.full_handshakes)
    }

    /// How many handshakes resumed an earlier session.
    #[must_use]
    pub fn resumed_handshakes(&self) -> usize {
        read(&self.shared.counts.resumed_handshakes)
    }

    /// How many handshakes either side broke off. The client may know before the server has
    /// counted: [`wait_for_refused_handshakes`](Self::wait_for_refused_handshakes).
    #[must_use]
    pub fn refused_handshakes(&self) -> usize {
        self.shared.counts.refusals.borrow().len()
    }

    /// As [`wait_for_calls`](Self::wait_for_calls), for handshakes that either side broke off.
    ///
    /// # Panics
    ///
    /// As [`wait_for_calls`](Self::wait_for_calls).
    ///
    /// # Cancel safety
    ///
    /// Leaving early changes nothing.
    pub async fn wait_for_refused_handshakes(&self, count: usize) {
        let refusals = self.shared.counts.refusals.subscribe();
        if !self
            .server
            .wait_until(refusals, move |refusals| refusals.len() >= count)
            .await
        {
            panic!("{count} handshakes were not refused in {WAIT_LIMIT:?}: {self:#?}");
        }
    }

    /// Why, in rustls's words, in the order of their end.
    #[must_use]
    pub fn handshake_refusals(&self) -> Vec<String> {
        self.shared.counts.refusals.borrow().clone()
    }

    /// The address of a door without TLS, opened at the first call, for a proxy that shakes hands
    /// in this server's place. It is believed what it says of its client: `x-client-cert-pem`
    /// (percent-encoded), `x-client-cert-tls-version`, `x-client-cert-session-reused` (`r` or `.`),
    /// `x-client-cert-server-name`, `x-client-cert-connection` (a number).
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    pub fn back_door(&self) -> SocketAddr {
        let open = || {
            let shared = Arc::clone(&self.shared);
            Server::start("embedded-iot-plain", move |listener| {
                server::accept_plain(listener, shared)
            })
            .expect("a port of 127.0.0.1 can be bound")
        };
        self.back_door.get_or_init(open).address
    }

    fn register(
        &self,
        thing: &str,
        key: &impl PublicKeyData,
        validity: &Range<SystemTime>,
    ) -> (String, String) {
        let Chain { leaf, pem, .. } = self.devices.client(thing, key, validity);
        let certificate_id = self.shared.registry().register(&leaf, thing);
        (pem, certificate_id)
    }

    fn usual_validity(&self) -> Range<SystemTime> {
        let now = self.shared.aws.now();
        now - 365 * DAY..now + 3653 * DAY
    }
}

fn read(count: &AtomicUsize) -> usize {
    count.load(Ordering::SeqCst)
}

impl fmt::Debug for EmbeddedIot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedIot")
            .field("endpoint", &self.endpoint())
            .field("counts", &self.shared.counts)
            .field("requests", &self.calls())
            .finish_non_exhaustive()
    }
}
