//! What a session tells those who watch it: a bounded stream of events per subscriber.
//!
//! Owns the broadcast channel, one in each process. A subscriber that reads slowly loses the oldest
//! events and is told how many; it never delays a refresh. Events never hold a secret. Sending
//! wakes subscribers, which runs foreign code: the engine sends only while it holds no lock. Events
//! of one flight come in order; those of two that follow each other at once may overlap.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::kit::error::Error;
use crate::kit::per_process::PerProcess;
use crate::method::strategy::RefreshReason;

/// How many events a subscriber may lag behind before it loses the oldest.
const CAPACITY: usize = 256;

/// Something that happened to a session's credentials.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A refresh was started; the source is asked when its turn has come.
    RefreshStarted {
        /// Why.
        reason: RefreshReason,
    },
    /// The source gave a new set, which is now the cached one.
    RefreshSucceeded {
        /// The new set's access key id.
        access_key_id: String,
        /// When it ends, as the source said.
        expiration: Option<SystemTime>,
        /// How long the source took.
        duration: Duration,
    },
    /// The source was asked in vain.
    RefreshFailed {
        /// What went wrong; [`Error::is_unrecoverable`] tells the class.
        error: Error,
        /// How long the source took.
        duration: Duration,
        /// When the source may be asked again; `None`: at the next call.
        next_try: Option<SystemTime>,
    },
    /// An expired set is being served because the source is in trouble (static stability).
    ServingExpired {
        /// The expired set's access key id.
        access_key_id: String,
        /// When it ended.
        expiration: Option<SystemTime>,
    },
    /// The cached set was declared unusable; the next call refreshes.
    Invalidated {
        /// The set's access key id.
        access_key_id: String,
    },
    /// A service rejected a set so soon after the last one that the source is not asked yet. Told
    /// once for each such wait, however many calls are rejected in it.
    RejectionPassedOver {
        /// The rejected set's access key id.
        access_key_id: String,
        /// From when on such a rejection is honoured again.
        honoured_from: SystemTime,
    },
    /// The strategy reports something that an operator should know, such as a certificate that
    /// expires soon.
    Warning {
        /// The same for all warnings of one sort: `certificate_expiring`. The method documents it.
        name: &'static str,
        /// What happened and what to do.
        message: String,
        /// Structured details by name.
        details: BTreeMap<&'static str, String>,
    },
    /// This subscriber was too slow and lost events.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The sending side; all clones feed the same subscribers.
#[derive(Clone, Debug)]
pub(crate) struct EventSender {
    shared: Arc<Shared>,
    /// Tells sessions apart in logs.
    method: &'static str,
}

#[derive(Debug, Default)]
struct Shared {
    /// With the session; its subscribers' streams have ended.
    is_closed: AtomicBool,
    channel: PerProcess<Mutex<Channel>>,
}

/// `None`: there is no subscriber yet. Its room for [`CAPACITY`] events is most of what an idle
/// session would take, and most are never listened to.
type Channel = Option<broadcast::Sender<Event>>;

impl EventSender {
    pub(crate) fn new(method: &'static str) -> Self {
        Self {
            shared: Arc::default(),
            method,
        }
    }

    /// Puts the event into the subscribers' streams.
    pub(crate) fn send(&self, event: Event) {
        let Some(channel) = self.channel(|channel| channel.clone()) else {
            return;
        };
        // Wakes subscribers, whose wakers are foreign: what comes after an event, a launch or a
        // landing, must come. An error means that no subscriber is left.
        let _ = catch_unwind(AssertUnwindSafe(|| channel.send(event)));
    }

    /// Logs the event: runs the program's `tracing` subscriber.
    pub(crate) fn log(&self, event: &Event) {
        trace(self.method, event);
    }

    /// Configured windows did not fit a set.
    pub(crate) fn warn_shortened(
        &self,
        lifetime: Duration,
        advisory_window: Duration,
        mandatory_window: Duration,
    ) {
        tracing::warn!(
            method = self.method,
            ?lifetime,
            ?advisory_window,
            ?mandatory_window,
            "the configured windows do not fit the credentials' lifetime and were shortened"
        );
    }

