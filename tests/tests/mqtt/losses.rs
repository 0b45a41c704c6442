//! Losses: what is sent again, what is asked for again, what is told.

use std::time::Duration;

use brs::mqtt::{self, Event, Outcome, Protocol, Publish, Qos, State, WhenFull, WhenSessionLost};
use brs_tests::mosquitto::Mosquitto;
use brs_tests::rough_path::RoughPath;
use futures_util::future::{FutureExt as _, join_all, maybe_done};

use crate::support::{LIMIT, in_time, world};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_server_without_the_session_is_asked_again_for_subscriptions() {
    let broker = Mosquitto::start(&world().iot);
    let path = RoughPath::start(broker.tls_address());
    for protocol in [Protocol::V5, Protocol::V311] {
        let options = world()
            .options(path.endpoint(), "forgetful")
            .protocol(protocol);
        let connection = mqtt::connect(options).await.unwrap();
        let mut streams = Vec::new();
        for number in 0..10 {
            streams.push(
                in_time(connection.subscribe(format!("s/{number}")))
                    .await
                    .unwrap(),
            );
        }
        let mut events = connection.events();
        path.cut();
        let filters = loop {
            if let Some(Event::Resubscribed { filters }) = in_time(events.next()).await {
                break filters;
            }
        };
        assert_eq!(filters, 10);
        broker.publish("s/7", "still there");
        assert_eq!(
            &in_time(streams[7].next()).await.unwrap().payload()[..],
            b"still there",
            "{protocol:?}"
        );
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_session_that_lives_on_needs_no_new_subscription() {
    let broker = Mosquitto::start(&world().iot);
    let path = RoughPath::start(broker.tls_address());
    let connection = mqtt::connect(
        world()
            .options(path.endpoint(), "lasting")
            .session_expiry(LIMIT),
    )
    .await
    .unwrap();
    let mut stream = in_time(connection.subscribe("l")).await.unwrap();
    let mut events = connection.events();
    path.cut();
    let session_present = loop {
        if let Some(Event::Connected { session_present }) = in_time(events.next()).await {
            break session_present;
        }
    };
    assert!(session_present);
    broker.publish("l", "kept");
    assert_eq!(
        &in_time(stream.next()).await.unwrap().payload()[..],
        b"kept"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn publishes_in_flight_survive_a_cut_or_say_that_they_did_not() {
    let broker = Mosquitto::start(&world().iot);
    let path = RoughPath::start(broker.tls_address());
    for (when, expiry) in [
        (WhenSessionLost::Fail, Duration::ZERO),
        (WhenSessionLost::Requeue, Duration::ZERO),
        (WhenSessionLost::Fail, LIMIT),
    ] {
        let options = world()
            .options(path.endpoint(), "flight")
            .when_session_lost(when)
            .session_expiry(expiry);
        let connection = mqtt::connect(options).await.unwrap();
        path.set_delay(Duration::from_millis(50));
        let publishes = join_all(
            (0..20).map(|number| connection.publish(Publish::new("f", number.to_string()))),
        );
        let (results, ()) = tokio::join!(in_time(publishes), async {
            path.cut();
            path.set_delay(Duration::ZERO);
        });
        for result in results {
            match result {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(Outcome::of(&error), Some(Outcome::SessionLost), "{error}");
                    assert!(
                        when == WhenSessionLost::Fail && expiry.is_zero(),
                        "{when:?} {expiry:?}"
                    );
                }
            }
        }
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_is_published_offline_waits_or_says_why_not() {
    let mut broker = Mosquitto::start(&world().iot);
    let options = world()
        .options(broker.endpoint(), "offline")
        .outbox_messages(2)
        .when_full(WhenFull::DropOldest);
    let connection = mqtt::connect(options).await.unwrap();
    let mut events = connection.events();
    broker.stop();
    while !matches!(in_time(events.next()).await, Some(Event::Lost { .. })) {}
    let error = connection
        .publish(Publish::new("o", "x").qos(Qos::AtMostOnce))
        .await
        .unwrap_err();
    assert_eq!(Outcome::of(&error), Some(Outcome::Offline), "{error}");
    let publishes =
        join_all((0..3).map(|number| connection.publish(Publish::new("o", number.to_string()))));
    let started = async {
        broker.start_again();
    };
    let (results, ()) = tokio::join!(in_time(publishes), started);
    let outcomes: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().err().and_then(Outcome::of))
        .collect();
    assert_eq!(outcomes, [Some(Outcome::Dropped), None, None]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_deferred_connection_waits_for_its_broker() {
    let mut broker = Mosquitto::start(&world().iot);
    broker.stop();
    let connection = mqtt::connect(
        world()
            .options(broker.endpoint(), "early")
            .defer_connect(true),
    )
    .await
    .unwrap();
    assert_ne!(connection.state(), State::Connected);
    let (published, ()) =
        tokio::join!(in_time(connection.publish(Publish::new("e", "x"))), async {
            broker.start_again();
        });
    published.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn disconnecting_waits_for_what_is_outstanding_up_to_its_limit() {
    let mut broker = Mosquitto::start(&world().iot);
    let connection = world().connect(&broker, "patient").await;
    let watcher = broker.subscriber("d");
    let publish = |number: usize| {
        Box::pin(maybe_done(
            connection.publish(Publish::new("d", number.to_string())),
        ))
    };
    let mut publishes: Vec<_> = (0..200).map(publish).collect();
    // All of them have begun when the end is asked for.
    for publish in &mut publishes {
        let _ = publish.now_or_never();
    }
    let (disconnected, _) = tokio::join!(
        in_time(connection.disconnect(LIMIT)),
        join_all(publishes.iter_mut())
    );
    disconnected.unwrap();
    publishes
        .iter_mut()
        .for_each(|publish| publish.as_mut().take_output().unwrap().unwrap());
    assert!((0..200).all(|_| watcher.next(LIMIT).is_some()));

    let connection = world().connect(&broker, "hurried").await;
    broker.stop();
    let (published, disconnected) =
        tokio::join!(in_time(connection.publish(Publish::new("d", "x"))), async {
            tokio::task::yield_now().await;
            in_time(connection.disconnect(Duration::from_millis(100))).await
        });
    assert_eq!(Outcome::of(&published.unwrap_err()), Some(Outcome::Closed));
    assert!(disconnected.is_err());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn the_last_will_is_published_when_the_line_is_cut() {
    let broker = Mosquitto::start(&world().iot);
    let path = RoughPath::start(broker.tls_address());
    for protocol in [Protocol::V5, Protocol::V311] {
        let watcher = broker.subscriber("gone");
        let will = Publish::new("gone", "without a word");
        let options = world()
            .options(path.endpoint(), "mortal")
            .protocol(protocol)
            .last_will(will);
        let _connection = mqtt::connect(options).await.unwrap();
        path.cut();
        assert_eq!(
            watcher.next(LIMIT).unwrap().1,
            "without a word",
            "{protocol:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn two_clients_with_one_id_are_told_so() {
    let broker = Mosquitto::start(&world().iot);
    for protocol in [Protocol::V5, Protocol::V311] {
        let options = || {
            world()
                .options(broker.endpoint(), "twin")
                .protocol(protocol)
        };
        let one = mqtt::connect(options()).await.unwrap();
        let mut events = one.events();
        let _other = mqtt::connect(options()).await.unwrap();
        let certain = loop {
            if let Some(Event::DuplicateClientId { certain }) = in_time(events.next()).await {
                break certain;
            }
        };
        // This broker closes without a word, in MQTT 5 as well.
        assert!(!certain, "{protocol:?}");
        let error = loop {
            if let Some(Event::Lost { error, .. }) = in_time(events.next()).await {
                break error;
            }
        };
        assert_eq!(
            Outcome::of(&error),
            Some(Outcome::DuplicateClientId),
            "{error}"
        );
        assert!(error.to_string().contains("`twin`"), "{error}");
    }
}
