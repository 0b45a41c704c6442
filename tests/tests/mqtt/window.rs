//! A server's window: how many publishes are in flight, whatever ids they have; and servers that do
//! not answer them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use brs::mqtt::{self, Event, Outcome, Protocol, Publish};
use brs_core::test_util::ManualClock;
use brs_core::{Clock as _, SystemClock};
use brs_tests::mosquitto::Mosquitto;
use brs_tests::rough_path::RoughPath;
use futures_util::future::join_all;

use crate::scripted::{
    BOTH, CONNECT, Deed, PUBACK, PUBLISH, Packet, SUBSCRIBE, Scripted, agree_and_live,
};
use crate::support::{in_time, lasting, world};

/// A server that keeps the session over connections with different windows. Over all but the last
/// it acknowledges nothing, and closes once as many have come as may; over the last one,
/// everything, as late as it can.
#[derive(Debug)]
struct Narrowing {
    windows: Vec<Option<u16>>,
    count: usize,
    /// Over the current connection.
    unacknowledged: Vec<Packet>,
    acknowledged: usize,
    most: usize,
}

impl Narrowing {
    fn may(&self, connection: usize) -> usize {
        let left = self.count - self.acknowledged;
        self.windows[connection].map_or(left, |window| left.min(window.into()))
    }

