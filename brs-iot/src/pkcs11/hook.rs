//! Hooks for tests: tokens whose signatures take long, never end, or fail for no reason that could
//! be told, and tokens that hold more than is looked at.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};
use rustls::SignatureScheme;

use super::failure::Failure;

type Hook = Arc<dyn Fn() + Send + Sync>;

static PATIENCE: Mutex<Option<Duration>> = Mutex::new(None);

static MAX_OBJECTS: Mutex<Option<usize>> = Mutex::new(None);

static HOOK: Mutex<Option<Hook>> = Mutex::new(None);

static FAILING: Mutex<Vec<SignatureScheme>> = Mutex::new(Vec::new());

/// Runs `hook` on the token's thread before each signature from now on; `None` ends that.
pub fn before_each_signature(hook: Option<Arc<dyn Fn() + Send + Sync>>) {
    *HOOK.lock().unwrap_or_else(PoisonError::into_inner) = hook;
}

/// Signatures of these schemes fail from now on, with `CKR_GENERAL_ERROR`.
pub fn failing_signatures(schemes: Vec<SignatureScheme>) {
    *FAILING.lock().unwrap_or_else(PoisonError::into_inner) = schemes;
}

pub(super) fn run(scheme: SignatureScheme) -> Result<(), Failure> {
    let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(hook) = hook {
        hook();
    }
    if !FAILING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&scheme)
    {
        return Ok(());
    }
    Err(Failure::while_("signing")(Error::Pkcs11(
        RvError::GeneralError,
        Function::Sign,
    )))
}

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
