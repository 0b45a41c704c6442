//! Runs a flight: in its turn, on a runtime, within its time limit, answered whatever happens.
//!
//! Two tasks a flight. The *pilot* (`pilot`) calls the strategy, on the runtime the user chose or
//! on brs's own. The *tower* runs where time is kept: it waits for the flight's turn, starts the
//! pilot, and lands the flight at its time limit. It holds nothing foreign. So a strategy that
//! panics, blocks its thread, or was put on a runtime that stands still or ends costs an error and
//! not a hanging caller:
//!
//! - The pilot panics: `a_panicking_strategy_is_an_error_and_the_session_goes_on`.
//! - Its runtime ends: `a_runtime_that_ends_in_mid_flight_hands_it_to_brs_s_own` (the flight
//!   moves).
//! - Its runtime stands still: `a_chosen_runtime_that_stands_still_costs_the_time_limit`.
//! - It blocks its thread: `a_strategy_that_blocks_is_reported_and_not_called_again_meanwhile`; two
//!   of them: `strategies_that_block_every_worker_do_not_stop_time`.
//! - The session is closed or dropped between start and launch: `a_closed_session_launches_nothing`
//!   (below).
//! - The process is stopped with a flight in the air: `tests/frozen.rs`. It forks:
//!   `tests/forked.rs`.

#[cfg(not(brs_model))]
pub(super) use real::Launcher;

#[cfg(brs_model)]
pub(super) use modelled::Launcher;

#[cfg(not(brs_model))]
mod real {
    use std::sync::{Arc, Weak};
    use std::time::Duration;

    use tokio::runtime::Handle;
    use tokio::task::{AbortHandle, JoinSet};

    use super::super::flight::Flight;
    use super::super::flight::ended;
    use super::super::guard::{Fetched, Guard};
    use super::super::pilot::{Call, CallState, Progress, no_turn};
    use super::super::stops::StopWatch;
    use super::super::sync::{Mutex, lock};
    use super::super::times::Moment;
    use crate::kit::blocking::Blocking;
    use crate::kit::error::Error;
    use crate::kit::limiter::{Held, Limiter, Permit};
    use crate::kit::per_process::PerProcess;
    use crate::kit::runtime;
    use crate::kit::turns::{self, Place, Turn};
    use crate::method::strategy::{RefreshContext, RefreshStrategy};

    /// How long a call that was in the air while the process was stopped has for an answer that may
    /// be waiting, before the source is asked again: its connection may be dead. Real time.
    const AFTER_STOP: Duration = Duration::from_secs(1);

    /// Where flights run.
    #[derive(Debug)]
    pub(in super::super) struct Launcher {
        strategy: Arc<dyn RefreshStrategy>,
        /// The runtime that the user chose, and the process that drives it: its threads do not
        /// follow a fork.
        chosen: Option<(Handle, u32)>,
        /// What calls line up in before they line up for a turn.
        limiter: Option<Limiter>,
        /// Locked from spawning a tower until its handle is stored, or two that launch one after
        /// the other could leave the handle of the first.
        current: PerProcess<Mutex<Current>>,
    }

    #[derive(Debug, Default)]
    struct Current {
        place: Blocking,
        call: Option<Arc<Call>>,
        tower: Option<AbortHandle>,
        /// Nothing is launched any more.
        ended: bool,
    }

    impl Launcher {
        pub(in super::super) fn new(
            strategy: Arc<dyn RefreshStrategy>,
            chosen: Option<Handle>,
            limiter: Option<Limiter>,
        ) -> Self {
            let chosen = chosen.map(|chosen| (chosen, std::process::id()));
            Self {
                strategy,
                chosen,
                limiter,
                current: PerProcess::new(),
            }
        }