    fn script(&mut self, packet: &Packet) -> Deed {
        let is_last = packet.connection + 1 == self.windows.len();
        match packet.kind() {
            CONNECT => {
                self.unacknowledged.clear();
                Deed::Send(
                    packet
                        .accept_with_window(packet.connection > 0, self.windows[packet.connection]),
                )
            }
            PUBLISH => {
                self.unacknowledged.push(packet.clone());
                self.most = self.most.max(self.unacknowledged.len());
                match self.unacknowledged.len() == self.may(packet.connection) {
                    // A question that is answered at once: whatever has been sent without regard
                    // for the window comes before that.
                    true if is_last => Deed::Send(packet.publish("nobody", 1)),
                    true => Deed::SendAndClose(Vec::new()),
                    false => Deed::Nothing,
                }
            }
            PUBACK => {
                self.acknowledged += self.unacknowledged.len();
                Deed::Send(
                    self.unacknowledged
                        .drain(..)
                        .flat_map(|packet| packet.puback())
                        .collect(),
                )
            }
            _ => agree_and_live(packet),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_bounds_how_many_are_in_flight_and_not_which_ids() {
    let v5 = [
        (vec![None, Some(20)], 30),
        (vec![Some(100), Some(3)], 5),
        (vec![None, Some(1)], 30),
        (vec![Some(50), Some(2), Some(30)], 50),
        (vec![Some(3), Some(100)], 30),
        (vec![Some(10), Some(9), Some(8), Some(7)], 40),
        (vec![None, None], 100),
    ]
    .map(|case| (Protocol::V5, case));
    for (protocol, (windows, count)) in v5
        .into_iter()
        .chain([(Protocol::V311, (vec![None, None], 30))])
    {
        let case = format!("{protocol:?} {windows:?} {count}");
        let largest = windows.last().unwrap().map_or(count, usize::from);
        let first = windows[0].map_or(count, |window| count.min(window.into()));
        let server = Narrowing {
            windows,
            count,
            unacknowledged: Vec::new(),
            acknowledged: 0,
            most: 0,
        };
        let server = Arc::new(Mutex::new(server));
        let script = Arc::clone(&server);
        let broker = Scripted::start(move |packet| script.lock().unwrap().script(packet)).await;
        let options = lasting(world().options(broker.endpoint(), "narrow"), protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        // What comes for it is acknowledged at once.
        drop(in_time(connection.subscribe("nobody")).await.unwrap());
        let publishes = join_all(
            (0..count).map(|number| connection.publish(Publish::new("a", number.to_string()))),
        );
        let results = in_time(publishes).await;
        assert!(results.iter().all(Result::is_ok), "{case}: {results:?}");
        let most = {
            let mut server = server.lock().unwrap();
            (server.count, server.unacknowledged) = (server.count + 1, Vec::new());
            server.most
        };
        assert!(most <= largest.max(first), "{case}: {most}");
        in_time(connection.publish(Publish::new("a", "and later")))
            .await
            .unwrap();
        // Sent again in the same order, under the same ids, as what it is.
        let of = |connection: usize| {
            let seen = broker
                .seen(PUBLISH)
                .into_iter()
                .filter(move |packet| packet.connection == connection);
            seen.map(|packet| (packet.id(), packet.is_duplicate()))
                .collect::<Vec<_>>()
        };
        let (before, after) = (of(0), of(1));
        for ((id, duplicate), (again, marked)) in before.into_iter().zip(after) {
            assert!(id == again && !duplicate && marked, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn cuts_leave_nothing_behind_at_a_broker_with_a_window() {
    const COUNT: usize = 2000;
    const CUTS: usize = 30;
    for (protocol, run) in BOTH
        .into_iter()
        .flat_map(|protocol| (0..3).map(move |run| (protocol, run)))
    {
        let broker = Mosquitto::start(&world().iot);
        let path = RoughPath::start(broker.tls_address());
        let options = lasting(world().options(path.endpoint(), "cut"), protocol);
        let (shortest, longest) = (Duration::from_millis(1), Duration::from_millis(5));
        let connection = in_time(mqtt::connect(options.reconnect_backoff(shortest, longest)))
            .await
            .unwrap();
        let mut events = connection.events();
        let publishes = join_all(
            (0..COUNT).map(|number| connection.publish(Publish::new("c", number.to_string()))),
        );
        let cutting = async {
            let mut cuts = 0;
            while cuts < CUTS {
                path.set_delay(Duration::from_micros(500));
                path.cut();
                loop {
                    match events.next().await {
                        Some(Event::Connected { .. }) => break,
                        None => return,
                        _ => {}
                    }
                }
                cuts += 1;
            }
            path.set_delay(Duration::ZERO);
        };
        let (results, ()) = in_time(async { tokio::join!(publishes, cutting) }).await;
        let failed: Vec<_> = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .collect();
        assert!(failed.is_empty(), "{protocol:?} {run}: {failed:?}");
        in_time(connection.publish(Publish::new("c", "and later")))
            .await
            .unwrap();
    }
}

/// Moves the clock a second at a time until there is what `wanted` looks for.
async fn until<T>(
    clock: &ManualClock,
    events: &mut mqtt::Events,
    mut wanted: impl FnMut(&Event) -> Option<T>,
) -> T {
    loop {
        clock.advance(Duration::from_secs(1));
        while let Ok(event) = tokio::time::timeout(Duration::from_millis(20), events.next()).await {
            if let Some(found) = wanted(&event.expect("the connection goes on")) {
                return found;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lives_and_does_not_answer_is_left_and_that_is_told() {
    for protocol in BOTH {
        for (kept, silent) in [(true, PUBLISH), (false, PUBLISH), (true, SUBSCRIBE)] {
            let broker = Scripted::start(move |packet| match (packet.kind(), packet.connection) {
                (CONNECT, number) => Deed::Send(packet.accept(kept && number > 0)),
                (kind, 0) if kind == silent => Deed::Nothing,
                _ => agree_and_live(packet),
            })
            .await;
            let clock = ManualClock::new(SystemClock::new().now());
            let options = world()
                .options(broker.endpoint(), "unheard")
                .protocol(protocol);
            let options = if kept {
                lasting(options, protocol)
            } else {
                options
            };
            let options = options
                .keep_alive(Duration::from_secs(30))
                .clock(clock.clone());
            let connection = in_time(mqtt::connect(options)).await.unwrap();
            let mut events = connection.events();
            let begun = clock.monotonic();
            let asking = async {
                match silent {
                    PUBLISH => connection.publish(Publish::new("a", "x")).await.unwrap(),
                    _ => drop(connection.subscribe("a").await.unwrap()),
                }
            };
            let noticing = async {
                let unanswered = |event: &Event| match event {
                    Event::Unanswered { count, waited } => Some((*count, *waited)),
                    _ => None,
                };
                let (count, waited) = until(&clock, &mut events, unanswered).await;
                assert_eq!(count, 1);
                assert!(
                    waited <= clock.monotonic() - begun
                        && clock.monotonic() - begun <= Duration::from_secs(60)
                );
                let why = |event: &Event| match event {
                    Event::Lost { error, .. } => Some(error.clone()),
                    _ => None,
                };
                assert_eq!(
                    Outcome::of(&until(&clock, &mut events, why).await),
                    Some(Outcome::Unanswered)
                );
                let connected =
                    |event: &Event| matches!(event, Event::Connected { .. }).then_some(());
                until(&clock, &mut events, connected).await;
            };
            in_time(async { tokio::join!(asking, noticing) }).await;
        }
    }
}
