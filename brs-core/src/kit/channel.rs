//! A bounded stream of events to each of its subscribers.
//!
//! A subscriber that reads slowly loses the oldest events and is told how many; it never delays the
//! sender. Sending wakes subscribers, which runs foreign code: it happens while no lock is held.
//! Each process has a channel of its own: the streams of a forked child end, and it subscribes for
//! itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::kit::per_process::PerProcess;

/// How many events a subscriber may lag behind before it loses the oldest.
pub(crate) const CAPACITY: usize = 256;

/// The sending side.
#[derive(Debug)]
pub(crate) struct Channel<E> {
    /// The subscribers' streams have ended.
    is_closed: AtomicBool,
    /// `None`: there is no subscriber yet. The room for [`CAPACITY`] events is most of what an idle
    /// session would take, and most are never listened to.
    sender: PerProcess<Mutex<Option<broadcast::Sender<E>>>>,
}

impl<E> Default for Channel<E> {
    fn default() -> Self {
        Self {
            is_closed: AtomicBool::new(false),
            sender: PerProcess::new(),
        }
    }
}

impl<E: Clone + Send + 'static> Channel<E> {
    /// Puts the event into the subscribers' streams.
    pub(crate) fn send(&self, event: E) {
        self.send_with(|| event);
    }

    /// The same for an event that is made only if there are subscribers.
    pub(crate) fn send_with(&self, event: impl FnOnce() -> E) {
        let Some(sender) = self.sender(|sender| sender.clone()) else {
            return;
        };
        let event = event();
        // Wakes subscribers, whose wakers are foreign: what comes after an event, a launch or a
        // landing, must come. An error means that no subscriber is left.
        let _ = catch_unwind(AssertUnwindSafe(|| sender.send(event)));
    }

    pub(crate) fn subscribe(&self) -> Subscription<E> {
        let receiver = self.sender(|sender| {
            if self.is_closed.load(Ordering::Relaxed) {
                // A stream whose sender is gone.
                return broadcast::Sender::new(1).subscribe();
            }
            sender
                .get_or_insert_with(|| broadcast::Sender::new(CAPACITY))
                .subscribe()
        });
        Subscription {
            process: std::process::id(),
            stream: Some(BroadcastStream::new(receiver)),
        }
    }

    /// Ends every subscriber's stream.
    pub(crate) fn close(&self) {
        // Before the lock, under which subscribers look.
        self.is_closed.store(true, Ordering::Relaxed);
        let sender = self.sender(Option::take);
        // Wakes subscribers, so without the lock.
        drop(sender);
    }

    fn sender<R>(&self, look: impl FnOnce(&mut Option<broadcast::Sender<E>>) -> R) -> R {
        let sender = self.sender.get_or_make(|_| Mutex::new(None));
        look(&mut sender.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The receiving side.
#[derive(Debug)]
pub(crate) struct Subscription<E> {
    /// Which has subscribed.
    process: u32,
    stream: Option<BroadcastStream<E>>,
}

impl<E: Clone + Send + 'static> Subscription<E> {
    /// The next event, or what `missed` makes of the number of events that were lost.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        missed: impl FnOnce(u64) -> E,
    ) -> Poll<Option<E>> {
        self.leave_the_parents();
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        Pin::new(stream).poll_next(cx).map(|item| {
            item.map(|event| {
                event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(count)| missed(count))
            })
        })
    }
}

impl<E> Subscription<E> {
    /// In a forked child the channel is the parent's: reading it, and dropping the stream, would
    /// take its lock.
    fn leave_the_parents(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.stream.take());
        }
    }
}

impl<E> Drop for Subscription<E> {
    fn drop(&mut self) {
        self.leave_the_parents();
    }
}