        pub(in super::super) fn launch(
            &self,
            flight: &Arc<Flight>,
            guard: Guard,
            cx: RefreshContext,
            limit: Duration,
        ) {
            let lined_up = Moment::now(&**cx.clock());
            let is_interactive = self.strategy.interactive();
            let runtimes = runtime::keeper().and_then(|keeper| Ok((keeper, runtime::own()?)));
            let (keeper, own) = match runtimes {
                Ok(runtimes) => runtimes,
                Err(error) => {
                    let message = "no thread could be started for the refresh";
                    return guard.land(Fetched::failed(
                        Error::connection(message).with_source(error),
                    ));
                }
            };
            let chosen = self
                .chosen
                .as_ref()
                .filter(|(_, process)| *process == std::process::id());
            // Here, where foreign code may run: it looks at the clock.
            let permit = self
                .limiter
                .as_ref()
                .map(|limiter| limiter.line_up(&flight.place, cx.clock()));
            let current = self.current.get();
            let mut current = lock(&current);
            if current.ended {
                // Dropping the guard lands the flight, which is not for under the lock.
                drop(current);
                return drop(guard);
            }
            let stops = Arc::new(StopWatch::new(limit));
            let call = Arc::new(Call {
                strategy: Arc::clone(&self.strategy),
                cx,
                limit,
                lined_up,
                is_interactive,
                stops: Arc::clone(&stops),
                place: current.place.clone(),
                state: Mutex::new(CallState::new(guard)),
            });
            let tower = Tower {
                call: Arc::downgrade(&call),
                place: Arc::clone(&flight.place),
                permit,
                limiter: self.limiter.clone(),
                method: self.strategy.method(),
                limit,
                stops,
                chosen: chosen.map(|(chosen, _)| chosen.clone()),
                own,
            };
            let earlier = current.call.replace(call);
            current.tower = Some(keeper.spawn(tower.run()).abort_handle());
            drop(current);
            drop(earlier);
        }

        /// Ends the flight that is running, if any, and lets no other begin.
        pub(in super::super) fn end(&self) {
            let current = self.current.get();
            let mut current = lock(&current);
            current.ended = true;
            let call = current.call.take();
            if let Some(tower) = current.tower.take() {
                tower.abort();
            }
            drop(current);
            if let Some(call) = &call {
                call.end_turn();
            }
            drop(call);
        }
    }

    impl Drop for Launcher {
        fn drop(&mut self) {
            self.end();
        }
    }

    struct Tower {
        /// Weak: what a call holds is foreign, and dropped where it runs.
        call: Weak<Call>,
        place: Arc<Place>,
        permit: Option<Permit>,
        limiter: Option<Limiter>,
        method: &'static str,
        limit: Duration,
        stops: Arc<StopWatch>,
        chosen: Option<Handle>,
        own: Handle,
    }

    /// Runs foreign code away from where time is kept. A thread of its own: the pool of brs's
    /// runtime panics if it cannot start one. Then the code runs here after all, or its waiters
    /// would never be answered.
    fn elsewhere(code: impl FnOnce() + Send + 'static) {
        let code = Arc::new(Mutex::new(Some(code)));
        let there = Arc::clone(&code);
        if std::thread::Builder::new()
            .name("brs-landing".into())
            .spawn(move || run_once(&there))
            .is_err()
        {
            run_once(&code);
        }
    }

    fn run_once(code: &Mutex<Option<impl FnOnce()>>) {
        let code = lock(code).take();
        if let Some(code) = code {
            code();
        }
    }

    /// A look at the call from where nothing foreign may be dropped.
    struct Visit(Option<Arc<Call>>);

    impl std::ops::Deref for Visit {
        type Target = Arc<Call>;

        fn deref(&self) -> &Arc<Call> {
            self.0.as_ref().expect("it is taken when the visit ends")
        }
    }

    impl Drop for Visit {
        fn drop(&mut self) {
            // Everybody else has let it go meanwhile.
            if let Some(call) = self.0.take().and_then(Arc::into_inner) {
                elsewhere(move || drop(call));
            }
        }
    }

