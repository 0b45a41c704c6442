//! The task that refreshes without a caller.
//!
//! It runs where time is kept, sleeps on the session's clock until the advisory window begins or a
//! backoff is over, but never longer than 30 s, so that a stepped wall clock or a resumed machine
//! is noticed; then it starts a flight as any caller would. It holds the engine weakly between its
//! steps (invariant 7) and is aborted when the engine is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::AbortHandle;

use super::engine::Engine;
use super::flight::Flight;
use super::sync::{Mutex, lock};
use crate::kit::clock::{Sleep, sleep_on};
use crate::kit::error::Error;
use crate::kit::per_process::PerProcess;

/// What the eager task does next.
#[derive(Debug)]
pub(super) enum EagerStep {
    Wait(Arc<Flight>),
    Sleep(Duration),
}

/// How long the task sleeps at most before it looks at the clocks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The task, if the session is an eager one.
#[derive(Debug, Default)]
pub(super) struct EagerTask {
    is_wanted: AtomicBool,
    /// Threads do not follow a fork: a child starts its own.
    task: PerProcess<Mutex<Option<AbortHandle>>>,
}

impl EagerTask {
    pub(super) fn start(&self, engine: &Arc<Engine>) -> Result<(), Error> {
        self.is_wanted.store(true, Ordering::Relaxed);
        self.go_on(engine)
    }

    /// Starts the task if it is wanted and does not run in this process.
    pub(super) fn go_on(&self, engine: &Arc<Engine>) -> Result<(), Error> {
        if !self.is_wanted() {
            return Ok(());
        }
        let task = self.task.get();
        let mut task = lock(&task);
        if task.is_none() {
            let keeper = crate::kit::runtime::keeper().map_err(|error| {
                Error::connection("no thread could be started for eager refreshes")
                    .with_source(error)
            })?;
            *task = Some(keeper.spawn(run(Arc::downgrade(engine))).abort_handle());
        }
        Ok(())
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    pub(super) fn end(&self) {
        if self.is_wanted.swap(false, Ordering::Relaxed)
            && let Some(task) = lock(&self.task.get()).take()
        {
            task.abort();
        }
    }
}

impl Drop for EagerTask {
    fn drop(&mut self) {
        self.end();
    }
}

async fn run(engine: Weak<Engine>) {
    loop {
        // A step runs foreign code: clock, subscribers, and perhaps the end of the session. None of
        // it belongs on the thread that keeps everybody's time.
        let engine = Weak::clone(&engine);
        let step = match crate::kit::runtime::own() {
            // The pool panics if it cannot start a thread.
            Ok(own) => match catch_unwind(AssertUnwindSafe(|| {
                own.spawn_blocking(move || step(&engine.upgrade()?))
            })) {
                Ok(step) => step.await.ok(),
                Err(_) => None,
            },
            Err(_) => None,
        };
        match step {
            Some(Some(step)) => step.await,
            // The session is gone or closed.
            Some(None) => return,
            // No thread, or a clock of the user's that panics: later, then.
            None => tokio::time::sleep(LONGEST_SLEEP).await,
        }
        // A clock whose sleep is always ready must not take the thread from everybody else.
        tokio::task::yield_now().await;
    }
}

/// Does what is due; the future is ready when the next step is.
fn step(engine: &Arc<Engine>) -> Option<Sleep> {
    match engine.eager_step()? {
        EagerStep::Wait(flight) => {
            let landed = flight.watch();
            Some(Box::pin(landed.map(drop)))
        }
        EagerStep::Sleep(duration) => Some(sleep_on(engine.clock(), duration.min(LONGEST_SLEEP)).0),
    }
}
