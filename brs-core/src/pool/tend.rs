//! Keeping a pool's sessions fresh, and letting go of those that nobody uses.
//!
//! One task for all sessions, on brs's own runtime, that holds the pool weakly between its rounds.
//! A round starts the refreshes that are due, moves those up in line that callers will soon wait
//! for, and lets go of what was idle for too long. A session that was never used is left alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::events::PoolEvent;
use super::{Inner, PoolKey, Pooled, as_milliseconds};
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::kit::runtime;
use crate::session::RefreshableSession;

/// How often: a fraction of the shortest windows that credentials have.
const EVERY: Duration = Duration::from_secs(5);

/// How much is let go at once when there are too many: a part of the capacity, so that looking for
/// the oldest is not done for each new session.
const BATCH: usize = 64;

/// Starts the task, if it does not run in this process.
pub(super) fn keep_going<K: PoolKey>(
    pool: &Arc<Inner<K>>,
    session: &RefreshableSession,
) -> Result<(), Error> {
    let is_tended = pool.is_tended.get();
    if is_tended.load(Ordering::Relaxed) || is_tended.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let running = Running(is_tended);
    let own = runtime::own().map_err(|error| {
        Error::connection("no thread could be started for the pool").with_source(error)
    })?;
    let clock = Arc::clone(session.clock());
    let asleep = |pool: &Inner<K>, clock: &dyn Clock| {
        let again = as_milliseconds(clock.monotonic().saturating_add(EVERY));
        pool.tended_again.store(again, Ordering::Release);
    };
    asleep(pool, &*clock);
    let pool = Arc::downgrade(pool);
    own.spawn(async move {
        let running = running;
        loop {
            clock.sleep(EVERY).await;
            // A clock whose sleep is always ready must not take the thread from everybody else.
            tokio::task::yield_now().await;
            let Some(pool) = Weak::upgrade(&pool) else {
                break;
            };
            pool.tend(as_milliseconds(clock.monotonic()));
            asleep(&pool, &*clock);
        }
        drop(running);
    });
    Ok(())
}

/// Says that no task runs, should it end: a clock of the user's may panic.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<K: PoolKey> Inner<K> {
    /// One round.
    fn tend(&self, now: u64) {
        self.places.each(|key, place| {
            if place.is_held() {
                place.used_at.store(now, Ordering::Relaxed);
            } else if now.saturating_sub(place.used_at.load(Ordering::Relaxed))
                >= as_milliseconds(self.idle_after)
                && self.let_go(key, place)
            {
                return;
            }
            place.session.engine().tend();
        });
        if self.places.len() <= self.capacity {
            self.has_grown.store(false, Ordering::Relaxed);
        }
    }

    /// Lets go of the sessions used least recently while there are more than the capacity.
    pub(super) fn make_room(&self) {
        if self.places.len() <= self.capacity {
            return;
        }
        let mut idle = Vec::new();
        self.places.each(|key, place| {
            if place.session.handles() == 1 {
                idle.push((
                    place.used.load(Ordering::Relaxed),
                    key.clone(),
                    Arc::clone(place),
                ));
            }
        });
        idle.sort_unstable_by_key(|(used, _, _)| *used);
        let most = self.capacity - self.capacity / BATCH;
        for (_, key, place) in &idle {
            if self.places.len() <= most.max(1) {
                break;
            }
            self.let_go(key, place);
        }
        let sessions = self.places.len();
        if sessions > self.capacity && !self.has_grown.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                sessions,
                capacity = self.capacity,
                "all sessions of the pool are in use: it grows beyond its capacity"
            );
            self.events.send_with(|| PoolEvent::Grown { sessions });
        }
    }

    /// Lets go of a session, unless somebody uses it.
    fn let_go(&self, key: &K, place: &Arc<Pooled>) -> bool {
        // Clients that only the pool keeps would look like somebody's.
        if place.session.handles() == 1 {
            place.session.give_up_clients();
        }
        // Dropped without the lock: what it holds is foreign.
        let taken = self.places.take(key, place, |place| !place.is_held());
        taken.is_some()
    }
}
