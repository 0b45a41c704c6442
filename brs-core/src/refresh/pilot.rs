//! The task that runs the strategy, and the one word on which it and its tower agree.
//!
//! At the time limit the tower has to know whether the strategy can still be running: one that waits can simply be
//! dropped, one that has not begun must not begin any more, and one that is inside a poll blocks its thread and must
//! not be called again before it has come back. Both sides move one atomic state, so that no interleaving calls a
//! strategy twice at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use super::guard::ended;
use crate::credentials::TemporaryCredentials;
use crate::error::Error;

type Fetched = Result<TemporaryCredentials, Error>;

const NEW: u8 = 0;
const WAITING: u8 = 1;
const POLLING: u8 = 2;
/// Given up while inside a poll.
const BLOCKING: u8 = 3;
const OVER: u8 = 4;

/// What the tower knows of its pilot.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

/// What a pilot was doing when it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    NotBegun,
    Waiting,
    Blocking,
}

impl Progress {
    /// The time limit is reached: the strategy is not polled again.
    pub(super) fn give_up(&self) -> Found {
        for (from, to, found) in
            [(NEW, OVER, Found::NotBegun), (WAITING, OVER, Found::Waiting), (POLLING, BLOCKING, Found::Blocking)]
                .into_iter()
                .cycle()
        {
            if self.change(from, to) {
                return found;
            }
            if self.0.load(Ordering::Acquire) >= BLOCKING {
                break;
            }
        }
        Found::Waiting
    }

    /// Whether a pilot that was given up inside a poll is still in there.
    pub(super) fn is_blocking(&self) -> bool {
        self.0.load(Ordering::Acquire) == BLOCKING
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A strategy's refresh, which its tower can give up.
pub(super) struct Pilot {
    refresh: Pin<Box<dyn Future<Output = Fetched> + Send>>,
    progress: Progress,
}

impl Pilot {
    pub(super) fn new(refresh: impl Future<Output = Fetched> + Send + 'static, progress: Progress) -> Self {
        Self { refresh: Box::pin(refresh), progress }
    }
}

/// Leaves the poll, by whatever way it ends.
struct Leave<'a>(&'a Progress);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.0.change(POLLING, WAITING) {
            self.0.change(BLOCKING, OVER);
        }
    }
}

impl Future for Pilot {
    type Output = Fetched;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fetched> {
        let progress = self.progress.clone();
        if !progress.change(NEW, POLLING) && !progress.change(WAITING, POLLING) {
            return Poll::Ready(Err(ended()));
        }
        let leave = Leave(&progress);
        let polled = self.refresh.as_mut().poll(cx);
        drop(leave);
        polled
    }
}

#[cfg(all(test, not(brs_model)))]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn pilot(progress: &Progress) -> Pilot {
        Pilot::new(std::future::pending(), progress.clone())
    }

    #[test]
    fn a_pilot_given_up_before_it_began_does_not_begin() {
        let progress = Progress::default();
        let refresh = async { panic!("the strategy was called") };
        let pilot = Pilot::new(refresh, progress.clone());
        assert_eq!(progress.give_up(), Found::NotBegun);
        assert!(pilot.now_or_never().unwrap().is_err());
        assert!(!progress.is_blocking());
    }

    #[test]
    fn a_pilot_given_up_while_it_waits_is_not_polled_again() {
        let progress = Progress::default();
        let mut pilot = pilot(&progress);
        assert!((&mut pilot).now_or_never().is_none());
        assert_eq!(progress.give_up(), Found::Waiting);
        assert!(pilot.now_or_never().unwrap().is_err());
    }

    #[test]
    fn a_pilot_inside_a_poll_blocks_until_it_leaves() {
        let progress = Progress::default();
        let seen = progress.clone();
        let refresh = async move {
            assert_eq!(seen.give_up(), Found::Blocking);
            assert!(seen.is_blocking());
            std::future::pending().await
        };
        let mut pilot = Pilot::new(refresh, progress.clone());
        assert!((&mut pilot).now_or_never().is_none());
        assert!(!progress.is_blocking());
        assert!(pilot.now_or_never().unwrap().is_err(), "and is not polled again");
    }

    #[test]
    fn a_pilot_that_panics_does_not_count_as_blocking() {
        let progress = Progress::default();
        let seen = progress.clone();
        let refresh = async move {
            seen.give_up();
            panic!("as the test wants")
        };
        let pilot = Pilot::new(refresh, progress.clone());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pilot.now_or_never())).is_err());
        assert!(!progress.is_blocking());
    }
}
