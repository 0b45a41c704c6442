//! Hooks for tests: less patience with a token, and fewer objects that are looked at. Tokens that
//! hang or fail are a faulty module's in the tests.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

static PATIENCE: Mutex<Option<Duration>> = Mutex::new(None);

static MAX_OBJECTS: Mutex<Option<usize>> = Mutex::new(None);

/// From now on no more than so many objects are looked at at once.
pub fn look_at_most(objects: usize) {
    *MAX_OBJECTS.lock().unwrap_or_else(PoisonError::into_inner) = Some(objects);
}

pub(super) fn max_objects() -> Option<usize> {
    *MAX_OBJECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on a call counts as hung once it has run for so long, if its own limit is not longer.
pub fn hung_after(patience: Duration) {
    *PATIENCE.lock().unwrap_or_else(PoisonError::into_inner) = Some(patience);
}

pub(super) fn patience() -> Option<Duration> {
    *PATIENCE.lock().unwrap_or_else(PoisonError::into_inner)
}