    impl Tower {
        async fn run(mut self) {
            let (permit, place, method) =
                (self.permit.take(), Arc::clone(&self.place), self.method);
            let line = async move {
                let held = match permit {
                    Some(permit) => permit.await,
                    None => None,
                };
                (place.line_up(method).await, held)
            };
            let Some(((turn, held), waited)) = self.wait_for_turn(line).await else {
                return;
            };
            let Some(call) = self.call() else { return };
            let mut stops = 0;
            self.stops.was_stopped(&mut stops);
            call.give(turn, held, waited.filter(|_| stops == 0), stops);
            drop(call);
            if let Some(fetched) = self.watch(stops).await {
                self.land(fetched);
            }
        }

        fn call(&self) -> Option<Visit> {
            Some(Visit(Some(self.call.upgrade()?)))
        }

        /// Lands the flight, on a thread where foreign code may run.
        fn land(&self, fetched: Fetched) {
            if let Some(land) = self.call().and_then(|call| call.take_landing(fetched)) {
                elsewhere(land);
            }
        }

        fn sleep(&self) -> Option<crate::kit::clock::Sleep> {
            self.call().map(|call| call.sleep())
        }

        /// Waits in line, for as long as calls of the method or of its limiter are answered. With
        /// the turn it gives how many had been answered when the wait began, if it was no longer
        /// than one time limit.
        async fn wait_for_turn(
            &self,
            line: impl Future<Output = (Arc<Turn>, Option<Held>)>,
        ) -> Option<((Arc<Turn>, Option<Held>), Option<u64>)> {
            let mut line = std::pin::pin!(line);
            let mut stops = 0;
            let (mut answers, mut is_first) = (None, true);
            let mut time_is_up = std::pin::pin!(futures_util::future::OptionFuture::from(None));
            loop {
                tokio::select! {
                    biased;
                    turn = &mut line => {
                        return Some((turn, answers.filter(|_| is_first).map(|(of_method, _)| of_method)));
                    }
                    // Only once it has to wait.
                    () = std::future::ready(()), if answers.is_none() => {
                        answers = Some(self.progress());
                        time_is_up.set(Some(self.sleep()?).into());
                    }
                    () = self.stops.stopped(&mut stops) => time_is_up.set(Some(self.sleep()?).into()),
                    _ = &mut time_is_up, if answers.is_some() => {
                        let so_far = self.progress();
                        if self.stops.was_stopped(&mut stops) || answers.replace(so_far) != Some(so_far) {
                            time_is_up.set(Some(self.sleep()?).into());
                            is_first = false;
                        } else {
                            self.land(Fetched::failed(no_turn(self.method, self.limit)));
                            return None;
                        }
                    }
                }
            }
        }

        /// What grows while the source lives: how many calls of the method were answered, and how
        /// many of the limiter's.
        fn progress(&self) -> (u64, u64) {
            let of_limiter = self.limiter.as_ref().map_or(0, Limiter::answers);
            (turns::answers(self.method), of_limiter)
        }

        /// Starts the pilot and watches it; gives what the flight lands with, unless the pilot
        /// lands it. `stops` were before.
        async fn watch(&self, mut stops: u64) -> Option<Fetched> {
            let mut time_is_up = self.sleep()?;
            for runtime in self.chosen.iter().chain([&self.own]) {
                // Aborts the pilot when it is dropped; the pilot's future is dropped on its own
                // runtime.
                let mut pilot = JoinSet::new();
                let call = self.call()?;
                pilot.spawn_on(Arc::clone(&*call).fly(), runtime);
                drop(call);
                let mut after_stop = std::pin::pin!(futures_util::future::OptionFuture::from(None));
                let mut was_stopped = false;
                loop {
                    let stopped = tokio::select! {
                        biased;
                        ended = pilot.join_next() => match ended {
                            Some(Ok(())) => return None,
                            // Its runtime was shut down: try the next one.
                            Some(Err(_)) | None => break,
                        },
                        () = self.stops.stopped(&mut stops) => true,
                        _ = &mut after_stop, if was_stopped => {
                            was_stopped = false;
                            let call = self.call()?;
                            if call.progress() == Progress::Waiting && !call.is_interactive {
                                return Some(Fetched::failed(self.too_slow()));
                            }
                            false
                        }
                        () = &mut time_is_up => {
                            if !self.stops.was_stopped(&mut stops) {
                                let progress = self.call()?.progress();
                                let error = match progress {
                                    Progress::NotBegun => self.not_begun(runtime),
                                    Progress::Waiting | Progress::Blocked => self.too_slow(),
                                };
                                return Some(Fetched::failed(error));
                            }
                            true
                        }
                    };
                    if stopped {
                        // The time in which the process was not there does not count.
                        was_stopped = true;
                        time_is_up = self.sleep()?;
                        after_stop.set(Some(tokio::time::sleep(AFTER_STOP)).into());
                    }
                }
            }
            Some(Fetched::failed(ended()))
        }

