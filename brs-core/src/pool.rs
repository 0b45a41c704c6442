//! A pool of sessions: hundreds of accounts, roles and endpoints from one process.
//!
//! Owns the sessions by their keys, what they have in common (base configuration and credentials,
//! limiter, room for clients), and one task that keeps them fresh and lets go of those that nobody
//! uses. Each session is an ordinary one, with an engine of its own.
//!
//! - Those that ask for a key at the same time get one session; one in use is never let go:
//!   `places`, by the model.
//! - Calls to the source are paced: `kit::limiter`.
//! - What fails, throttles or is slow: `tests/pool.rs`.

mod builder;
mod events;
mod places;
mod prefetch;
mod role_key;
mod tend;

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;

pub use builder::PoolBuilder;
pub use events::{PoolEvent, PoolEvents};
pub use prefetch::{Prefetch, PrefetchReport};
pub use role_key::RoleKey;

use self::places::Places;
use crate::kit::channel::Channel;
use crate::kit::clock::{Clock, SystemClock};
use crate::kit::error::Error;
use crate::kit::limiter::Limiter;
use crate::kit::per_process::PerProcess;
use crate::kit::runtime;
use crate::method::events::{Event, Observer};
use crate::method::params::MethodParams;
use crate::method::strategy::IntoStrategy;
use crate::session::{Common, Options, Origin, RefreshableSession};

/// What a key of a [`SessionPool`] can do.
pub trait PoolKey: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static> PoolKey for K {}

/// Sessions by keys, for programs that work in hundreds of accounts and roles.
///
/// ```
/// # mod brs { pub use brs_core::*; }
/// # use brs::{MethodParams, RoleKey, SessionPool};
/// # #[derive(serde::Deserialize)]
/// # struct Params;
/// # impl Params { fn new(_: &str) -> Self { Self } }
/// # impl MethodParams for Params { const METHOD: &'static str = "sts"; }
/// # fn example() -> Result<(), brs::Error> {
/// // `Params` are those of a method, such as `brs::sts::Params`.
/// let pool = SessionPool::builder(|key: &RoleKey| Params::new(key.role_arn())).build();
///
/// // The same key gives the same session. Nothing is fetched yet.
/// let session = pool.get(&RoleKey::new("arn:aws:iam::123456789012:role/audit"))?;
/// # Ok(())
/// # }
/// ```
///
/// The key is what decides the credentials: role, session name, policy, tags. The region of a
/// client is no part of it: [`client_in`](RefreshableSession::client_in) shares one set between all
/// regions.
///
/// All sessions share the base configuration, the base credentials and the client of the source. A
/// [`Limiter`] paces the calls to it, those that callers wait for first. A task refreshes every
/// session that has credentials, in its advisory window, for as long as the session is used.
///
/// A session that somebody holds, or an SDK client of it, is never let go. Others go after
/// [`idle_after`](PoolBuilder::idle_after), and the least recently used ones when there are more
/// than [`capacity`](PoolBuilder::capacity).
///
/// Cloning is cheap, and clones share everything.
#[derive(Clone)]
pub struct SessionPool<K>(Arc<Inner<K>>);

/// What a session's strategy comes from.
type OriginOf<K> = Box<dyn Fn(&K) -> Origin + Send + Sync>;

struct Inner<K> {
    origin: OriginOf<K>,
    options: Arc<Options>,
    capacity: usize,
    idle_after: Duration,
    limiter: Limiter,
    /// Loaded when the first session is opened.
    common: PerProcess<Mutex<Option<Common>>>,
    places: Places<K, Pooled>,
    events: Arc<Channel<PoolEvent<K>>>,
    /// Counts calls of `get`: the order of use.
    uses: AtomicU64,
    has_grown: AtomicBool,
    is_tended: PerProcess<AtomicBool>,
    /// Until when the task sleeps: milliseconds of the monotonic clock.
    tended_again: AtomicU64,
}

/// A session of the pool.
struct Pooled {
    session: RefreshableSession,
    /// How many holders its engine has while nobody uses the session.
    holders: usize,
    /// When it was last asked for, in the order of all.
    used: AtomicU64,
    /// When it was last seen in use: milliseconds of the monotonic clock.
    used_at: AtomicU64,
}

/// What a pool looks like at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolStatus {
    /// How many sessions there are.
    pub sessions: usize,
    /// How many of them nobody holds.
    pub idle: usize,
    /// How many are being refreshed, or wait for that.
    pub refreshing: usize,
    /// Refreshes in line at the limiter that callers wait for.
    pub awaited: usize,
    /// Refreshes in line at the limiter that no caller waits for.
    pub unattended: usize,
    /// How many calls the source has throttled.
    pub throttled: u64,
    /// Calls to the source in a second, on average over the last ten.
    pub calls_per_second: f64,
    /// The rate that the limiter allows at the moment, in calls a second; of several endpoints, the
    /// lowest.
    pub allowed_per_second: f64,
    /// The end of the credentials that end first.
    pub oldest_expiry: Option<SystemTime>,
}

