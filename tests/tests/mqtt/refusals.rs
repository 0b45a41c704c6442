//! Refusals, at a broker that keeps to a script: what a server's number means, and what no server
//! is asked.

use brs::RefreshableSession;
use brs::mqtt::{self, MqttExt as _, Options, Protocol, Qos, Subscribe, Transport};
use brs_core::Error;

use crate::scripted::{BOTH, CONNECT, Deed, Packet, SUBSCRIBE, Scripted, UNSUBSCRIBE, agree, lost};
use crate::support::{in_time, world};

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_connect_is_told_in_words() {
    for (protocol, code, words) in [
        (Protocol::V5, 0x87, "not authorized (0x87)"),
        (Protocol::V311, 5, "not authorized (0x87)"),
        (Protocol::V5, 0x97, "quota exceeded (0x97)"),
        (Protocol::V311, 2, "client identifier not valid (0x85)"),
        (Protocol::V5, 0x84, "unsupported protocol version (0x84)"),
    ] {
        let broker =
            Scripted::start(move |packet| Deed::SendAndClose(packet.connack(0, code))).await;
        let options = world()
            .options(broker.endpoint(), "refused")
            .protocol(protocol);
        let error = in_time(mqtt::connect(options)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(
            error.to_string().contains("iot:Connect"),
            words.starts_with("not"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_the_connection_is_quoted() {
    let broker = Scripted::start(|packet| match packet.kind() {
        CONNECT => Deed::SendAndClose([packet.accept(false), vec![0xE0, 2, 0x97, 0]].concat()),
        _ => Deed::Nothing,
    })
    .await;
    let connection = in_time(mqtt::connect(world().options(broker.endpoint(), "told")))
        .await
        .unwrap();
    let error = lost(&mut connection.events()).await;
    assert!(
        error.to_string().contains("quota exceeded (0x97)"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_a_policy_forbids_is_refused_with_the_action() {
    for (protocol, code) in [(Protocol::V5, 0x87), (Protocol::V311, 0x80)] {
        let broker = Scripted::start(move |packet| match packet.kind() {
            SUBSCRIBE => Deed::Send(packet.suback(code)),
            _ => agree(packet),
        })
        .await;
        let connection = in_time(mqtt::connect(
            world().options(broker.endpoint(), "s").protocol(protocol),
        ))
        .await;
        let error = in_time(connection.unwrap().subscribe("a/#"))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("iot:Subscribe") && error.to_string().contains("`a/#`"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_number_of_mqtt_5_is_told_as_what_it_is() {
    // Section 2.4, as far as a server may answer with it to CONNECT or SUBSCRIBE.
    let connect = (0x80..=0x8A)
        .chain([0x8C, 0x90, 0x95, 0x97])
        .chain(0x99..=0x9D)
        .chain([0x9F]);
    for code in connect {
        let broker =
            Scripted::start(move |packet| Deed::SendAndClose(packet.connack(0, code))).await;
        let error = in_time(mqtt::connect(world().options(broker.endpoint(), "refused")))
            .await
            .unwrap_err();
        assert_eq!(
            error.code(),
            Some(format!("0x{code:02x}").as_str()),
            "{error}"
        );
    }
    for code in [0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2] {
        let answer = move |packet: &Packet| match packet.kind() {
            SUBSCRIBE => Deed::Send(packet.suback(code)),
            _ => agree(packet),
        };
        let broker = Scripted::start(answer).await;
        let connection = in_time(mqtt::connect(world().options(broker.endpoint(), "refused")))
            .await
            .unwrap();
        let error = in_time(connection.subscribe("a")).await.unwrap_err();
        assert_eq!(
            error.code(),
            Some(format!("0x{code:02x}").as_str()),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_closes_at_connect_is_told_with_what_to_check() {
    for protocol in BOTH {
        let broker = Scripted::start(|_| Deed::SendAndClose(Vec::new())).await;
        let options = world()
            .options(broker.endpoint(), "stranger")
            .protocol(protocol);
        let error = in_time(mqtt::connect(options))
            .await
            .unwrap_err()
            .to_string();
        for words in [
            "`stranger`",
            "registered and active",
            "iot:Connect",
            "iot:Data-ATS",
        ] {
            assert!(error.contains(words), "{protocol:?}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_mqtt_is_told_so() {
    for protocol in BOTH {
        // A length of five bytes.
        let broker =
            Scripted::start(|_| Deed::SendAndClose(vec![0x20, 0x80, 0x80, 0x80, 0x80, 1])).await;
        let options = world()
            .options(broker.endpoint(), "lost")
            .protocol(protocol);
        let error = in_time(mqtt::connect(options)).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("check that a broker for MQTT answers there"),
            "{protocol:?}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_granted_less_says_so() {
    for protocol in BOTH {
        let broker = Scripted::start(|packet| match packet.kind() {
            SUBSCRIBE => Deed::Send(packet.suback(0)),
            _ => agree(packet),
        })
        .await;
        let options = world()
            .options(broker.endpoint(), "modest")
            .protocol(protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        assert_eq!(
            in_time(connection.subscribe("a")).await.unwrap().granted(),
            Qos::AtMostOnce,
            "{protocol:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsubscribe_that_is_refused_says_so() {
    let broker = Scripted::start(|packet| match packet.kind() {
        UNSUBSCRIBE => Deed::Send([&[0xB0, 4], &packet.id()[..], &[0, 0x87]].concat()),
        _ => agree(packet),
    })
    .await;
    let connection = in_time(mqtt::connect(world().options(broker.endpoint(), "bound")))
        .await
        .unwrap();
    let error = in_time(connection.unsubscribe(["a"])).await.unwrap_err();
    assert!(
        error.to_string().contains("not authorized (0x87)"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_does_not_take_is_not_asked_for() {
    let broker = Scripted::start(agree).await;
    let connection = in_time(mqtt::connect(world().options(broker.endpoint(), "careful")))
        .await
        .unwrap();
    let error = connection
        .subscribe(Subscribe::new("a").qos(Qos::ExactlyOnce))
        .await
        .unwrap_err();
    assert!(
        error.param() == Some("qos") && error.to_string().contains("no QoS 2"),
        "{error}"
    );
    let error = connection
        .unsubscribe((0..9).map(|number| format!("f/{number}")))
        .await
        .unwrap_err();
    assert_eq!(error.param(), Some("filters"), "{error}");
    assert!(broker.seen(SUBSCRIBE).is_empty() && broker.seen(UNSUBSCRIBE).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transport_needs_and_does_not_have_is_named() {
    let options = || Options::new("a1-ats.iot.eu-west-1.amazonaws.com", "d");
    let socket = || Options::new("broker.example", "d").transport(Transport::WebSocket);
    let session = || RefreshableSession::with_provider(world().aws.credentials());
    let (near, nowhere) = (
        session().region("eu-west-1").build().await.unwrap(),
        session().build().await.unwrap(),
    );
    let named = |error: Error| {
        (
            error.param().unwrap_or_default().to_owned(),
            error.to_string(),
        )
    };
    for ((param, text), (expected, words)) in [
        (
            named(mqtt::connect(socket()).await.unwrap_err()),
            ("transport", "session.mqtt(options)"),
        ),
        (
            named(mqtt::connect(options()).await.unwrap_err()),
            ("certificate", "method `iot`"),
        ),
        (
            named(near.mqtt(options()).await.unwrap_err()),
            ("certificate", "`WebSocket`"),
        ),
        (
            named(nowhere.mqtt(socket()).await.unwrap_err()),
            ("region", "give `region`"),
        ),
    ] {
        assert!(param == expected && text.contains(words), "{param}: {text}");
    }
}
