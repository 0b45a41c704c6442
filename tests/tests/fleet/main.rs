//! The fleet's store on real engines: Redis, Valkey where the system has it, a cluster, and moto's
//! DynamoDB.
//!
//! `contract` is what every engine does, `faults` what is done to Redis while hosts use it, `hosts`
//! many processes, `table` what is DynamoDB's own.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "engines outside have no other clock than the system's"
)]

mod contract;
mod faults;
mod hosts;
mod table;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use brs::shared::{CredentialStore, Fleet, FleetStatus, RedisStore, Seal, Shared};
use brs::{
    Error, Event, Events, Fingerprint, RefreshContext, RefreshStrategy, RefreshableSession,
    TemporaryCredentials,
};
use brs_core::test_util::{Scripted, Step};
use futures_util::FutureExt;

const HOUR: Duration = Duration::from_secs(3600);

const KEYS: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A script whose credentials can be shared with those of the same name.
#[derive(Debug)]
struct Told(Arc<dyn RefreshStrategy>, String);

#[async_trait]
impl RefreshStrategy for Told {
    fn method(&self) -> &'static str {
        self.0.method()
    }

    fn source(&self) -> &'static str {
        self.0.source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.0.refresh(cx).await
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("told").with("name", &self.1))
    }
}

/// A host: its own way to the store.
struct Host {
    fleet: Fleet,
}

impl Host {
    fn new(store: impl CredentialStore + 'static) -> Self {
        Self::sealing(store, KEYS)
    }

    fn sealing(store: impl CredentialStore + 'static, keys: &str) -> Self {
        let fleet = Fleet::new(store, Seal::from_keys(keys).unwrap());
        Self { fleet }
    }

    /// A session whose credentials are shared under that name.
    async fn session(&self, script: &Scripted, name: &str) -> RefreshableSession {
        let shared = Shared::new(Told(script.shared(), name.to_owned()), self.fleet.clone());
        let builder = RefreshableSession::with_strategy(shared);
        builder.build().await.unwrap()
    }

    fn status(&self) -> FleetStatus {
        self.fleet.status()
    }
}

/// Held by tests that need the machine for themselves: half a second is short on one that is busy.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn hourly() -> Scripted {
    Scripted::always(Step::Fresh(HOUR))
}

async fn key_id(session: &RefreshableSession) -> String {
    let set = session.credentials().await.unwrap();
    set.access_key_id().to_owned()
}

async fn new_key_id(session: &RefreshableSession) -> String {
    let set = session.refresh().await.unwrap();
    set.access_key_id().to_owned()
}

fn at(url: &str) -> RedisStore {
    RedisStore::new(url).unwrap()
}

/// The names of the warnings so far.
fn warnings(events: &mut Events) -> Vec<&'static str> {
    let mut names = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let Event::Warning { name, .. } = event {
            names.push(name);
        }
    }
    names
}

/// Whether a dump holds one of these texts.
fn holds(dump: &[u8], secret: &str) -> bool {
    dump.windows(secret.len())
        .any(|part| part == secret.as_bytes())
}
