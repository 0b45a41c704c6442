//! The demo's MQTT: numbers that are published and received through mosquitto while connections are
//! cut.
//!
//! Two connections: by a device's certificate, and by a WebSocket that is signed with the
//! credentials of the session `sts` as they are at each handshake. What was acknowledged must come
//! back; what does not is a failure. One of the two is cut every few seconds, in turns.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brs::mqtt::{
    self, Connection, Event, MqttExt as _, Options, Publish, State, Subscription, Transport,
};
use brs::{Error, RefreshableSession};
use brs_tests::EmbeddedAws;
use brs_tests::gateway::Gateway;
use brs_tests::mosquitto::Mosquitto;
use brs_tests::rough_path::RoughPath;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::devices::Devices;

/// How long a connection stands before it is cut.
const CUT_EVERY: Duration = Duration::from_secs(3);
/// What is on its way at the end has so long to arrive.
const LAST_CALL: Duration = Duration::from_secs(5);

/// The broker, the ways to it, and both connections.
#[derive(Debug)]
pub(crate) struct Messages {
    links: Vec<Link>,
    gateway: Arc<Gateway>,
    publishers: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    _broker: Mosquitto,
}

/// One connection and what was seen of it.
#[derive(Clone)]
pub(crate) struct Link {
    name: &'static str,
    connection: Connection,
    shows: Arc<dyn Fn() -> String + Send + Sync>,
    stats: Arc<Mutex<Stats>>,
}

/// What the messages of one connection came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) connections: u64,
    pub(crate) acknowledged: u64,
    pub(crate) received: u64,
    /// Received more than once, which QoS 1 allows.
    pub(crate) again: u64,
    pub(crate) failures: u64,
    /// Why the connection was lost last, or what else went wrong.
    pub(crate) last_error: Option<String>,
}

/// The same with what it takes to know it.
#[derive(Debug, Default)]
struct Stats {
    tally: Tally,
    published: u64,
    acknowledged: HashSet<u64>,
    received: HashSet<u64>,
}

impl Messages {
    pub(crate) async fn start(
        aws: &EmbeddedAws,
        devices: &Devices,
        sts: &RefreshableSession,
    ) -> Result<Self, Error> {
        let iot = devices.server();
        let broker = Mosquitto::start(iot);
        let path = RoughPath::start(broker.tls_address());
        let gateway = Arc::new(Gateway::start(aws, iot, broker.websocket_address()));
        let options = |endpoint: String, client_id| {
            Options::new(endpoint, client_id)
                .trust_store(iot.trust_store())
                .session_expiry(Duration::from_secs(60))
                .reconnect_backoff(Duration::from_millis(200), Duration::from_secs(1))
        };
        let by_certificate =
            options(path.endpoint(), "demo-certificate").device(devices.in_memory());
        let by_signature =
            options(gateway.endpoint(), "demo-signature").transport(Transport::WebSocket);
        let signatures = Arc::clone(&gateway);
        let last_key = move || {
            signatures
                .handshakes()
                .pop()
                .and_then(|seen| seen.signed_by.ok())
                .unwrap_or_default()
        };
        let links = vec![
            Link::new("mqtts", mqtt::connect(by_certificate).await?, || {
                "CN=lamp".to_owned()
            }),
            Link::new("wss", sts.mqtt(by_signature).await?, last_key),
        ];
        let others = vec![tokio::spawn(cut(path, Arc::clone(&gateway)))];
        Ok(Self {
            links,
            gateway,
            publishers: Vec::new(),
            others,
            _broker: broker,
        })
    }

    pub(crate) fn links(&self) -> &[Link] {
        &self.links
    }

    /// Publishes so many messages a second over each connection, and receives them.
    pub(crate) async fn run(&mut self, rate: u64) -> Result<(), Error> {
        for link in &self.links {
            let stream = link.connection.subscribe(link.topic()).await?;
            self.others.push(tokio::spawn(link.clone().watch()));
            self.others.push(tokio::spawn(link.clone().receive(stream)));
            self.publishers
                .push(tokio::spawn(link.clone().publish(rate)));
        }
        Ok(())
    }

    /// Publishes no more, and gives what is on its way the time to arrive.
    pub(crate) async fn stop(&mut self) {
        self.publishers.drain(..).for_each(|task| task.abort());
        for link in &self.links {
            link.close().await;
        }
        self.others.drain(..).for_each(|task| task.abort());
    }

