//! The host cache within one process: what is shared, what is not used and what is said about it.
//! With processes: `tests/tests/shared`.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod askers;
mod contract;
mod failures;
mod problems;
mod sharing;
mod sweeping;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use brs_core::test_util::{ManualClock, Scripted, Step};
use brs_core::{
    Error, Event, Events, Fingerprint, RefreshContext, RefreshStrategy, RefreshableSession,
    TemporaryCredentials,
};
use brs_shared::{HostCache, Shared, Store};
use futures_util::FutureExt;

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

/// A script whose credentials can be shared with those of the same name.
#[derive(Debug)]
struct Told(Arc<dyn RefreshStrategy>, Option<&'static str>);

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
        Some(Fingerprint::new("told").with("name", self.1?))
    }
}

/// A directory for a cache, and the clock of those who use it.
struct Cache {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

impl Cache {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(now()),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    /// A session as another process would have it, but for the process.
    async fn session(&self, script: &Scripted) -> RefreshableSession {
        self.session_at(&self.path(), script, Some("x")).await
    }

    async fn session_at(
        &self,
        path: &Path,
        script: &Scripted,
        name: Option<&'static str>,
    ) -> RefreshableSession {
        let shared = Shared::new(Told(script.shared(), name), HostCache::in_directory(path));
        RefreshableSession::with_strategy(shared)
            .clock(self.clock.clone())
            .build()
            .await
            .unwrap()
    }

    fn store(&self) -> Store {
        HostCache::in_directory(self.path()).into()
    }

    async fn session_with(&self, store: &Store, script: &Scripted) -> RefreshableSession {
        let shared = Shared::new(Told(script.shared(), Some("x")), store.clone());
        let builder = RefreshableSession::with_strategy(shared);
        builder.clock(self.clock.clone()).build().await.unwrap()
    }

    /// The one file with this ending.
    fn file(&self, ending: &str) -> PathBuf {
        let mut files = self.files();
        files.retain(|path| path.extension().is_some_and(|found| found == ending));
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    fn files(&self) -> Vec<PathBuf> {
        let read = std::fs::read_dir(self.path()).unwrap();
        read.map(|entry| entry.unwrap().path()).collect()
    }

    fn entry(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.file("json")).unwrap()).unwrap()
    }
}

fn hourly() -> Scripted {
    Scripted::always(Step::Fresh(HOUR))
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

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}
