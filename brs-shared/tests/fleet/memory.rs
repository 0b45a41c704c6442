//! A store in memory that does what a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use brs_shared::{CredentialStore, Entry, Lease, Notice, StoreError, Stored};
use tokio::sync::watch;

/// Clones are one store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    items: Mutex<BTreeMap<String, Item>>,
    mode: Mutex<Mode>,
    leases: watch::Sender<usize>,
    longest: Mutex<Duration>,
    granted: watch::Sender<usize>,
    releases: watch::Sender<usize>,
    loads: watch::Sender<usize>,
}

#[derive(Clone, Debug, Default)]
struct Item {
    entry: Option<Entry>,
    owner: Option<String>,
}

/// What it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Well,
    Failing,
    Hanging,
    Panicking,
    /// Reads are answered, writes are refused.
    Full,
    /// Not ready.
    Locked,
}

impl Memory {
    pub(crate) fn set(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    /// Changes the one entry.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Entry)) {
        let mut items = self.items();
        assert_eq!(items.len(), 1);
        change(items.values_mut().next().unwrap().entry.as_mut().unwrap());
    }

    pub(crate) fn entry(&self) -> Entry {
        let items = self.items();
        items.values().next().unwrap().entry.clone().unwrap()
    }

    /// Somebody who never gives it back has the lease of the one key from now on; `false`: it has
    /// ended.
    pub(crate) fn set_foreign_lease(&self, key: &str, is_held: bool) {
        let owner = is_held.then(|| "foreign".to_owned());
        self.items().entry(key.to_owned()).or_default().owner = owner;
    }

    /// The longest lease that was asked for.
    pub(crate) fn longest_lease(&self) -> Duration {
        *self.0.longest.lock().unwrap()
    }

    /// The one key.
    pub(crate) fn key(&self) -> String {
        self.items().keys().next().unwrap().clone()
    }

    /// All of it.
    pub(crate) fn forget(&self) {
        self.items().clear();
    }

    pub(crate) fn is_leased(&self) -> bool {
        self.items().values().any(|item| item.owner.is_some())
    }

    /// Is ready once leases were asked for so often.
    pub(crate) async fn leases(&self, least: usize) {
        let _ = self.0.leases.subscribe().wait_for(|n| *n >= least).await;
    }

    /// Is ready once leases were given back so often.
    pub(crate) async fn releases(&self, least: usize) {
        let _ = self.0.releases.subscribe().wait_for(|n| *n >= least).await;
    }

    /// Is ready once every lease that was granted was given back.
    pub(crate) async fn idle(&self) {
        let granted = *self.0.granted.borrow();
        self.releases(granted).await;
    }

    /// How often entries were asked for.
    pub(crate) fn loads(&self) -> usize {
        *self.0.loads.borrow()
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<String, Item>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn obey(&self, is_write: bool) -> Result<(), StoreError> {
        let mode = *self.0.mode.lock().unwrap();
        match mode {
            Mode::Failing => Err(StoreError::new("the memory fails: let it be")),
            Mode::Full if is_write => Err(StoreError::new("the memory is full: let it be")),
            Mode::Hanging => std::future::pending().await,
            Mode::Panicking => panic!("the memory panics"),
            Mode::Well | Mode::Full | Mode::Locked => Ok(()),
        }
    }
}

#[async_trait]
impl CredentialStore for Memory {
    async fn load(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.0.loads.send_modify(|n| *n += 1);
        self.obey(false).await?;
        Ok(self.items().get(key).and_then(|item| item.entry.clone()))
    }

    async fn lease(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lease, StoreError> {
        self.obey(true).await?;
        {
            let mut longest = self.0.longest.lock().unwrap();
            *longest = ttl.max(*longest);
        }
        let answer = {
            let mut items = self.items();
            let item = items.entry(key.to_owned()).or_default();
            match &item.owner {
                Some(other) if other != owner => Lease::Taken(ttl, item.entry.clone()),
                _ => {
                    item.owner = Some(owner.to_owned());
                    self.0.granted.send_modify(|n| *n += 1);
                    Lease::Held(item.entry.clone())
                }
            }
        };
        self.0.leases.send_modify(|n| *n += 1);
        Ok(answer)
    }

    async fn store(
        &self,
        key: &str,
        owner: &str,
        generation: u64,
        bytes: &[u8],
        expiry: SystemTime,
    ) -> Result<Stored, StoreError> {
        self.obey(true).await?;
        let mut items = self.items();
        let item = items.entry(key.to_owned()).or_default();
        if item.owner.as_deref() != Some(owner) {
            return Ok(Stored::Lost);
        }
        item.entry = Some(Entry {
            bytes: bytes.to_vec(),
            generation,
            expiry,
        });
        Ok(Stored::Done)
    }

    async fn release(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        self.obey(true).await?;
        if let Some(item) = self.items().get_mut(key)
            && item.owner.as_deref() == Some(owner)
        {
            item.owner = None;
        }
        self.0.releases.send_modify(|n| *n += 1);
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        match *self.0.mode.lock().unwrap() {
            Mode::Locked => Err(StoreError::new("the memory is locked: let it be")),
            _ => Ok(()),
        }
    }

    async fn notices(&self) -> Vec<Notice> {
        vec![Notice::new("fleet_memory", "this is memory: it forgets")]
    }
}
