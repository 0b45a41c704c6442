//! The trait a method implements, and what it is told at each refresh.
//!
//! A *strategy* is code that fetches one set of temporary credentials; everything else (when, how
//! often, what callers get while it runs or fails) is the engine's. The contract is told at
//! [`RefreshStrategy`] and checked by `test_util::contract`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::base::session::BaseSession;
use crate::credentials::TemporaryCredentials;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::kit::limiter::Used;
use crate::method::events::{Event, EventSender};
use crate::method::fingerprint::Fingerprint;
use crate::method::identity::Identity;

/// Code that fetches temporary credentials.
///
/// Methods are registered with [`register_method!`](crate::register_method), or given to
/// [`RefreshableSession::with_strategy`](crate::RefreshableSession::with_strategy).
///
/// # Contract
///
/// 1. The engine calls [`refresh`](Self::refresh) one at a time per session, on brs's own runtime
///    or the one that the user chose, never from a caller's task. It may take as long as
///    [`refresh_timeout`](Self::refresh_timeout) says.
/// 2. The future may be dropped at any await point (time limit, closed session); the next call must
///    work all the same.
/// 3. The future must not block its thread: what has only a synchronous interface goes through
///    [`Blocking`](crate::Blocking).
/// 4. Nothing it shows (`Debug`, errors, events) holds a secret.
/// 5. Errors say whether only a person can fix them ([`Error::unrecoverable`]); when in doubt they
///    do not.
///
/// A panic is turned into an error and does no other harm. Feature `test-util` has a suite that
/// checks the contract.
#[async_trait]
pub trait RefreshStrategy: Any + fmt::Debug + Send + Sync {
    /// The registry name, such as `"sts"`.
    fn method(&self) -> &'static str;

    /// The name the AWS SDK shows as the provider of the credentials, such as `"sts-assume-role"`.
    fn source(&self) -> &'static str;

    /// Fetches one set.
    ///
    /// Called by the engine only, never twice at the same time for one session; may be slow, must
    /// not block.
    ///
    /// # Errors
    ///
    /// Whatever the source or the way to it gave; [unrecoverable](Error::unrecoverable) where only
    /// a person can fix it.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe: the engine drops the future at the time limit and when the session is
    /// closed.
    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error>;

    /// Who the credentials are. Called by `whoami()`, on the caller's task, concurrently with
    /// anything.
    ///
    /// The default names method, source and access key id.
    ///
    /// # Errors
    ///
    /// Whatever finding out gave.
    ///
    /// # Cancel safety
    ///
    /// Must be cancel safe.
    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(
            self.method(),
            self.source(),
            credentials.access_key_id(),
        ))
    }

    /// The role whose session the credentials are, in words: its ARN, an IoT role alias. Default:
    /// `None`, not a role's, or not known.
    ///
    /// Errors name it, and what assumes a further role with these credentials knows that AWS grants
    /// it an hour at most.
    fn role(&self) -> Option<&str> {
        None
    }

    /// The profile that the role was read from, if it is one of `~/.aws/config`. Default: none.
    /// Errors name it.
    fn profile(&self) -> Option<&str> {
        None
    }

    /// The region that the source itself names, such as one in an endpoint's name. Default: none.
    ///
    /// It is the session's where neither an option nor the environment nor a profile has one.
    fn region(&self) -> Option<&str> {
        None
    }

    /// Where the source is called, as far as that is known: its URL, or its region. Default: `None`,
    /// not known.
    ///
    /// In a pool, sessions with the same endpoint share what its [`Limiter`](crate::Limiter) allows,
    /// and so do all those without one.
    fn endpoint(&self) -> Option<&str> {
        None
    }

    /// A session that the strategy itself has put beneath it, such as that of a profile's role.
    /// Default: none; one that the user gave is known anyway.
    ///
    /// Its refreshes count into this session's time limit, and `whoami()` tells it as a hop.
    fn base_session(&self) -> Option<&BaseSession> {
        None
    }

    /// What decides which credentials the strategy gets, so that processes and hosts with an equal
    /// one can share them. Default: `None`, it cannot be told, and they are not shared.
    ///
    /// It names everything that the source's answer depends on: parameters, endpoint and region,
    /// and who asks ([`Setup::asker`](crate::Setup::asker)), as they are now: where a file decides,
    /// by what is in it now. It holds no secret. May read files, but not wait for a network: a
    /// session that shares asks for it when it is opened, and around each refresh on a thread that
    /// may block.
    fn fingerprint(&self) -> Option<Fingerprint> {
        None
    }

    /// The strategy that this one stands around, if it is a wrapper. Default: none.
    ///
    /// [`RefreshableSession::strategy`](crate::RefreshableSession::strategy) looks through it.
    fn wrapped(&self) -> Option<&dyn RefreshStrategy> {
        None
    }

    /// Whether an expired set is still served while the source has a recoverable failure. Default:
    /// no.
    fn static_stability(&self) -> bool {
        false
    }

    /// Whether a refresh asks a person. Then advisory refreshes are in the foreground, and no task
    /// refreshes by itself. Default: no.
    fn interactive(&self) -> bool {
        false
    }

    /// How long one refresh may take, unless the user says otherwise. Default: the engine's 30 s.
    fn refresh_timeout(&self) -> Option<Duration> {
        None
    }
}

