//! Publishing and receiving, in both versions of the protocol.

use brs::mqtt::{self, Event, MqttExt as _, Outcome, Protocol, Publish, Qos, State, Subscribe};
use brs_tests::embedded_iot::{EmbeddedIot, KeyKind};
use brs_tests::mosquitto::Mosquitto;

use crate::support::{LIMIT, in_time, world};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_published_message_arrives_and_one_from_elsewhere_is_received() {
    let broker = Mosquitto::start(&world().iot);
    for protocol in [Protocol::V5, Protocol::V311] {
        let options = world()
            .options(broker.endpoint(), "device-7")
            .protocol(protocol);
        let connection = mqtt::connect(options).await.unwrap();
        let elsewhere = broker.subscriber("up/#");
        let mut commands = in_time(connection.subscribe("down/+")).await.unwrap();
        assert_eq!(commands.granted(), Qos::AtLeastOnce);
        for (qos, payload) in [(Qos::AtLeastOnce, "one"), (Qos::AtMostOnce, "none")] {
            in_time(connection.publish(Publish::new("up/a", payload).qos(qos)))
                .await
                .unwrap();
            assert_eq!(
                elsewhere.next(LIMIT).unwrap(),
                ("up/a".into(), payload.into()),
                "{protocol:?}"
            );
        }
        broker.publish("down/x", "go");
        let message = in_time(commands.next()).await.unwrap();
        assert_eq!(
            (message.topic(), &message.payload()[..]),
            ("down/x", &b"go"[..]),
            "{protocol:?}"
        );
        in_time(connection.unsubscribe(["down/+"])).await.unwrap();
        assert!(
            in_time(commands.next()).await.is_none(),
            "the stream ends with the subscription"
        );
        in_time(connection.disconnect(LIMIT)).await.unwrap();
        assert_eq!(connection.state(), State::Closed);
        let error = connection
            .publish(Publish::new("up/a", "late"))
            .await
            .unwrap_err();
        assert_eq!(Outcome::of(&error), Some(Outcome::Closed), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn properties_come_through_in_mqtt_5() {
    let broker = Mosquitto::start(&world().iot);
    let connection = world().connect(&broker, "device-7").await;
    let mut stream = in_time(connection.subscribe("p")).await.unwrap();
    let message = Publish::new("p", "x")
        .content_type("text/plain")
        .response_topic("answers")
        .correlation_data("7")
        .user_property("unit", "K");
    in_time(connection.publish(message)).await.unwrap();
    let message = in_time(stream.next()).await.unwrap();
    assert_eq!(message.content_type(), Some("text/plain"));
    assert_eq!(message.response_topic(), Some("answers"));
    assert_eq!(
        message.correlation_data().map(|data| &data[..]),
        Some(&b"7"[..])
    );
    assert_eq!(
        message.user_properties(),
        [("unit".to_owned(), "K".to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn the_stream_of_all_messages_has_those_of_every_subscription() {
    let broker = Mosquitto::start(&world().iot);
    let connection = world().connect(&broker, "listener").await;
    let mut all = connection.messages().await;
    let mut read = in_time(connection.subscribe("read/+")).await.unwrap();
    // Nobody reads its own stream, which is no reason to be without its messages here.
    drop(in_time(connection.subscribe("unread")).await.unwrap());
    for topic in ["read/1", "unread", "read/2"] {
        broker.publish(topic, "x");
    }
    let mut topics = Vec::new();
    for _ in 0..3 {
        topics.push(in_time(all.next()).await.unwrap().topic().to_owned());
    }
    assert_eq!(topics, ["read/1", "unread", "read/2"]);
    for topic in ["read/1", "read/2"] {
        assert_eq!(in_time(read.next()).await.unwrap().topic(), topic);
    }
    in_time(connection.disconnect(LIMIT)).await.unwrap();
    assert!(in_time(all.next()).await.is_none() && in_time(read.next()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_message_that_was_not_acknowledged_comes_again() {
    let broker = Mosquitto::start(&world().iot);
    let options = || {
        world()
            .options(broker.endpoint(), "keeper")
            .session_expiry(LIMIT)
    };
    let connection = mqtt::connect(options()).await.unwrap();
    let mut stream = in_time(connection.subscribe(Subscribe::new("k").manual_ack(true)))
        .await
        .unwrap();
    broker.publish("k", "first");
    broker.publish("k", "second");
    in_time(stream.next()).await.unwrap().ack();
    let second = in_time(stream.next()).await.unwrap();
    assert_eq!(&second.payload()[..], b"second");
    connection.reconnect().await;
    let again = in_time(stream.next()).await.unwrap();
    assert_eq!(&again.payload()[..], b"second");
    assert!(again.duplicate());
    again.ack();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_a_session_kept_for_an_earlier_process_is_received() {
    let broker = Mosquitto::start(&world().iot);
    let options = || {
        world()
            .options(broker.endpoint(), "sleeper")
            .clean_start(false)
            .session_expiry(LIMIT)
    };
    for protocol in [Protocol::V5, Protocol::V311] {
        let connection = mqtt::connect(options().protocol(protocol)).await.unwrap();
        let _stream = in_time(connection.subscribe("s/#")).await.unwrap();
        in_time(connection.disconnect(LIMIT)).await.unwrap();
        broker.publish("s/1", "while away");
        let connection = mqtt::connect(options().protocol(protocol)).await.unwrap();
        let mut stream = in_time(connection.subscribe("s/#")).await.unwrap();
        assert_eq!(
            &in_time(stream.next()).await.unwrap().payload()[..],
            b"while away",
            "{protocol:?}"
        );
        in_time(connection.publish(Publish::new("other", "works as ever")))
            .await
            .unwrap();
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn dropping_the_last_handle_says_goodbye() {
    let broker = Mosquitto::start(&world().iot);
    let will = Publish::new("gone", "without a word");
    let options = world().options(broker.endpoint(), "leaver").last_will(will);
    let watcher = broker.subscriber("#");
    let connection = mqtt::connect(options).await.unwrap();
    let mut events = connection.events();
    drop(connection);
    while !matches!(in_time(events.next()).await, Some(Event::Closed)) {}
    assert!(in_time(events.next()).await.is_none());
    broker.publish("end", "of the test");
    assert_eq!(
        watcher.next(LIMIT).unwrap().0,
        "end",
        "the last will was not published"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_session_of_a_device_lends_what_is_not_given_anew() {
    let (world, broker) = (world(), Mosquitto::start(&world().iot));
    let (elsewhere, another) = (
        EmbeddedIot::start(&world.aws),
        world.iot.add_device("another", KeyKind::EcP256),
    );
    let right = world.iot.trust_store();
    let session = async |store: &str| {
        let params = brs::iot::Params::new(world.iot.endpoint(), "reporting")
            .allow_any_endpoint(true)
            .certificate(world.device.certificate_pem.as_str())
            .private_key(world.device.private_key_pem.as_str())
            .trust_store(store);
        brs::RefreshableSession::builder("iot", params)
            .region("eu-west-1")
            .build()
            .await
            .unwrap()
    };
    let (session, wrong) = (
        session(&right).await,
        session(&elsewhere.trust_store()).await,
    );
    let options = || mqtt::Options::new(broker.endpoint(), "lent");
    let device = || {
        options()
            .certificate(&*another.certificate_pem)
            .private_key(&*another.private_key_pem)
    };
    for (session, options) in [
        (&session, options()),
        (&session, device()),
        (&wrong, options().trust_store(&*right)),
        (&wrong, device().trust_store(&*right)),
    ] {
        let connection = in_time(session.mqtt(options)).await.unwrap();
        in_time(connection.publish(Publish::new("lent", "x")))
            .await
            .unwrap();
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
    for options in [options(), device()] {
        let error = in_time(wrong.mqtt(options)).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("was not issued by an authority in"),
            "{error}"
        );
    }
}
