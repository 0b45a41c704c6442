//! Which stream gets which message.
//!
//! Owns the streams' sending sides and their bounds. Nobody who reads slowly stops the connection
//! or its keep-alive: a full stream takes no more messages of QoS 0 (counted and told), while those
//! of QoS 1 wait in the server, which sends no more than it may have unacknowledged. That window is
//! the connection's: a reader that leaves all of it unread leaves nothing of QoS 1 for the others.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::api::message::{Ack, Message, Pending, Qos, Received, Share};
use crate::api::topic::Id;
use crate::api::topic::matches;

mod queue;

use queue::{Reader, Sender, queue};

/// What a stream holds of QoS 1 beyond its capacity, at least: AWS has at most 100 on their way,
/// and MQTT 3.1.1 leaves it to the server. In MQTT 5 it has as many as it is told.
const WINDOW: usize = 1024;

/// The streams.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    /// How many of QoS 1 a stream takes beyond its capacity, and how many wait for one.
    window: usize,
    /// Whether messages for which there was no stream yet wait for one.
    keeps_unclaimed: bool,
    /// Each with the connection it came over: over another one its acknowledgement would be of
    /// something else.
    unclaimed: Vec<(Received, u64, Ack)>,
    /// How many more found no room to wait.
    beyond: usize,
    /// Filters that have had a stream: what comes for them once it is gone is nobody's.
    claimed: Vec<String>,
    /// Filters with the identifiers that the server knows their subscriptions by.
    identifiers: Vec<(String, u32)>,
    /// Those of subscriptions that have ended: what a server still sends for them is nobody's.
    retired: Vec<u32>,
    /// How many messages of QoS 1 the server leaves unacknowledged, as far as is known, and how
    /// many it has over this connection.
    most: usize,
    outstanding: usize,
    full: Full,
}

/// Whether it is told that the server's window is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Full {
    #[default]
    No,
    ToTell,
    Told,
}

#[derive(Debug)]
pub(crate) struct Route {
    /// `None` is the stream of all messages.
    target: Option<(Id, String)>,
    capacity: usize,
    sender: Sender,
    dropped: AtomicU64,
    /// How many of its messages are not acknowledged.
    held: Arc<AtomicUsize>,
}

/// The receiving side of a stream of messages.
#[derive(Debug)]
pub(crate) struct Receiver {
    messages: Reader,
    manual: bool,
}

/// A stream for a subscription, or for all messages.
pub(crate) fn route(
    target: Option<(Id, String)>,
    capacity: usize,
    manual: bool,
) -> (Route, Receiver) {
    let (sender, messages) = queue();
    let route = Route {
        target,
        capacity,
        sender,
        dropped: AtomicU64::new(0),
        held: Arc::default(),
    };
    (route, Receiver { messages, manual })
}

impl Routes {
    /// A session that goes on brings messages before anybody has subscribed: where
    /// `keeps_unclaimed`, they wait.
    pub(crate) fn new(keeps_unclaimed: bool, receive_maximum: u16) -> Self {
        let most = usize::from(receive_maximum);
        Self {
            keeps_unclaimed,
            window: WINDOW.max(most),
            most,
            ..Self::default()
        }
    }

    /// What came over earlier connections and was not acknowledged will come again over that one,
    /// if the session goes on; if it does not, here is the only copy.
    pub(crate) fn begin_connection(&mut self, generation: u64, session_present: bool, most: usize) {
        self.most = most;
        (self.outstanding, self.full) = (0, Full::No);
        if !session_present {
            self.retired.clear();
        }
        if session_present {
            self.unclaimed.clear();
            self.routes
                .iter()
                .for_each(|route| route.sender.forget_before(generation));
        }
    }

    /// The identifiers of the subscriptions.
    pub(crate) fn know(&mut self, identifiers: Vec<(String, u32)>) {
        let before = std::mem::replace(&mut self.identifiers, identifiers)
            .into_iter()
            .map(|(_, identifier)| identifier);
        let is_known = |identifier: &u32| {
            self.identifiers
                .iter()
                .any(|(_, known)| known == identifier)
        };
        self.retired
            .extend(before.filter(|identifier| !is_known(identifier)));
        self.retired.dedup();
        let beyond = self.retired.len().saturating_sub(WINDOW);
        self.retired.drain(..beyond);
    }

