//! Permits: waited for in line, then held by the call that uses them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;

use super::outage::Shown;
use super::{Granted, Limiter, lock};
use crate::kit::turns::{Place, Wanted};

/// A permit that a call has.
#[derive(Debug)]
pub(crate) struct Used {
    limiter: Limiter,
    granted: Granted,
    was_given_back: AtomicBool,
}

impl Used {
    pub(crate) fn new((limiter, granted): (Limiter, Granted)) -> Arc<Self> {
        Arc::new(Self {
            limiter,
            granted,
            was_given_back: AtomicBool::new(false),
        })
    }

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
    pub(super) granted: Option<Granted>,
    pub(super) receiver: oneshot::Receiver<Granted>,
}

impl Future for Permit {
    /// `None`: nobody hands out permits.
    type Output = Option<Granted>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Granted>> {
        if let Some(granted) = self.granted.take() {
            return Poll::Ready(Some(granted));
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
