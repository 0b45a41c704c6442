//! One call to the source, and those who wait for it.
//!
//! A flight is started by the caller that finds it necessary and landed exactly once, by its task
//! or that task's guard. Waiting needs no runtime: a waiter leaves its waker and is woken when the
//! outcome is there. All waiters get the same outcome. A waiter that is polled long after the
//! landing must look again: the set may have expired by then.
//!
//! - The flight fails: `waiters_share_the_failure_of_their_flight`.
//! - It panics: `a_panicking_strategy_is_an_error_and_the_session_goes_on`
//!   (`tests/engine/failures.rs`).
//! - A caller leaves: `a_waiter_that_leaves_is_forgotten`.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use super::sync::{Mutex, lock};
use super::times::{CachedSet, Moment};
use crate::kit::error::{Error, Recovery};
use crate::method::strategy::RefreshReason;

/// How often a flight behind a limiter asks the source: as often as the AWS SDK does by default.
const TRIES: u32 = 3;
/// The same while the source throttles, which the limiter answers by slowing down.
const THROTTLED_TRIES: u32 = 10;

/// How a flight ended.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// What the source gave.
    pub(crate) fetched: Result<Arc<CachedSet>, Error>,
    /// What callers get: the fetched set, or what is left to give when there is none.
    pub(crate) served: Result<Arc<CachedSet>, Error>,
    /// When it landed; `None` if it brought no set.
    pub(crate) landed: Option<Moment>,
}

impl Outcome {
    pub(crate) fn failed(error: Error) -> Self {
        Self {
            fetched: Err(error.clone()),
            served: Err(error),
            landed: None,
        }
    }

    /// Whether the set has expired between the landing and `now`: its waiter was polled late.
    pub(crate) fn expired_since(&self, set: &CachedSet, now: Moment) -> bool {
        let end = set.times.map(|times| times.unusable);
        end.zip(self.landed)
            .is_some_and(|(end, landed)| end.is_over(now) && !end.is_over(landed))
    }
}

/// One call to the source.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) reason: RefreshReason,
    pub(crate) started: Moment,
    #[cfg(not(brs_model))]
    pub(crate) place: Arc<crate::kit::turns::Place>,
    method: &'static str,
    /// The process that it was started in; in a fork of it, it has no waiters.
    process: u32,
    /// How often the source has answered that it may be asked again.
    tries: AtomicU32,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    outcome: Option<Outcome>,
    /// By the waiters' tickets.
    wakers: BTreeMap<u64, Waker>,
    next_ticket: u64,
}

impl Flight {
    pub(crate) fn new(method: &'static str, reason: RefreshReason, started: Moment) -> Arc<Self> {
        Arc::new(Self {
            reason,
            started,
            #[cfg(not(brs_model))]
            place: Arc::default(),
            method,
            process: std::process::id(),
            tries: AtomicU32::new(0),
            inner: Mutex::default(),
        })
    }

    /// Whether this process has forked since: the flight is the parent's.
    pub(crate) fn is_the_parents(&self) -> bool {
        self.process != std::process::id()
    }

    /// Whether the source, which gave `error`, is asked again: a flight behind a limiter does so,
    /// in the limiter's line, in place of the source's own client. One that began while the source
    /// was down leaves it to the others to find out when it is back.
    pub(super) fn try_again(&self, error: &Error, was_down: bool) -> bool {
        // Remembered by a store: its wait is not over.
        if error.refresh_allowed_at().is_some() {
            return false;
        }
        let most = match error.recovery() {
            Recovery::Throttled => THROTTLED_TRIES,
            Recovery::Soon if was_down && self.tries.load(Ordering::Relaxed) == 0 => return false,
            Recovery::Soon => TRIES,
            _ => return false,
        };
        self.tries.fetch_add(1, Ordering::Relaxed) + 1 < most
    }

