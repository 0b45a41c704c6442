//! Runs a flight: on a runtime, within its time limit, answered whatever happens.
//!
//! Two tasks a flight. The *pilot* runs the strategy, on the runtime the user chose or on brs's own. The *tower* runs
//! where time is kept, waits for the pilot or the time limit, and lands the flight; a guard lands it should the tower
//! itself end early (invariant 5). So a strategy that panics, blocks its thread, or was put on a runtime that stands
//! still or ends costs an error and not a hanging caller:
//!
//! - The pilot panics: `a_panicking_strategy_is_an_error_and_the_session_goes_on`.
//! - Its runtime ends: `a_runtime_that_ends_in_mid_flight_hands_it_to_brs_s_own` (the flight moves).
//! - Its runtime stands still: `a_chosen_runtime_that_stands_still_costs_the_time_limit`.
//! - It blocks its thread: `a_strategy_that_blocks_is_reported_and_not_called_again_meanwhile`; two of them:
//!   `strategies_that_block_every_worker_do_not_stop_time`.
//! - The session is closed or dropped between start and launch: `a_closed_session_launches_nothing` (below).

#[cfg(not(brs_model))]
pub(super) use real::Launcher;

#[cfg(brs_model)]
pub(super) use modelled::Launcher;

#[cfg(not(brs_model))]
mod real {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::runtime::Handle;
    use tokio::task::{AbortHandle, JoinSet};
    use tracing::Instrument;

    use super::super::guard::{Guard, ended};
    use super::super::pilot::{Found, Pilot, Progress};
    use super::super::sync::{Mutex, lock};
    use crate::credentials::TemporaryCredentials;
    use crate::error::Error;
    use crate::runtime;
    use crate::strategy::{RefreshContext, RefreshStrategy};

    type Fetched = Result<TemporaryCredentials, Error>;

    /// How long a pilot that was given up inside a poll may take to leave it before it counts as blocking, and how
    /// often to look. Real time: this is about the scheduler, not about credentials.
    const LEAVING: Duration = Duration::from_millis(250);
    const LOOK_AGAIN: Duration = Duration::from_millis(5);

    /// Where flights run.
    #[derive(Debug)]
    pub(in super::super) struct Launcher {
        strategy: Arc<dyn RefreshStrategy>,
        chosen: Option<Handle>,
        /// Locked from spawning a tower until its handle is stored, or two that launch one after the other could leave
        /// the handle of the first.
        tower: Mutex<TowerState>,
        /// The pilot that was inside a poll at its time limit, and may still be.
        straggler: Arc<Mutex<Progress>>,
    }

    #[derive(Debug, Default)]
    struct TowerState {
        task: Option<AbortHandle>,
        /// Nothing is launched any more.
        ended: bool,
    }

    impl Launcher {
        pub(in super::super) fn new(strategy: Arc<dyn RefreshStrategy>, chosen: Option<Handle>) -> Self {
            Self { strategy, chosen, tower: Mutex::default(), straggler: Arc::default() }
        }

        pub(in super::super) fn launch(&self, guard: Guard, cx: RefreshContext, limit: Duration) {
            let runtimes = runtime::keeper().and_then(|keeper| Ok((keeper, runtime::own()?)));
            let (keeper, own) = match runtimes {
                Ok(runtimes) => runtimes,
                Err(error) => {
                    let message = "no thread could be started for the refresh";
                    return guard.land(Err(Error::connection(message).with_source(error)));
                }
            };
            let strategy = Arc::clone(&self.strategy);
            let span = span(strategy.method(), &cx);
            let runtimes = self.chosen.iter().chain([&own]).cloned().collect();
            let tower = Tower { strategy, cx, limit, runtimes, straggler: Arc::clone(&self.straggler) };
            // Landing runs foreign code: wakers, subscribers, log layers. None of it may hold up the keeper, on whose
            // time everybody's limits depend, nor wait for a worker that a strategy blocks.
            let landing = own.clone();
            let flight = async move {
                let result = tower.fetch().await;
                let span = tracing::Span::current();
                let land = move || span.in_scope(|| guard.land(result));
                // Where no thread can be started the guard is dropped, which lands the flight here after all.
                drop(catch_unwind(AssertUnwindSafe(|| landing.spawn_blocking(land))));
            }
            .instrument(span);
            let mut state = lock(&self.tower);
            if state.ended {
                // Dropping the flight lands it, which is not for under the lock.
                drop(state);
                return drop(flight);
            }
            state.task = Some(keeper.spawn(flight).abort_handle());
        }

        /// Ends the flight that is running, if any, and lets no other begin.
        pub(in super::super) fn end(&self) {
            let mut state = lock(&self.tower);
            state.ended = true;
            if let Some(tower) = state.task.take() {
                tower.abort();
            }
        }
    }

    impl Drop for Launcher {
        fn drop(&mut self) {
            self.end();
        }
    }

