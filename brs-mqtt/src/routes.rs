//! Which stream gets which message.
//!
//! Owns the streams' sending sides and their bounds. Nobody who reads slowly stops the connection or its keep-alive: a
//! full stream takes no more messages of QoS 0 (counted and told), while those of QoS 1 wait in the server, which sends
//! no more than it may have unacknowledged. That window is the connection's: whoever leaves all of it unread leaves
//! nothing of QoS 1 for the others.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

use crate::message::{Message, Pending, Qos, Received, Share};
use crate::subscriptions::Id;
use crate::topic::matches;
use crate::wire;

mod queue;

use queue::{Reader, Sender, queue};

/// What a stream holds of QoS 1 beyond its capacity, at least: AWS has at most 100 on their way, and MQTT 3.1.1 leaves
/// it to the server. In MQTT 5 it has as many as it is told.
const WINDOW: usize = 1024;

/// The streams.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    routes: Vec<Route>,
    /// How many of QoS 1 a stream takes beyond its capacity, and how many wait for one.
    window: usize,
    /// Whether messages for which there was no stream yet wait for one.
    keeps_unclaimed: bool,
    /// Each with the connection it came over: over another one its acknowledgement would be of something else.
    unclaimed: Vec<(Received, u64, wire::Ack)>,
    /// How many more found no room to wait.
    beyond: usize,
    /// Filters that have had a stream: what comes for them once it is gone is nobody's.
    claimed: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Route {
    /// `None` is the stream of all messages.
    target: Option<(Id, String)>,
    capacity: usize,
    sender: Sender,
    dropped: AtomicU64,
}

/// The receiving side of a stream of messages.
#[derive(Debug)]
pub(crate) struct Receiver {
    messages: Reader,
    manual: bool,
}

/// A stream for a subscription, or for all messages.
pub(crate) fn route(target: Option<(Id, String)>, capacity: usize, manual: bool) -> (Route, Receiver) {
    let (sender, messages) = queue();
    (Route { target, capacity, sender, dropped: AtomicU64::new(0) }, Receiver { messages, manual })
}

impl Routes {
    /// A session that goes on brings messages before anybody has subscribed: where `keeps_unclaimed`, they wait.
    pub(crate) fn new(keeps_unclaimed: bool, receive_maximum: u16) -> Self {
        Self { keeps_unclaimed, window: WINDOW.max(receive_maximum.into()), ..Self::default() }
    }

    /// What came over earlier connections and was not acknowledged will come again over that one, if the session goes
    /// on; if it does not, here is the only copy.
    pub(crate) fn begin_connection(&mut self, generation: u64, session_present: bool) {
        if session_present {
            self.unclaimed.clear();
            self.routes.iter().for_each(|route| route.sender.forget_before(generation));
        }
    }

    pub(crate) fn keeps_unclaimed(&self) -> bool {
        self.keeps_unclaimed
    }

    /// Whoever has not subscribed by now does not want what the session brought: it is acknowledged, and nothing waits
    /// any more. How many messages that are.
    pub(crate) fn end_waiting(&mut self, acks: &mpsc::UnboundedSender<(u64, wire::Ack)>) -> usize {
        self.keeps_unclaimed = false;
        self.claimed = Vec::new();
        let unclaimed = std::mem::take(&mut self.unclaimed);
        let count = unclaimed.len() + std::mem::take(&mut self.beyond);
        for (_, generation, ack) in unclaimed {
            let _ = acks.send((generation, ack));
        }
        count
    }

    pub(crate) fn add(&mut self, route: Route, acks: &mpsc::UnboundedSender<(u64, wire::Ack)>) {
        if let Some((_, filter)) = &route.target
            && self.keeps_unclaimed
            && !self.claimed.contains(filter)
        {
            self.claimed.push(filter.clone());
        }
        let (ours, others) = std::mem::take(&mut self.unclaimed)
            .into_iter()
            .partition::<Vec<_>, _>(|(received, ..)| route.target.is_some() && route.wants(&received.topic));
        self.unclaimed = others;
        self.routes.push(route);
        for (received, generation, ack) in ours {
            self.deliver(received, Some(ack), generation, acks);
        }
    }

    /// Lets go of those that nobody reads any more.
    pub(crate) fn forget_left(&mut self) {
        self.routes.retain(|route| !route.sender.is_left());
    }

    /// Whether that subscription still has its stream.
    pub(crate) fn has(&self, id: Id) -> bool {
        self.routes.iter().any(|route| route.target.as_ref().is_some_and(|(other, _)| *other == id))
    }

    /// Ends the streams of those filters.
    pub(crate) fn remove(&mut self, filters: &[String]) {
        self.routes.retain(|route| !route.target.as_ref().is_some_and(|(_, filter)| filters.contains(filter)));
    }

