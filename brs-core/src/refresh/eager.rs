//! The task that refreshes though nobody calls.
//!
//! It runs where time is kept, sleeps on the session's clock until the advisory window begins or a backoff is over,
//! but never longer than 30 s, so that a stepped wall clock or a resumed machine is noticed; then it starts a flight as
//! any caller would. It holds the engine weakly between its steps (invariant 7) and is aborted when the engine is
//! dropped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use super::engine::{EagerStep, Engine};
use super::sync::{Mutex, lock};
use crate::error::Error;

/// How long the task sleeps at most before it looks at the clocks again.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// The task, if it has been started.
#[derive(Debug, Default)]
pub(super) struct EagerTask(Mutex<Option<AbortHandle>>);

impl EagerTask {
    pub(super) fn start(&self, engine: &Arc<Engine>) -> Result<(), Error> {
        let keeper = crate::runtime::keeper()
            .map_err(|error| Error::connection("no thread could be started for eager refreshes").with_source(error))?;
        let task = keeper.spawn(run(Arc::downgrade(engine)));
        if let Some(earlier) = lock(&self.0).replace(task.abort_handle()) {
            earlier.abort();
        }
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.0).is_some()
    }

    pub(super) fn end(&self) {
        if let Some(task) = lock(&self.0).take() {
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
        // The engine must not be held across the awaits below.
        let Some((clock, own)) = engine.upgrade().map(|engine| (Arc::clone(engine.clock()), crate::runtime::own()))
        else {
            return;
        };
        // A step tells subscribers and logs: not on the thread that keeps everybody's time.
        let engine = Weak::clone(&engine);
        let step = match own {
            Ok(own) => own.spawn_blocking(move || engine.upgrade().and_then(|engine| engine.eager_step())).await.ok(),
            Err(_) => None,
        };
        let step = match step {
            Some(Some(step)) => step,
            // The session is gone or closed.
            Some(None) => return,
            // No thread, or a clock of the user's that panics: later, then.
            None => EagerStep::Sleep(LONGEST_SLEEP),
        };
        match step {
            EagerStep::Wait(flight) => {
                flight.wait().await;
            }
            EagerStep::Sleep(duration) => clock.sleep(duration.min(LONGEST_SLEEP)).await,
        }
        // A clock whose sleep is always ready must not take the thread from everybody else.
        tokio::task::yield_now().await;
    }
}