    /// One message less is unacknowledged.
    pub(crate) fn acknowledged(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if self.outstanding <= self.most / 2 {
            self.full = Full::No;
        }
    }

    /// When the server's window has become full: of which stream most of it is, and how much.
    pub(crate) fn take_full(&mut self) -> Option<(String, usize)> {
        if self.full != Full::ToTell {
            return None;
        }
        self.full = Full::Told;
        let held = |route: &&Route| route.held.load(Ordering::Relaxed);
        let fullest = self
            .routes
            .iter()
            .max_by_key(held)
            .filter(|route| held(route) > 0)?;
        Some((fullest.filter(), held(&fullest)))
    }

    pub(crate) fn keeps_unclaimed(&self) -> bool {
        self.keeps_unclaimed
    }

    /// What the session brought and no stream has claimed by now is not wanted: it is acknowledged.
    /// Returns how many messages that are.
    pub(crate) fn end_waiting(&mut self, acks: &mpsc::UnboundedSender<(u64, Ack)>) -> usize {
        self.keeps_unclaimed = false;
        self.claimed = Vec::new();
        let unclaimed = std::mem::take(&mut self.unclaimed);
        let count = unclaimed.len() + std::mem::take(&mut self.beyond);
        for (_, generation, ack) in unclaimed {
            let _ = acks.send((generation, ack));
        }
        count
    }

    pub(crate) fn add(&mut self, route: Route, acks: &mpsc::UnboundedSender<(u64, Ack)>) {
        if let Some((_, filter)) = &route.target
            && self.keeps_unclaimed
            && !self.claimed.contains(filter)
        {
            self.claimed.push(filter.clone());
        }
        let (ours, others) = std::mem::take(&mut self.unclaimed)
            .into_iter()
            .partition::<Vec<_>, _>(|(received, ..)| {
                route.target.is_some() && route.wants(&received.topic)
            });
        self.unclaimed = others;
        self.routes.push(route);
        for (received, generation, ack) in ours {
            self.hand_out(received, Some(ack), generation, acks);
        }
    }

    /// Lets go of those that nobody reads any more.
    pub(crate) fn forget_left(&mut self) {
        self.routes.retain(|route| !route.sender.is_left());
    }

    /// Whether that subscription still has its stream.
    pub(crate) fn has(&self, id: Id) -> bool {
        self.routes
            .iter()
            .any(|route| route.target.as_ref().is_some_and(|(other, _)| *other == id))
    }

    /// Ends the streams of those filters.
    pub(crate) fn remove(&mut self, filters: &[String]) {
        self.routes.retain(|route| {
            !route
                .target
                .as_ref()
                .is_some_and(|(_, filter)| filters.contains(filter))
        });
    }

    /// Ends one stream.
    pub(crate) fn remove_one(&mut self, id: Id) {
        self.routes
            .retain(|route| route.target.as_ref().is_none_or(|(other, _)| *other != id));
    }

    /// Hands a message to every stream it belongs to. What no stream takes is acknowledged at once.
    pub(crate) fn deliver(
        &mut self,
        received: Received,
        ack: Option<Ack>,
        generation: u64,
        acks: &mpsc::UnboundedSender<(u64, Ack)>,
    ) {
        self.outstanding += usize::from(ack.is_some());
        self.hand_out(received, ack, generation, acks);
        if self.full == Full::No && self.outstanding >= self.most {
            self.full = Full::ToTell;
        }
    }

