//! Values that belong to one process: a forked child gets its own.
//!
//! Threads do not follow a fork, nor does anything that they were about to do: what one of them
//! held locked stays locked in the child. What stands on threads (runtimes, calls in flight, pooled
//! connections) and every lock is therefore kept beside the id of the process that made it, and
//! made again when another process asks. The parent's value is never dropped in a child: dropping a
//! runtime waits for its threads, and dropping a channel takes its lock. Nothing here locks, so a
//! fork in the middle of it leaves no lock behind that is never released.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

/// A value that is made at its first use in each process.
pub struct PerProcess<T> {
    cell: ArcSwapOption<Made<T>>,
}

struct Made<T> {
    process: u32,
    value: Arc<T>,
}

impl<T> PerProcess<T> {
    /// Nothing made yet.
    pub const fn new() -> Self {
        Self {
            cell: ArcSwapOption::const_empty(),
        }
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Default> PerProcess<T> {
    /// This process's value, made by `Default` at the first call.
    ///
    /// Two first calls at once may both make one; both get the one that is kept.
    pub fn get(&self) -> Arc<T> {
        self.get_or_make(|_| T::default())
    }
}

impl<T> PerProcess<T> {
    /// This process's value, made by `make` at the first call; otherwise as [`get`](Self::get).
    ///
    /// `make` is given the parent's value if there is one. That stays in memory for good: `make`
    /// can take out what must not, but waits for no lock in it.
    pub fn get_or_make(&self, make: impl FnOnce(Option<&T>) -> T) -> Arc<T> {
        let process = std::process::id();
        if let Some(made) = &*self.cell.load()
            && made.process == process
        {
            return Arc::clone(&made.value);
        }
        let parents = self.cell.load_full().filter(|made| made.process != process);
        let value = Arc::new(make(parents.as_ref().map(|made| &*made.value)));
        std::mem::forget(parents);
        let new = Arc::new(Made { process, value });
        loop {
            let current = self.cell.load_full();
            if let Some(made) = current.as_ref().filter(|made| made.process == process) {
                return Arc::clone(&made.value);
            }
            let previous = self.cell.compare_and_swap(&current, Some(Arc::clone(&new)));
            let was_replaced = match (&*previous, &current) {
                (None, None) => true,
                (Some(previous), Some(current)) => Arc::ptr_eq(previous, current),
                _ => false,
            };
            // The parent's: see above.
            std::mem::forget(current);
            if was_replaced {
                return Arc::clone(&new.value);
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        // The parent's: see above.
        if let Some(made) = self
            .cell
            .swap(None)
            .filter(|made| made.process != std::process::id())
        {
            std::mem::forget(made);
        }
    }
}

impl<T> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn one_value_is_made_for_a_process() {
        static VALUE: PerProcess<AtomicU32> = PerProcess::new();
        VALUE.get().store(7, Ordering::Relaxed);
        assert_eq!(VALUE.get().load(Ordering::Relaxed), 7);
    }

    #[test]
    fn another_process_makes_its_own() {
        let value: PerProcess<AtomicU32> = PerProcess::new();
        let parents = Arc::new(Made {
            process: std::process::id() + 1,
            value: Arc::new(AtomicU32::new(1)),
        });
        value.cell.store(Some(parents));
        assert_eq!(value.get().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn another_process_can_take_over_from_its_parent() {
        let value: PerProcess<AtomicU32> = PerProcess::new();
        let parents = Arc::new(Made {
            process: std::process::id() + 1,
            value: Arc::new(AtomicU32::new(1)),
        });
        value.cell.store(Some(parents));
        let take = |parents: Option<&AtomicU32>| {
            parents.map(|parents| parents.swap(0, Ordering::Relaxed).into())
        };
        assert_eq!(
            value
                .get_or_make(|parents| take(parents).unwrap_or_default())
                .load(Ordering::Relaxed),
            1
        );
    }

    #[test]
    fn the_parents_value_is_not_dropped() {
        let parents = Arc::new(());
        let value: PerProcess<Arc<()>> = PerProcess::new();
        value.cell.store(Some(Arc::new(Made {
            process: std::process::id() + 1,
            value: Arc::new(Arc::clone(&parents)),
        })));
        drop(value);
        assert_eq!(Arc::strong_count(&parents), 2);
    }

    #[test]
    fn the_own_value_is_dropped() {
        let own = Arc::new(());
        let value = PerProcess::new();
        value.get_or_make(|_| Arc::clone(&own));
        drop(value);
        assert_eq!(Arc::strong_count(&own), 1);
    }
}
