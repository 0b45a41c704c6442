//! Lines that look alive: a server that reads and answers nothing, whatever is sent to it.

use std::time::Duration;

use brs::mqtt::{self, Event, Publish, Qos};
use brs_core::test_util::ManualClock;
use brs_core::{Clock as _, SystemClock};

use crate::scripted::{
    BOTH, CONNECT, Deed, PINGREQ, PUBLISH, Scripted, agree, agree_and_live, publish_at_most_once,
};
use crate::support::{in_time, world};

const KEEP_ALIVE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_nothing_is_left_whatever_is_sent_to_it() {
    for (protocol, qos) in BOTH
        .into_iter()
        .flat_map(|p| [(p, Qos::AtMostOnce), (p, Qos::AtLeastOnce)])
    {
        let broker = Scripted::start(|packet| match packet.kind() {
            CONNECT => agree(packet),
            _ => Deed::Nothing,
        })
        .await;
        let clock = ManualClock::new(SystemClock::new().now());
        let options = world()
            .options(broker.endpoint(), "busy")
            .protocol(protocol)
            .keep_alive(KEEP_ALIVE);
        let connection = in_time(mqtt::connect(options.clock(clock.clone())))
            .await
            .unwrap();
        let mut events = connection.events();
        let begun = clock.monotonic();
        let noticing = async {
            loop {
                // One message each second.
                let (publishing, sent) = (connection.clone(), broker.seen(PUBLISH).len());
                tokio::spawn(
                    async move { publishing.publish(Publish::new("a", "x").qos(qos)).await },
                );
                broker.until(PUBLISH, sent + 1).await;
                for _ in 0..4 {
                    clock.advance(Duration::from_millis(250));
                    while let Ok(event) =
                        tokio::time::timeout(Duration::from_millis(20), events.next()).await
                    {
                        if let Some(Event::Lost { error, .. }) = event {
                            return error;
                        }
                    }
                }
            }
        };
        let error = in_time(noticing).await;
        let took = clock.monotonic() - begun;
        assert!(
            error.to_string().contains("the line is dead"),
            "{protocol:?} {qos:?}: {error}"
        );
        assert!(
            took >= KEEP_ALIVE && took <= 2 * KEEP_ALIVE,
            "{protocol:?} {qos:?}: {took:?}"
        );
        assert_eq!(broker.seen(PINGREQ).len(), 1, "{protocol:?} {qos:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_pings_is_kept_however_little_else_it_says() {
    for protocol in BOTH {
        let broker = Scripted::start(agree_and_live).await;
        let clock = ManualClock::new(SystemClock::new().now());
        let options = world()
            .options(broker.endpoint(), "quiet")
            .protocol(protocol)
            .keep_alive(KEEP_ALIVE);
        let connection = in_time(mqtt::connect(options.clock(clock.clone())))
            .await
            .unwrap();
        for pings in 1..=10 {
            in_time(clock.sleepers(1)).await;
            clock.advance(KEEP_ALIVE);
            in_time(broker.until(PINGREQ, pings)).await;
            // Its answer is on the way before this one's.
            in_time(connection.publish(Publish::new("a", "x")))
                .await
                .unwrap();
        }
        assert_eq!(broker.seen(CONNECT).len(), 1, "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_talks_all_the_time_hears_of_the_client_within_the_keep_alive() {
    for protocol in BOTH {
        // It says something only when it is asked, so that the test says when.
        let broker = Scripted::start(|packet| match packet.kind() {
            PINGREQ => Deed::Send([&[0xD0, 0][..], &publish_at_most_once(packet.v5, "a")].concat()),
            _ => agree(packet),
        })
        .await;
        let clock = ManualClock::new(SystemClock::new().now());
        let options = world()
            .options(broker.endpoint(), "listener")
            .protocol(protocol)
            .keep_alive(KEEP_ALIVE);
        let connection = in_time(mqtt::connect(options.clock(clock.clone())))
            .await
            .unwrap();
        let mut all = connection.messages().await;
        for pings in 1..=5 {
            in_time(clock.sleepers(1)).await;
            clock.advance(KEEP_ALIVE);
            in_time(broker.until(PINGREQ, pings)).await;
            in_time(all.next()).await.unwrap();
        }
        assert_eq!(broker.seen(CONNECT).len(), 1, "{protocol:?}");
    }
}
