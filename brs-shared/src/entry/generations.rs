//! The highest generation that this process has seen of each key.
//!
//! Generations are milliseconds since 1970 unless something higher was seen, so that they also grow
//! over entries that are gone: of a store that has forgotten them, or of a directory that was
//! emptied.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::kit::PerProcess;

use crate::key::Key;

/// So many keys are kept in any case.
const MANY: usize = 1024;

/// No set lives longer than 36 hours: what is older need not be known as replayed.
const OLD: Duration = Duration::from_secs(48 * 3600);

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
            if seen.len() >= MANY && seen.len().is_power_of_two() {
                let old = u64::try_from(OLD.as_millis()).unwrap_or(u64::MAX);
                seen.retain(|_, highest| highest.saturating_add(old) >= generation);
            }
            let highest = seen.entry(key.as_str().to_owned()).or_default();
            *highest = generation.max(*highest);
        });
    }

    /// The one for a write now.
    pub(crate) fn next(&self, key: &Key, now: SystemTime) -> u64 {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or_default();
        self.highest(key).saturating_add(1).max(now)
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, u64>) -> T) -> T {
        let seen = self.0.get();
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut seen)
    }
}