    pub(crate) fn subscribe(&self) -> Events {
        let receiver = self.channel(|channel| {
            if self.shared.is_closed.load(Ordering::Relaxed) {
                // A stream whose sender is gone.
                return broadcast::Sender::new(1).subscribe();
            }
            channel
                .get_or_insert_with(|| broadcast::Sender::new(CAPACITY))
                .subscribe()
        });
        Events {
            process: std::process::id(),
            stream: Some(BroadcastStream::new(receiver)),
        }
    }

    /// Ends every subscriber's stream.
    pub(crate) fn close(&self) {
        // Before the lock, under which subscribers look.
        self.shared.is_closed.store(true, Ordering::Relaxed);
        let channel = self.channel(Option::take);
        // Wakes subscribers, so without the lock.
        drop(channel);
    }

    fn channel<R>(&self, look: impl FnOnce(&mut Channel) -> R) -> R {
        look(
            &mut self
                .shared
                .channel
                .get()
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// The events of one session from the moment of subscribing. Ends when the session is closed or
/// gone, and in a forked child, which subscribes for itself.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Events {
    /// Which has subscribed.
    process: u32,
    stream: Option<BroadcastStream<Event>>,
}

impl Events {
    /// The next event; `None` when the session is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// In a forked child the channel is the parent's: reading it, and dropping the stream, would
    /// take its lock.
    fn leave_the_parents(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.stream.take());
        }
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.leave_the_parents();
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(None);
        };
        Pin::new(stream).poll_next(cx).map(|item| {
            item.map(|event| {
                event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(count)| Event::Missed {
                    count,
                })
            })
        })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.leave_the_parents();
    }
}

/// The same for `tracing`: what an operator must see is a warning, the rest is for debugging.
fn trace(method: &'static str, event: &Event) {
    match event {
        Event::RefreshStarted { reason } => tracing::debug!(method, ?reason, "refresh started"),
        Event::RefreshSucceeded {
            access_key_id,
            expiration,
            duration,
        } => {
            let expiration = expiration.map(crate::kit::iso8601::iso8601);
            tracing::info!(
                method,
                access_key_id,
                expiration,
                ?duration,
                "refresh succeeded"
            );
        }
        Event::RefreshFailed {
            error,
            duration,
            next_try,
        } => {
            let next_try = next_try.map(crate::kit::iso8601::iso8601);
            let unrecoverable = error.is_unrecoverable();
            tracing::warn!(method, %error, unrecoverable, ?duration, next_try, "refresh failed");
        }
        Event::ServingExpired {
            access_key_id,
            expiration,
        } => {
            let expiration = expiration.map(crate::kit::iso8601::iso8601);
            tracing::warn!(
                method,
                access_key_id,
                expiration,
                "serving expired credentials: their source is in trouble"
            );
        }
        Event::Invalidated { access_key_id } => {
            tracing::info!(method, access_key_id, "credentials invalidated")
        }
        Event::RejectionPassedOver {
            access_key_id,
            honoured_from,
        } => {
            let honoured_from = crate::kit::iso8601::iso8601(*honoured_from);
            tracing::warn!(
                method,
                access_key_id,
                honoured_from,
                "rejected again too soon: the source is not asked yet"
            );
        }
        Event::Warning {
            name,
            message,
            details,
        } => tracing::warn!(method, name, ?details, "{message}"),
        Event::Missed { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_slow_subscriber_is_told_how_much_it_lost() {
        let sender = EventSender::new("test");
        let mut events = sender.subscribe();
        for _ in 0..CAPACITY + 44 {
            sender.send(Event::RefreshStarted {
                reason: RefreshReason::First,
            });
        }
        let first = events.next().now_or_never().flatten();
        assert!(
            matches!(first, Some(Event::Missed { count: 44 })),
            "{first:?}"
        );
        let rest = std::iter::from_fn(|| events.next().now_or_never().flatten()).count();
        assert_eq!(rest, CAPACITY);
    }

    #[test]
    fn the_stream_ends_with_its_sender() {
        let sender = EventSender::new("test");
        let mut events = sender.subscribe();
        drop(sender);
        assert!(matches!(events.next().now_or_never(), Some(None)));
    }
}
