//! A clock that stands still until it is told to move.
//!
//! A forked child has the time of the fork, and goes on from there by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::kit::clock::{Clock, Sleep};
use crate::kit::per_process::PerProcess;

/// A clock for tests. Clones are the same clock.
#[derive(Clone)]
pub struct ManualClock(Arc<Inner>);

struct Inner {
    time: ArcSwap<Time>,
    sleepers: PerProcess<Sleepers>,
}

#[derive(Clone, Copy)]
struct Time {
    wall: SystemTime,
    monotonic: Duration,
}

#[derive(Default)]
struct Sleepers {
    asleep: Mutex<Asleep>,
    count: watch::Sender<usize>,
}

#[derive(Default)]
struct Asleep {
    /// By the end of their sleep and a ticket.
    wakers: BTreeMap<(Duration, u64), Waker>,
    next_ticket: u64,
}

impl Sleepers {
    /// A sleeper reads the time under this lock, and it advances under this lock: no sleep is late.
    fn change<R>(&self, change: impl FnOnce(&mut Asleep) -> R) -> R {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut asleep);
        self.count.send_replace(asleep.wakers.len());
        result
    }
}

impl ManualClock {
    /// A clock whose wall time is `now`.
    pub fn new(now: SystemTime) -> Self {
        let time = ArcSwap::from_pointee(Time {
            wall: now,
            monotonic: Duration::ZERO,
        });
        Self(Arc::new(Inner {
            time,
            sleepers: PerProcess::new(),
        }))
    }

    /// Both clocks move on; who has slept long enough wakes.
    pub fn advance(&self, duration: Duration) {
        let woken = self.0.sleepers.get().change(|asleep| {
            self.set(|time| Time {
                wall: time.wall + duration,
                monotonic: time.monotonic + duration,
            });
            let after = self.monotonic() + Duration::from_nanos(1);
            let rest = asleep.wakers.split_off(&(after, 0));
            std::mem::replace(&mut asleep.wakers, rest)
        });
        woken.into_values().for_each(Waker::wake);
    }

    /// The wall clock alone jumps to another time, forwards or backwards; no sleeper wakes.
    pub fn step_wall(&self, to: SystemTime) {
        self.set(|time| Time { wall: to, ..time });
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
        let sleepers = self.0.sleepers.get();
        // The sender lives as long as `sleepers`.
        let _ = sleepers
            .count
            .subscribe()
            .wait_for(|sleepers| *sleepers >= least)
            .await;
    }

    /// How many sleeps are under way.
    pub fn sleeping(&self) -> usize {
        *self.0.sleepers.get().count.borrow()
    }

    fn set(&self, change: impl Fn(Time) -> Time) {
        self.0.time.rcu(|time| change(**time));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.0.time.load().wall
    }

    fn monotonic(&self) -> Duration {
        self.0.time.load().monotonic
    }

    fn coarse(&self) -> (SystemTime, Duration) {
        let time = **self.0.time.load();
        (time.wall, time.monotonic)
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
        clock.0.sleepers.get().change(|asleep| {
            if clock.monotonic() >= self.end {
                return Poll::Ready(());
            }
            let ticket = *self.ticket.get_or_insert_with(|| {
                asleep.next_ticket += 1;
                asleep.next_ticket
            });
            asleep.wakers.insert((self.end, ticket), cx.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.clock
                .0
                .sleepers
                .get()
                .change(|asleep| drop(asleep.wakers.remove(&(self.end, ticket))));
        }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManualClock")
            .field("wall", &crate::kit::iso8601::iso8601(self.now()))
            .field("monotonic", &self.monotonic())
            .field("sleeping", &self.sleeping())
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