    pub(crate) fn introduction() -> String {
        format!(
            "mosquitto, by a certificate and by signatures; a connection is cut every {} s",
            CUT_EVERY.as_secs()
        )
    }

    pub(crate) fn summary(&self) -> Vec<String> {
        let keys: HashSet<_> = self
            .gateway
            .handshakes()
            .into_iter()
            .filter_map(|seen| seen.signed_by.ok())
            .collect();
        let mut lines: Vec<_> = self.links.iter().map(Link::summary).collect();
        lines.push(format!(
            "wss: signed with {} different access keys",
            keys.len()
        ));
        lines
    }

    pub(crate) fn failures(&self) -> u64 {
        self.links.iter().map(|link| link.tally().failures).sum()
    }
}

/// Cuts the connections in turns.
async fn cut(path: RoughPath, gateway: Arc<Gateway>) {
    let mut ticks = interval(CUT_EVERY);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        path.cut();
        ticks.tick().await;
        gateway.cut();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("name", &self.name)
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}

impl Link {
    fn new(
        name: &'static str,
        connection: Connection,
        shows: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let tally = Tally {
            connections: 1,
            ..Tally::default()
        };
        let stats = Arc::new(Mutex::new(Stats {
            tally,
            ..Stats::default()
        }));
        Self {
            name,
            connection,
            shows: Arc::new(shows),
            stats,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What it shows to be let in.
    pub(crate) fn shows(&self) -> String {
        (self.shows)()
    }

    pub(crate) fn state(&self) -> &'static str {
        match self.connection.state() {
            State::Connected => "connected",
            State::Connecting => "connecting",
            State::Waiting { .. } => "waiting",
            _ => "closed",
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        self.lock().tally.clone()
    }

    fn topic(&self) -> String {
        format!("demo/{}", self.name)
    }

    fn lock(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn publish(self, rate: u64) {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(u32::MAX));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            ticks.tick().await;
            self.lock().published += 1;
            let link = self.clone();
            // Not waited for here: what is published while there is no connection waits in the
            // outbox.
            tokio::spawn(async move {
                let result = link
                    .connection
                    .publish(Publish::new(link.topic(), number.to_string()))
                    .await;
                link.lock().published(number, result);
            });
        }
    }

    async fn receive(self, mut stream: Subscription) {
        while let Some(message) = stream.next().await {
            let number = String::from_utf8_lossy(message.payload())
                .parse()
                .unwrap_or_default();
            self.lock().arrived(number);
        }
    }

    async fn watch(self) {
        let mut events = self.connection.events();
        while let Some(event) = events.next().await {
            match event {
                Event::Connected { .. } => self.lock().tally.connections += 1,
                Event::Lost { error, .. } => self.lock().tally.last_error = Some(error.to_string()),
                _ => {}
            }
        }
    }

    /// Waits until everything has been acknowledged and has come back, then says goodbye.
    async fn close(&self) {
        let all_here = async {
            let mut looks = interval(Duration::from_millis(20));
            while self.lock().is_under_way() {
                looks.tick().await;
            }
        };
        let _ = tokio::time::timeout(LAST_CALL, all_here).await;
        let left = self.connection.disconnect(LAST_CALL).await;
        let mut stats = self.lock();
        stats.tally.failures += stats.missing() + u64::from(left.is_err());
    }

    fn summary(&self) -> String {
        let tally = self.tally();
        let mut line = format!(
            "{}: {} messages acknowledged, {} received, {} of them twice, {} failed, over {} connections",
            self.name,
            tally.acknowledged,
            tally.received,
            tally.again,
            tally.failures,
            tally.connections
        );
        if let Some(error) = tally.last_error {
            line.push_str(&format!("\n  last loss: {error}"));
        }
        line
    }
}

impl Stats {
    fn published(&mut self, number: u64, result: Result<(), Error>) {
        match result {
            Ok(()) => {
                self.tally.acknowledged += 1;
                self.acknowledged.insert(number);
            }
            Err(error) => {
                self.tally.failures += 1;
                self.tally.last_error = Some(error.to_string());
            }
        }
    }

    fn arrived(&mut self, number: u64) {
        self.tally.received += 1;
        self.tally.again += u64::from(!self.received.insert(number));
    }

    /// Acknowledged, and not received.
    fn missing(&self) -> u64 {
        u64::try_from(self.acknowledged.difference(&self.received).count()).unwrap_or(u64::MAX)
    }

    fn is_under_way(&self) -> bool {
        self.tally.acknowledged + self.tally.failures < self.published || self.missing() > 0
    }
}