/// A strategy, or a shared one: what [`with_strategy`](crate::RefreshableSession::with_strategy)
/// takes.
pub trait IntoStrategy: sealed::Sealed {
    #[doc(hidden)]
    fn into_strategy(self) -> Arc<dyn RefreshStrategy>;
}

mod sealed {
    pub trait Sealed {}
}

impl<S: RefreshStrategy> sealed::Sealed for S {}
impl<S: RefreshStrategy> IntoStrategy for S {
    fn into_strategy(self) -> Arc<dyn RefreshStrategy> {
        Arc::new(self)
    }
}

impl<S: RefreshStrategy> sealed::Sealed for Arc<S> {}
impl<S: RefreshStrategy> IntoStrategy for Arc<S> {
    fn into_strategy(self) -> Arc<dyn RefreshStrategy> {
        self
    }
}

impl sealed::Sealed for Arc<dyn RefreshStrategy> {}
impl IntoStrategy for Arc<dyn RefreshStrategy> {
    fn into_strategy(self) -> Arc<dyn RefreshStrategy> {
        self
    }
}

/// Why a refresh was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshReason {
    /// Nothing was cached.
    First,
    /// The set has entered its advisory window: still valid for a while.
    Advisory,
    /// The set is about to expire.
    Mandatory,
    /// The set has expired.
    Expired,
    /// The set was invalidated.
    Invalidated,
    /// `refresh()` or `credentials_valid_for()` asked for it.
    Requested,
}

/// What a strategy is told about the refresh it is asked for.
#[derive(Clone)]
#[non_exhaustive]
pub struct RefreshContext {
    pub(crate) deadline: Duration,
    pub(crate) reason: RefreshReason,
    pub(crate) attempt: u32,
    pub(crate) previous_access_key_id: Option<String>,
    pub(crate) previous_expiration: Option<SystemTime>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) events: EventSender,
    /// The limiter's, where one paces the calls.
    pub(crate) permit: Option<Arc<Used>>,
    /// What the refresh gives comes from a store.
    pub(crate) was_not_asked: Arc<AtomicBool>,
}

impl RefreshContext {
    /// The instant, on [`Clock::monotonic`] of [`clock`](Self::clock), at which the engine drops
    /// the refresh.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What is left until [`deadline`](Self::deadline).
    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.monotonic())
    }

    /// Why the refresh was started.
    pub fn reason(&self) -> RefreshReason {
        self.reason
    }

    /// 1 for the first try since the last success, 2 after one failure, and so on.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The access key id of the set that is to be replaced.
    pub fn previous_access_key_id(&self) -> Option<&str> {
        self.previous_access_key_id.as_deref()
    }

    /// When the set that is to be replaced expires; `None` if there is no set, or it never does.
    pub fn previous_expiration(&self) -> Option<SystemTime> {
        self.previous_expiration
    }

    /// The session's clock: strategies take all time from it.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The source was not asked: what the refresh gives comes from a store beside it. Where a limiter
    /// paces the calls, this one does not count.
    ///
    /// Others have the same set from the store, and must not all replace it at the same time: its
    /// advisory window begins up to half of the window earlier. How much earlier depends on the set
    /// and on the session, which is always at the same place among those who share.
    pub fn source_was_not_asked(&self) {
        self.was_not_asked.store(true, Ordering::Relaxed);
        if let Some(permit) = &self.permit {
            permit.give_back();
        }
    }

    /// Reports something that an operator should know to the session's subscribers
    /// ([`Event::Warning`]) and to the log. Never a secret.
    pub fn warn(
        &self,
        name: &'static str,
        message: impl Into<String>,
        details: impl IntoIterator<Item = (&'static str, String)>,
    ) {
        let event = Event::Warning {
            name,
            message: message.into(),
            details: details.into_iter().collect(),
        };
        self.events.log(&event);
        self.events.send(event);
    }

    /// A context for calling a strategy directly in a test of its own.
    #[cfg(feature = "test-util")]
    pub fn for_test(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self {
            deadline: clock.monotonic() + limit,
            reason: RefreshReason::First,
            attempt: 1,
            previous_access_key_id: None,
            previous_expiration: None,
            clock,
            events: EventSender::new("test"),
            permit: None,
            was_not_asked: Arc::default(),
        }
    }
}

impl fmt::Debug for RefreshContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshContext")
            .field("deadline", &self.deadline)
            .field("reason", &self.reason)
            .field("attempt", &self.attempt)
            .field("previous_access_key_id", &self.previous_access_key_id)
            .finish_non_exhaustive()
    }
}
