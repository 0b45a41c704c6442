//! The fleet's store within one process, on a store in memory: what is shared, what is not used and
//! what is said about it. With real engines and processes: `tests/tests/fleet`.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

#[cfg(all(feature = "redis", feature = "dynamodb"))]
mod data;
mod memory;
mod problems;
#[cfg(feature = "redis")]
mod redis;
mod sharing;
mod times;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use brs_core::test_util::{ManualClock, Scripted, Step};
use brs_core::{
    Error, Event, Events, Fingerprint, RefreshContext, RefreshStrategy, RefreshableSession,
    TemporaryCredentials,
};
use brs_shared::{Fleet, Seal, Shared};
use futures_util::FutureExt;

use memory::{Memory, Mode};

const HOUR: Duration = Duration::from_secs(3600);

const ONE: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TWO: &str = "k2:HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

/// A script whose credentials can be shared.
#[derive(Debug)]
struct Told(Arc<dyn RefreshStrategy>);

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

    fn interactive(&self) -> bool {
        self.0.interactive()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("told"))
    }
}

/// A host: its own way to the store, and a session.
struct Host {
    memory: Memory,
    fleet: Fleet,
    session: RefreshableSession,
}

impl Host {
    /// On a clock that the test moves.
    async fn new(memory: &Memory, seal: &str, clock: &ManualClock, script: &Scripted) -> Self {
        let fleet = Fleet::new(memory.clone(), Seal::from_keys(seal).unwrap());
        let shared = Shared::new(Told(script.shared()), fleet.clone());
        let builder = RefreshableSession::with_strategy(shared).clock(clock.clone());
        let session = builder.build().await.unwrap();
        Self {
            memory: memory.clone(),
            fleet,
            session,
        }
    }

    /// On the system's clock, for what waits for answers.
    async fn in_real_time(memory: &Memory, script: &Scripted) -> Self {
        let fleet = Fleet::new(memory.clone(), Seal::from_keys(ONE).unwrap());
        let shared = Shared::new(Told(script.shared()), fleet.clone());
        let builder = RefreshableSession::with_strategy(shared);
        let session = builder.build().await.unwrap();
        Self {
            memory: memory.clone(),
            fleet,
            session,
        }
    }

    /// The key id of its credentials, once the lease is given back.
    async fn key_id(&self) -> String {
        let set = self.session.credentials().await.unwrap();
        self.memory.idle().await;
        set.access_key_id().to_owned()
    }
}

fn hourly() -> Scripted {
    Scripted::always(Step::Fresh(HOUR))
}

/// The names of the warnings so far.
fn warnings(events: &mut Events) -> Vec<&'static str> {
    let mut names = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        if let Event::Warning { name, .. } = event
            && name != "fleet_memory"
        {
            names.push(name);
        }
    }
    names
}
