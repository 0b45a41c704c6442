//! The task that refreshes though nobody calls.
//!
//! It runs where time is kept, sleeps on the session's clock until the advisory window begins or a
//! backoff is over, but never longer than 30 s, so that a stepped wall clock or a resumed machine
//! is noticed; then it starts a flight as any caller would. It holds the engine weakly between its
//! steps (invariant 7) and is aborted when the engine is dropped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::AbortHandle;

use super::engine::{EagerStep, Engine};
use super::sync::{Mutex, lock};
use crate::kit::clock::{Sleep, sleep_on};
use crate::kit::error::Error;

/// How long the task sleeps at most before it looks at the clocks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The task, if it has been started.
#[derive(Debug, Default)]
pub(super) struct EagerTask(Mutex<Option<(u32, AbortHandle)>>);

impl EagerTask {
    pub(super) fn start(&self, engine: &Arc<Engine>) -> Result<(), Error> {
        let keeper = crate::kit::runtime::keeper().map_err(|error| {
            Error::connection("no thread could be started for eager refreshes").with_source(error)
        })?;
        let task = keeper.spawn(run(Arc::downgrade(engine)));
        let process = std::process::id();
        match lock(&self.0).replace((process, task.abort_handle())) {
            Some((of, earlier)) if of == process => earlier.abort(),
            // The parent's runtime is not here.
            earlier => std::mem::forget(earlier),
        }
        Ok(())
    }

    /// Whether there was a task in the process that this one has forked from.
    pub(super) fn was_forked(&self) -> bool {
        lock(&self.0)
            .as_ref()
            .is_some_and(|(process, _)| *process != std::process::id())
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.0).is_some()
    }

    pub(super) fn end(&self) {
        match lock(&self.0).take() {
            Some((process, task)) if process == std::process::id() => task.abort(),
            parents => std::mem::forget(parents),
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
