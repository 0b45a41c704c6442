//! Synchronous code that stalls no other task: it runs on its own thread, one call at a time.
//!
//! Functions of users, prompts and token libraries may take arbitrarily long and cannot be
//! interrupted. A call runs on a thread that is never joined; its caller awaits the answer and may
//! leave. While a call whose caller has left still runs, further calls fail with that reason: a hanging
//! function costs one thread, not one per try. A call that is merely about to return, its caller
//! having left a moment ago, is waited for. Within a refresh a call keeps the refresh's turn for as
//! long as it runs, so all the functions of a method together take a bounded number of threads.
//!
//! The engine takes the same place for a strategy's future, which may block its thread just as
//! well.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::sync::{Notify, oneshot};

use crate::kit::clock::{Clock, SystemClock};
use crate::kit::error::Error;
use crate::kit::per_process::PerProcess;
use crate::kit::turns::Turn;

/// Runs synchronous code on threads of its own, one call at a time.
///
/// Clones share the one place.
#[derive(Clone, Default)]
pub struct Blocking(Arc<PerProcess<Place>>);

/// What ran in the parent at a fork does not run in the child.
#[derive(Default)]
struct Place {
    busy: AtomicBool,
    freed: Notify,
}

/// How long an earlier call may take to return. Real time: this is about the scheduler, not about
/// credentials.
const RETURNING: Duration = Duration::from_millis(250);

/// Frees the place when the thread is done, by whatever way it ends.
pub(crate) struct Busy(Arc<Place>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
        self.0.freed.notify_waiters();
    }
}

impl Blocking {
    /// A place for one call at a time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `call` on a new thread and gives its result. Needs no runtime.
    ///
    /// # Errors
    ///
    /// A retryable connection error if an earlier call still runs after a quarter of a second, if
    /// `call` panics, or if no thread can be started.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the call running; its result is dropped with it.
    pub async fn run<T, F>(&self, call: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let busy = self.take().await?;
        let (answer, answered) = oneshot::channel();
        let turn = Turn::current();
        let thread = std::thread::Builder::new()
            .name("brs-blocking".into())
            .spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| match turn {
                    Some(turn) => turn.run_blocking(call),
                    None => call(),
                }));
                // Freed before the answer is given, so that its receiver can call again.
                drop(busy);
                let _ = answer.send(result.ok());
            });
        if let Err(error) = thread {
            return Err(
                Error::connection("no thread could be started for a synchronous call")
                    .with_source(error),
            );
        }
        match answered.await {
            Ok(Some(result)) => Ok(result),
            Ok(None) | Err(_) => Err(Error::connection("the function panicked")),
        }
    }

    /// The place, free or about to be.
    pub(crate) async fn take(&self) -> Result<Busy, Error> {
        let place = self.0.get();
        let mut time_is_up = None;
        loop {
            let mut freed = std::pin::pin!(place.freed.notified());
            // Registered before the look, or a call that returns in between would be missed.
            freed.as_mut().enable();
            if !place.busy.swap(true, Ordering::AcqRel) {
                return Ok(Busy(Arc::clone(&place)));
            }
            let time_is_up = time_is_up.get_or_insert_with(|| SystemClock::new().sleep(RETURNING));
            if let Either::Right(_) = select(freed, time_is_up).await {
                let message =
                    "an earlier call is still running: until it returns, no other is started";
                return Err(Error::connection(message));
            }
        }
    }

    /// Whether a call is running.
    pub fn is_busy(&self) -> bool {
        self.0.get().busy.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Blocking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking")
            .field("busy", &self.is_busy())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::sync::mpsc;

    #[tokio::test]
    async fn the_result_comes_back() {
        assert_eq!(Blocking::new().run(|| 42).await.unwrap(), 42);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_the_place() {
        let place = Blocking::new();
        let error = place.run(|| panic!("as the test wants")).await.unwrap_err();
        assert_eq!(error.to_string(), "the function panicked");
        assert_eq!(place.run(|| 1).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_call_whose_caller_has_just_left_is_waited_for() {
        let place = Blocking::new();
        let (release, released) = mpsc::channel::<()>();
        let mut left = Box::pin(place.run(move || released.recv().is_ok()));
        assert!(left.as_mut().now_or_never().is_none());
        drop(left);
        let mut next = Box::pin(place.run(|| 7));
        assert!(next.as_mut().now_or_never().is_none());
        release.send(()).unwrap();
        assert_eq!(next.await.unwrap(), 7);
    }

    #[tokio::test]
    async fn while_an_abandoned_call_hangs_others_fail() {
        let place = Blocking::new();
        let (release, released) = mpsc::channel::<()>();
        let (ended, end) = oneshot::channel();
        let mut hanging = Box::pin(place.run(move || {
            let _ = released.recv();
            let _ = ended.send(());
        }));
        assert!(hanging.as_mut().now_or_never().is_none());
        drop(hanging);
        assert_eq!(format!("{place:?}"), "Blocking { busy: true }");
        let error = place.run(|| 1).await.unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("still running"),
            "{error}"
        );
        drop(release);
        end.await.unwrap();
        while place.is_busy() {
            tokio::task::yield_now().await;
        }
        assert_eq!(format!("{place:?}"), "Blocking { busy: false }");
        assert_eq!(place.run(|| 2).await.unwrap(), 2);
    }
}
