//! A clock that stands still until it is told to move.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;

use crate::kit::clock::{Clock, Sleep};

/// A clock for tests. Clones are the same clock.
#[derive(Clone)]
pub struct ManualClock {
    inner: Arc<Mutex<Inner>>,
    sleepers: watch::Sender<usize>,
}

struct Inner {
    wall: SystemTime,
    monotonic: Duration,
    /// By the end of their sleep and a ticket.
    sleeping: BTreeMap<(Duration, u64), Waker>,
    next_ticket: u64,
}

impl ManualClock {
    /// A clock whose wall time is `now`.
    pub fn new(now: SystemTime) -> Self {
        let inner = Inner {
            wall: now,
            monotonic: Duration::ZERO,
            sleeping: BTreeMap::new(),
            next_ticket: 0,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            sleepers: watch::Sender::new(0),
        }
    }

    /// Both clocks move on; who has slept long enough wakes.
    pub fn advance(&self, duration: Duration) {
        let woken = {
            let mut inner = self.lock();
            inner.wall += duration;
            inner.monotonic += duration;
            let after = inner.monotonic + Duration::from_nanos(1);
            let rest = inner.sleeping.split_off(&(after, 0));
            let woken = std::mem::replace(&mut inner.sleeping, rest);
            self.sleepers.send_replace(inner.sleeping.len());
            woken
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// The wall clock alone jumps to another time, forwards or backwards; nobody wakes.
    pub fn step_wall(&self, to: SystemTime) {
        self.lock().wall = to;
    }

    /// The monotonic clock alone moves on, as when the wall clock is held back.
    pub fn advance_monotonic(&self, duration: Duration) {
        let wall = self.now();
        self.advance(duration);
        self.step_wall(wall);
    }

    /// Is ready once at least `least` sleeps are under way: the moment to
    /// [`advance`](Self::advance).
    pub async fn sleepers(&self, least: usize) {
        let mut sleepers = self.sleepers.subscribe();
        // The sender lives as long as `self`.
        let _ = sleepers.wait_for(|sleepers| *sleepers >= least).await;
    }

    /// How many sleeps are under way.
    pub fn sleeping(&self) -> usize {
        self.lock().sleeping.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn coarse(&self) -> (SystemTime, Duration) {
        let inner = self.lock();
        (inner.wall, inner.monotonic)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let end = self.monotonic().saturating_add(duration);
        Box::pin(ManualSleep {
            clock: self.clone(),
            end,
            ticket: None,
        })
    }
}

struct ManualSleep {
    clock: ManualClock,
    end: Duration,
    ticket: Option<u64>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut inner = clock.lock();
        if inner.monotonic >= self.end {
            return Poll::Ready(());
        }
        let ticket = *self.ticket.get_or_insert_with(|| {
            inner.next_ticket += 1;
            inner.next_ticket
        });
        inner
            .sleeping
            .insert((self.end, ticket), cx.waker().clone());
        clock.sleepers.send_replace(inner.sleeping.len());
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut inner = self.clock.lock();
            inner.sleeping.remove(&(self.end, ticket));
            self.clock.sleepers.send_replace(inner.sleeping.len());
        }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("ManualClock")
            .field("wall", &crate::kit::iso8601::iso8601(inner.wall))
            .field("monotonic", &inner.monotonic)
            .field("sleeping", &inner.sleeping.len())
            .finish()
    }
}

#[cfg(all(test, not(brs_model)))]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_sleep_ends_when_the_clock_has_moved_on() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let mut sleep = clock.sleep(Duration::from_secs(10));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_secs(9));
        assert!((&mut sleep).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_some());
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let mut sleep = clock.sleep(Duration::from_secs(10));
        assert!((&mut sleep).now_or_never().is_none());
        assert!(clock.sleepers(1).now_or_never().is_some());
        drop(sleep);
        assert_eq!(clock.sleeping(), 0);
    }
}