    /// Gives every waiter the outcome; the first one counts.
    pub(crate) fn resolve(&self, outcome: Outcome) {
        let wakers = {
            let mut inner = lock(&self.inner);
            if inner.outcome.is_none() {
                inner.outcome = Some(outcome);
            }
            std::mem::take(&mut inner.wakers)
        };
        // Outside the lock: a waker may run whatever it likes.
        for waker in wakers.into_values() {
            // One that panics must not keep the others asleep.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }

    /// Is ready when the flight has landed; may be dropped at any time. A flight that is waited for
    /// moves up in line.
    pub(crate) fn wait(self: &Arc<Self>) -> Wait {
        #[cfg(not(brs_model))]
        self.place.wait_for(self.method);
        Wait {
            flight: Arc::clone(self),
            ticket: None,
        }
    }

    /// The outcome; `None`: the flight is the parent's, and callers look again.
    pub(crate) async fn landing(self: &Arc<Self>) -> Option<Outcome> {
        let outcome = self.wait().await;
        (!self.is_the_parents()).then_some(outcome)
    }

    /// The same as `wait`, for a task without a caller.
    pub(crate) fn watch(self: &Arc<Self>) -> Wait {
        Wait {
            flight: Arc::clone(self),
            ticket: None,
        }
    }

    #[cfg(all(test, not(brs_model)))]
    fn waiters(&self) -> usize {
        lock(&self.inner).wakers.len()
    }
}

/// The future of [`Flight::wait`].
#[derive(Debug)]
pub(crate) struct Wait {
    flight: Arc<Flight>,
    ticket: Option<u64>,
}

impl Future for Wait {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let flight = Arc::clone(&self.flight);
        if flight.is_the_parents() {
            // Without a look inside: another thread of the parent's may have held the lock.
            return Poll::Ready(Outcome::failed(ended()));
        }
        let mut inner = lock(&flight.inner);
        if let Some(outcome) = &inner.outcome {
            return Poll::Ready(outcome.clone());
        }
        let ticket = *self.ticket.get_or_insert_with(|| {
            inner.next_ticket += 1;
            inner.next_ticket
        });
        let old = inner.wakers.insert(ticket, cx.waker().clone());
        drop(inner);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.filter(|_| !self.flight.is_the_parents()) {
            let waker = lock(&self.flight.inner).wakers.remove(&ticket);
            drop(waker);
        }
    }
}

pub(super) fn ended() -> Error {
    Error::connection("the refresh was ended before it had an answer")
}

#[cfg(all(test, not(brs_model)))]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::{Duration, UNIX_EPOCH};

    fn flight() -> Arc<Flight> {
        Flight::new(
            "test",
            RefreshReason::First,
            Moment {
                wall: UNIX_EPOCH,
                monotonic: Duration::ZERO,
            },
        )
    }

    #[test]
    fn waiters_share_the_failure_of_their_flight() {
        let flight = flight();
        let mut waiters: Vec<_> = (0..3).map(|_| flight.wait()).collect();
        assert!(
            waiters
                .iter_mut()
                .all(|waiter| waiter.now_or_never().is_none())
        );
        flight.resolve(Outcome::failed(Error::connection("no answer")));
        for waiter in waiters {
            let outcome = waiter.now_or_never().unwrap();
            assert_eq!(outcome.served.unwrap_err().to_string(), "no answer");
        }
    }

    #[test]
    fn a_waiter_that_comes_late_is_answered_at_once() {
        let flight = flight();
        flight.resolve(Outcome::failed(Error::connection("no answer")));
        assert!(flight.wait().now_or_never().is_some());
    }

    #[test]
    fn a_waiter_that_leaves_is_forgotten() {
        let flight = flight();
        let mut stays = flight.wait();
        let mut leaves = flight.wait();
        assert!((&mut stays).now_or_never().is_none() && (&mut leaves).now_or_never().is_none());
        assert_eq!(flight.waiters(), 2);
        drop(leaves);
        assert_eq!(flight.waiters(), 1);
    }

    #[test]
    fn the_first_outcome_counts() {
        let flight = flight();
        flight.resolve(Outcome::failed(Error::connection("first")));
        flight.resolve(Outcome::failed(Error::connection("second")));
        assert_eq!(
            flight
                .wait()
                .now_or_never()
                .unwrap()
                .served
                .unwrap_err()
                .to_string(),
            "first"
        );
    }
}