    /// Ends one stream.
    pub(crate) fn remove_one(&mut self, id: Id) {
        self.routes.retain(|route| route.target.as_ref().is_none_or(|(other, _)| *other != id));
    }

    /// Hands a message to every stream it belongs to. What no stream takes is acknowledged at once.
    pub(crate) fn deliver(
        &mut self,
        received: Received,
        ack: Option<wire::Ack>,
        generation: u64,
        acks: &mpsc::UnboundedSender<(u64, wire::Ack)>,
    ) {
        self.forget_left();
        let takers: Vec<&Route> = self.routes.iter().filter(|route| route.wants(&received.topic)).collect();
        let is_early = || self.keeps_unclaimed && !self.claimed.iter().any(|filter| matches(filter, &received.topic));
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
            let share = pending.as_ref().map(Pending::share);
            let limit = match received.qos {
                Qos::AtMostOnce => route.capacity,
                _ => route.capacity + self.window,
            };
            if route.sender.len() >= limit {
                route.dropped.fetch_add(1, Ordering::Relaxed);
                // It is told, and must not take up the server's window for the rest of the connection.
                share.inspect(Share::done);
                continue;
            }
            if let Err(message) = route.sender.send(Message { received: Arc::clone(&received), share }) {
                message.ack();
            }
        }
    }

    /// What was dropped since the last question, by filter.
    pub(crate) fn take_dropped(&self) -> Vec<(String, u64)> {
        let dropped = |route: &Route| match route.dropped.swap(0, Ordering::Relaxed) {
            0 => None,
            count => Some((route.target.as_ref().map(|(_, filter)| filter.clone()).unwrap_or_default(), count)),
        };
        self.routes.iter().filter_map(dropped).collect()
    }
}

