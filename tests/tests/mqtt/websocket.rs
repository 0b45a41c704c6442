//! WebSockets: each handshake signed with the credentials of its moment.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use brs::mqtt::{Event, MqttExt as _, Options, Protocol, Publish, Transport};
use brs::{RefreshableSession, sts};
use brs_core::test_util::ManualClock;
use brs_core::{Clock as _, SystemClock};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use brs_tests::embedded_iot::EmbeddedIot;
use brs_tests::gateway::Gateway;
use brs_tests::mosquitto::Mosquitto;
use futures_util::future::join_all;

use crate::support::{LIMIT, World, in_time, world};

const ROLE: &str = "arn:aws:iam::123456789012:role/device";

fn now() -> SystemTime {
    SystemClock::new().now()
}

pub(crate) async fn session(aws: &EmbeddedAws) -> RefreshableSession {
    RefreshableSession::builder("sts", sts::Params::new(ROLE))
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .build()
        .await
        .unwrap()
}

/// AWS, a broker and a session that all go by a clock which the test moves.
struct Scene {
    clock: ManualClock,
    aws: EmbeddedAws,
    iot: EmbeddedIot,
    _broker: Mosquitto,
    gateway: Gateway,
    session: RefreshableSession,
}

impl Scene {
    async fn new() -> Self {
        let clock = ManualClock::new(now());
        let server = clock.clone();
        let aws = EmbeddedAws::builder()
            .clock(move || server.now())
            .allowed_skew(Duration::MAX)
            .start();
        let iot = EmbeddedIot::start(&aws);
        let broker = Mosquitto::start(&iot);
        let gateway = Gateway::start(&aws, &iot, broker.websocket_address());
        let session = RefreshableSession::builder("sts", sts::Params::new(ROLE))
            .region("eu-west-1")
            .endpoint_url(aws.endpoint_url())
            .base_credentials(aws.credentials())
            .clock(clock.clone())
            .build()
            .await
            .unwrap();
        Self {
            clock,
            aws,
            iot,
            _broker: broker,
            gateway,
            session,
        }
    }
}

