//! Which stream gets which message, acknowledged when.

use super::*;
use futures_util::FutureExt as _;

type Acks = mpsc::UnboundedReceiver<(u64, crate::api::message::Ack)>;

fn routes(
    routes: Vec<Route>,
) -> (
    Routes,
    mpsc::UnboundedSender<(u64, crate::api::message::Ack)>,
    Acks,
) {
    let (acks, acked) = mpsc::unbounded_channel();
    (
        Routes {
            routes,
            ..Routes::new(false, 0)
        },
        acks,
        acked,
    )
}

fn received(topic: &str, qos: Qos) -> (Received, Option<crate::api::message::Ack>) {
    let properties = crate::api::message::Properties::default();
    let payload = "x".into();
    let ack = (qos == Qos::AtLeastOnce).then(|| crate::api::message::Ack::for_test(1));
    let identifiers = Vec::new();
    (
        Received {
            topic: topic.into(),
            payload,
            qos,
            retain: false,
            duplicate: false,
            properties,
            identifiers,
        },
        ack,
    )
}

fn next(receiver: &mut Receiver) -> Option<Message> {
    std::future::poll_fn(|cx| receiver.poll_next(cx))
        .now_or_never()
        .flatten()
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
    assert!(
        acked.try_recv().is_err(),
        "one of the two has not read it yet"
    );
    assert!(next(&mut everything).is_some());
    assert_eq!(acked.try_recv().unwrap().0, 5);
}

#[test]
fn a_message_that_a_server_sends_for_each_subscription_comes_once_to_each_stream() {
    let (one, mut first) = route(Some((1, "a/+".into())), 8, false);
    let (two, mut second) = route(Some((2, "a/b".into())), 8, false);
    let (all, mut everything) = route(None, 8, false);
    let (mut routes, acks, _acked) = routes(vec![one, two, all]);
    routes.know(vec![("a/+".into(), 7), ("a/b".into(), 8)]);
    // For each, for both in one, and by the topic alone where the identifiers are of an earlier
    // process.
    for messages in [
        vec![vec![7], vec![8]],
        vec![vec![7, 8]],
        vec![vec![99]],
        vec![vec![]],
    ] {
        for identifiers in &messages {
            let (mut message, ack) = received("a/b", Qos::AtLeastOnce);
            message.identifiers = identifiers.clone();
            routes.deliver(message, ack, 1, &acks);
        }
        for stream in [&mut first, &mut second, &mut everything] {
            assert_eq!(
                std::iter::from_fn(|| next(stream)).count(),
                1,
                "{messages:?}"
            );
        }
    }
}

#[test]
fn what_a_server_still_sends_for_a_subscription_that_has_ended_is_no_second_copy() {
    let (one, mut stream) = route(Some((1, "a/+".into())), 8, false);
    let (all, mut everything) = route(None, 8, false);
    let (mut routes, acks, mut acked) = routes(vec![one, all]);
    routes.know(vec![("#".into(), 6), ("a/+".into(), 7)]);
    routes.know(vec![("a/+".into(), 7)]);
    for identifier in [6, 7] {
        let (mut message, ack) = received("a/b", Qos::AtLeastOnce);
        message.identifiers = vec![identifier];
        routes.deliver(message, ack, 1, &acks);
    }
    for stream in [&mut stream, &mut everything] {
        assert_eq!(std::iter::from_fn(|| next(stream)).count(), 1);
    }
    assert_eq!(std::iter::from_fn(|| acked.try_recv().ok()).count(), 2);
}

#[test]
fn the_stream_that_fills_the_window_is_told_once_each_time() {
    let (one, mut slow) = route(Some((1, "slow".into())), 8, false);
    let (two, mut quick) = route(Some((2, "quick".into())), 8, false);
    let (mut routes, acks, mut acked) = routes(vec![one, two]);
    routes.most = 4;
    for round in 0..2 {
        let mut told = Vec::new();
        for topic in ["slow", "quick", "slow", "slow", "slow"] {
            let (message, ack) = received(topic, Qos::AtLeastOnce);
            routes.deliver(message, ack, 1, &acks);
            told.extend(routes.take_full());
        }
        assert_eq!(told, [("slow".to_owned(), 3)], "{round}");
        for stream in [&mut slow, &mut quick] {
            while next(stream).is_some() {}
        }
        while acked.try_recv().is_ok() {
            routes.acknowledged();
        }
    }
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
    routes.begin_connection(1, true, 100);
    for topic in ["a/1", "b/1"] {
        let (message, ack) = received(topic, Qos::AtLeastOnce);
        routes.deliver(message, ack, 1, &acks);
    }
    routes.begin_connection(2, false, 100);
    let (one, mut stream) = route(Some((1, "a/+".into())), 8, false);
    routes.add(one, &acks);
    assert_eq!(next(&mut stream).unwrap().topic(), "a/1", "the only copy");
    assert_eq!(routes.end_waiting(&acks), 1);
    assert_eq!(
        [acked.try_recv().unwrap().0, acked.try_recv().unwrap().0],
        [1, 1]
    );
}

#[test]
fn what_will_be_sent_again_does_not_pile_up_in_a_stream_that_nobody_reads() {
    for (session_present, expected) in [(true, 60), (false, 120)] {
        let (one, mut stream) = route(Some((1, "a".into())), 8, false);
        let (mut routes, acks, mut acked) = routes(vec![one]);
        for generation in [1, 2] {
            routes.begin_connection(generation, session_present, 100);
            for _ in 0..60 {
                let (message, ack) = received("a", Qos::AtLeastOnce);
                routes.deliver(message, ack, generation, &acks);
            }
        }
        assert_eq!(std::iter::from_fn(|| next(&mut stream)).count(), expected);
        let current =
            std::iter::from_fn(|| acked.try_recv().ok()).filter(|(generation, _)| *generation == 2);
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
        assert_eq!(
            routes.end_waiting(&acks),
            expected,
            "later ones do not wait"
        );
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
    assert_eq!(
        (acked.len(), routes.take_dropped()),
        (2, vec![("a".to_owned(), 2)])
    );
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
    assert_eq!(
        (acked.len(), routes.end_waiting(&acks), acked.len()),
        (2, 5, 5)
    );
    acked.close();
}

#[test]
fn a_full_stream_drops_qos_0_and_says_so_and_keeps_qos_1() {
    let (one, mut stream) = route(Some((1, "a".into())), 2, false);
    let (mut routes, acks, _acked) = routes(vec![one]);
    for qos in [
        Qos::AtMostOnce,
        Qos::AtMostOnce,
        Qos::AtMostOnce,
        Qos::AtLeastOnce,
    ] {
        let (message, ack) = received("a", qos);
        routes.deliver(message, ack, 1, &acks);
    }
    assert_eq!(routes.take_dropped(), [("a".to_owned(), 1)]);
    assert!(routes.take_dropped().is_empty());
    let kept = std::iter::from_fn(|| next(&mut stream)).count();
    assert_eq!(kept, 3);
}
