//! What the network does, and what a server does: only the latter says anything of a message, a
//! name or a certificate.

use brs::mqtt::{self, Event, Outcome, Publish, Qos, WhenSessionLost};
use brs_tests::rough_path::RoughPath;

use crate::scripted::{BOTH, CONNECT, Deed, PUBACK, PUBLISH, SUBSCRIBE, Scripted, agree};
use crate::support::{in_time, lasting, world};

const CUTS: usize = 7;

#[tokio::test(flavor = "multi_thread")]
async fn no_number_of_cuts_is_blamed_on_a_message_or_on_another_client() {
    for (protocol, kept) in BOTH
        .into_iter()
        .flat_map(|protocol| [(protocol, false), (protocol, true)])
    {
        let broker = Scripted::start(move |packet| match (packet.kind(), packet.connection) {
            (CONNECT, number) => Deed::Send(packet.accept(kept && number > 0)),
            (PUBLISH, 0..CUTS) => Deed::Nothing,
            _ => agree(packet),
        })
        .await;
        let path = RoughPath::start(broker.address());
        let mut options = world().options(path.endpoint(), "cut").protocol(protocol);
        if kept {
            options = lasting(options, protocol).when_session_lost(WhenSessionLost::Fail);
        }
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut events = connection.events();
        let cutting = async {
            for cut in 1..=CUTS {
                broker.until(PUBLISH, cut).await;
                path.cut();
            }
        };
        let (published, ()) =
            in_time(async { tokio::join!(connection.publish(Publish::new("a", "x")), cutting) })
                .await;
        published.unwrap();
        let mut lost = 0;
        while lost < CUTS {
            match in_time(events.next()).await.unwrap() {
                Event::DuplicateClientId { .. } => {
                    panic!("{protocol:?} {kept}: the network has no client id")
                }
                Event::Lost { error, .. } => {
                    lost += 1;
                    assert!(
                        Outcome::of(&error).is_none()
                            && error.code().is_none()
                            && error.to_string().contains("was cut"),
                        "{error}"
                    );
                }
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_before_the_servers_answer_says_nothing_of_the_certificate() {
    for protocol in BOTH {
        let broker = Scripted::start(|_| Deed::Nothing).await;
        let path = RoughPath::start(broker.address());
        let options = world().options(path.endpoint(), "early").protocol(protocol);
        let cutting = async {
            broker.until(CONNECT, 1).await;
            path.cut();
        };
        let (connected, ()) =
            in_time(async { tokio::join!(mqtt::connect(options), cutting) }).await;
        let error = connected.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("was cut before the server answered"),
            "{protocol:?}: {error}"
        );
        assert!(
            !error.to_string().contains("registered") && error.is_retryable(),
            "{error}"
        );
    }
}

/// SUBSCRIBE, then what is published, both over the second connection.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_session_nothing_is_published_before_the_subscriptions_are_granted() {
    const FILTERS: usize = 10;
    for (protocol, qos) in BOTH
        .into_iter()
        .flat_map(|p| [(p, Qos::AtMostOnce), (p, Qos::AtLeastOnce)])
    {
        let waiting = std::sync::Mutex::new(Vec::new());
        let broker = Scripted::start(move |packet| match (packet.kind(), packet.connection) {
            (PUBLISH, 0) => Deed::SendAndClose(Vec::new()),
            // What is granted is told after the answer to a question, so that whatever does not
            // wait has come by then.
            (SUBSCRIBE, 1) => {
                let granted = packet.suback_of_all(1);
                waiting.lock().unwrap().push(granted);
                Deed::Send(packet.publish("nobody", 1))
            }
            (PUBACK, 1) => Deed::Send(waiting.lock().unwrap().remove(0)),
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "asker")
            .protocol(protocol)
            .hold_at_most_once(true);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let mut streams = Vec::new();
        for number in 0..FILTERS {
            streams.push(
                in_time(connection.subscribe(format!("answers/{number}")))
                    .await
                    .unwrap(),
            );
        }
        let publish = |topic| connection.publish(Publish::new(topic, "x").qos(qos));
        let last = connection.publish(Publish::new("last", "x"));
        let _ =
            in_time(async { tokio::join!(publish("a"), publish("b"), publish("c"), last) }).await;
        let seen = broker.seen_of(&[SUBSCRIBE, PUBACK, PUBLISH]);
        let kinds: Vec<u8> = seen
            .iter()
            .filter(|packet| packet.connection == 1)
            .map(|packet| packet.kind())
            .collect();
        assert_eq!(
            kinds[..4],
            [SUBSCRIBE, SUBSCRIBE, PUBACK, PUBACK],
            "{protocol:?} {qos:?}: {kinds:?}"
        );
        assert!(
            kinds.len() > 4 && kinds[4..].iter().all(|kind| *kind == PUBLISH),
            "{protocol:?} {qos:?}: {kinds:?}"
        );
    }
}
