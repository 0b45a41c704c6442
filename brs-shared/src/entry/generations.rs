//! The highest generation that this process has seen of each key.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use brs_core::kit::PerProcess;

use crate::key::Key;

/// The highest generation seen of each key, per process: a child of a fork begins again.
#[derive(Debug, Default)]
pub(crate) struct Generations(PerProcess<Mutex<BTreeMap<String, u64>>>);

impl Generations {
    /// The highest one seen; 0 if there was none. An entry below it is replayed.
    pub(crate) fn highest(&self, key: &Key) -> u64 {
        self.change(|seen| seen.get(key.as_str()).copied().unwrap_or_default())
    }

    /// This one was seen, or written.
    pub(crate) fn saw(&self, key: &Key, generation: u64) {
        self.change(|seen| {
            let highest = seen.entry(key.as_str().to_owned()).or_default();
            *highest = generation.max(*highest);
        });
    }

    /// The one for the next write.
    pub(crate) fn next(&self, key: &Key) -> u64 {
        self.highest(key).saturating_add(1)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, u64>) -> T) -> T {
        let seen = self.0.get();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut seen)
    }
}
