//! An AWS inside the test's process: STS, and a little of other services, over plain HTTP on a free
//! port of 127.0.0.1.
//!
//! Every request is authenticated as AWS does it: the signature is computed again, temporary
//! credentials expire and can be denied everything, and refusals carry the status, code and wording
//! of the real service. On request the server fails, hangs and drops connections, and its clock is
//! the test's. It runs in a thread with a runtime of its own, so it serves tests on any runtime, on
//! paused tokio time, and on none.
//!
//! This file owns the handle. `server` speaks HTTP, `call` and `signature` read a request, `gate`
//! lets planned faults happen, `sts` decides (with `session_token`, `web_identity`, `saml` and `root`
//! for its other actions, `validate` for single parameters, `policy` for what narrows a session, `mfa` for
//! devices), `sso` is IAM Identity Center, `s3` and `dynamodb` are services with other protocols,
//! `directory` knows who may call, `faults` and `log` are the two ends that tests hold.
//!
//! ```
//! use brs_tests::embedded_aws::{EmbeddedAws, Failure};
//!
//! let aws = EmbeddedAws::start();
//! aws.fail_next([Failure::Throttled]);
//! assert!(aws.endpoint_url().starts_with("http://127.0.0.1:"));
//! assert_eq!(aws.calls("AssumeRole"), 0);
//! ```

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;

mod call;
pub(crate) mod directory;
mod dynamodb;
pub(crate) mod error;
pub(crate) mod faults;
pub(crate) mod gate;
pub(crate) mod log;
mod mfa;
mod policy;
mod presigned;
mod root;
mod s3;
mod saml;
pub(crate) mod server;
mod session_token;
mod signature;
mod sso;
mod sts;
mod validate;
mod web_identity;
mod xml;

pub use faults::{Failure, Hold};
pub use log::RequestLog;
pub use mfa::{MfaAttempt, MfaDevice};
pub use sso::device::Decision;

use directory::Directory;
use faults::Faults;
use log::Journal;
use server::{Connections, Issuing, Server, State, WAIT_LIMIT};

/// How far a signature's date may be from the server's clock, as at AWS.
const ALLOWED_SKEW: Duration = Duration::from_secs(300);

/// A running server; it stops when the handle is dropped.
pub struct EmbeddedAws {
    pub(crate) state: Arc<State>,
    server: Server,
    user: Credentials,
}

/// Settings that a server must know before it starts.
#[must_use]
pub struct Builder {
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    allowed_skew: Duration,
}

impl EmbeddedAws {
    /// The account of the users and, unless added otherwise, of the roles.
    pub const ACCOUNT_ID: &str = directory::ACCOUNT;

    /// Starts a server with the system's clock and one user, `brs`.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts from settings.
    pub fn builder() -> Builder {
        Builder {
            clock: Box::new(system_time),
            allowed_skew: ALLOWED_SKEW,
        }
    }