impl<K: PoolKey> SessionPool<K> {
    /// Options of a pool whose sessions have the parameters that `params` makes of their keys.
    pub fn builder<P: MethodParams>(
        params: impl Fn(&K) -> P + Send + Sync + 'static,
    ) -> PoolBuilder<K> {
        PoolBuilder::new(move |key| Origin::Method {
            name: P::METHOD.to_owned(),
            params: params(key).into(),
        })
    }

    /// Options of a pool whose sessions have the strategies that `strategy` makes of their keys,
    /// registered or not.
    pub fn with_strategy<S: IntoStrategy>(
        strategy: impl Fn(&K) -> S + Send + Sync + 'static,
    ) -> PoolBuilder<K> {
        PoolBuilder::new(move |key| Origin::Strategy(strategy(key).into_strategy()))
    }

    /// The session of this key, opened if there is none or if it was closed. Nothing is fetched.
    ///
    /// The first call reads configuration: environment and files.
    ///
    /// # Errors
    ///
    /// Any error of [`SessionBuilder::build`](crate::SessionBuilder::build); a validation error for
    /// a capacity of zero.
    pub fn get(&self, key: &K) -> Result<RefreshableSession, Error> {
        let use_number = self.0.uses.fetch_add(1, Ordering::Relaxed);
        let hand_on = |place: &Arc<Pooled>| (place.session.clone(), Arc::clone(place));
        let found = self.0.places.find(key, |place| {
            (!place.session.engine().is_closed()).then(|| hand_on(place))
        });
        let found = found.flatten();
        let is_new = found.is_none();
        let (session, place) = match found {
            Some(found) => found,
            None => {
                let pooled = Pooled::new(self.open(key)?);
                let is_over = |place: &Pooled| place.session.engine().is_closed();
                let (found, other) = self.0.places.put(key.clone(), pooled, is_over, hand_on);
                // Somebody was faster, or had closed it.
                drop(other);
                found
            }
        };
        place.use_now(use_number);
        if is_new {
            self.0.make_room();
        }
        tend::keep_going(&self.0, &session)?;
        Ok(session)
    }

    /// Fetches the credentials of many keys, in the limiter's pace, for at most `deadline`.
    ///
    /// Await it for a report, or read it as a stream of outcomes in the order in which they come.
    /// Until it is awaited or read nothing happens. A key that the source throttles, or that fails
    /// in a way that may pass, is tried again until the deadline.
    ///
    /// The sets become due at different times, spread over half of their advisory window, however
    /// quickly they were fetched.
    ///
    /// ```no_run
    /// # mod brs { pub use brs_core::*; }
    /// # use std::time::Duration;
    /// # async fn example(pool: brs::SessionPool<brs::RoleKey>, keys: Vec<brs::RoleKey>) {
    /// let report = pool.prefetch(keys, Duration::from_secs(300)).await;
    /// for (key, error) in report.failures() {
    ///     eprintln!("{}: {error}", key.role_arn());
    /// }
    /// # }
    /// ```
    pub fn prefetch<I>(&self, keys: I, deadline: Duration) -> Prefetch<K>
    where
        I: IntoIterator<Item = K>,
        I::IntoIter: Send + 'static,
    {
        prefetch::prefetch(self.clone(), keys.into_iter(), deadline)
    }

    /// What the pool looks like now. Looks at every session.
    pub fn status(&self) -> PoolStatus {
        let mut status = PoolStatus {
            sessions: 0,
            idle: 0,
            refreshing: 0,
            awaited: 0,
            unattended: 0,
            throttled: 0,
            calls_per_second: self.0.limiter.recent_rate(&self.0.clock()),
            allowed_per_second: 0.0,
            oldest_expiry: None,
        };
        let limiter = self.0.limiter.status();
        status.awaited = limiter.awaited;
        status.unattended = limiter.unattended;
        status.throttled = limiter.throttled;
        status.allowed_per_second = limiter.calls_per_second;
        self.0.places.each(|_, place| {
            let (is_refreshing, expiration) = place.session.engine().look();
            status.sessions += 1;
            status.idle += usize::from(!place.is_held());
            status.refreshing += usize::from(is_refreshing);
            status.oldest_expiry = match (status.oldest_expiry, expiration) {
                (Some(oldest), Some(expiration)) => Some(oldest.min(expiration)),
                (oldest, expiration) => oldest.or(expiration),
            };
        });
        status
    }

