//! An open host cache: what this process has of it, and its warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

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

impl Host {
    /// In this directory, or in that of the environment.
    pub(super) fn new(directory: Option<PathBuf>) -> Self {
        Self {
            place: Place::of(directory),
            generations: Generations::default(),
            holds: Holds::default(),
            keys: PerProcess::new(),
            warned: PerProcess::new(),
        }
    }

    pub(super) fn of_key(&self, key: &Key) -> Arc<OfKey> {
        let keys = self.keys.get();
        let mut keys = keys.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(keys.entry(key.as_str().to_owned()).or_default())
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
