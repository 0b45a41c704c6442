//! The state of a connection, and a bounded stream of its events.
//!
//! Owns both types and the channel. A subscriber that reads slowly loses the oldest events and learns
//! how many; it never delays the connection. Events hold no secret.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use brs_core::Error;
use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::api::process::Process;

/// How many events a subscriber may lag behind before it loses the oldest.
const CAPACITY: usize = 256;

/// The state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// An attempt to connect is running.
    Connecting,
    /// Connected.
    Connected,
    /// Not connected; the next attempt begins at `next_try`.
    Waiting {
        /// By this machine's clock.
        next_try: SystemTime,
    },
    /// Closed for good.
    Closed,
}

/// Something that happened to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// An attempt to connect begins.
    Connecting {
        /// How many attempts in a row have failed before this one.
        failed: u32,
    },
    /// Connected.
    Connected {
        /// Whether the server has kept the session: subscriptions, and messages in flight.
        session_present: bool,
    },
    /// The connection was lost, or an attempt to connect failed.
    Lost {
        /// Why, as far as it is known.
        error: Error,
        /// When the next attempt begins.
        next_try: SystemTime,
    },
    /// The server had not kept the session and has answered the repeated subscriptions.
    Resubscribed {
        /// How many it has granted; each of the others is reported by
        /// [`SubscriptionRefused`](Self::SubscriptionRefused).
        filters: usize,
    },
    /// The server refused a subscription that it had granted before; its stream has ended.
    SubscriptionRefused {
        /// Its filter.
        filter: String,
        /// Why.
        error: Error,
    },
    /// Another client uses the same client id: the two evict each other.
    DuplicateClientId {
        /// Whether the server reported it; otherwise it is inferred from the losses.
        certain: bool,
    },
    /// Messages were dropped because their stream was full: messages of QoS 0, or of QoS 1 beyond the
    /// window that the server has to keep to.
    MessagesDropped {
        /// The subscription's filter; empty for the stream of all messages.
        filter: String,
        /// How many since the last such event.
        count: u64,
    },
    /// Messages that the server had kept for an earlier process were acknowledged and dropped: the
    /// program did not subscribe to them within a minute of the first connection, or there was no room
    /// to hold them. Unacknowledged they would have kept the server from sending others.
    Unclaimed {
        /// How many.
        count: usize,
    },
    /// Streams with unread or unacknowledged messages use up the server's window, as far as it is
    /// known: the server sends no more messages of QoS 1, for any stream.
    WindowFull {
        /// The filter of the stream that holds the most; empty for the stream of all messages.
        filter: String,
        /// How many messages that stream holds.
        count: usize,
    },
    /// A message was larger than the limit
    /// ([`Options::max_incoming_packet_size`](crate::Options::max_incoming_packet_size)) and was
    /// dropped. One of QoS 1 was acknowledged, since the server would send it over each connection
    /// otherwise.
    TooLarge {
        /// The topic.
        topic: String,
        /// The size of its packet in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The server answers pings but not what it was sent: the connection is replaced.
    Unanswered {
        /// How many publishes, subscribes and unsubscribes wait for an answer.
        count: usize,
        /// For how long the oldest has waited.
        waited: Duration,
    },
    /// Closed for good.
    Closed,
    /// This subscriber was too slow and lost events.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The sending side.
#[derive(Clone, Debug)]
pub(crate) struct EventSender(broadcast::Sender<Event>);

impl EventSender {
    pub(crate) fn new() -> Self {
        Self(broadcast::Sender::new(CAPACITY))
    }

    pub(crate) fn send(&self, client_id: &str, event: Event) {
        match &event {
            Event::Lost { error, .. } => tracing::warn!(client_id, %error, "MQTT connection lost"),
            Event::SubscriptionRefused { filter, error } => {
                tracing::warn!(client_id, filter, %error, "MQTT subscription refused");
            }
            Event::DuplicateClientId { certain } => {
                tracing::warn!(
                    client_id,
                    certain,
                    "another client uses this client id: give each client its own"
                );
            }
            Event::MessagesDropped { filter, count } => {
                tracing::warn!(
                    client_id,
                    filter,
                    count,
                    "messages were dropped: their stream is full"
                );
            }
            Event::Unclaimed { count } => {
                tracing::warn!(
                    client_id,
                    count,
                    "messages of an earlier session were dropped: the program did not subscribe to them"
                );
            }
            Event::WindowFull { filter, count } => {
                tracing::warn!(
                    client_id,
                    filter,
                    count,
                    "a stream that is not read fills the server's window"
                );
            }
            Event::TooLarge { topic, size, limit } => {
                tracing::warn!(
                    client_id,
                    topic,
                    size,
                    limit,
                    "a message was dropped: it is larger than `max_incoming_packet_size`"
                );
            }
            Event::Unanswered { count, waited } => {
                tracing::warn!(
                    client_id,
                    count,
                    ?waited,
                    "the server does not answer: the connection is replaced"
                );
            }
            other => tracing::debug!(client_id, event = ?other, "MQTT connection"),
        }
        // An error means that there are no subscribers.
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> Events {
        let events = BroadcastStream::new(self.0.subscribe());
        Events(Reading::Channel(events, Process::current()))
    }
}

/// The events of a connection, from the call on. Ends after [`Event::Closed`].
///
/// [`next`](Self::next) is cancel safe: no event is lost.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Events(Reading);

#[derive(Debug)]
enum Reading {
    Channel(BroadcastStream<Event>, Process),
    /// The connection was closed before the call.
    Closed,
    Ended,
}

impl Events {
    /// The events of a connection that is closed already.
    pub(crate) fn of_closed() -> Self {
        Self(Reading::Closed)
    }

    /// The next event; `None` after [`Event::Closed`].
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let event = match &mut self.0 {
            // What a forked child inherited has ended there.
            Reading::Channel(_, process) if !process.is_here() => Some(Event::Closed),
            Reading::Channel(events, _) => {
                std::task::ready!(Pin::new(events).poll_next(cx)).map(|event| {
                    event.unwrap_or_else(|BroadcastStreamRecvError::Lagged(count)| Event::Missed {
                        count,
                    })
                })
            }
            Reading::Closed => Some(Event::Closed),
            Reading::Ended => None,
        };
        if matches!(event, None | Some(Event::Closed)) {
            self.0 = Reading::Ended;
        }
        Poll::Ready(event)
    }
}
