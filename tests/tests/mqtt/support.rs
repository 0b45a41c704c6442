//! What the tests have in common: a broker, a device, a connection.

use std::sync::OnceLock;
use std::time::Duration;

use brs::mqtt::{self, Connection, Options, Protocol};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_iot::{Device, EmbeddedIot, KeyKind};
use brs_tests::mosquitto::Mosquitto;

/// A real server takes as long as it takes; this is when it is given up.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The authority of servers and devices.
pub(crate) struct World {
    pub(crate) iot: EmbeddedIot,
    pub(crate) aws: EmbeddedAws,
    pub(crate) device: Device,
}

impl World {
    pub(crate) fn new() -> Self {
        let aws = EmbeddedAws::start();
        let iot = EmbeddedIot::start(&aws);
        let device = iot.add_device("device-7", KeyKind::EcP256);
        Self { iot, aws, device }
    }

    /// Options for the broker, with the device's certificate and waits that suit a test.
    pub(crate) fn options(&self, endpoint: impl Into<String>, client_id: &str) -> Options {
        Options::new(endpoint, client_id)
            .certificate(self.device.certificate_pem.as_str())
            .private_key(self.device.private_key_pem.as_str())
            .trust_store(self.iot.trust_store().as_str())
            .reconnect_backoff(Duration::from_millis(20), Duration::from_millis(200))
    }

    pub(crate) async fn connect(&self, broker: &Mosquitto, client_id: &str) -> Connection {
        mqtt::connect(self.options(broker.endpoint(), client_id))
            .await
            .unwrap()
    }
}

/// The same with a session that outlives its connections: MQTT 3.1.1 has one switch for that and
/// for a clean start.
pub(crate) fn lasting(options: Options, protocol: Protocol) -> Options {
    options
        .protocol(protocol)
        .session_expiry(LIMIT)
        .clean_start(protocol == Protocol::V5)
}

/// Waits for something within the limit.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future)
        .await
        .expect("it comes within the limit")
}

/// The authorities' keys take a moment to find; most tests can share them.
pub(crate) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}