fn options(gateway: &Gateway, iot: &EmbeddedIot) -> Options {
    Options::new(gateway.endpoint(), "socket")
        .transport(Transport::WebSocket)
        .trust_store(iot.trust_store().as_str())
        .reconnect_backoff(Duration::from_millis(20), Duration::from_millis(200))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn messages_flow_over_a_websocket_in_both_versions() {
    let (world, broker) = (world(), Mosquitto::start(&world().iot));
    let gateway = Gateway::start(&world.aws, &world.iot, broker.websocket_address());
    let session = session(&world.aws).await;
    for protocol in [Protocol::V5, Protocol::V311] {
        let connection = in_time(session.mqtt(options(&gateway, &world.iot).protocol(protocol)))
            .await
            .unwrap();
        let elsewhere = broker.subscriber("up/#");
        let mut stream = in_time(connection.subscribe("down/#")).await.unwrap();
        let large = "x".repeat(100_000);
        in_time(connection.publish(Publish::new("up/a", large.clone())))
            .await
            .unwrap();
        assert_eq!(
            elsewhere.next(LIMIT).unwrap(),
            ("up/a".into(), large),
            "{protocol:?}"
        );
        broker.publish("down/b", "go");
        assert_eq!(
            in_time(stream.next()).await.unwrap().topic(),
            "down/b",
            "{protocol:?}"
        );
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn any_session_signs_a_websocket_and_that_of_a_device_lends_its_trust_store() {
    let (world, broker) = (world(), Mosquitto::start(&world().iot));
    let gateway = Gateway::start(&world.aws, &world.iot, broker.websocket_address());
    let any = RefreshableSession::with_provider(world.aws.credentials())
        .region("eu-west-1")
        .build()
        .await
        .unwrap();
    world.iot.add_role_alias("any-session", ROLE, None);
    let params = brs::iot::Params::new(world.iot.endpoint(), "any-session")
        .allow_any_endpoint(true)
        .certificate(world.device.certificate_pem.as_str())
        .private_key(world.device.private_key_pem.as_str())
        .trust_store(world.iot.trust_store().as_str());
    let device = RefreshableSession::builder("iot", params)
        .region("eu-west-1")
        .build()
        .await
        .unwrap();
    let lent = Options::new(gateway.endpoint(), "socket").transport(Transport::WebSocket);
    for (session, options) in [(any, options(&gateway, &world.iot)), (device, lent)] {
        let connection = in_time(session.mqtt(options)).await.unwrap();
        in_time(connection.publish(Publish::new("any", "x")))
            .await
            .unwrap();
        let signed_by = gateway.handshakes().pop().unwrap().signed_by.unwrap();
        assert_eq!(
            signed_by,
            session.credentials().await.unwrap().access_key_id()
        );
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_refresh_that_hangs_is_the_first_trys_error() {
    let (world, broker) = (World::new(), Mosquitto::start(&world().iot));
    let gateway = Gateway::start(&world.aws, &world.iot, broker.websocket_address());
    let session = RefreshableSession::builder("sts", sts::Params::new(ROLE))
        .region("eu-west-1")
        .endpoint_url(world.aws.endpoint_url())
        .base_credentials(world.aws.credentials())
        .refresh_timeout(Duration::from_secs(1))
        .build()
        .await
        .unwrap();
    world.aws.fail_always(Some(Failure::Hang));
    let error = in_time(session.mqtt(options(&gateway, &world.iot)))
        .await
        .unwrap_err();
    assert!(
        error.is_retryable() && gateway.handshakes().is_empty(),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn across_ten_expiries_every_handshake_carries_the_current_key() {
    let Scene {
        clock,
        aws: _aws,
        iot,
        _broker,
        gateway,
        session,
    } = Scene::new().await;
    let connection = in_time(session.mqtt(options(&gateway, &iot).session_expiry(LIMIT)))
        .await
        .unwrap();
    let mut events = connection.events();
    let mut expected = vec![
        session
            .credentials()
            .await
            .unwrap()
            .access_key_id()
            .to_owned(),
    ];
    for _ in 0..10 {
        clock.advance(Duration::from_secs(3600));
        // Handed to the connection as a loss, or asked for: either way the next handshake is signed
        // again.
        if expected.len() % 2 == 0 {
            gateway.cut();
        } else {
            connection.reconnect().await;
        }
        let again = async {
            loop {
                match events.next().await {
                    Some(Event::Connected { .. }) => break,
                    // The wait is on the manual clock, too.
                    Some(Event::Lost { .. }) => clock.advance(Duration::from_millis(200)),
                    _ => {}
                }
            }
        };
        in_time(again).await;
        expected.push(
            session
                .credentials()
                .await
                .unwrap()
                .access_key_id()
                .to_owned(),
        );
        in_time(connection.publish(Publish::new("still", "there")))
            .await
            .unwrap();
    }
    let signed_by: Vec<String> = gateway
        .handshakes()
        .into_iter()
        .map(|seen| seen.signed_by.unwrap())
        .collect();
    assert_eq!(signed_by, expected);
    assert_eq!(
        signed_by.iter().collect::<BTreeSet<_>>().len(),
        11,
        "each with another key"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_refresh_that_fails_is_the_trys_error_and_nothing_old_is_signed_with() {
    let Scene {
        clock,
        aws,
        iot,
        _broker,
        gateway,
        session,
    } = Scene::new().await;
    let connection = in_time(session.mqtt(options(&gateway, &iot)))
        .await
        .unwrap();
    let mut events = connection.events();
    aws.fail_always(Some(Failure::Status(500)));
    // The expired set is kept: SDK clients would get it, in the hope that a service takes it.
    clock.advance(Duration::from_secs(2 * 3600));
    gateway.cut();
    let mut said = Vec::new();
    while said.len() < 3 {
        if let Some(Event::Lost { error, .. }) = in_time(events.next()).await {
            said.push(error.to_string());
            clock.advance(Duration::from_secs(60));
        }
    }
    assert!(
        said[0].contains("was cut")
            && said[1..]
                .iter()
                .all(|error| error.contains("failed with an error on its side")),
        "{said:?}"
    );
    assert_eq!(gateway.handshakes().len(), 1, "{:?}", gateway.handshakes());
    aws.fail_always(None);
    let again = async {
        loop {
            match events.next().await {
                Some(Event::Connected { .. }) => break,
                Some(Event::Lost { .. }) => clock.advance(Duration::from_secs(60)),
                _ => {}
            }
        }
    };
    in_time(again).await;
    assert!(gateway.handshakes()[1].signed_by.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_refusal_tells_awss_message_and_a_wrong_clock() {
    let world = world();
    let broker = Mosquitto::start(&world.iot);
    let gateway = Gateway::start(&world.aws, &world.iot, broker.websocket_address());
    let session = session(&world.aws).await;
    let late = ManualClock::new(now() - Duration::from_secs(3600));
    let options = || options(&gateway, &world.iot);
    // TLS takes the time from this clock as well, and an hour is nothing to a certificate.
    let error = in_time(session.mqtt(options().clock(late)))
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(403), "{error}");
    assert!(error.to_string().contains("too far apart"), "{error}");
    let details = error.details();
    assert!(
        error
            .to_string()
            .contains(&format!("(403, `{}`)", details["aws_message"])),
        "{error}"
    );
    let apart: u64 = details["clock_difference_seconds"].parse().unwrap();
    assert!((3595..=3605).contains(&apart), "{apart} s");
    world
        .aws
        .expire(session.credentials().await.unwrap().access_key_id());
    let error = in_time(session.mqtt(options())).await.unwrap_err();
    assert!(error.to_string().contains("iot:Connect"), "{error}");
    // The rejection was reported: the next try has others.
    in_time(session.mqtt(options())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_websocket_is_replaced_before_aws_ends_it() {
    let Scene {
        clock,
        aws: _aws,
        iot,
        _broker,
        gateway,
        session,
    } = Scene::new().await;
    let connection = in_time(session.mqtt(options(&gateway, &iot)))
        .await
        .unwrap();
    let mut events = connection.events();
    in_time(clock.sleepers(1)).await;
    clock.advance(Duration::from_secs(23 * 3600));
    while !matches!(in_time(events.next()).await, Some(Event::Connected { .. })) {}
    assert_eq!(gateway.handshakes().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_is_published_while_a_websocket_is_replaced_arrives() {
    const COUNT: usize = 200;
    for protocol in [Protocol::V5, Protocol::V311] {
        let Scene {
            clock,
            aws: _aws,
            iot,
            _broker: broker,
            gateway,
            session,
        } = Scene::new().await;
        let elsewhere = broker.subscriber("r");
        let connection = in_time(session.mqtt(options(&gateway, &iot).protocol(protocol)))
            .await
            .unwrap();
        let mut events = connection.events();
        in_time(clock.sleepers(1)).await;
        let publishes = join_all(
            (0..COUNT).map(|number| connection.publish(Publish::new("r", number.to_string()))),
        );
        let replacing = async {
            clock.advance(Duration::from_secs(23 * 3600));
            while !matches!(events.next().await, Some(Event::Connected { .. })) {}
        };
        let (results, ()) = in_time(async { tokio::join!(publishes, replacing) }).await;
        assert!(
            results.iter().all(Result::is_ok),
            "{protocol:?}: {results:?}"
        );
        let mut arrived = BTreeSet::new();
        while arrived.len() < COUNT {
            arrived.insert(elsewhere.next(LIMIT).unwrap().1);
        }
        assert_eq!(gateway.handshakes().len(), 2);
    }
}
