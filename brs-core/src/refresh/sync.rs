//! The synchronisation primitives, in one place so that a model checker can stand in for them.
//!
//! Built with `--cfg brs_model` the mutex is shuttle's and the lock-free cell is a mutex around an
//! `Arc`: the checker sees its own primitives only. What that leaves out, the lock-free cell
//! itself, has a stress test (`tests/stress.rs`).

use std::sync::{Arc, PoisonError};

#[cfg(not(brs_model))]
pub(crate) use std::sync::{Mutex, MutexGuard};

#[cfg(brs_model)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// Locks, whatever a panic elsewhere did: nothing here can panic half-way through a change
/// (invariant 4).
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds one `Arc` or nothing; readers take no lock.
#[derive(Debug)]
pub(crate) struct Cell<T> {
    #[cfg(not(brs_model))]
    inner: arc_swap::ArcSwapOption<T>,
    #[cfg(brs_model)]
    inner: Mutex<Option<Arc<T>>>,
}

impl<T> Cell<T> {
    pub(crate) fn empty() -> Self {
        #[cfg(not(brs_model))]
        let inner = arc_swap::ArcSwapOption::empty();
        #[cfg(brs_model)]
        let inner = Mutex::new(None);
        Self { inner }
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        drop(self.swap(value));
    }

    /// Stores, and gives what was there.
    pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        #[cfg(not(brs_model))]
        {
            self.inner.swap(value)
        }
        #[cfg(brs_model)]
        {
            std::mem::replace(&mut *lock(&self.inner), value)
        }
    }

    pub(crate) fn load(&self) -> Option<Arc<T>> {
        #[cfg(not(brs_model))]
        {
            self.inner.load_full()
        }
        #[cfg(brs_model)]
        {
            lock(&self.inner).clone()
        }
    }

    /// Calls `look` with what is there now.
    pub(crate) fn read<R>(&self, look: impl FnOnce(Option<&T>) -> R) -> R {
        #[cfg(not(brs_model))]
        {
            look(self.inner.load().as_deref())
        }
        #[cfg(brs_model)]
        {
            let value = lock(&self.inner).clone();
            look(value.as_deref())
        }
    }
}