impl Route {
    fn wants(&self, topic: &str) -> bool {
        self.target.as_ref().is_none_or(|(_, filter)| matches(filter, topic))
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
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    type Acks = mpsc::UnboundedReceiver<(u64, wire::Ack)>;

    fn routes(routes: Vec<Route>) -> (Routes, mpsc::UnboundedSender<(u64, wire::Ack)>, Acks) {
        let (acks, acked) = mpsc::unbounded_channel();
        (Routes { routes, ..Routes::new(false, 0) }, acks, acked)
    }

    fn received(topic: &str, qos: Qos) -> (Received, Option<wire::Ack>) {
        let properties = crate::message::Properties::default();
        let payload = "x".into();
        let ack = (qos == Qos::AtLeastOnce).then(|| wire::Ack::for_test(1));
        (Received { topic: topic.into(), payload, qos, retain: false, duplicate: false, properties }, ack)
    }

    fn next(receiver: &mut Receiver) -> Option<Message> {
        std::future::poll_fn(|cx| receiver.poll_next(cx)).now_or_never().flatten()
    }

    #[test]
    fn a_message_goes_to_every_stream_whose_filter_matches() {
        let (one, mut first) = route(Some((1, "a/+".into())), 8, false);
        let (two, mut second) = route(Some((2, "b/#".into())), 8, false);
        let (all, mut everything) = route(None, 8, false);
        let (mut routes, acks, mut acked) = routes(vec![one, two, all]);
        let (message, ack) = received("a/b", Qos::AtLeastOnce);
        routes.deliver(message, ack, 5, &acks);
        assert!(next(&mut first).is_some() && next(&mut second).is_none());
        assert!(acked.try_recv().is_err(), "one of the two has not read it yet");
        assert!(next(&mut everything).is_some());
        assert_eq!(acked.try_recv().unwrap().0, 5);
    }

    #[test]
    fn with_manual_acknowledgement_the_reader_says_when() {
        let (one, mut stream) = route(Some((1, "#".into())), 8, true);
        let (mut routes, acks, mut acked) = routes(vec![one]);
        let (message, ack) = received("a", Qos::AtLeastOnce);
        routes.deliver(message, ack, 1, &acks);
        let message = next(&mut stream).unwrap();
        assert!(acked.try_recv().is_err());
        message.ack();
        message.ack();
        assert!(acked.try_recv().is_ok() && acked.try_recv().is_err());
    }

    #[test]
    fn what_nobody_wants_is_acknowledged_at_once() {
        let (one, stream) = route(Some((1, "a".into())), 8, false);
        let (mut routes, acks, mut acked) = routes(vec![one]);
        for topic in ["b", "a"] {
            let (message, ack) = received(topic, Qos::AtLeastOnce);
            routes.deliver(message, ack, 1, &acks);
        }
        assert!(acked.try_recv().is_ok() && acked.try_recv().is_err());
        drop(stream);
        assert!(acked.try_recv().is_ok(), "its reader is gone");
    }

    #[test]
    fn what_a_session_brings_before_anybody_subscribes_waits() {
        let (mut routes, acks, mut acked) = routes(Vec::new());
        routes.keeps_unclaimed = true;
        for topic in ["a/1", "b/1"] {
            let (message, ack) = received(topic, Qos::AtLeastOnce);
            routes.deliver(message, ack, 1, &acks);
        }
        let (one, mut stream) = route(Some((1, "a/+".into())), 8, false);
        routes.add(one, &acks);
        assert_eq!(next(&mut stream).unwrap().topic(), "a/1");
        assert!(acked.try_recv().is_ok() && acked.try_recv().is_err());
        drop(stream);
        let (message, ack) = received("a/2", Qos::AtLeastOnce);
        routes.deliver(message, ack, 1, &acks);
        assert!(acked.try_recv().is_ok(), "its reader has come and gone");
    }

    #[test]
    fn what_waits_is_acknowledged_over_the_connection_it_came_over() {
        let (mut routes, acks, mut acked) = routes(Vec::new());
        routes.keeps_unclaimed = true;
        routes.begin_connection(1, true);
        for topic in ["a/1", "b/1"] {
            let (message, ack) = received(topic, Qos::AtLeastOnce);
            routes.deliver(message, ack, 1, &acks);
        }
        routes.begin_connection(2, false);
        let (one, mut stream) = route(Some((1, "a/+".into())), 8, false);
        routes.add(one, &acks);
        assert_eq!(next(&mut stream).unwrap().topic(), "a/1", "the only copy");
        assert_eq!(routes.end_waiting(&acks), 1);
        assert_eq!([acked.try_recv().unwrap().0, acked.try_recv().unwrap().0], [1, 1]);
    }

    #[test]
    fn what_will_be_sent_again_does_not_pile_up_in_a_stream_that_nobody_reads() {
        for (session_present, expected) in [(true, 60), (false, 120)] {
            let (one, mut stream) = route(Some((1, "a".into())), 8, false);
            let (mut routes, acks, mut acked) = routes(vec![one]);
            for generation in [1, 2] {
                routes.begin_connection(generation, session_present);
                for _ in 0..60 {
                    let (message, ack) = received("a", Qos::AtLeastOnce);
                    routes.deliver(message, ack, generation, &acks);
                }
            }
            assert_eq!(std::iter::from_fn(|| next(&mut stream)).count(), expected);
            let current = std::iter::from_fn(|| acked.try_recv().ok()).filter(|(generation, _)| *generation == 2);
            assert_eq!(current.count(), 60, "the server's window is free again");
        }
    }

    #[test]
    fn what_nobody_subscribes_to_in_time_is_acknowledged() {
        let (mut routes, acks, mut acked) = routes(Vec::new());
        routes.keeps_unclaimed = true;
        for expected in [1, 0] {
            let (message, ack) = received("a/1", Qos::AtLeastOnce);
            routes.deliver(message, ack, 3, &acks);
            assert_eq!(routes.end_waiting(&acks), expected, "later ones do not wait");
            assert_eq!(acked.try_recv().unwrap().0, 3);
        }
    }

    #[test]
    fn what_finds_no_room_in_its_stream_is_acknowledged_and_told() {
        let (one, mut stream) = route(Some((1, "a".into())), 1, false);
        let (mut routes, acks, mut acked) = routes(vec![one]);
        routes.window = 2;
        for _ in 0..5 {
            let (message, ack) = received("a", Qos::AtLeastOnce);
            routes.deliver(message, ack, 1, &acks);
        }
        assert_eq!((acked.len(), routes.take_dropped()), (2, vec![("a".to_owned(), 2)]));
        assert_eq!(std::iter::from_fn(|| next(&mut stream)).count(), 3);
        assert_eq!(std::iter::from_fn(|| acked.try_recv().ok()).count(), 5);
    }

    #[test]
    fn what_finds_no_room_to_wait_is_counted_too() {
        let (mut routes, acks, mut acked) = routes(Vec::new());
        (routes.keeps_unclaimed, routes.window) = (true, 3);
        for _ in 0..5 {
            let (message, ack) = received("a/1", Qos::AtLeastOnce);
            routes.deliver(message, ack, 1, &acks);
        }
        assert_eq!((acked.len(), routes.end_waiting(&acks), acked.len()), (2, 5, 5));
        acked.close();
    }

    #[test]
    fn a_full_stream_drops_qos_0_and_says_so_and_keeps_qos_1() {
        let (one, mut stream) = route(Some((1, "a".into())), 2, false);
        let (mut routes, acks, _acked) = routes(vec![one]);
        for qos in [Qos::AtMostOnce, Qos::AtMostOnce, Qos::AtMostOnce, Qos::AtLeastOnce] {
            let (message, ack) = received("a", qos);
            routes.deliver(message, ack, 1, &acks);
        }
        assert_eq!(routes.take_dropped(), [("a".to_owned(), 1)]);
        assert!(routes.take_dropped().is_empty());
        let kept = std::iter::from_fn(|| next(&mut stream)).count();
        assert_eq!(kept, 3);
    }
}
