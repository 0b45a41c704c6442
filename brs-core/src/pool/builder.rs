//! The options of a pool.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use super::places::Places;
use super::{Inner, OriginOf, PoolKey, SessionPool};
use crate::base::session::BaseSession;
use crate::kit::limiter::Limiter;
use crate::kit::per_process::PerProcess;
use crate::session::{Origin, SessionBuilder};

/// How many sessions are kept.
const CAPACITY: usize = 10_000;
/// How long one that nobody uses is kept: as long as most credentials live.
const IDLE_AFTER: Duration = Duration::from_secs(3600);
/// How many clients all sessions keep together: each of them some 25 kB.
pub(super) const CLIENTS: usize = 1024;

/// Options of a [`SessionPool`].
#[must_use = "a builder does nothing until it is built"]
pub struct PoolBuilder<K> {
    origin: OriginOf<K>,
    options: SessionBuilder,
    capacity: usize,
    idle_after: Duration,
    limiter: Limiter,
}

impl<K: PoolKey> PoolBuilder<K> {
    pub(super) fn new(origin: impl Fn(&K) -> Origin + Send + Sync + 'static) -> Self {
        Self {
            origin: Box::new(origin),
            options: SessionBuilder::template(),
            capacity: CAPACITY,
            idle_after: IDLE_AFTER,
            limiter: Limiter::default(),
        }
    }

    /// Options of every session: region, profile, windows and whatever else a
    /// [`SessionBuilder`] has.
    ///
    /// The sessions of a pool are deferred whatever is said here, and the room for clients
    /// ([`SessionBuilder::client_cache`], default 1,024) is that of all of them together.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; }
    /// # fn example(pool: brs::PoolBuilder<brs::RoleKey>) -> brs::SessionPool<brs::RoleKey> {
    /// pool.options(|session| session.region("eu-west-1").profile_name("hub")).build()
    /// # }
    /// ```
    pub fn options(mut self, change: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Self {
        self.options = change(self.options);
        self
    }

    /// The session whose credentials all sessions of the pool are obtained with, such as that of
    /// a hub account.
    pub fn assume_from(mut self, hub: impl Into<BaseSession>) -> Self {
        self.options = self.options.on_base_session(hub.into());
        self
    }

    /// How many sessions are kept. Default: 10,000.
    ///
    /// Beyond it those used least recently go; with all in use, the pool grows and says so once.
    /// A session takes some 8 kB without its clients.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// How long a session that nobody holds is kept, and kept fresh, after its last use. Default:
    /// an hour.
    pub fn idle_after(mut self, idle_after: Duration) -> Self {
        self.idle_after = idle_after;
        self
    }

    /// What paces the calls to each endpoint of the source. Default: 50 calls a second, 100 at once,
    /// fewer when the source throttles, and one at a time while it is down.
    ///
    /// Give pools that call the same endpoint for the same account one limiter.
    pub fn limiter(mut self, limiter: Limiter) -> Self {
        self.limiter = limiter;
        self
    }

    /// The pool. Reads nothing yet: wrong options are the first [`SessionPool::get`]'s error.
    pub fn build(self) -> SessionPool<K> {
        SessionPool(Arc::new(Inner {
            origin: self.origin,
            options: Arc::new(self.options.into_options()),
            capacity: self.capacity,
            idle_after: self.idle_after,
            limiter: self.limiter,
            common: PerProcess::new(),
            places: Places::new(),
            events: Arc::default(),
            uses: AtomicU64::new(0),
            has_grown: AtomicBool::new(false),
            is_tended: PerProcess::new(),
            tended_again: AtomicU64::new(0),
        }))
    }
}

impl<K> fmt::Debug for PoolBuilder<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("capacity", &self.capacity)
            .field("idle_after", &self.idle_after)
            .field("limiter", &self.limiter)
            .field("options", &self.options)
            .finish()
    }
}
