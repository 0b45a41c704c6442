//! What MQTT over a signed WebSocket logs at the finest level, its libraries included: no signature
//! and no secret.
//!
//! In a binary of its own, since connections live on brs's own threads and only global loggers hear
//! those.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use brs::mqtt::{Event, MqttExt as _, Options, Publish, Transport};
use brs::{RefreshableSession, sts};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_iot::EmbeddedIot;
use brs_tests::gateway::Gateway;
use brs_tests::mosquitto::Mosquitto;

/// Everything that was logged, by `tracing` and by `log`.
static LOG: Mutex<String> = Mutex::new(String::new());

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{}: {}\n", record.target(), record.args());
        LOG.lock().unwrap().push_str(&line);
    }

    fn flush(&self) {}
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs mosquitto"]
async fn no_signed_url_and_no_secret_is_logged() {
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(|| Log)
        .init();
    let aws = EmbeddedAws::start();
    let iot = EmbeddedIot::start(&aws);
    let broker = Mosquitto::start(&iot);
    let gateway = Gateway::start(&aws, &iot, broker.websocket_address());
    let session = RefreshableSession::builder(
        "sts",
        sts::Params::new("arn:aws:iam::123456789012:role/device"),
    )
    .region("eu-west-1")
    .endpoint_url(aws.endpoint_url())
    .base_credentials(aws.credentials())
    .build()
    .await
    .unwrap();
    let options = || {
        Options::new(gateway.endpoint(), "logged")
            .transport(Transport::WebSocket)
            .trust_store(iot.trust_store().as_str())
            .reconnect_backoff(Duration::from_millis(20), Duration::from_millis(20))
    };
    let connection = session.mqtt(options()).await.unwrap();
    connection.publish(Publish::new("a", "x")).await.unwrap();
    let mut events = connection.events();
    gateway.cut();
    while !matches!(events.next().await, Some(Event::Connected { .. })) {}
    aws.expire(session.credentials().await.unwrap().access_key_id());
    let refused = session.mqtt(options()).await.unwrap_err();

    let log = format!(
        "{}{refused:?}{connection:?}{:?}",
        LOG.lock().unwrap(),
        options()
    );
    assert!(log.contains("MQTT connection lost"));
    let own = [
        "X-Amz-Signature=".to_owned(),
        "X-Amz-Security-Token=".to_owned(),
    ];
    for secret in aws.issued_secrets().into_iter().chain(own) {
        // The secret itself is not repeated here: this is a log, too.
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(
            line.is_none(),
            "a secret is logged by {}",
            &line.unwrap_or_default()[..60]
        );
    }
}
