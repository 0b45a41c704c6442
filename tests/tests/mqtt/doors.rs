//! Ways in beside the plain one: ALPN, proxies, and what is shown there.

use brs::mqtt::{self, MqttExt as _, Options, Protocol, Publish, Transport};
use brs_tests::embedded_iot::KeyKind;
use brs_tests::gateway::Gateway;
use brs_tests::mosquitto::Mosquitto;
use brs_tests::rough_path::RoughPath;
use brs_tests::tls_door::TlsDoor;

use crate::support::{LIMIT, in_time, world};
use crate::websocket::session;

const ALPN: &str = "x-amzn-mqtt-ca";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn mqtt_by_alpn_flows_in_both_versions() {
    let world = world();
    let broker = Mosquitto::start(&world.iot);
    // As on port 443, where HTTP is spoken, too.
    let door = TlsDoor::start(&world.iot, &["http/1.1", ALPN], broker.plain_address());
    for protocol in [Protocol::V5, Protocol::V311] {
        let options = world
            .options(door.endpoint(), "by-alpn")
            .alpn(true)
            .protocol(protocol);
        let connection = in_time(mqtt::connect(options)).await.unwrap();
        let elsewhere = broker.subscriber("up");
        in_time(connection.publish(Publish::new("up", "x")))
            .await
            .unwrap();
        assert_eq!(elsewhere.next(LIMIT).unwrap().1, "x");
        let shown = door.shown().pop().unwrap();
        assert_eq!(shown.protocol.as_deref(), Some(ALPN), "{protocol:?}");
        assert_eq!(shown.certificate_id, world.device.certificate_id);
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_middlebox_that_takes_port_443_for_http_is_named() {
    let world = world();
    let broker = Mosquitto::start(&world.iot);
    // One refuses the protocol, one passes over the extension.
    for protocols in [&["http/1.1", "h2"][..], &[]] {
        let middlebox = TlsDoor::start(&world.iot, protocols, broker.plain_address());
        let error = in_time(mqtt::connect(
            world.options(middlebox.endpoint(), "d").alpn(true),
        ))
        .await
        .unwrap_err();
        assert!(
            error.to_string().contains(ALPN) && error.to_string().contains("rewrites TLS"),
            "{error}"
        );
        assert_eq!(error.param(), Some("alpn"));
        assert!(
            error.is_retryable(),
            "it may be another network the next time"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn each_transport_goes_through_a_proxy() {
    let world = world();
    let broker = Mosquitto::start(&world.iot);
    let door = TlsDoor::start(&world.iot, &[ALPN], broker.plain_address());
    let gateway = Gateway::start(&world.aws, &world.iot, broker.websocket_address());
    let session = session(&world.aws).await;
    let through = |proxy: &RoughPath| format!("http://me:hush@{}", proxy.address());

    let proxy = RoughPath::start_tunnel(broker.tls_address());
    let options = world
        .options(broker.endpoint(), "p1")
        .proxy(through(&proxy));
    let by_certificate = (in_time(mqtt::connect(options)).await.unwrap(), proxy);
    let proxy = RoughPath::start_tunnel(door.address());
    let options = world
        .options(door.endpoint(), "p2")
        .alpn(true)
        .proxy(through(&proxy));
    let by_alpn = (in_time(mqtt::connect(options)).await.unwrap(), proxy);
    let proxy = RoughPath::start_tunnel(gateway.address());
    let options = Options::new(gateway.endpoint(), "p3")
        .transport(Transport::WebSocket)
        .trust_store(world.iot.trust_store().as_str())
        .proxy(through(&proxy));
    let by_signature = (in_time(session.mqtt(options)).await.unwrap(), proxy);
    for (connection, proxy) in [by_certificate, by_alpn, by_signature] {
        in_time(connection.publish(Publish::new("p", "x")))
            .await
            .unwrap();
        assert_eq!(proxy.connections(), 1);
        in_time(connection.disconnect(LIMIT)).await.unwrap();
    }
    assert_eq!((door.shown().len(), gateway.handshakes().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn a_rotated_certificate_is_shown_at_the_next_connect() {
    let world = world();
    let broker = Mosquitto::start(&world.iot);
    let door = TlsDoor::start(&world.iot, &[], broker.plain_address());
    let (folder, newer) = (
        tempfile::tempdir().unwrap(),
        world.iot.add_device("device-7", KeyKind::EcP256),
    );
    let (certificate, key) = (
        folder.path().join("certificate.pem"),
        folder.path().join("private.key"),
    );
    let write = |device: &brs_tests::embedded_iot::Device| {
        std::fs::write(&certificate, &device.certificate_pem).unwrap();
        std::fs::write(&key, &device.private_key_pem).unwrap();
    };
    write(&world.device);
    let options = world
        .options(door.endpoint(), "rotating")
        .certificate(certificate.to_str().unwrap())
        .private_key(key.to_str().unwrap());
    let connection = in_time(mqtt::connect(options)).await.unwrap();
    write(&newer);
    in_time(connection.publish(Publish::new("r", "over the standing connection")))
        .await
        .unwrap();
    let mut events = connection.events();
    connection.reconnect().await;
    while !matches!(
        in_time(events.next()).await,
        Some(mqtt::Event::Connected { .. })
    ) {}
    let shown: Vec<_> = door
        .shown()
        .into_iter()
        .map(|shown| shown.certificate_id)
        .collect();
    assert_eq!(
        shown,
        [world.device.certificate_id.clone(), newer.certificate_id]
    );
}