    /// A span of its own: whoever happened to start the flight has nothing to do with what it says, nor waits for its
    /// end. A subscriber that panics costs the span and nothing else.
    fn span(method: &'static str, cx: &RefreshContext) -> tracing::Span {
        catch_unwind(AssertUnwindSafe(|| {
            tracing::info_span!(
                parent: None,
                "refresh",
                method,
                reason = ?cx.reason(),
                attempt = cx.attempt(),
                previous_access_key_id = cx.previous_access_key_id(),
            )
        }))
        .unwrap_or_else(|_| tracing::Span::none())
    }

    struct Tower {
        strategy: Arc<dyn RefreshStrategy>,
        cx: RefreshContext,
        limit: Duration,
        /// Where the pilot may run, in the order of preference; brs's own is the last.
        runtimes: Vec<Handle>,
        straggler: Arc<Mutex<Progress>>,
    }

    impl Tower {
        async fn fetch(self) -> Fetched {
            let mut time_is_up = self.cx.clock().sleep(self.cx.time_left());
            self.wait_for_straggler().await?;
            for runtime in &self.runtimes {
                let mut task = JoinSet::new();
                let (strategy, cx) = (Arc::clone(&self.strategy), self.cx.clone());
                let progress = Progress::default();
                let pilot = Pilot::new(async move { strategy.refresh(&cx).await }, progress.clone());
                task.spawn_on(pilot.in_current_span(), runtime);
                let ended = tokio::select! {
                    biased;
                    ended = task.join_next() => ended,
                    () = &mut time_is_up => return Err(match progress.give_up() {
                        Found::NotBegun => stands_still(),
                        Found::Waiting => self.too_slow(),
                        Found::Blocking => {
                            *lock(&self.straggler) = progress;
                            self.too_slow()
                        }
                    }),
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

        /// A pilot that was inside a poll at its limit is most often just about to leave it.
        async fn wait_for_straggler(&self) -> Result<(), Error> {
            let straggler = lock(&self.straggler).clone();
            let leaving = async {
                while straggler.is_blocking() {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            };
            tokio::time::timeout(LEAVING, leaving).await.map_err(|_| blocks())
        }

        fn too_slow(&self) -> Error {
            Error::connection(format!(
                "the source did not answer within {:?}: check that it can be reached, or allow it more with \
                 `refresh_timeout`",
                self.limit
            ))
            .with_detail("limit", format!("{:?}", self.limit))
        }
    }

    fn blocks() -> Error {
        Error::connection(
            "an earlier refresh still blocks its thread past its time limit: until it returns, no other is started \
             (synchronous code belongs on a thread of its own, see `Blocking`)",
        )
    }

    fn stands_still() -> Error {
        Error::connection(
            "the refresh did not begin within its time limit: the runtime that was chosen for it stands still, or all \
             its threads are blocked",
        )
    }

    fn panicked() -> Error {
        // The panic's own text is not repeated: nobody knows what it holds. The panic hook has had it.
        Error::credential("the strategy panicked: see the program's standard error, and tell the strategy's author")
            .retryable()
    }

    #[cfg(test)]
    mod tests {
        use super::super::super::engine::Engine;
        use super::super::super::flight::Flight;
        use super::super::super::times::Moment;
        use super::*;
        use crate::test_util::{ManualClock, Scripted, Step};

        #[test]
        fn a_closed_session_launches_nothing() {
            let clock = ManualClock::new(std::time::UNIX_EPOCH);
            let scripted = Scripted::always(Step::Hang);
            let launcher = Launcher::new(scripted.shared(), None);
            launcher.end();
            let engine: std::sync::Weak<Engine> = std::sync::Weak::new();
            let flight = Flight::new(crate::RefreshReason::First, Moment::now(&clock));
            let guard = Guard::of(engine, Arc::clone(&flight));
            let limit = Duration::from_secs(30);
            launcher.launch(guard, RefreshContext::for_test(Arc::new(clock), limit), limit);
            let outcome = futures_util::FutureExt::now_or_never(flight.wait());
            assert!(outcome.is_some_and(|outcome| outcome.served.is_err()), "who waits is answered");
            assert_eq!(scripted.calls(), 0);
        }
    }
}

#[cfg(brs_model)]
mod modelled {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::runtime::Handle;

    use super::super::guard::Guard;
    use crate::strategy::{RefreshContext, RefreshStrategy};

    /// Where flights run under the model checker: on its tasks, without a time limit.
    #[derive(Debug)]
    pub(in super::super) struct Launcher(Arc<dyn RefreshStrategy>);

    impl Launcher {
        pub(in super::super) fn new(strategy: Arc<dyn RefreshStrategy>, _: Option<Handle>) -> Self {
            Self(strategy)
        }

        pub(in super::super) fn launch(&self, guard: Guard, cx: RefreshContext, _: Duration) {
            let strategy = Arc::clone(&self.0);
            drop(shuttle::future::spawn(async move { guard.land(strategy.refresh(&cx).await) }));
        }

        pub(in super::super) fn end(&self) {}
    }
}