    fn hand_out(
        &mut self,
        received: Received,
        ack: Option<Ack>,
        generation: u64,
        acks: &mpsc::UnboundedSender<(u64, Ack)>,
    ) {
        self.forget_left();
        let through = self.through(&received);
        let takers: Vec<&Route> = self
            .routes
            .iter()
            .filter(|route| route.takes(&received, &through))
            .collect();
        let is_early = || {
            self.keeps_unclaimed
                && !self
                    .claimed
                    .iter()
                    .any(|filter| matches(filter, &received.topic))
        };
        if takers.is_empty() {
            if let Some(ack) = ack {
                if is_early() {
                    if self.unclaimed.len() < self.window {
                        self.unclaimed.push((received, generation, ack));
                        return;
                    }
                    self.beyond += 1;
                }
                let _ = acks.send((generation, ack));
            }
            return;
        }
        let received = Arc::new(received);
        let pending = ack.map(|ack| Pending::new(takers.len(), generation, ack, acks.clone()));
        for route in takers {
            let share = pending.as_ref().map(|pending| pending.share(&route.held));
            let limit = match received.qos {
                Qos::AtMostOnce => route.capacity,
                _ => route.capacity + self.window,
            };
            if route.sender.len() >= limit {
                route.dropped.fetch_add(1, Ordering::Relaxed);
                // It is told, and must not take up the server's window for the rest of the
                // connection.
                share.inspect(Share::done);
                continue;
            }
            if let Err(message) = route.sender.send(Message {
                received: Arc::clone(&received),
                share,
            }) {
                message.ack();
            }
        }
    }

    /// What was dropped since the last question, by filter.
    pub(crate) fn take_dropped(&self) -> Vec<(String, u64)> {
        let dropped = |route: &Route| match route.dropped.swap(0, Ordering::Relaxed) {
            0 => None,
            count => Some((route.filter(), count)),
        };
        self.routes.iter().filter_map(dropped).collect()
    }
}

/// What is known of the subscriptions that a message came through.
enum Through<'a> {
    /// Nothing: its topic tells.
    Any,
    /// Those filters; `first` is whether the first of all that match is among them.
    These { filters: Vec<&'a str>, first: bool },
}

impl Routes {
    /// Where several subscriptions match, a server may send one message for each: a stream is to
    /// have it once.
    fn through(&self, received: &Received) -> Through<'_> {
        if received.identifiers.is_empty() {
            return Through::Any;
        }
        let matching = self
            .identifiers
            .iter()
            .filter(|(filter, _)| matches(filter, &received.topic));
        let is_of = |identifier: &u32| received.identifiers.contains(identifier);
        let filters: Vec<&str> = matching
            .clone()
            .filter(|(_, one)| is_of(one))
            .map(|(filter, _)| filter.as_str())
            .collect();
        match matching.map(|(_, identifier)| identifier).min() {
            Some(first) if !filters.is_empty() => Through::These {
                filters,
                first: is_of(first),
            },
            _ if self.retired.iter().any(is_of) => Through::These {
                filters,
                first: false,
            },
            // Of a subscription that was made by an earlier process.
            _ => Through::Any,
        }
    }
}

impl Route {
    fn wants(&self, topic: &str) -> bool {
        self.target
            .as_ref()
            .is_none_or(|(_, filter)| matches(filter, topic))
    }

    fn takes(&self, received: &Received, through: &Through<'_>) -> bool {
        match (through, &self.target) {
            (Through::Any, _) => self.wants(&received.topic),
            (Through::These { first, .. }, None) => *first,
            (Through::These { filters, .. }, Some((_, own))) => filters.contains(&own.as_str()),
        }
    }

    /// Empty for the stream of all messages.
    fn filter(&self) -> String {
        self.target
            .as_ref()
            .map(|(_, filter)| filter.clone())
            .unwrap_or_default()
    }
}

impl Receiver {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let message = std::task::ready!(self.messages.poll_next(cx));
        Poll::Ready(message.map(|mut message| {
            if !self.manual
                && let Some(share) = message.share.take()
            {
                share.done();
            }
            message
        }))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        for message in self.messages.leave() {
            // Nobody will read it: with manual acknowledgement it stays the server's.
            if !self.manual {
                message.ack();
            }
        }
    }
}

impl Stream for Receiver {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        Receiver::poll_next(&mut self, cx)
    }
}

#[cfg(test)]
mod tests;
