//! What keeps a connection from standing, each in its own words.

use brs::mqtt::{self, Publish, Qos, Subscribe};
use brs_tests::embedded_iot::{EmbeddedIot, KeyKind};
use brs_tests::mosquitto::Mosquitto;
use brs_tests::rough_path::RoughPath;

use crate::support::{in_time, world};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn each_way_of_not_connecting_has_its_own_error() {
    let world = world();
    let broker = Mosquitto::start(&world.iot);
    let stranger = EmbeddedIot::start(&world.aws);
    let foreign = stranger.add_device("stranger", KeyKind::EcP256);
    let options = || world.options(broker.endpoint(), "d");
    let nobody = RoughPath::start("127.0.0.1:1".parse().unwrap());
    for (options, words) in [
        (
            options().trust_store(stranger.trust_store().as_str()),
            "was not issued by an authority in",
        ),
        (
            options()
                .certificate(foreign.certificate_pem.as_str())
                .private_key(foreign.private_key_pem.as_str()),
            "refused the device's certificate",
        ),
        (world.options("localhost:1", "d"), "nothing listens there"),
        (world.options(nobody.endpoint(), "d"), "was cut"),
        (
            world.options("no-such-host.invalid", "d"),
            "its name cannot be resolved",
        ),
        (options().alpn(true), "ALPN"),
    ] {
        let error = in_time(mqtt::connect(options)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_an_access_list_forbids_is_told_with_the_action() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("acl");
    std::fs::write(&list, "pattern readwrite allowed/#\n").unwrap();
    let broker = Mosquitto::start_with(&world().iot, &format!("acl_file {}", list.display()));
    let connection = world().connect(&broker, "limited").await;
    let error = in_time(connection.publish(Publish::new("forbidden", "x")))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("iot:Publish"), "{error}");
    assert!(error.is_unrecoverable());
    in_time(connection.publish(Publish::new("allowed/x", "x")))
        .await
        .unwrap();
    let asked = ["allowed/#", "a/#"].map(Subscribe::new);
    let answers = in_time(connection.subscribe_all(asked)).await.unwrap();
    assert!(answers[0].is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_aws_does_not_take_is_refused_before_it_is_sent() {
    // Nobody is reached there.
    let options = world()
        .options("a1-ats.iot.eu-west-1.amazonaws.com", "careful")
        .proxy("http://127.0.0.1:1");
    let connection = mqtt::connect(options.defer_connect(true)).await.unwrap();
    let long = "x".repeat(257);
    for (message, param) in [
        (Publish::new("a", vec![0; 131_073]), "payload"),
        (Publish::new("a", "").qos(Qos::ExactlyOnce), "qos"),
        (Publish::new(long.as_str(), ""), "topic"),
        (Publish::new("a/b/c/d/e/f/g/h/i", ""), "topic"),
    ] {
        let error = connection.publish(message).await.unwrap_err();
        assert_eq!(error.param(), Some(param), "{error}");
    }
    for filter in [long.as_str(), "a/b/c/d/e/f/g/h/#"] {
        assert_eq!(
            connection.subscribe(filter).await.unwrap_err().param(),
            Some("filter")
        );
    }
    let nine = (0..9).map(|number| Subscribe::new(format!("f/{number}")));
    let error = connection.subscribe_all(nine).await.unwrap_err();
    assert_eq!(error.param(), Some("filters"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn what_only_aws_does_not_take_is_sent_to_another_broker() {
    let broker = Mosquitto::start(&world().iot);
    let options = world()
        .options(broker.endpoint(), "free")
        .max_outgoing_packet_size(200_000);
    let connection = in_time(mqtt::connect(options)).await.unwrap();
    for (topic, size) in [
        ("a", 131_073),
        (&*"x".repeat(257), 1),
        ("a/b/c/d/e/f/g/h/i", 1),
    ] {
        let mut stream = in_time(connection.subscribe(topic)).await.unwrap();
        in_time(connection.publish(Publish::new(topic, vec![0; size])))
            .await
            .unwrap();
        assert_eq!(in_time(stream.next()).await.unwrap().payload().len(), size);
    }
    let error = in_time(connection.publish(Publish::new("a", vec![0; 200_000])))
        .await
        .unwrap_err();
    assert!(
        error.param() == Some("payload") && error.to_string().contains("200000"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_proxy_is_gone_through_and_its_refusal_is_told() {
    let broker = Mosquitto::start(&world().iot);
    let proxy = RoughPath::start_tunnel(broker.tls_address());
    let options = |user: &str| {
        world()
            .options(broker.endpoint(), "tunnelled")
            .proxy(format!("http://{user}@{}", proxy.address()))
    };
    let connection = in_time(mqtt::connect(options("me:hush"))).await.unwrap();
    in_time(connection.publish(Publish::new("p", "x")))
        .await
        .unwrap();
    assert_eq!(proxy.connections(), 1);
    let error = in_time(mqtt::connect(options("me:wrong")))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("the proxy opened no tunnel"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
}