        fn too_slow(&self) -> Error {
            Error::connection(format!(
                "the source did not answer within {:?}: check that it can be reached, or allow it more with \
                 `refresh_timeout`",
                self.limit
            ))
            .with_detail("limit", format!("{:?}", self.limit))
        }

        /// What keeps the call from beginning.
        fn not_begun(&self, runtime: &Handle) -> Error {
            let limit = self.limit;
            if self
                .chosen
                .as_ref()
                .is_some_and(|chosen| chosen.id() == runtime.id())
            {
                return Error::connection(format!(
                    "the refresh did not begin within {limit:?}: the runtime that was chosen for it is not driven, or \
                     all its threads are blocked"
                ));
            }
            let blocking = turns::in_flight(self.method).polled;
            let whose = match &blocking[..] {
                [] => "synchronous code".to_owned(),
                methods => format!("strategies of the methods `{}`", methods.join("`, `")),
            };
            Error::connection(format!(
                "the refresh did not begin within {limit:?}: {whose} block the threads on which refreshes run (run \
                 synchronous code on a thread of its own, see `Blocking`)"
            ))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::test_util::{ManualClock, Scripted, Step};

        #[test]
        fn a_closed_session_launches_nothing() {
            let clock = ManualClock::new(std::time::UNIX_EPOCH);
            let scripted = Scripted::always(Step::Hang);
            let launcher = Launcher::new(scripted.shared(), None, None);
            launcher.end();
            let flight = Flight::new(
                "scripted",
                crate::method::strategy::RefreshReason::First,
                Moment::now(&clock),
            );
            let guard = Guard::new(Weak::new(), Arc::clone(&flight));
            let limit = Duration::from_secs(30);
            launcher.launch(
                &flight,
                guard,
                RefreshContext::for_test(Arc::new(clock), limit),
                limit,
            );
            let outcome = futures_util::FutureExt::now_or_never(flight.wait());
            assert!(
                outcome.is_some_and(|outcome| outcome.served.is_err()),
                "who waits is answered"
            );
            assert_eq!(scripted.calls(), 0);
        }
    }
}

#[cfg(brs_model)]
mod modelled {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::runtime::Handle;

    use super::super::flight::Flight;
    use super::super::guard::{Fetched, Guard};
    use super::super::times::Moment;
    use crate::kit::limiter::Limiter;
    use crate::method::strategy::{RefreshContext, RefreshStrategy};

    /// Where flights run under the model checker: on its tasks, without turns and time limits.
    #[derive(Debug)]
    pub(in super::super) struct Launcher(Arc<dyn RefreshStrategy>);

    impl Launcher {
        pub(in super::super) fn new(
            strategy: Arc<dyn RefreshStrategy>,
            _: Option<Handle>,
            _: Option<Limiter>,
        ) -> Self {
            Self(strategy)
        }

        pub(in super::super) fn launch(
            &self,
            _: &Arc<Flight>,
            guard: Guard,
            cx: RefreshContext,
            _: Duration,
        ) {
            let strategy = Arc::clone(&self.0);
            drop(shuttle::future::spawn(async move {
                let asked = Some(Moment::now(&**cx.clock()));
                let result = strategy.refresh(&cx).await;
                guard.land(Fetched {
                    result,
                    asked,
                    was_stopped: false,
                    is_stored: false,
                    was_down: false,
                });
            }));
        }

        pub(in super::super) fn end(&self) {}
    }
}