    /// The events from now on, of all sessions and of the pool itself.
    pub fn events(&self) -> PoolEvents<K> {
        PoolEvents(self.0.events.subscribe())
    }

    /// The limiter.
    pub fn limiter(&self) -> &Limiter {
        &self.0.limiter
    }

    /// Whether nothing happens until time goes on: for tests that move it.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub fn is_at_rest(&self) -> bool {
        let now = self.0.clock().monotonic();
        let status = self.status();
        status.refreshing == status.awaited + status.unattended
            && self.0.limiter.is_at_rest(now)
            && as_milliseconds(now) < self.0.tended_again.load(Ordering::Acquire)
    }

    fn open(&self, key: &K) -> Result<RefreshableSession, Error> {
        let common = self.0.common()?;
        let (events, of) = (Arc::clone(&self.0.events), key.clone());
        let observer = Observer(Arc::new(move |event: &Event| {
            events.send_with(|| PoolEvent::Session {
                key: of.clone(),
                event: event.clone(),
            });
        }));
        let origin = (self.0.origin)(key);
        let options = Arc::clone(&self.0.options);
        wait(async move { common.open(origin, &options, observer).await })
    }
}

impl<K> Inner<K> {
    /// What the sessions have in common.
    fn common(&self) -> Result<Common, Error> {
        let common = self.known_common();
        let known = || common.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(common) = &*known() {
            return Ok(common.clone());
        }
        let options = Arc::clone(&self.options);
        if self.capacity == 0 {
            return Err(
                Error::validation("a pool of capacity 0 keeps nothing: give at least 1")
                    .with_param("capacity")
                    .unrecoverable(),
            );
        }
        let clients = options.clients(builder::CLIENTS)?;
        let foundation = wait(async move { options.common_foundation().await })?;
        let made = Common {
            foundation: Arc::new(foundation),
            limiter: self.limiter.clone(),
            clients,
        };
        // Two that open the first sessions at once may both have loaded it: one counts.
        Ok(known().get_or_insert(made).clone())
    }

    /// A forked child goes on with what the parent had loaded.
    fn known_common(&self) -> Arc<Mutex<Option<Common>>> {
        self.common.get_or_make(|parents| {
            let parents = parents.and_then(|common| common.try_lock().ok());
            Mutex::new(parents.and_then(|common| common.clone()))
        })
    }

    fn clock(&self) -> Arc<dyn Clock> {
        let common = self.known_common();
        let common = common.lock().unwrap_or_else(PoisonError::into_inner);
        match &*common {
            Some(common) => Arc::clone(common.foundation.clock()),
            None => Arc::new(SystemClock::new()),
        }
    }
}

impl Pooled {
    fn new(session: RefreshableSession) -> Self {
        let now = milliseconds(&**session.clock());
        Self {
            holders: session.holders(),
            session,
            used: AtomicU64::new(0),
            used_at: AtomicU64::new(now),
        }
    }

    fn use_now(&self, use_number: u64) {
        self.used.fetch_max(use_number, Ordering::Relaxed);
        let now = milliseconds(&**self.session.clock());
        self.used_at.store(now, Ordering::Relaxed);
    }

    /// Whether somebody holds the session, or a client or a provider of it, or it is refreshed.
    fn is_held(&self) -> bool {
        self.session.handles() > 1
            || self.session.holders() > self.holders
            || self.session.engine().look().0
    }
}

fn milliseconds(clock: &dyn Clock) -> u64 {
    as_milliseconds(clock.coarse().1)
}

fn as_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for what is nearly always ready at once: loading configuration and building a strategy
/// contact nobody. A constructor that does wait has a thread of its own meanwhile. It runs on brs's
/// own runtime from the beginning: the caller's may stand still while it waits.
fn wait<T: Send + 'static>(
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let mut future = Box::pin(future);
    let cannot = |error| Error::connection("no thread could be started").with_source(error);
    let own = runtime::own().map_err(cannot)?;
    let ready = {
        let _own = own.enter();
        (&mut future).now_or_never()
    };
    if let Some(ready) = ready {
        return ready;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::Builder::new()
        .name("brs-open".into())
        .spawn(move || sender.send(own.block_on(future)))
        .map_err(cannot)?;
    receiver
        .recv()
        .unwrap_or_else(|_| Err(Error::credential("the strategy's constructor panicked")))
}

impl<K: PoolKey> fmt::Debug for SessionPool<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionPool")
            .field("sessions", &self.0.places.len())
            .field("capacity", &self.0.capacity)
            .finish_non_exhaustive()
    }
}
