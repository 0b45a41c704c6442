//! What goes over the wire and what answers mean, seen at a broker that keeps to a script.

use std::time::{Duration, SystemTime};

use brs::mqtt::{self, Event, Outcome, Protocol, Publish, Qos, State, Subscribe, WhenSessionLost};
use brs_core::test_util::ManualClock;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use crate::scripted::{
    BOTH, CONNECT, Deed, PUBACK, PUBLISH, Packet, SUBSCRIBE, Scripted, UNSUBSCRIBE, agree, lost,
};
use crate::support::{LIMIT, in_time, lasting, world};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_within_a_session_has_its_dup_flag_and_its_id() {
    for protocol in BOTH {
        // Nothing is acknowledged over the first connection, which ends; its session goes on over
        // the second.
        let broker = Scripted::start(|packet| match (packet.kind(), packet.connection) {
            (CONNECT, number) => Deed::Send(packet.accept(number > 0)),
            (PUBLISH, 0) => Deed::SendAndClose(Vec::new()),
            _ => agree(packet),
        })
        .await;
        let options = lasting(world().options(broker.endpoint(), "again"), protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        in_time(connection.publish(Publish::new("a", "x")))
            .await
            .unwrap();
        let seen = broker.seen(PUBLISH);
        let flags: Vec<_> = seen
            .iter()
            .map(|packet| (packet.connection, packet.is_duplicate()))
            .collect();
        assert_eq!(flags, [(0, false), (1, true)], "{protocol:?}");
        assert_eq!(seen[0].id(), seen[1].id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lost_session_leaves_is_published_anew_or_fails_as_chosen() {
    for (when, protocol) in [WhenSessionLost::Requeue, WhenSessionLost::Fail]
        .into_iter()
        .flat_map(|w| BOTH.map(|p| (w, p)))
    {
        let broker = Scripted::start(|packet| match (packet.kind(), packet.connection) {
            (PUBLISH, 0) => Deed::SendAndClose(Vec::new()),
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "anew")
            .protocol(protocol)
            .when_session_lost(when);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let result = in_time(connection.publish(Publish::new("a", "x"))).await;
        let flags: Vec<_> = broker
            .seen(PUBLISH)
            .iter()
            .map(Packet::is_duplicate)
            .collect();
        match when {
            WhenSessionLost::Requeue => {
                result.unwrap();
                assert_eq!(flags, [false, false], "a new publish, {protocol:?}");
            }
            _ => {
                assert_eq!(
                    Outcome::of(&result.unwrap_err()),
                    Some(Outcome::SessionLost),
                    "{protocol:?}"
                );
                assert_eq!(flags, [false]);
            }
        }
    }
}

/// The first unsubscribe ends its connection; later ones are answered. `kept` is whether the
/// session goes on.
fn cut_at_unsubscribe(kept: bool) -> impl Fn(&Packet) -> Deed {
    move |packet| match (packet.kind(), packet.connection) {
        (CONNECT, number) => Deed::Send(packet.accept(kept && number > 0)),
        (UNSUBSCRIBE, 0) => Deed::SendAndClose(Vec::new()),
        (UNSUBSCRIBE, _) => Deed::Send(packet.unsuback()),
        _ => agree(packet),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribe_that_a_loss_cuts_off_is_asked_for_again() {
    for (protocol, kept) in BOTH
        .into_iter()
        .flat_map(|protocol| [(protocol, false), (protocol, true)])
    {
        let broker = Scripted::start(cut_at_unsubscribe(kept)).await;
        let options = lasting(world().options(broker.endpoint(), "away"), protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let _subscription = in_time(connection.subscribe("a/b")).await.unwrap();
        in_time(connection.unsubscribe(["a/b"])).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribe_that_a_loss_cuts_off_leaves_a_later_subscribe_alone() {
    for (protocol, kept) in BOTH
        .into_iter()
        .flat_map(|protocol| [(protocol, false), (protocol, true)])
    {
        let broker = Scripted::start(cut_at_unsubscribe(kept)).await;
        let options = world()
            .options(broker.endpoint(), "back")
            .protocol(protocol);
        let options = if kept {
            lasting(options, protocol)
        } else {
            options
        };
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let _subscription = in_time(connection.subscribe("a/b")).await.unwrap();
        let again = async {
            broker.until(UNSUBSCRIBE, 1).await;
            connection.subscribe("a/b").await
        };
        let (unsubscribed, again) =
            in_time(async { tokio::join!(connection.unsubscribe(["a/b"]), again) }).await;
        unsubscribed.unwrap();
        let _again = again.unwrap();
        // Whatever was sent before this has come by its end.
        in_time(connection.publish(Publish::new("later", "x")))
            .await
            .unwrap();
        let last = broker.seen_of(&[SUBSCRIBE, UNSUBSCRIBE]).pop().unwrap();
        assert_eq!(
            (last.kind(), last.connection),
            (SUBSCRIBE, 1),
            "{protocol:?} {kept}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_of_qos_0_is_on_its_way_at_a_loss_is_told_so_or_held_and_does_not_come_late() {
    const COUNT: usize = 200;
    let cases = [false, true]
        .into_iter()
        .flat_map(|kept| [(kept, false), (kept, true)]);
    for (protocol, (kept, holds)) in BOTH
        .into_iter()
        .flat_map(|protocol| cases.clone().map(move |case| (protocol, case)))
    {
        let broker = Scripted::start(move |packet| match (packet.kind(), packet.connection) {
            (CONNECT, number) => Deed::Send(packet.accept(kept && number > 0)),
            (PUBLISH, 0) => Deed::SendAndClose(Vec::new()),
            _ => agree(packet),
        })
        .await;
        let hour = Duration::from_secs(3600);
        let options = world()
            .options(broker.endpoint(), "slow")
            .protocol(protocol)
            .reconnect_backoff(hour, hour);
        let options = if kept {
            lasting(options, protocol)
        } else {
            options
        };
        let connection = in_time(mqtt::connect(options.hold_at_most_once(holds)))
            .await
            .unwrap();
        let mut events = connection.events();
        let large = vec![0; 100_000];
        let publishes = (0..COUNT)
            .map(|_| connection.publish(Publish::new("a", large.clone()).qos(Qos::AtMostOnce)));
        let reconnecting = async {
            lost(&mut events).await;
            // Without that, all of them would have to hear of it for the hour that the next try
            // takes.
            if holds {
                connection.reconnect().await;
            }
        };
        let (results, ()) =
            in_time(async { tokio::join!(join_all(publishes), reconnecting) }).await;
        let outcomes: Vec<_> = results
            .iter()
            .filter_map(|result| Outcome::of(result.as_ref().err()?))
            .collect();
        assert!(
            outcomes.len() == results.iter().filter(|result| result.is_err()).count()
                && outcomes.iter().all(|outcome| *outcome == Outcome::Offline),
            "{results:?}"
        );
        let case = format!(
            "{protocol:?}, kept {kept}, holds {holds}: {} lost",
            outcomes.len()
        );
        if holds {
            assert!(outcomes.len() <= 1, "{case}");
        } else {
            assert!(
                outcomes.len() > COUNT / 4,
                "sockets do not hold so much: {case}"
            );
            connection.reconnect().await;
            in_time(connection.publish(Publish::new("later", "x")))
                .await
                .unwrap();
            let seen = broker
                .seen(PUBLISH)
                .into_iter()
                .filter(|packet| packet.connection > 0)
                .count();
            assert_eq!(seen, 1, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscribe_that_waits_for_a_connection_is_waited_for() {
    let broker = Scripted::start(agree).await;
    let options = world()
        .options(broker.endpoint(), "early")
        .defer_connect(true);
    let connection = in_time(mqtt::connect(options)).await.unwrap();
    let both = async { tokio::join!(connection.subscribe("a"), connection.disconnect(LIMIT)) };
    let (subscribed, disconnected) = in_time(both).await;
    assert_eq!(subscribed.unwrap().granted(), Qos::AtLeastOnce);
    disconnected.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_so_is_believed_about_another_client() {
    let broker = Scripted::start(|packet| match packet.kind() {
        CONNECT => Deed::SendAndClose([packet.accept(false), vec![0xE0, 2, 0x8E, 0]].concat()),
        _ => Deed::Nothing,
    })
    .await;
    let connection = in_time(mqtt::connect(world().options(broker.endpoint(), "twin")))
        .await
        .unwrap();
    let mut events = connection.events();
    let certain = loop {
        if let Some(Event::DuplicateClientId { certain }) = in_time(events.next()).await {
            break certain;
        }
    };
    assert!(certain);
    let error = lost(&mut events).await;
    assert_eq!(Outcome::of(&error), Some(Outcome::DuplicateClientId));
    assert!(
        error
            .to_string()
            .contains("another client connected with the client id `twin`"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_carries_what_the_options_say() {
    let broker = Scripted::start(agree).await;
    let options = world()
        .options(broker.endpoint(), "carrier")
        .keep_alive(Duration::from_secs(1200))
        .session_expiry(Duration::from_secs(3600))
        .user_property("unit", "kelvin")
        .last_will(
            Publish::new("gone/carrier", "bye")
                .qos(Qos::AtLeastOnce)
                .retain(true),
        );
    let _connection = in_time(mqtt::connect(options)).await.unwrap();
    let connect = broker.seen(CONNECT).remove(0);
    // Name and level, flags: will retained, of QoS 1, clean start; keep-alive.
    assert_eq!(
        connect.body[..10],
        [0, 4, b'M', b'Q', b'T', b'T', 5, 0b0010_1110, 0x04, 0xB0]
    );
    for text in ["carrier", "unit", "kelvin", "gone/carrier", "bye"] {
        assert!(connect.holds(text), "{text}");
    }
    assert!(
        connect
            .body
            .windows(5)
            .any(|window| window == [0x11, 0, 0, 0x0E, 0x10]),
        "session expiry"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_future_dropped_before_the_outbox_took_its_message_cancels_it_and_later_nothing() {
    let broker = Scripted::start(|packet| match packet.kind() {
        PUBLISH if !packet.holds("fourth") => Deed::Nothing,
        SUBSCRIBE => Deed::Send([&[0x40, 2, 0, 1, 0x40, 2, 0, 2], &packet.suback(1)[..]].concat()),
        _ => agree(packet),
    })
    .await;
    let connection = mqtt::connect(
        world()
            .options(broker.endpoint(), "dropper")
            .outbox_messages(2),
    );
    let connection = in_time(connection).await.unwrap();
    // Two are taken, which is all there is room for, and dropped; the third waits for room when it
    // is dropped.
    for text in ["first", "second", "third"] {
        assert!(
            connection
                .publish(Publish::new("a", text))
                .now_or_never()
                .is_none()
        );
    }
    in_time(broker.until(PUBLISH, 2)).await;
    let _stream = in_time(connection.subscribe("both acknowledged"))
        .await
        .unwrap();
    in_time(connection.publish(Publish::new("a", "fourth")))
        .await
        .unwrap();
    let seen = broker.seen(PUBLISH);
    assert!(
        seen.len() == 3
            && ["first", "second", "fourth"]
                .iter()
                .zip(&seen)
                .all(|(text, packet)| packet.holds(text))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_it_is_read() {
    const COUNT: u8 = 50;
    for protocol in BOTH {
        let broker = Scripted::start(|packet| match packet.kind() {
            SUBSCRIBE => {
                let messages: Vec<u8> =
                    (1..=COUNT).flat_map(|id| packet.publish("b", id)).collect();
                Deed::Send([packet.suback(1), messages].concat())
            }
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "slow")
            .protocol(protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut stream = in_time(connection.subscribe(Subscribe::new("b").capacity(1)))
            .await
            .unwrap();
        // Over the same connection and later than all of them.
        in_time(connection.publish(Publish::new("other", "x")))
            .await
            .unwrap();
        assert_eq!(broker.seen(PUBACK).len(), 0, "{protocol:?}");
        for read in 1..=usize::from(COUNT) {
            in_time(stream.next()).await.unwrap();
            let acknowledged = in_time(broker.until(PUBACK, read)).await;
            assert_eq!(acknowledged.len(), read, "{protocol:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_brings_and_nobody_claims_does_not_block_it_for_ever() {
    let broker = Scripted::start(|packet| match packet.kind() {
        CONNECT => {
            let messages: Vec<u8> = (1..=100)
                .flat_map(|id| packet.publish("of/old", id))
                .collect();
            Deed::Send([packet.accept(true), messages].concat())
        }
        _ => agree(packet),
    })
    .await;
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let options = world()
        .options(broker.endpoint(), "heir")
        .clean_start(false)
        .session_expiry(LIMIT);
    let connection = in_time(mqtt::connect(options.clock(clock.clone())))
        .await
        .unwrap();
    let mut events = connection.events();
    in_time(connection.publish(Publish::new("later than all of them", "x")))
        .await
        .unwrap();
    assert_eq!(broker.seen(PUBACK).len(), 0);
    clock.advance(Duration::from_secs(60));
    let count = loop {
        if let Some(Event::Unclaimed { count }) = in_time(events.next()).await {
            break count;
        }
    };
    assert_eq!(
        (count, in_time(broker.until(PUBACK, 100)).await.len()),
        (100, 100)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_does_not_wait_for_the_next_try() {
    let broker = Scripted::start(|packet| match (packet.kind(), packet.connection) {
        (CONNECT, 0) => Deed::SendAndClose(packet.accept(false)),
        _ => agree(packet),
    })
    .await;
    let hour = Duration::from_secs(3600);
    let options = world()
        .options(broker.endpoint(), "back")
        .reconnect_backoff(hour, hour);
    let connection = in_time(mqtt::connect(options)).await.unwrap();
    while connection.state() == State::Connected {
        tokio::task::yield_now().await;
    }
    connection.reconnect().await;
    in_time(connection.connected()).await.unwrap();
    assert_eq!(broker.seen(CONNECT).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_larger_than_the_server_takes_fails_and_costs_no_connection() {
    let broker = Scripted::start(|packet| match packet.kind() {
        // Maximum packet size: 1024.
        CONNECT => Deed::Send(vec![0x20, 8, 0, 0, 5, 0x27, 0, 0, 4, 0]),
        _ => agree(packet),
    })
    .await;
    let connection = in_time(mqtt::connect(world().options(broker.endpoint(), "large")))
        .await
        .unwrap();
    let error = in_time(connection.publish(Publish::new("a", vec![0; 1020])))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("the server accepts 1024"),
        "{error}"
    );
    in_time(connection.publish(Publish::new("a", vec![0; 900])))
        .await
        .unwrap();
    assert_eq!(broker.seen(CONNECT).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_are_not_left_out_silently_in_mqtt_3() {
    let broker = Scripted::start(agree).await;
    let options = world()
        .options(broker.endpoint(), "old")
        .protocol(Protocol::V311);
    let connection = in_time(mqtt::connect(options)).await.unwrap();
    let error = in_time(connection.publish(Publish::new("a", "x").content_type("text/plain")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("need MQTT 5"), "{error}");
}

#[test]
fn a_runtime_that_ends_ends_its_connection_and_tells_everybody() {
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let here = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    here.block_on(async {
        let broker = Scripted::start(|packet| match packet.kind() {
            PUBLISH => Deed::Nothing,
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "orphan")
            .runtime(elsewhere.handle().clone());
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut stream = in_time(connection.subscribe("a")).await.unwrap();
        let publishing = connection.publish(Publish::new("a", "x"));
        let ending = async {
            broker.until(PUBLISH, 1).await;
            elsewhere.shutdown_background();
        };
        let (published, ()) = in_time(async { tokio::join!(publishing, ending) }).await;
        assert_eq!(Outcome::of(&published.unwrap_err()), Some(Outcome::Closed));
        assert!(in_time(stream.next()).await.is_none());
        assert_eq!(connection.state(), State::Closed);
        assert_eq!(
            Outcome::of(&in_time(connection.subscribe("b")).await.unwrap_err()),
            Some(Outcome::Closed)
        );
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    });
}
