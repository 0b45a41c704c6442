//! How messages, calls and connections end, seen at a broker that keeps to a script.

use std::time::Duration;

use brs::mqtt::{self, Event, Outcome, Publish, Qos, State, WhenFull, WhenSessionLost};
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use crate::scripted::{
    BOTH, CONNECT, DISCONNECT, Deed, PINGREQ, PUBLISH, SUBSCRIBE, Scripted, UNSUBSCRIBE, agree,
    lost,
};
use crate::support::{LIMIT, in_time, lasting, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_which_the_server_closes_again_and_again_fails_and_the_others_go_on() {
    // Where the session is kept, it is the library that sends the message again.
    for (protocol, kept) in BOTH
        .into_iter()
        .flat_map(|protocol| [(protocol, false), (protocol, true)])
    {
        let broker = Scripted::start(move |packet| match packet.kind() {
            CONNECT => Deed::Send(packet.accept(kept && packet.connection > 0)),
            PUBLISH if packet.holds("forbidden") => Deed::SendAndClose(Vec::new()),
            _ => agree(packet),
        })
        .await;
        let mut options = world()
            .options(broker.endpoint(), "limited")
            .protocol(protocol);
        if kept {
            options = lasting(options, protocol);
            // Which does not say anything about the others: their session lives on.
            options = options.when_session_lost(WhenSessionLost::Fail);
        }
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let publish = |topic| connection.publish(Publish::new(topic, "x"));
        let (before, forbidden, after) = in_time(async {
            tokio::join!(publish("before"), publish("forbidden"), publish("after"))
        })
        .await;
        before.unwrap();
        after.unwrap();
        let error = forbidden.unwrap_err();
        assert_eq!(Outcome::of(&error), Some(Outcome::NotTaken), "{error}");
        assert!(
            error.to_string().contains("`forbidden`") && error.to_string().contains("iot:Publish"),
            "{error}"
        );
        // Four, the first perhaps beside them, should it have ended before it was known what was
        // acknowledged.
        assert!(
            (5..=6).contains(&broker.seen(CONNECT).len()),
            "{protocol:?} {kept}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_longest_to_disconnect_waits_no_longer_than_the_most_hurried() {
    for (protocol, when) in BOTH
        .into_iter()
        .zip([WhenSessionLost::Requeue, WhenSessionLost::Fail])
    {
        let broker = Scripted::start(|packet| match packet.kind() {
            PUBLISH => Deed::Nothing,
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "leaver")
            .protocol(protocol)
            .when_session_lost(when);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let first = connection.publish(Publish::new("never", "acknowledged"));
        let leaving = async {
            broker.until(PUBLISH, 1).await;
            let patient = connection.disconnect(Duration::from_secs(3600));
            let hurried = async {
                // The patient one is being carried out.
                let error = connection.subscribe("late").await.unwrap_err();
                let late = connection
                    .publish(Publish::new("late", "x"))
                    .await
                    .unwrap_err();
                assert_eq!([&error, &late].map(Outcome::of), [Some(Outcome::Closed); 2]);
                connection.disconnect(Duration::ZERO).await
            };
            tokio::join!(patient, hurried)
        };
        let (first, (patient, hurried)) = in_time(async { tokio::join!(first, leaving) }).await;
        let error = first.unwrap_err();
        assert_eq!(Outcome::of(&error), Some(Outcome::Closed), "{error}");
        assert!(error.to_string().contains("0ns"), "{error}");
        assert!(
            patient.is_err() && hurried.is_err(),
            "something was left over"
        );
        // With a goodbye: no last will is published.
        in_time(broker.until(DISCONNECT, 1)).await;
        let error = connection
            .publish(Publish::new("later still", "x"))
            .await
            .unwrap_err();
        assert!(
            Outcome::of(&error) == Some(Outcome::Closed) && error.is_unrecoverable(),
            "{error}"
        );
        let mut events = connection.events();
        assert!(
            matches!(in_time(events.next()).await, Some(Event::Closed)),
            "a late caller is told, too"
        );
        assert!(in_time(events.next()).await.is_none());
        assert_eq!(broker.seen(SUBSCRIBE).len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnecting_waits_for_publishes_without_room_and_for_an_unsubscribe() {
    for protocol in BOTH {
        let broker = Scripted::start(|packet| match packet.kind() {
            UNSUBSCRIBE => Deed::Send(packet.unsuback()),
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "finisher")
            .protocol(protocol)
            .outbox_messages(1);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let _subscription = in_time(connection.subscribe("a")).await.unwrap();
        let publishes = join_all(
            (0..20).map(|number| connection.publish(Publish::new("p", number.to_string()))),
        );
        let all = async {
            tokio::join!(
                publishes,
                connection.unsubscribe(["a"]),
                connection.disconnect(LIMIT)
            )
        };
        let (published, unsubscribed, disconnected) = in_time(all).await;
        assert!(published.iter().all(Result::is_ok), "{published:?}");
        unsubscribed.unwrap();
        disconnected.unwrap();
        assert_eq!(
            (
                broker.seen(PUBLISH).len(),
                in_time(broker.until(DISCONNECT, 1)).await.len()
            ),
            (20, 1)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_that_were_let_go_do_not_pile_up_and_refused_ones_are_not_counted() {
    for protocol in BOTH {
        let broker = Scripted::start(move |packet| match (packet.kind(), packet.connection) {
            // Three filters in one packet, the last of which is withdrawn.
            (SUBSCRIBE, 1) => {
                let [high, low] = packet.id();
                let codes = [1, 1, if packet.v5 { 0x87 } else { 0x80 }];
                let head = if packet.v5 {
                    vec![0x90, 6, high, low, 0]
                } else {
                    vec![0x90, 5, high, low]
                };
                Deed::Send([&head[..], &codes].concat())
            }
            (PUBLISH, 0) => Deed::SendAndClose(Vec::new()),
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "fickle")
            .protocol(protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let _kept = in_time(connection.subscribe("kept")).await.unwrap();
        for _ in 0..20 {
            drop(in_time(connection.subscribe("dropped")).await.unwrap());
        }
        let mut withdrawn = in_time(connection.subscribe("withdrawn")).await.unwrap();
        let mut events = connection.events();
        in_time(connection.publish(Publish::new("lost", "x")))
            .await
            .unwrap();
        let mut refused = Vec::new();
        let granted = loop {
            match in_time(events.next()).await.unwrap() {
                Event::SubscriptionRefused { filter, .. } => refused.push(filter),
                Event::Resubscribed { filters } => break filters,
                _ => {}
            }
        };
        assert_eq!(
            (granted, refused),
            (2, vec!["withdrawn".to_owned()]),
            "{protocol:?}"
        );
        assert!(in_time(withdrawn.next()).await.is_none());
        let seen = broker.seen(SUBSCRIBE);
        assert_eq!(
            seen.iter().filter(|packet| packet.connection == 1).count(),
            1,
            "one packet"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_an_outbox_that_may_holds_qos_0_and_a_full_one_says_so() {
    let broker = Scripted::start(|packet| match (packet.kind(), packet.connection) {
        (CONNECT, 0) => Deed::SendAndClose(packet.accept(false)),
        (PUBLISH, _) => Deed::Nothing,
        _ => agree(packet),
    })
    .await;
    let hour = Duration::from_secs(3600);
    let options = world()
        .options(broker.endpoint(), "holder")
        .reconnect_backoff(hour, hour);
    let options = options
        .hold_at_most_once(true)
        .outbox_messages(1)
        .when_full(WhenFull::Error);
    let connection = in_time(mqtt::connect(options)).await.unwrap();
    while connection.state() == State::Connected {
        tokio::task::yield_now().await;
    }
    let mut held = Box::pin(connection.publish(Publish::new("a", "held").qos(Qos::AtMostOnce)));
    assert!(held.as_mut().now_or_never().is_none());
    let error = in_time(connection.publish(Publish::new("a", "too much")))
        .await
        .unwrap_err();
    assert_eq!(Outcome::of(&error), Some(Outcome::Full), "{error}");
    connection.reconnect().await;
    in_time(held).await.unwrap();
    let seen = in_time(broker.until(PUBLISH, 1)).await;
    assert!(seen[0].holds("held") && seen[0].first >> 1 & 3 == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_dead_is_noticed_by_the_keep_alive() {
    let broker = Scripted::start(agree).await;
    let options = world()
        .options(broker.endpoint(), "silent")
        .keep_alive(Duration::from_secs(5));
    let connection = in_time(mqtt::connect(options)).await.unwrap();
    // Nobody answers its PINGREQ.
    let error = lost(&mut connection.events()).await;
    assert!(error.to_string().contains("the line is dead"), "{error}");
    assert_eq!(broker.seen(PINGREQ).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_dead_is_noticed_though_it_is_never_silent() {
    for protocol in BOTH {
        let broker = Scripted::start(|packet| match packet.kind() {
            PUBLISH => Deed::Deafen,
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "busy")
            .protocol(protocol);
        let options = options.keep_alive(Duration::from_secs(5));
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut events = connection.events();
        let large = vec![0; 100_000];
        let publishing = async {
            // Until no socket on the way takes any more, and beyond.
            while connection
                .publish(Publish::new("a", large.clone()).qos(Qos::AtMostOnce))
                .await
                .is_ok()
            {}
        };
        let ((), error) = in_time(async { tokio::join!(publishing, lost(&mut events)) }).await;
        assert!(
            error.to_string().contains("the line is dead"),
            "{protocol:?}: {error:?}"
        );
    }
}
