//! The sessions of a pool by their keys: a map in parts, each with a lock of its own.
//!
//! Invariants, which a model checks (`model` below):
//!
//! 1. One key has one value at a time, however many ask for it at once: the first that was put in
//!    stays until it is over, and is what everybody gets.
//! 2. A value is taken out only if it is idle while its part is locked, and is found and handed on
//!    under the same lock: nobody is left with a value that another one replaces.
//! 3. `len` is the number of values whenever no call is under way.
//! 4. No foreign code runs under a lock, but the key's own `Hash`, `Eq` and `Clone`.
//! 5. A forked child goes on with what the parent had; a part that another thread of the parent had
//!    locked is empty there.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::kit::per_process::PerProcess;
use crate::refresh::sync::{Mutex, lock};

/// How many parts: enough that a few dozen threads seldom meet.
const PARTS: usize = 64;

#[cfg(not(brs_model))]
type Hasher = std::hash::RandomState;
/// A schedule can be replayed only if nothing is random.
#[cfg(brs_model)]
type Hasher = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Values by keys.
pub(super) struct Places<K, V> {
    hasher: Hasher,
    parts: PerProcess<Parts<K, V>>,
}

struct Parts<K, V> {
    maps: Vec<Mutex<HashMap<K, Arc<V>, Hasher>>>,
    len: AtomicUsize,
}

impl<K: Clone + Eq + Hash, V> Places<K, V> {
    pub(super) fn new() -> Self {
        Self {
            hasher: Hasher::default(),
            parts: PerProcess::new(),
        }
    }

    /// What `look` makes of the value of that key, under the lock of its part.
    pub(super) fn find<R>(&self, key: &K, look: impl FnOnce(&Arc<V>) -> R) -> Option<R> {
        let parts = self.parts();
        let map = lock(self.part(&parts, key));
        map.get(key).map(look)
    }

    /// Puts a value in, unless there is one that is not over; what `look` makes of the one that is
    /// there then, and the other one.
    pub(super) fn put<R>(
        &self,
        key: K,
        value: V,
        is_over: impl FnOnce(&V) -> bool,
        look: impl FnOnce(&Arc<V>) -> R,
    ) -> (R, Option<Arc<V>>) {
        let value = Arc::new(value);
        let parts = self.parts();
        let mut map = lock(self.part(&parts, &key));
        match map.entry(key) {
            Entry::Occupied(mut there) if is_over(there.get()) => {
                let over = there.insert(value);
                (look(there.get()), Some(over))
            }
            Entry::Occupied(there) => (look(there.get()), Some(value)),
            Entry::Vacant(room) => {
                let put = room.insert(value);
                parts.len.fetch_add(1, Ordering::Relaxed);
                (look(put), None)
            }
        }
    }

    /// Takes the value of that key out, if it is still this one and idle.
    pub(super) fn take(
        &self,
        key: &K,
        value: &Arc<V>,
        is_idle: impl FnOnce(&V) -> bool,
    ) -> Option<Arc<V>> {
        let parts = self.parts();
        let mut map = lock(self.part(&parts, key));
        let there = map.get(key)?;
        if !Arc::ptr_eq(there, value) || !is_idle(there) {
            return None;
        }
        let taken = map.remove(key);
        parts.len.fetch_sub(1, Ordering::Relaxed);
        taken
    }

    pub(super) fn len(&self) -> usize {
        self.parts().len.load(Ordering::Relaxed)
    }

    /// Visits all values, part by part and without a lock.
    pub(super) fn each(&self, mut visit: impl FnMut(&K, &Arc<V>)) {
        let parts = self.parts();
        for map in &parts.maps {
            let copied: Vec<(K, Arc<V>)> = lock(map)
                .iter()
                .map(|(key, value)| (key.clone(), Arc::clone(value)))
                .collect();
            for (key, value) in &copied {
                visit(key, value);
            }
        }
    }

    fn part<'a>(&self, parts: &'a Parts<K, V>, key: &K) -> &'a Mutex<HashMap<K, Arc<V>, Hasher>> {
        // Not the lowest bits, which choose the place within a map.
        let hash = self.hasher.hash_one(key) >> 32;
        &parts.maps[usize::try_from(hash).unwrap_or_default() % PARTS]
    }

    fn parts(&self) -> Arc<Parts<K, V>> {
        self.parts.get_or_make(|parents| {
            let maps: Vec<_> = (0..PARTS)
                .map(|n| {
                    let of_parent = parents.and_then(|parents| parents.maps[n].try_lock().ok());
                    of_parent
                        .map(|mut map| {
                            std::mem::replace(&mut *map, HashMap::with_hasher(self.hasher.clone()))
                        })
                        .unwrap_or_else(|| HashMap::with_hasher(self.hasher.clone()))
                })
                .collect();
            Parts {
                len: maps.iter().map(HashMap::len).sum::<usize>().into(),
                maps: maps.into_iter().map(Mutex::new).collect(),
            }
        })
    }
}

#[cfg(all(test, brs_model))]
mod model {
    use std::sync::atomic::AtomicUsize;

    use shuttle::thread;

    use super::*;

    /// As in the model of the engine.
    fn explore(test: fn()) {
        shuttle::check_random(test, 3000);
        shuttle::check_pct(test, 3000, 3);
    }

    /// A value, and how many hold it.
    #[derive(Debug)]
    struct Held {
        number: usize,
        handles: Arc<()>,
    }

    #[test]
    fn model_those_that_ask_for_one_key_get_one_value() {
        explore(|| {
            let (places, made) = (Arc::new(Places::new()), Arc::new(AtomicUsize::new(0)));
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let (places, made) = (Arc::clone(&places), Arc::clone(&made));
                    thread::spawn(move || {
                        let look = |held: &Arc<Held>| (held.number, Arc::clone(&held.handles));
                        places.find(&"key", look).unwrap_or_else(|| {
                            let number = made.fetch_add(1, Ordering::SeqCst);
                            let handles = Arc::new(());
                            places
                                .put("key", Held { number, handles }, |_| false, look)
                                .0
                        })
                    })
                })
                .collect();
            let got: Vec<_> = threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            assert!(got.windows(2).all(|pair| pair[0].0 == pair[1].0), "{got:?}");
            assert_eq!(places.len(), 1);
        });
    }

    #[test]
    fn model_a_value_that_somebody_holds_is_not_replaced() {
        explore(|| {
            let places = Arc::new(Places::new());
            let look = |held: &Arc<Held>| (held.number, Arc::clone(&held.handles));
            let get = move |places: &Places<&str, Held>, number| {
                places.find(&"key", look).unwrap_or_else(|| {
                    let handles = Arc::new(());
                    places
                        .put("key", Held { number, handles }, |_| false, look)
                        .0
                })
            };
            get(&places, 0);
            let evicts = {
                let places = Arc::clone(&places);
                thread::spawn(move || {
                    places.each(|key, value| {
                        places.take(key, value, |held| Arc::strong_count(&held.handles) == 1);
                    });
                })
            };
            let asks: Vec<_> = (1..3)
                .map(|number| {
                    let places = Arc::clone(&places);
                    thread::spawn(move || get(&places, number))
                })
                .collect();
            let held: Vec<_> = asks
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            evicts.join().unwrap();
            assert_eq!(held[0].0, held[1].0, "both are held: they are one");
            assert_eq!(places.find(&"key", |held| held.number), Some(held[0].0));
            assert_eq!(places.len(), 1);
        });
    }
}
