//! When things happen: waits between tries, what is in flight at a replacement, streams that nobody
//! reads. At a broker that keeps to a script, by a clock that the tests move.

use std::time::Duration;

use brs::mqtt::{
    self, Connection, Event, Events, Outcome, Publish, Qos, State, Subscribe, WhenSessionLost,
};
use brs_core::test_util::ManualClock;
use brs_core::{Clock as _, SystemClock};

use crate::scripted::{
    BOTH, CONNECT, Deed, PUBLISH, SUBSCRIBE, Scripted, agree, publish_at_most_once,
};
use crate::support::{LIMIT, in_time, lasting, world};

fn second(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn clock() -> ManualClock {
    ManualClock::new(SystemClock::new().now())
}

async fn connected(events: &mut Events) -> u32 {
    let mut failed = u32::MAX;
    loop {
        match in_time(events.next()).await.unwrap() {
            Event::Connecting { failed: tries } => failed = tries,
            Event::Connected { .. } => return failed,
            _ => {}
        }
    }
}

/// Has the broker cut the connection; how long the wait is, and what was told of it.
async fn cut(connection: &Connection, events: &mut Events, clock: &ManualClock) -> Duration {
    let _ = in_time(connection.publish(Publish::new("cut", "").qos(Qos::AtMostOnce))).await;
    loop {
        if let Event::Lost { next_try, .. } = in_time(events.next()).await.unwrap() {
            assert_eq!(connection.state(), State::Waiting { next_try });
            return next_try.duration_since(clock.now()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_double_until_a_connection_has_been_stable_for_half_a_minute() {
    let broker = Scripted::start(|packet| match packet.kind() {
        PUBLISH => Deed::SendAndClose(Vec::new()),
        _ => agree(packet),
    })
    .await;
    let clock = clock();
    let options = world()
        .options(broker.endpoint(), "patient")
        .reconnect_backoff(second(1), second(128));
    let connection = in_time(mqtt::connect(options.clock(clock.clone())))
        .await
        .unwrap();
    let mut events = connection.events();
    // How long each connection stands, and the longest wait after it.
    for (stands, longest) in [(0, 1), (0, 2), (29, 4), (29, 8), (0, 16), (30, 1), (0, 2)] {
        clock.advance(second(stands));
        let wait = cut(&connection, &mut events, &clock).await;
        assert!(
            wait >= second(longest) / 2 && wait <= second(longest),
            "{wait:?} after {stands} s, not {longest} s"
        );
        clock.advance(wait);
        assert_eq!(
            connected(&mut events).await,
            1,
            "tries that have failed in a row"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tries_that_fail_are_counted_and_wait_longer_each_time() {
    // The first connection stands until it is cut, the next three are refused.
    let broker = Scripted::start(|packet| match (packet.kind(), packet.connection) {
        (CONNECT, 1..=3) => Deed::SendAndClose(packet.connack(0, if packet.v5 { 0x88 } else { 3 })),
        (PUBLISH, _) => Deed::SendAndClose(Vec::new()),
        _ => agree(packet),
    })
    .await;
    let clock = clock();
    let options = world()
        .options(broker.endpoint(), "tried")
        .reconnect_backoff(second(1), second(128));
    let connection = in_time(mqtt::connect(options.clock(clock.clone())))
        .await
        .unwrap();
    let mut events = connection.events();
    let mut waits = vec![cut(&connection, &mut events, &clock).await];
    let failed = loop {
        clock.advance(*waits.last().unwrap());
        let mut failed = 0;
        let next = loop {
            match in_time(events.next()).await.unwrap() {
                Event::Connecting { failed: tries } => failed = tries,
                Event::Lost { next_try, .. } => {
                    break Some(next_try.duration_since(clock.now()).unwrap());
                }
                Event::Connected { .. } => break None,
                _ => {}
            }
        };
        match next {
            Some(wait) => waits.push(wait),
            None => break failed,
        }
    };
    assert_eq!((failed, waits.len()), (4, 4), "{waits:?}");
    for (wait, longest) in waits.iter().zip([1, 2, 4, 8]) {
        assert!(
            *wait >= second(longest) / 2 && *wait <= second(longest),
            "{waits:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_at_a_replacement_is_waited_for_and_then_published_anew_or_fails() {
    for (protocol, (kept, when)) in BOTH.into_iter().flat_map(|protocol| {
        [
            (true, WhenSessionLost::Fail),
            (false, WhenSessionLost::Requeue),
            (false, WhenSessionLost::Fail),
        ]
        .map(|case| (protocol, case))
    }) {
        let broker = Scripted::start(move |packet| match (packet.kind(), packet.connection) {
            (CONNECT, number) => Deed::Send(packet.accept(kept && number > 0)),
            (PUBLISH, 0) => Deed::Nothing,
            _ => agree(packet),
        })
        .await;
        let clock = clock();
        let options = world()
            .options(broker.endpoint(), "replaced")
            .protocol(protocol)
            .when_session_lost(when);
        let options = if kept {
            lasting(options, protocol)
        } else {
            options
        };
        let connection = in_time(mqtt::connect(options.clock(clock.clone())))
            .await
            .unwrap();
        let replacing = async {
            broker.until(PUBLISH, 1).await;
            connection.reconnect().await;
            // Asked for over the standing connection, after it was decided for how long what is in
            // flight is waited for.
            let subscription = connection.subscribe("later").await.unwrap();
            clock.advance(second(10));
            subscription
        };
        let published =
            async { tokio::join!(connection.publish(Publish::new("a", "x")), replacing).0 };
        let result = in_time(published).await;
        let seen = broker.seen(PUBLISH);
        let flags: Vec<_> = seen
            .iter()
            .map(|packet| (packet.connection, packet.is_duplicate()))
            .collect();
        if !kept && when == WhenSessionLost::Fail {
            assert_eq!(
                Outcome::of(&result.unwrap_err()),
                Some(Outcome::SessionLost),
                "{protocol:?}"
            );
            assert_eq!(flags, [(0, false)]);
        } else {
            result.unwrap();
            assert_eq!(flags, [(0, false), (1, kept)], "{protocol:?} {kept}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_stream_does_not_take_is_told() {
    for protocol in BOTH {
        let broker = Scripted::start(|packet| match packet.kind() {
            SUBSCRIBE => {
                let messages: Vec<u8> = (0..20)
                    .flat_map(|_| publish_at_most_once(packet.v5, "b"))
                    .collect();
                Deed::Send([packet.suback(1), messages].concat())
            }
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "slow")
            .protocol(protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut events = connection.events();
        let mut stream = in_time(connection.subscribe(Subscribe::new("b").capacity(5)))
            .await
            .unwrap();
        let mut dropped = 0;
        while dropped < 15 {
            if let Event::MessagesDropped { filter, count } = in_time(events.next()).await.unwrap()
            {
                assert_eq!(filter, "b");
                dropped += count;
            }
        }
        assert_eq!(dropped, 15, "{protocol:?}");
        for _ in 0..5 {
            assert_eq!(in_time(stream.next()).await.unwrap().qos(), Qos::AtMostOnce);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_carries_the_window_and_in_mqtt_3_the_one_switch_for_sessions() {
    let broker = Scripted::start(agree).await;
    let options = || {
        world()
            .options(broker.endpoint(), "carrier")
            .keep_alive(second(1200))
    };
    let will = Publish::new("gone", "bye").retain(true);
    let v3 = options().protocol(mqtt::Protocol::V311).last_will(will);
    for options in [
        options().receive_maximum(7),
        v3.clone(),
        v3.clean_start(false).session_expiry(LIMIT),
    ] {
        let _connection = in_time(mqtt::connect(options)).await.unwrap();
    }
    let seen = broker.seen(CONNECT);
    assert!(
        seen[0].body.windows(3).any(|window| window == [0x21, 0, 7]),
        "receive maximum"
    );
    // Level 4; a will retained and of QoS 1, with a clean session and without; keep-alive.
    assert_eq!(seen[1].body[6..10], [4, 0b0010_1110, 0x04, 0xB0]);
    assert_eq!(seen[2].body[6..10], [4, 0b0010_1100, 0x04, 0xB0]);
}
