//! What a connection tells those who watch it: its state at a moment, and a bounded stream of
//! events.
//!
//! Owns both types and the channel. A subscriber that reads slowly loses the oldest events and is
//! told how many; it never delays the connection. Events hold no secret.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use brs_core::Error;
use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

/// How many events a subscriber may lag behind before it loses the oldest.
const CAPACITY: usize = 256;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// A try is under way.
    Connecting,
    /// Connected; messages flow.
    Connected,
    /// Not connected; the next try is made at that time.
    Waiting {
        /// By this machine's clock.
        next_try: SystemTime,
    },
    /// Ended for good.
    Closed,
}

/// Something that happened to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A try to connect begins.
    Connecting {
        /// How many tries in a row have failed before this one.
        failed: u32,
    },
    /// Connected.
    Connected {
        /// Whether the server has kept the session: subscriptions, and what was in flight.
        session_present: bool,
    },
    /// The connection was lost, or a try to connect has failed.
    Lost {
        /// Why, as far as anybody said.
        error: Error,
        /// When the next try is made.
        next_try: SystemTime,
    },
    /// The server had not kept the session, was asked again for all subscriptions, and has
    /// answered.
    Resubscribed {
        /// How many it has granted; for each of the others there is a
        /// [`SubscriptionRefused`](Self::SubscriptionRefused).
        filters: usize,
    },
    /// A subscription that had been granted is refused now, and has ended.
    SubscriptionRefused {
        /// Its filter.
        filter: String,
        /// Why.
        error: Error,
    },
    /// Another client uses the same client id: the two evict each other.
    DuplicateClientId {
        /// Whether the server has said so; otherwise it is what the losses look like.
        certain: bool,
    },
    /// Messages of QoS 0, or more of QoS 1 than the server may have on their way, found their
    /// stream full.
    MessagesDropped {
        /// The subscription's filter; empty for the stream of all messages.
        filter: String,
        /// How many since the last such event.
        count: u64,
    },
    /// Messages that the session had kept from before this process, and to which nobody has
    /// subscribed within a minute of the first connection, were acknowledged and dropped: unread
    /// they would have kept others from being sent. So were those for which there was no room to
    /// wait.
    Unclaimed {
        /// How many.
        count: usize,
    },
    /// Streams that are not read, or whose messages are not acknowledged, hold all that the server
    /// leaves unacknowledged, as far as that is known: it sends nothing more of QoS 1, to any
    /// stream.
    WindowFull {
        /// The filter of the stream that holds most; empty for the stream of all messages.
        filter: String,
        /// How many messages that stream holds.
        count: usize,
    },
    /// A message is larger than what is read
    /// ([`Options::max_incoming_packet_size`](crate::Options)): it was acknowledged, if it was of
    /// QoS 1, and dropped. Left unacknowledged, it would come again over each connection.
    TooLarge {
        /// The topic.
        topic: String,
        /// Bytes of its packet.
        size: usize,
        /// What is read.
        limit: usize,
    },
    /// The server is there and has not answered what it was sent: the connection is replaced.
    Unanswered {
        /// How many publishes, subscribes and unsubscribes wait for an answer.
        count: usize,
        /// For how long the oldest has waited.
        waited: Duration,
    },
    /// Ended for good.
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
                    "another client uses this client id: each needs one of its own"
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
                    "messages of an earlier session were dropped: nobody subscribed to them"
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
                    "a message was dropped: it is larger than what is read"
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
        // An error means that nobody listens.
        let _ = self.0.send(event);
    }

    pub(crate) fn subscribe(&self) -> Events {
        Events(Reading::Channel(BroadcastStream::new(self.0.subscribe())))
    }
}

/// The events of one connection from the moment of subscribing. Ends after [`Event::Closed`].
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Events(Reading);

#[derive(Debug)]
enum Reading {
    Channel(BroadcastStream<Event>),
    /// It was closed before anybody subscribed.
    Closed,
    Ended,
}

impl Events {
    /// Those of a connection that has ended.
    pub(crate) fn of_closed() -> Self {
        Self(Reading::Closed)
    }

    /// The next event; `None` after [`Event::Closed`].
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
        let event = match &mut self.0 {
            Reading::Channel(events) => {
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
