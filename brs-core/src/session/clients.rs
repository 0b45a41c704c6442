//! The clients of a session: built once, kept, and handed out as clones.
//!
//! A client is found by the constructor's type, the region and a label, so that asking twice gives
//! the same client and nothing else ever does. The map's lock is held for looking up and inserting
//! only; a client is built in a slot of its own, once however many tasks ask at the same time. A
//! constructor that panics leaves the slot empty for the next one. A forked child builds its own.
//!
//! No cache crate does what is promised here (LRU or LFU by choice, and the client just built is
//! always kept), and with a few dozen entries a scan finds the one to evict.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::kit::error::Error;
use crate::kit::per_process::PerProcess;

/// How many clients a session keeps unless told otherwise: each of them some 25 kB.
pub(crate) const DEFAULT_CAPACITY: usize = 64;

/// Which client goes when there are too many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ClientCachePolicy {
    /// The one that was asked for longest ago.
    #[default]
    Lru,
    /// The one that was asked for least often; of several, the one asked for longest ago.
    Lfu,
}

/// What a session's client cache has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientCacheStats {
    /// How often a client was there.
    pub hits: u64,
    /// How often one had to be built.
    pub misses: u64,
    /// How many were evicted. They go on working for the code that still holds them.
    pub evictions: u64,
    /// How many there are.
    pub len: usize,
    /// How many are kept at most.
    pub capacity: usize,
    /// Which one goes.
    pub policy: ClientCachePolicy,
}

/// What tells clients apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Of those that share the cache.
    session: u64,
    constructor: TypeId,
    region: Option<String>,
    label: Option<String>,
}

impl Key {
    /// A client of a constructor, in the session's region or in another one.
    pub(super) fn of<F: 'static>(region: Option<&str>) -> Self {
        Self {
            session: 0,
            constructor: TypeId::of::<F>(),
            region: region.map(str::to_owned),
            label: None,
        }
    }

    /// A client under a label. The client's own type is part of the key: another type under the
    /// same label is another client.
    pub(super) fn labelled<C: 'static>(label: &str) -> Self {
        Self {
            session: 0,
            constructor: TypeId::of::<C>(),
            region: None,
            label: Some(label.to_owned()),
        }
    }
}

/// An `OnceLock` of the client's type.
type Slot = Arc<dyn Any + Send + Sync>;

struct Entry {
    slot: Slot,
    uses: u64,
    last_use: u64,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Counts the calls; the time of the policies.
    calls: u64,
    hits: u64,
    misses: u64,
    evictions: u64,
}

/// The clients of one session: its part of a cache, which may be a pool's.
pub(super) struct Clients {
    cache: Arc<Cache>,
    session: u64,
}

/// Room for clients.
pub(crate) struct Cache {
    capacity: usize,
    policy: ClientCachePolicy,
    state: PerProcess<Mutex<State>>,
    sessions: AtomicU64,
}

impl Cache {
    pub(super) fn new(capacity: usize, policy: ClientCachePolicy) -> Result<Arc<Self>, Error> {
        if capacity == 0 {
            let message = "a client cache of capacity 0 keeps nothing: give at least 1";
            return Err(Error::validation(message)
                .with_param("client_cache")
                .unrecoverable());
        }
        Ok(Arc::new(Self {
            capacity,
            policy,
            state: PerProcess::new(),
            sessions: AtomicU64::new(0),
        }))
    }
}

impl Clients {
    /// A session's part of a cache.
    pub(super) fn new(cache: Arc<Cache>) -> Self {
        let session = cache.sessions.fetch_add(1, Ordering::Relaxed);
        Self { cache, session }
    }

    /// The client under that key, built if it is not there.
    pub(super) fn get<C: Clone + Send + Sync + 'static>(
        &self,
        key: Key,
        build: impl FnOnce() -> C,
    ) -> C {
        let key = Key {
            session: self.session,
            ..key
        };
        let (slot, evicted) = self.cache.slot(key, || Arc::new(OnceLock::<C>::new()));
        // Here, without the lock: dropping a client may end connections.
        drop(evicted);
        match slot.downcast::<OnceLock<C>>() {
            Ok(slot) => slot.get_or_init(build).clone(),
            // The key tells types apart, so there is no such case; a client of one's own is right
            // in any.
            Err(_) => build(),
        }
    }

    /// Gives up the session's clients. Those that somebody holds go on working.
    pub(super) fn clear(&self) {
        let state = self.cache.state();
        let mut state = lock(&state);
        let evicted: Vec<_> = state
            .entries
            .extract_if(|key, _| key.session == self.session)
            .collect();
        drop(state);
        // Without the lock: dropping a client may end connections.
        drop(evicted);
    }

    pub(super) fn stats(&self) -> ClientCacheStats {
        self.cache.stats()
    }
}

impl Cache {
    fn slot(&self, key: Key, empty: impl FnOnce() -> Slot) -> (Slot, Option<Entry>) {
        let state = self.state();
        let mut state = lock(&state);
        state.calls += 1;
        let now = state.calls;
        if let Some(entry) = state.entries.get_mut(&key) {
            entry.uses += 1;
            entry.last_use = now;
            let slot = Arc::clone(&entry.slot);
            state.hits += 1;
            return (slot, None);
        }
        state.misses += 1;
        let evicted = if state.entries.len() < self.capacity {
            None
        } else {
            state.evict(self.policy)
        };
        let slot = empty();
        state.entries.insert(
            key,
            Entry {
                slot: Arc::clone(&slot),
                uses: 1,
                last_use: now,
            },
        );
        (slot, evicted)
    }

