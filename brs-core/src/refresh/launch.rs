//! Runs a flight: on a runtime, within its time limit, answered whatever happens.
//!
//! Two tasks a flight. The *pilot* runs the strategy, on the runtime the user chose or on brs's own. The *tower* runs
//! on brs's own runtime, waits for the pilot or the time limit, and lands the flight; a guard lands it should the tower
//! itself end early (invariant 5). So a strategy that panics, blocks its thread, or was put on a runtime that stands
//! still or ends costs an error and not a hanging caller:
//!
//! - The pilot panics: `a_panicking_strategy_is_an_error_and_the_session_goes_on`.
//! - Its runtime ends: `a_runtime_that_ends_in_mid_flight_hands_it_to_brs_s_own` (the flight moves).
//! - Its runtime stands still: `a_chosen_runtime_that_stands_still_costs_the_time_limit`.
//! - It blocks its thread: `a_strategy_that_blocks_is_reported_and_not_called_again_meanwhile`.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;

use super::engine::Engine;
use super::flight::{Flight, Outcome};
use crate::credentials::TemporaryCredentials;
use crate::error::Error;
use crate::strategy::RefreshContext;

type Fetched = Result<TemporaryCredentials, Error>;

/// Lands its flight exactly once, at the latest when it is dropped.
struct Guard {
    engine: Weak<Engine>,
    flight: Option<Arc<Flight>>,
}

impl Guard {
    fn land(&mut self, result: Fetched) {
        let Some(flight) = self.flight.take() else { return };
        match self.engine.upgrade() {
            Some(engine) => engine.land(&flight, result),
            // Nobody is left to keep a set for; the eager task may still wait.
            None => flight.resolve(Outcome::failed(ended())),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.land(Err(ended()));
    }
}

fn ended() -> Error {
    Error::connection("the refresh was ended before it had an answer")
}

#[cfg(not(brs_model))]
pub(super) use real::Launcher;

#[cfg(not(brs_model))]
mod real {
    use tokio::task::{AbortHandle, JoinSet};

    use super::super::sync::{Mutex, lock};
    use super::*;
    use crate::runtime;
    use crate::strategy::RefreshStrategy;

    /// How long an aborted pilot may take to get off its thread before it counts as blocking it. Real time: this is
    /// about the scheduler, not about credentials.
    const GETTING_OFF: Duration = Duration::from_millis(250);

    /// Where flights run.
    #[derive(Debug)]
    pub(in super::super) struct Launcher {
        chosen: Option<Handle>,
        tower: Mutex<Option<AbortHandle>>,
        /// A pilot that was aborted at its time limit and may still be blocking a thread.
        straggler: Arc<Mutex<Option<JoinSet<Fetched>>>>,
    }

    impl Launcher {
        pub(in super::super) fn new(chosen: Option<Handle>) -> Self {
            Self { chosen, tower: Mutex::default(), straggler: Arc::default() }
        }

        pub(in super::super) fn launch(
            &self,
            engine: &Arc<Engine>,
            flight: Arc<Flight>,
            cx: RefreshContext,
            limit: Duration,
        ) {
            let mut guard = Guard { engine: Arc::downgrade(engine), flight: Some(flight) };
            let own = match runtime::own() {
                Ok(own) => own,
                Err(error) => {
                    let message = "no thread could be started for the refresh";
                    return guard.land(Err(Error::connection(message).with_source(error)));
                }
            };
            let runtimes = self.chosen.iter().chain([&own]).cloned().collect();
            let tower = Tower {
                strategy: Arc::clone(engine.strategy()),
                cx,
                limit,
                runtimes,
                straggler: Arc::clone(&self.straggler),
            };
            let task = own.spawn(async move { guard.land(tower.fetch().await) });
            *lock(&self.tower) = Some(task.abort_handle());
        }

        /// Ends the flight that is running, if any.
        pub(in super::super) fn abort(&self) {
            if let Some(tower) = lock(&self.tower).take() {
                tower.abort();
            }
        }
    }

    impl Drop for Launcher {
        fn drop(&mut self) {
            self.abort();
        }
    }

    struct Tower {
        strategy: Arc<dyn RefreshStrategy>,
        cx: RefreshContext,
        limit: Duration,
        /// Where the pilot may run, in the order of preference; brs's own is the last.
        runtimes: Vec<Handle>,
        straggler: Arc<Mutex<Option<JoinSet<Fetched>>>>,
    }

    impl Tower {
        async fn fetch(self) -> Fetched {
            self.wait_for_straggler().await?;
            let mut time_is_up = self.cx.clock().sleep(self.limit);
            for runtime in &self.runtimes {
                let mut pilot = JoinSet::new();
                let (strategy, cx) = (Arc::clone(&self.strategy), self.cx.clone());
                pilot.spawn_on(async move { strategy.refresh(&cx).await }, runtime);
                let ended = tokio::select! {
                    biased;
                    ended = pilot.join_next() => ended,
                    () = &mut time_is_up => {
                        pilot.abort_all();
                        *lock(&self.straggler) = Some(pilot);
                        return Err(self.too_slow());
                    }
                };
                match ended {
                    Some(Ok(result)) => return result,
                    Some(Err(error)) if error.is_panic() => return Err(panicked()),
                    // Its runtime has ended: on to the next one.
                    Some(Err(_)) | None => {}
                }
            }
            Err(ended())
        }

        async fn wait_for_straggler(&self) -> Result<(), Error> {
            let Some(mut pilot) = lock(&self.straggler).take() else { return Ok(()) };
            if tokio::time::timeout(GETTING_OFF, pilot.join_next()).await.is_ok() {
                return Ok(());
            }
            *lock(&self.straggler) = Some(pilot);
            Err(Error::connection(
                "an earlier refresh still blocks its thread past its time limit: until it returns, no other is started \
                 (synchronous code belongs on a thread of its own, see `Blocking`)",
            ))
        }

        fn too_slow(&self) -> Error {
            Error::connection(format!(
                "the source did not answer within {:?}: check that it can be reached, or allow it \
                 more with `refresh_timeout`",
                self.limit
            ))
            .with_detail("limit", format!("{:?}", self.limit))
        }
    }

    fn panicked() -> Error {
        // The panic's own text is not repeated: nobody knows what it holds. The panic hook has had it.
        Error::credential("the strategy panicked: see the program's standard error, and tell the strategy's author")
            .retryable()
    }
}

#[cfg(brs_model)]
pub(super) use modelled::Launcher;

#[cfg(brs_model)]
mod modelled {
    use super::*;

    /// Where flights run under the model checker: on its tasks, without a time limit.
    #[derive(Debug)]
    pub(in super::super) struct Launcher;

    impl Launcher {
        pub(in super::super) fn new(_: Option<Handle>) -> Self {
            Self
        }

        pub(in super::super) fn launch(
            &self,
            engine: &Arc<Engine>,
            flight: Arc<Flight>,
            cx: RefreshContext,
            _: Duration,
        ) {
            let mut guard = Guard { engine: Arc::downgrade(engine), flight: Some(flight) };
            let strategy = Arc::clone(engine.strategy());
            drop(shuttle::future::spawn(async move { guard.land(strategy.refresh(&cx).await) }));
        }

        pub(in super::super) fn abort(&self) {}
    }
}