    /// The URL to give to a client as its endpoint.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The access key id of the user `brs`.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        self.user.access_key_id()
    }

    /// The secret access key of the user `brs`.
    #[must_use]
    pub fn secret_access_key(&self) -> &str {
        self.user.secret_access_key()
    }

    /// The key pair of the user `brs`, as the SDK takes it.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.user.clone()
    }

    /// Creates a user with an access key; for a user that exists, a further access key.
    pub fn add_user(&self, name: &str) -> Credentials {
        self.state.directory().add_user(name)
    }

    /// Allows a role that was denied or belongs to another account. Roles of the server's own
    /// account need no adding.
    ///
    /// # Panics
    ///
    /// If it is not the ARN of a role.
    pub fn add_role(&self, role_arn: &str) {
        self.state.directory().add_role(role_arn);
    }

    /// Answers `AccessDenied` whenever this role is assumed, until it is added.
    ///
    /// # Panics
    ///
    /// As [`add_role`](Self::add_role).
    pub fn deny_role(&self, role_arn: &str) {
        self.state.directory().deny_role(role_arn);
    }

    /// Makes an MFA device show this code. A request that names a device is refused unless it
    /// carries one of the device's codes, and each code is good once.
    pub fn add_mfa_code(&self, serial_number: &str, token_code: &str) {
        self.state
            .directory()
            .devices
            .add_code(serial_number, token_code);
    }

    /// Creates a virtual MFA device whose codes change every 30 s. The server takes the code of its
    /// clock's current step and of those beside it, each once.
    pub fn add_mfa_device(&self, serial_number: &str) -> MfaDevice {
        self.state.directory().devices.add(serial_number, None)
    }

    /// As [`add_mfa_device`](Self::add_mfa_device), with steps of another length.
    ///
    /// # Panics
    ///
    /// If the step is not whole seconds, at least one.
    pub fn add_mfa_device_with_step(&self, serial_number: &str, step: Duration) -> MfaDevice {
        self.state
            .directory()
            .devices
            .add(serial_number, Some(step))
    }

    /// Every code that authenticated callers have presented so far, in order, those of calls that
    /// were made to fail included: they are noted on arrival, before the failure is carried out.
    #[must_use]
    pub fn mfa_attempts(&self) -> Vec<MfaAttempt> {
        self.state.directory().devices.attempts()
    }

    /// Lets AssumeRole have a role only with an MFA code, or for a session that was made with one.
    ///
    /// # Panics
    ///
    /// As [`add_role`](Self::add_role).
    pub fn require_mfa(&self, role_arn: &str) {
        self.state.directory().conditions_of(role_arn).mfa = true;
    }

    /// Lets AssumeRole have a role only with this external id.
    ///
    /// # Panics
    ///
    /// As [`add_role`](Self::add_role).
    pub fn require_external_id(&self, role_arn: &str, external_id: &str) {
        self.state.directory().conditions_of(role_arn).external_id = Some(external_id.to_owned());
    }

    /// Sets the longest session that a role grants, with a web identity as well.
    ///
    /// # Panics
    ///
    /// As [`add_role`](Self::add_role).
    pub fn set_max_session_duration(&self, role_arn: &str, duration: Duration) {
        self.state.directory().conditions_of(role_arn).max_duration = Some(duration);
    }

    /// Makes the identity provider know a token of that subject.
    pub fn add_web_identity(&self, token: &str, subject: &str) {
        self.state
            .directory()
            .add_web_identity(token, subject, None);
    }

    /// Lets a token have expired a second ago.
    ///
    /// # Panics
    ///
    /// If it was never added.
    pub fn expire_web_identity(&self, token: &str) {
        let expired_at = self.state.now() - Duration::from_secs(1);
        let mut directory = self.state.directory();
        let identity = directory
            .web_identities
            .get_mut(token)
            .expect("the token was added");
        identity.expired_at = Some(expired_at);
    }

    /// Creates a SAML provider in IAM.
    pub fn add_saml_provider(&self, provider_arn: &str) {
        self.state
            .directory()
            .saml_providers
            .insert(provider_arn.to_owned());
    }

    /// What the identity provider behind a SAML provider answers to somebody who has just logged in:
    /// base64, good for five minutes.
    pub fn issue_saml_assertion(
        &self,
        role_arn: &str,
        provider_arn: &str,
        session_name: &str,
    ) -> String {
        let assertion = directory::SamlAssertion {
            role_arn: role_arn.to_owned(),
            provider_arn: provider_arn.to_owned(),
            session_name: session_name.to_owned(),
            issued_at: self.state.now(),
        };
        let mut directory = self.state.directory();
        let text = saml::response(&assertion, directory.saml_assertions.len());
        directory.saml_assertions.insert(text.clone(), assertion);
        text
    }

    /// Makes an account a member of the organization that this server's account manages.
    pub fn add_member_account(&self, account_id: &str) {
        self.state
            .directory()
            .member_accounts
            .insert(account_id.to_owned());
    }

    /// Logs somebody in at IAM Identity Center, with that access token. The portal is at this
    /// server's address, and gives credentials of the roles `AWSReservedSSO_…` for the role names
    /// it is asked for.
    pub fn add_sso_login(&self, access_token: &str) {
        self.state
            .directory()
            .sso_logins
            .insert(access_token.to_owned());
    }

    /// Lets the token service of IAM Identity Center take `refresh_token` once, for `access_token`
    /// and a next one.
    pub fn add_sso_renewal(&self, refresh_token: &str, access_token: &str) {
        self.state
            .directory()
            .sso_renewals
            .insert(refresh_token.to_owned(), access_token.to_owned());
    }

    /// Lets a person decide about a code of a device authorization.
    ///
    /// # Panics
    ///
    /// If the token service has not given that code.
    pub fn decide_sso_code(&self, user_code: &str, decision: Decision) {
        self.state
            .directory()
            .sso_devices
            .decide(user_code, decision);
    }

    /// Lets a person decide in this way about every later code of a device authorization, as soon as
    /// it is made.
    pub fn decide_sso_codes(&self, decision: Decision) {
        self.state.directory().sso_devices.decision = Some(decision);
    }

    /// Ends a login: the portal answers `UnauthorizedException` from now on.
    pub fn end_sso_login(&self, access_token: &str) {
        self.state.directory().sso_logins.remove(access_token);
    }

    /// Lets sessions live this long, whatever they asked for; `None` issues what `DurationSeconds`
    /// says, or an hour.
    pub fn set_lifetime(&self, lifetime: Option<Duration>) {
        self.state.issuing().lifetime = lifetime;
    }

    /// Accepts `DurationSeconds` from 1 instead of from 900.
    pub fn allow_short_durations(&self, allow: bool) {
        self.state.issuing().short_durations = allow;
    }

    /// Waits this long, in real time, before every answer to an authenticated request.
    pub fn set_latency(&self, latency: Duration) {
        self.state.faults.set_latency(latency);
    }

    /// Fails the next AssumeRole calls, one failure a call, after those already planned.
    ///
    /// # Panics
    ///
    /// If the status of a [`Failure::Status`], [`Failure::Page`] or [`Failure::Error`] is not from
    /// 200 to 599.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = Failure>) {
        self.fail_next_of(faults::ASSUME_ROLE, failures);
    }

    /// As [`fail_next`](Self::fail_next), for calls of another action: `GetCallerIdentity`,
    /// `GetSessionToken`, `AssumeRoleWithWebIdentity`, `AssumeRoleWithSAML`, `AssumeRoot`, or the
    /// portal's `GetRoleCredentials`.
    /// [`Failure::AlreadyExpired`] leaves an answer without credentials as it is.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    pub fn fail_next_of(&self, action: &str, failures: impl IntoIterator<Item = Failure>) {
        self.state.faults.fail_next(action, failures);
    }

    /// Fails every AssumeRole call for which [`fail_next`](Self::fail_next) has nothing; `None`
    /// ends it.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    pub fn fail_always(&self, failure: Option<Failure>) {
        self.fail_always_of(faults::ASSUME_ROLE, failure);
    }

    /// As [`fail_always`](Self::fail_always), for calls of another action.
    ///
    /// # Panics
    ///
    /// As [`fail_next`](Self::fail_next).
    pub fn fail_always_of(&self, action: &str, failure: Option<Failure>) {
        self.state.faults.fail_always(action, failure);
    }

    /// Throttles AssumeRole beyond a rate, in real time: `burst` calls at once, then `per_second`
    /// calls a second.
    pub fn limit_rate(&self, per_second: u32, burst: u32) {
        self.state
            .faults
            .limit(faults::ASSUME_ROLE, per_second, burst);
    }

    /// Answers all requests that hang at this moment as if nothing had been.
    pub fn release_hangs(&self) {
        self.state.faults.release_hangs();
    }

    /// Keeps the answers to AssumeRole calls that arrive from now on until the guard is dropped.
    /// The answer is made when it is released, so it shows that moment's clock, lifetime and roles.
    pub fn hold(&self) -> Hold {
        self.state.faults.hold()
    }

    /// Ends a session (`ExpiredToken` from now on) or deletes a user's key
    /// (`InvalidClientTokenId`).
    ///
    /// # Panics
    ///
    /// If this server never issued the key.
    pub fn expire(&self, access_key_id: &str) {
        self.state.directory().expire(access_key_id);
    }

    /// Whose key it is, as `GetCallerIdentity` tells it; `None` for one that was never issued here.
    #[must_use]
    pub fn arn_of(&self, access_key_id: &str) -> Option<String> {
        self.state.directory().arn_of(access_key_id)
    }

    /// Revokes what has been issued so far of the role that a session is of, as IAM does it: by a
    /// policy that denies everything to older sessions. They get `AccessDenied`, but for
    /// `GetCallerIdentity`, which needs no permission; sessions that are opened afterwards are not
    /// affected.
    ///
    /// # Panics
    ///
    /// If this server never issued the key.
    pub fn revoke(&self, access_key_id: &str) {
        self.state.directory().revoke(access_key_id);
    }

    /// Verifies URLs that are signed for `service`, from a `Host` header and a path with query:
    /// whose key it is, or the message of the refusal.
    pub(crate) fn presigned_verifier(
        &self,
        service: &'static str,
    ) -> impl Fn(&str, &str) -> Result<String, String> + use<> {
        let state = Arc::clone(&self.state);
        move |host, target| {
            presigned::verify(&state, host, target, service).map_err(|error| error.message)
        }
    }

    /// The clock's reading as a `Date` header has it.
    pub(crate) fn dates(&self) -> impl Fn() -> String + use<> {
        let state = Arc::clone(&self.state);
        move || state.date()
    }

    /// Everything that was asked so far, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestLog> {
        self.state.journal.snapshot()
    }

    /// How many requests for this action have arrived, answered or not.
    #[must_use]
    pub fn calls(&self, action: &str) -> usize {
        self.state.journal.calls(action)
    }

    /// How many connections were made to the server, as far as it has accepted them.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.state.connections.open.load(Ordering::SeqCst)
    }

    /// Waits until at least `count` requests for this action have arrived. It needs no runtime and
    /// does not move with paused time: the server's own runtime keeps the deadline of 30 s.
    ///
    /// # Panics
    ///
    /// If they have not arrived in time; the message shows the log.
    ///
    /// # Cancel safety
    ///
    /// Leaving early changes nothing.
    pub async fn wait_for_calls(&self, action: &str, count: usize) {
        let (state, wanted) = (Arc::clone(&self.state), action.to_owned());
        let arrivals = self.state.journal.arrivals();
        if !self
            .server
            .wait_until(arrivals, move |_| state.journal.calls(&wanted) >= count)
            .await
        {
            panic!(
                "{count} {action} calls did not arrive in {WAIT_LIMIT:?}: {:#?}",
                self.requests()
            );
        }
    }

    /// Every secret access key and session token that this server has issued, its users' included.
    /// A test of redaction searches for them.
    #[must_use]
    pub fn issued_secrets(&self) -> Vec<String> {
        self.state.directory().issued_secrets()
    }
}

