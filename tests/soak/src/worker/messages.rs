//! MQTT: numbers that are published and received over two connections, by a device's certificate
//! and by WebSocket, signed with a session's credentials.
//!
//! Written down is what was published, acknowledged and received, as runs of numbers; the ledger
//! compares. Each connection receives what it publishes itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brs::Error;
use brs::mqtt::{self, Connection, MqttExt as _, Options, Publish, Subscription, Transport};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Recorder;
use super::observe::{self, show};
use super::sessions::Sessions;
use crate::Failure;
use crate::record::{Broker, Settings, What};

/// How often each connection publishes.
const EVERY: Duration = Duration::from_millis(50);
/// How long the connections may take to be there at first: the broker is well then.
const FIRST: Duration = Duration::from_secs(30);
/// What is on its way at the end has so long to arrive.
const LAST_CALL: Duration = Duration::from_secs(20);

/// Both connections.
pub(crate) struct Messages {
    links: Vec<Link>,
    publishers: Vec<JoinHandle<()>>,
}

impl Messages {
    pub(crate) async fn start(
        settings: &Settings,
        broker: &Broker,
        sessions: &Sessions,
        recorder: &Recorder,
    ) -> Result<Self, Failure> {
        // The broker forgets at its end the sessions that began with a clean start.
        let options = |endpoint: &str, client_id| {
            Options::new(endpoint, client_id)
                .trust_store(settings.trust_store.as_str())
                .clean_start(false)
                .session_expiry(Duration::from_secs(3600))
                .reconnect_backoff(Duration::from_millis(200), Duration::from_secs(1))
        };
        let by_certificate = options(&broker.by_certificate, "soak-certificate")
            .certificate(settings.files.join("certificate"))
            .private_key(settings.files.join("key"));
        let by_signature =
            options(&broker.by_signature, "soak-signature").transport(Transport::WebSocket);
        let signs = sessions.named("sts").ok_or("no session signs")?;
        let mut messages = Self {
            links: Vec::new(),
            publishers: Vec::new(),
        };
        for (name, connection) in [
            (
                "mqtts",
                timeout(FIRST, mqtt::connect(by_certificate)).await??,
            ),
            ("wss", timeout(FIRST, signs.mqtt(by_signature)).await??),
        ] {
            let link = Link {
                name,
                connection,
                seen: Arc::default(),
                recorder: recorder.clone(),
            };
            let stream = timeout(FIRST, link.connection.subscribe(link.topic())).await??;
            tokio::spawn(link.clone().receive(stream));
            tokio::spawn(link.clone().watch());
            messages
                .publishers
                .push(tokio::spawn(link.clone().publish()));
            messages.links.push(link);
        }
        Ok(messages)
    }

    /// Publishes no more, and gives what is on its way the time to arrive.
    pub(crate) async fn stop(self) {
        self.publishers.iter().for_each(JoinHandle::abort);
        for link in &self.links {
            link.close().await;
        }
    }
}

#[derive(Clone)]
struct Link {
    name: &'static str,
    connection: Connection,
    seen: Arc<Mutex<Seen>>,
    recorder: Recorder,
}

/// What is still to come, and the runs that are being written down.
#[derive(Default)]
struct Seen {
    /// Published, neither acknowledged nor failed.
    open: BTreeSet<u64>,
    /// Acknowledged, not received, and the other way round.
    missing: BTreeSet<u64>,
    early: BTreeSet<u64>,
    published: Run,
    acknowledged: Run,
    received: Run,
}

/// Numbers one after the other.
#[derive(Clone, Copy, Default)]
struct Run(Option<(u64, u64)>);

impl Run {
    /// Adds a number; gives the run that it does not belong to.
    fn add(&mut self, number: u64) -> Option<(u64, u64)> {
        match &mut self.0 {
            Some((first, last)) if number == *last + 1 && number < *first + 20 => {
                *last = number;
                None
            }
            run => run.replace((number, number)),
        }
    }
}

impl Link {
    fn topic(&self) -> String {
        format!("soak/{}", self.name)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, run: Option<(u64, u64)>, what: impl Fn(u64, u64) -> What) {
        if let Some((first, last)) = run {
            self.recorder.write(self.name, what(first, last));
        }
    }

    async fn publish(self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 0.. {
            ticks.tick().await;
            let run = {
                let mut seen = self.seen();
                seen.open.insert(number);
                seen.published.add(number)
            };
            self.write(run, |first, last| What::Published { first, last });
            let link = self.clone();
            // Not waited for here: without a connection messages wait in the outbox.
            tokio::spawn(async move {
                let message = Publish::new(link.topic(), number.to_string());
                link.published(number, link.connection.publish(message).await);
            });
        }
    }

    fn published(&self, number: u64, result: Result<(), Error>) {
        let run = {
            let mut seen = self.seen();
            seen.open.remove(&number);
            match &result {
                Ok(()) => {
                    if !seen.early.remove(&number) {
                        seen.missing.insert(number);
                    }
                    seen.acknowledged.add(number)
                }
                Err(_) => None,
            }
        };
        self.write(run, |first, last| What::Acknowledged { first, last });
        if let Err(error) = result {
            show(&observe::shown(&error));
            let text = observe::shortened(&error.to_string());
            self.recorder.write(self.name, What::Lost { number, text });
        }
    }

    async fn receive(self, mut stream: Subscription) {
        while let Some(message) = stream.next().await {
            let text = String::from_utf8_lossy(message.payload()).into_owned();
            let Ok(number) = text.parse() else { continue };
            let run = {
                let mut seen = self.seen();
                // It may come before its acknowledgement, and once more after that.
                if !seen.missing.remove(&number) && seen.open.contains(&number) {
                    seen.early.insert(number);
                }
                seen.received.add(number)
            };
            self.write(run, |first, last| What::Received { first, last });
        }
    }

    async fn watch(self) {
        let mut events = self.connection.events();
        while let Some(event) = events.next().await {
            show(&format!("{}: {event:?}", self.name));
        }
    }

    async fn close(&self) {
        let all_here = async {
            let mut looks = interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let seen = self.seen();
                if seen.open.is_empty() && seen.missing.is_empty() {
                    return;
                }
            }
        };
        // What is missing then is told by the ledger.
        let _ = timeout(LAST_CALL, all_here).await;
        if let Err(error) = self.connection.disconnect(LAST_CALL).await {
            show(&observe::shown(&error));
        }
        let (published, acknowledged, received) = {
            let seen = self.seen();
            (seen.published, seen.acknowledged, seen.received)
        };
        self.write(published.0, |first, last| What::Published { first, last });
        self.write(acknowledged.0, |first, last| What::Acknowledged {
            first,
            last,
        });
        self.write(received.0, |first, last| What::Received { first, last });
    }
}
