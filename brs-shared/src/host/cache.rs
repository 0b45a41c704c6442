//! An open host cache: what this process has of it, and its warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use brs_core::kit::PerProcess;
use brs_core::{Blocking, Error, RefreshContext, TemporaryCredentials};

use super::order;
use super::place::Place;
use super::problem::Problem;
use crate::entry::{Generations, Holds};
use crate::key::Key;
use crate::shared::{Sharing, Source};

/// An open host cache.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) place: Place,
    pub(super) generations: Generations,
    pub(super) holds: Holds,
    keys: PerProcess<Mutex<BTreeMap<String, Arc<OfKey>>>>,
    /// The minute, since 1970, in which this process has last swept the directory.
    swept: AtomicU64,
    warned: PerProcess<Mutex<Warned>>,
}

/// The warnings that were given, by the key that they are about if it is one.
type Warned = BTreeSet<(String, &'static str)>;

/// What this process has of a key.
#[derive(Debug, Default)]
pub(super) struct OfKey {
    /// Where files are looked at: one look at a time, so that a file system that hangs costs one
    /// thread.
    pub(super) looks: tokio::sync::Mutex<Blocking>,
    /// Where they are written.
    pub(super) writes: Blocking,
    /// Who takes the lock next: within a process nobody polls.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
}

/// So many keys are kept whether they are in use or not.
const MANY: usize = 1024;

impl OfKey {
    /// Nothing of it is in use; `holders` have it.
    fn is_idle(&self, holders: usize) -> bool {
        let is_looking = self.looks.try_lock().map_or(true, |looks| looks.is_busy());
        holders == 1 && !is_looking && !self.writes.is_busy() && Arc::strong_count(&self.turn) == 1
    }
}

impl Host {
    /// In this directory, or in that of the environment.
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            place: Place::of(directory),
            generations: Generations::default(),
            holds: Holds::default(),
            keys: PerProcess::new(),
            swept: AtomicU64::new(0),
            warned: PerProcess::new(),
        }
    }

    pub(super) fn of_key(&self, key: &Key) -> Arc<OfKey> {
        let keys = self.keys.get();
        let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains_key(key.as_str()) && keys.len() >= MANY && keys.len().is_power_of_two() {
            keys.retain(|_, of_key| !of_key.is_idle(Arc::strong_count(of_key)));
        }
        Arc::clone(keys.entry(key.as_str().to_owned()).or_default())
    }

    /// Whether this write is the one that sweeps: one a minute.
    pub(super) fn sweeps(&self, now: SystemTime) -> bool {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let minute = since.as_secs() / 60;
        self.swept.swap(minute, Ordering::Relaxed) != minute
    }

    /// Warns of a problem that stays: once, and of those with an entry or a lock once a key until
    /// it [is well](Self::is_well).
    pub(super) fn warn_once(&self, cx: &RefreshContext, key: &Key, problem: &Problem) {
        let about = if problem.is_of_key { key.as_str() } else { "" };
        let is_new = self.with_warned(|warned| warned.insert((about.to_owned(), problem.name)));
        if is_new {
            self.warn(cx, key, problem);
        }
    }

    pub(super) fn warn(&self, cx: &RefreshContext, key: &Key, problem: &Problem) {
        let mut details = vec![("key", key.as_str().to_owned())];
        if let Some(path) = self.place.path() {
            details.push(("directory", path.display().to_string()));
        }
        cx.warn(problem.name, problem.text.clone(), details);
    }

    /// The key's files are as they should be: what is wrong with them later is new.
    pub(super) fn is_well(&self, key: &Key) {
        self.with_warned(|warned| warned.retain(|(about, _)| about != key.as_str()));
    }

    fn with_warned<T>(&self, change: impl FnOnce(&mut Warned) -> T) -> T {
        let warned = self.warned.get();
        let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut warned)
    }
}

#[async_trait]
impl Sharing for Host {
    async fn refresh(
        &self,
        source: &Source,
        key: &Key,
        cx: &RefreshContext,
    ) -> Result<TemporaryCredentials, Error> {
        order::refresh(self, source, key, cx).await
    }
}
