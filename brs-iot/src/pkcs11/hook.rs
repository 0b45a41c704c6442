//! A hook for tests: tokens whose signatures take long or never end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

type Hook = Arc<dyn Fn() + Send + Sync>;

static PATIENCE: Mutex<Option<Duration>> = Mutex::new(None);

static HOOK: Mutex<Option<Hook>> = Mutex::new(None);

/// Runs `hook` on the token's thread before each signature from now on; `None` ends that.
pub fn before_each_signature(hook: Option<Arc<dyn Fn() + Send + Sync>>) {
    *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = hook;
}

pub(super) fn run() {
    let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(hook) = hook {
        hook();
    }
}

/// From now on a call counts as hung once it has run for so long, if its own limit is not longer.
pub fn hung_after(patience: Duration) {
    *PATIENCE.lock().unwrap_or_else(PoisonError::into_inner) = Some(patience);
}

pub(super) fn patience() -> Option<Duration> {
    *PATIENCE.lock().unwrap_or_else(PoisonError::into_inner)
}
