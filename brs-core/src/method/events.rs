//! What a session tells those who watch it.
//!
//! Events never hold a secret. Sending wakes subscribers, which runs foreign code: the engine sends
//! only while it holds no lock. Events of one flight come in order; those of two that follow each
//! other at once may overlap.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_core::Stream;

use crate::kit::channel::{Channel, Subscription};
use crate::kit::error::Error;
use crate::method::strategy::RefreshReason;

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

/// Is told every event of a session, at once. It must not wait.
#[derive(Clone)]
pub(crate) struct Observer(pub(crate) Arc<dyn Fn(&Event) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// The sending side of a session's events; all clones feed the same subscribers.
#[derive(Clone, Debug)]
pub(crate) struct EventSender {
    channel: Arc<Channel<Event>>,
    observer: Option<Observer>,
    /// Tells sessions apart in logs.
    method: &'static str,
}

impl EventSender {
    pub(crate) fn new(method: &'static str) -> Self {
        Self {
            channel: Arc::default(),
            observer: None,
            method,
        }
    }

    pub(crate) fn observed_by(self, observer: Option<Observer>) -> Self {
        Self { observer, ..self }
    }

    /// Puts the event into the subscribers' streams.
    pub(crate) fn send(&self, event: Event) {
        if let Some(observer) = &self.observer {
            (observer.0)(&event);
        }
        self.channel.send(event);
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
        Events(self.channel.subscribe())
    }

    /// Ends every subscriber's stream.
    pub(crate) fn close(&self) {
        self.channel.close();
    }
}

/// The events of one session from the moment of subscribing. Ends when the session is closed or
/// gone, and in a forked child, which subscribes for itself.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Events(Subscription<Event>);

impl Events {
    /// The next event; `None` when the session is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_next(cx, |count| Event::Missed { count })
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
    use crate::kit::channel::CAPACITY;
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