impl fmt::Debug for EmbeddedAws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedAws")
            .field("endpoint_url", &self.endpoint_url())
            .field("access_key_id", &self.access_key_id())
            .field("requests", &self.requests().len())
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// The server's clock: it dates answers, expires sessions and judges signatures. Default: the
    /// system's.
    pub fn clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// How far a signature's date may be from the server's clock. Default: 5 minutes, as at AWS. A
    /// larger value suits a test that moves the server's clock and leaves the client's alone.
    pub fn allowed_skew(mut self, allowed_skew: Duration) -> Self {
        self.allowed_skew = allowed_skew;
        self
    }

    /// Starts the server.
    ///
    /// # Panics
    ///
    /// As [`EmbeddedAws::start`].
    #[must_use]
    pub fn start(self) -> EmbeddedAws {
        let mut directory = Directory::default();
        let user = directory.add_user("brs");
        let state = Arc::new(State {
            clock: self.clock,
            allowed_skew: self.allowed_skew,
            directory: Mutex::new(directory),
            issuing: Mutex::new(Issuing {
                lifetime: None,
                short_durations: false,
            }),
            faults: Faults::new(faults::ASSUME_ROLE),
            journal: Journal::new(),
            connections: Connections::default(),
            objects: Mutex::default(),
            items: Mutex::default(),
        });
        let server = Server::start("embedded-aws", {
            let state = Arc::clone(&state);
            move |listener| server::accept(listener, state)
        })
        .expect("a port of 127.0.0.1 can be bound");
        EmbeddedAws {
            state,
            server,
            user,
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("allowed_skew", &self.allowed_skew)
            .finish_non_exhaustive()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the harness's one reading of the system's clock; tests inject theirs"
)]
fn system_time() -> SystemTime {
    SystemTime::now()
}
