//! MQTT with the device's key in a token, against mosquitto.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use brs::RefreshableSession;
use brs::mqtt::{self, Connection, Event, Events, MqttExt as _, Options, Protocol, Publish};
use brs_iot::pkcs11::hook::hung_after;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_iot::EmbeddedIot;
use brs_tests::mosquitto::Mosquitto;

use crate::away::Door;
use crate::bench::{ForBrs as _, Kind, alone, alone_with_faults, run};

const LIMIT: Duration = Duration::from_secs(30);

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it comes within the limit")
}

fn options(broker: &Mosquitto, iot: &EmbeddedIot) -> Options {
    Options::new(broker.endpoint(), "device-7")
        .trust_store(iot.trust_store().as_str())
        .reconnect_backoff(Duration::from_millis(20), Duration::from_millis(200))
}

/// Without anything that a session may lend.
fn lent_by(broker: &Mosquitto) -> Options {
    Options::new(broker.endpoint(), "device-7")
}

async fn works(connection: Connection, broker: &Mosquitto, text: &str) {
    let elsewhere = broker.subscriber("up");
    in_time(connection.publish(Publish::new("up", text.to_owned())))
        .await
        .unwrap();
    assert_eq!(elsewhere.next(LIMIT).unwrap().1, text);
    in_time(connection.disconnect(LIMIT)).await.unwrap();
}

#[test]
#[ignore = "needs SoftHSM2 and mosquitto"]
fn a_token_signs_for_mqtt_lent_by_a_session_or_given_anew() {
    alone(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = EmbeddedIot::start(&aws);
        let broker = Mosquitto::start(&iot);
        for (kind, protocol) in [
            (Kind::Rsa(2048), Protocol::V5),
            (Kind::P256, Protocol::V311),
        ] {
            let label = format!("{kind:?}");
            let certificate = iot.certify("lamp", &token.key(kind, &label, &[1]));
            let key = || token.pkcs11().key_label(&*label);
            let options = || options(&broker, &iot).protocol(protocol);
            run(async {
                let given = options().certificate(certificate.as_str()).pkcs11(key());
                works(
                    in_time(mqtt::connect(given)).await.unwrap(),
                    &broker,
                    "without a session",
                )
                .await;

                let params = brs::iot::Params::new(iot.endpoint(), "demo")
                    .allow_any_endpoint(true)
                    .trust_store(iot.trust_store())
                    .certificate(certificate.as_str())
                    .pkcs11(key());
                let session = RefreshableSession::builder("iot", params)
                    .region("eu-west-1")
                    .build()
                    .await
                    .unwrap();
                let lent = lent_by(&broker).protocol(protocol);
                works(
                    in_time(session.mqtt(lent)).await.unwrap(),
                    &broker,
                    "lent by the session",
                )
                .await;
                // The session's trust store goes with it.
                let given = lent_by(&broker)
                    .protocol(protocol)
                    .certificate(certificate.as_str())
                    .pkcs11(key());
                works(
                    in_time(session.mqtt(given)).await.unwrap(),
                    &broker,
                    "given beside the session's",
                )
                .await;
            });
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2 and mosquitto"]
fn a_device_without_a_key_or_with_two_opens_no_connection() {
    alone(|bench| {
        let token = bench.token("device");
        let options = || Options::new("localhost:1", "d").certificate("/c.pem");
        for options in [
            options(),
            options().private_key("/k.pem").pkcs11(token.pkcs11()),
        ] {
            let error = run(mqtt::connect(options)).unwrap_err();
            assert!(
                error.param() == Some("private_key") && error.to_string().contains("`pkcs11`"),
                "{error}"
            );
        }
    });
}

async fn lost(events: &mut Events) -> String {
    loop {
        if let Some(Event::Lost { error, .. }) = in_time(events.next()).await {
            return error.to_string();
        }
    }
}

#[test]
#[ignore = "needs SoftHSM2 and mosquitto"]
fn a_hung_token_costs_an_error_and_neither_a_worker_nor_the_runtime() {
    alone_with_faults(|bench| {
        let token = bench.token("device");
        let aws = EmbeddedAws::start();
        let iot = EmbeddedIot::start(&aws);
        let broker = Mosquitto::start(&iot);
        let certificate = iot.certify("lamp", &token.key(Kind::P256, "iot", &[1]));
        hung_after(Duration::from_millis(100));
        for patience in [Duration::from_millis(300), Duration::from_secs(3600)] {
            // One worker, which drives the connection, too.
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .unwrap();
            let options = options(&broker, &iot)
                .certificate(certificate.as_str())
                .pkcs11(token.pkcs11().key_label("iot").signature_timeout(patience))
                .connect_timeout(Duration::from_secs(1))
                .runtime(runtime.handle().clone());
            let connection = run(in_time(mqtt::connect(options))).unwrap();
            let mut events = connection.events();
            let door = Door::before_each_signature(&bench);
            let said = run(async {
                connection.reconnect().await;
                [lost(&mut events).await, lost(&mut events).await]
            });
            // The shorter of the two limits tells; then nobody waits for another signature.
            let words = if patience < LIMIT {
                "has not answered within 300ms"
            } else {
                "did not answer within 1s"
            };
            assert!(said[0].contains(words), "{said:?}");
            assert!(
                ["still running", "is still busy with the signature"]
                    .iter()
                    .any(|words| said[1].contains(words))
            );
            // The worker is free.
            run(in_time(runtime.spawn(async {}))).unwrap();
            if patience < LIMIT {
                door.open();
                run(in_time(connection.connected())).unwrap();
                run(works(connection, &broker, "it answers again"));
            } else {
                // Nobody joins the token's thread.
                let (done, ended) = mpsc::channel();
                thread::spawn(move || {
                    drop(runtime);
                    let _ = done.send(());
                });
                ended
                    .recv_timeout(LIMIT)
                    .expect("the runtime ends though the token hangs");
                door.open();
            }
        }
    });
}