    fn state(&self) -> Arc<Mutex<State>> {
        self.state.get_or_make(|parents| {
            // The parent's stays in memory; clients in there would keep the session alive.
            if let Some(Ok(mut parents)) = parents.map(Mutex::try_lock) {
                parents.entries.clear();
            }
            Mutex::default()
        })
    }

    fn stats(&self) -> ClientCacheStats {
        let state = self.state();
        let state = lock(&state);
        ClientCacheStats {
            hits: state.hits,
            misses: state.misses,
            evictions: state.evictions,
            len: state.entries.len(),
            capacity: self.capacity,
            policy: self.policy,
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        // In a child that has asked for none, the parent's are still there: this clears them.
        self.clear();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn evict(&mut self, policy: ClientCachePolicy) -> Option<Entry> {
        let rank = |entry: &Entry| match policy {
            ClientCachePolicy::Lru => (0, entry.last_use),
            ClientCachePolicy::Lfu => (entry.uses, entry.last_use),
        };
        let key = self
            .entries
            .iter()
            .min_by_key(|(_, entry)| rank(entry))
            .map(|(key, _)| key.clone())?;
        self.evictions += 1;
        self.entries.remove(&key)
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn clients(capacity: usize, policy: ClientCachePolicy) -> Clients {
        Clients::new(Cache::new(capacity, policy).unwrap())
    }

    #[test]
    fn sessions_that_share_a_cache_have_clients_of_their_own_and_room_in_common() {
        let cache = Cache::new(2, ClientCachePolicy::Lru).unwrap();
        let (one, other) = (Clients::new(Arc::clone(&cache)), Clients::new(cache));
        assert_eq!(one.get(key("x"), || "of one".to_owned()), "of one");
        assert_eq!(
            other.get(key("x"), || "of the other".to_owned()),
            "of the other"
        );
        assert_eq!(get(&one, "y"), "y");
        assert_eq!((one.stats().len, one.stats().evictions), (2, 1));
        drop(one);
        assert_eq!(other.stats().len, 1, "a session takes its clients with it");
    }

    fn key(label: &str) -> Key {
        Key::labelled::<String>(label)
    }

    fn get(clients: &Clients, label: &str) -> String {
        clients.get(key(label), || label.to_owned())
    }

    #[test]
    fn the_least_recently_used_goes_first_and_the_new_one_stays() {
        let clients = clients(2, ClientCachePolicy::Lru);
        for label in ["a", "b", "a", "c", "a", "c"] {
            assert_eq!(get(&clients, label), label);
        }
        let stats = clients.stats();
        assert_eq!(
            (stats.hits, stats.misses, stats.evictions, stats.len),
            (3, 3, 1, 2)
        );
        get(&clients, "b");
        assert_eq!(clients.stats().misses, 4, "`b` had gone");
    }

    #[test]
    fn the_least_frequently_used_goes_first_and_the_new_one_stays() {
        let clients = clients(2, ClientCachePolicy::Lfu);
        for label in ["a", "a", "a", "b", "b", "c"] {
            get(&clients, label);
        }
        assert_eq!(clients.stats().evictions, 1);
        get(&clients, "c");
        get(&clients, "a");
        let before = clients.stats().misses;
        get(&clients, "b");
        assert_eq!(
            clients.stats().misses,
            before + 1,
            "`b` has gone, which was used less than `a`"
        );
    }

    #[test]
    fn another_type_under_the_same_label_is_another_client() {
        let clients = clients(2, ClientCachePolicy::Lru);
        assert_eq!(get(&clients, "x"), "x");
        assert_eq!(clients.get(Key::labelled::<u32>("x"), || 7_u32), 7);
        assert_eq!(get(&clients, "x"), "x");
        assert_eq!((clients.stats().hits, clients.stats().len), (1, 2));
    }

    #[test]
    fn a_client_is_built_once_however_many_ask_and_not_under_the_lock() {
        let clients = clients(4, ClientCachePolicy::Lru);
        let (built, barrier) = (AtomicUsize::new(0), std::sync::Barrier::new(16));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    barrier.wait();
                    clients.get(key("slow"), || {
                        built.fetch_add(1, Ordering::SeqCst);
                        // Another client can be had while this one is built.
                        get(&clients, "other")
                    })
                });
            }
        });
        assert_eq!(built.load(Ordering::SeqCst), 1);
        assert_eq!(clients.stats().len, 2);
    }

    #[test]
    fn a_constructor_that_panics_leaves_the_place_to_the_next() {
        let clients = clients(4, ClientCachePolicy::Lru);
        let panicking = std::panic::AssertUnwindSafe(|| {
            clients.get(key("x"), || -> String { panic!("as wanted") })
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
        assert_eq!(get(&clients, "x"), "x");
    }

    #[test]
    fn a_capacity_of_zero_is_refused() {
        assert_eq!(
            Cache::new(0, ClientCachePolicy::Lru).err().unwrap().param(),
            Some("client_cache")
        );
    }
}
