//! Permits: waited for in line, held until the call begins, then used by it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::outage::Shown;
use super::{Granted, Limiter, Line, lock};
use crate::kit::turns::{Place, Wanted};

/// A permit that a call has.
#[derive(Debug)]
pub(crate) struct Used {
    limiter: Limiter,
    granted: Granted,
    was_given_back: AtomicBool,
}

/// A permit whose call has not begun. One that is dropped goes back.
#[derive(Debug)]
pub(crate) struct Held {
    limiter: Limiter,
    /// A fork has one of its own.
    line: Weak<Line>,
    granted: Granted,
    has_begun: bool,
}

impl Held {
    /// A permit that was counted as held.
    pub(super) fn new(limiter: &Limiter, line: &Arc<Line>, granted: Granted) -> Self {
        Self {
            limiter: limiter.clone(),
            line: Arc::downgrade(line),
            granted,
            has_begun: false,
        }
    }

    /// The call begins.
    pub(crate) fn begin(mut self) -> Arc<Used> {
        self.has_begun = true;
        Arc::new(Used {
            limiter: self.limiter.clone(),
            granted: self.granted,
            was_given_back: AtomicBool::new(false),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(line) = self.line.upgrade() {
            self.limiter
                .held_no_more(&line, self.granted.number, self.has_begun);
        }
    }
}

impl Used {
    /// The source was not called.
    pub(crate) fn give_back(&self) {
        if !self.was_given_back.swap(true, Ordering::Relaxed) {
            self.limiter.give_back();
        }
    }

    /// The source has throttled the call. Gives the new rate, if this slows the calls down.
    pub(crate) fn throttled(&self, now: Duration) -> Option<f64> {
        if self.was_given_back.load(Ordering::Relaxed) {
            return None;
        }
        self.limiter.throttled(self.granted, now)
    }

    /// Whether the source was down when the permit was given.
    pub(crate) fn is_probe(&self) -> bool {
        self.granted.is_probe
    }

    /// The call is made; what is given ends it.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        UnderWay(Arc::clone(self))
    }
}

/// A call that is under way. One that is dropped ends, too, and shows nothing.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Used>);

impl UnderWay {
    /// The call has ended, and shows this of its source.
    pub(crate) fn ended(self, shown: Shown, now: Duration) {
        let was_asked = !self.0.was_given_back.load(Ordering::Relaxed);
        if was_asked {
            self.0.limiter.shown(shown, now);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.limiter.is_over(self.0.granted.number);
    }
}

/// Is ready when its holder may call the source; leaves the line when it is dropped.
pub(crate) struct Permit {
    pub(super) limiter: Limiter,
    pub(super) place: Arc<Place>,
    /// It came at once.
    pub(super) held: Option<Held>,
    pub(super) receiver: oneshot::Receiver<Held>,
}

impl Future for Permit {
    /// `None`: nobody hands out permits.
    type Output = Option<Held>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Held>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(Some(held));
        }
        Pin::new(&mut self.receiver).poll(cx).map(Result::ok)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let left = {
            let line = self.limiter.line();
            let mut state = lock(&line.state);
            let number = self.place.take_permit_number();
            [Wanted::Within, Wanted::Awaited, Wanted::Unattended]
                .into_iter()
                .find_map(|wanted| state.waiting.remove(&(wanted, number)))
        };
        drop(left);
    }
}
