//! The engine: the state, its lock, and the snapshot that readers look at.
//!
//! Every call begins with a look at the snapshot: one immutable set and the moment until which it
//! may be served without asking. That takes no lock, no allocation and no task. Otherwise the state
//! is locked, `decide` is asked, and what it says is carried out after the lock is released
//! (invariants 2, 4 and 6 of the module above).
//!
//! - A caller leaves in mid-flight: `a_caller_dropped_in_mid_flight_cancels_nothing`
//!   (`tests/engine/callers.rs`).
//! - The clock jumps: `tests/engine/clocks.rs`.
//! - The last handle goes: `the_last_handle_ends_task_flight_and_set`
//!   (`tests/engine/lifetimes.rs`).

mod unattended;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::calls::{Answer, closed};
use super::eager::EagerTask;
use super::flight::{Flight, Outcome};
use super::guard::{Fetched, Guard};
use super::launch::Launcher;
use super::policy::{Decision, decide, fallback, quiet_until};
use super::state::{Effects, Known, Rejected, Rules, State};
use super::status::RefreshStatus;
use super::sync::{Cell, Mutex, lock};
use super::times::{CachedSet, Moment};
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::kit::limiter::Limiter;
use crate::kit::per_process::PerProcess;
use crate::method::events::{EventSender, Events, Observer};
use crate::method::strategy::{RefreshContext, RefreshStrategy};

/// What the engine is built with.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) rules: Rules,
    pub(crate) refresh_timeout: Duration,
    /// For sets whose source names none.
    pub(crate) account_id: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtime: Option<Handle>,
    /// What paces the calls to the source, beside other sessions'.
    pub(crate) limiter: Option<Limiter>,
    /// Is told every event, at once.
    pub(crate) observer: Option<Observer>,
    /// Of what is random; without one it differs between sessions and between processes.
    pub(crate) seed: Option<u64>,
}

/// What asking came to.
enum Asked {
    /// Without waiting.
    Answered(Result<Arc<CachedSet>, Error>),
    Landed(Outcome),
}

/// What readers look at (invariant 3).
#[derive(Debug)]
struct Snapshot {
    set: Arc<CachedSet>,
    /// Before this moment, by both clocks, the set is what every caller gets.
    quiet_until: Moment,
}

/// One session's engine.
#[derive(Debug)]
pub(crate) struct Engine {
    strategy: Arc<dyn RefreshStrategy>,
    config: Config,
    snapshot: Cell<Snapshot>,
    state: PerProcess<Mutex<State>>,
    /// What a forked child begins its state with (invariant 10).
    known: Cell<Known>,
    events: EventSender,
    launcher: Launcher,
    eager: EagerTask,
}

impl Engine {
    pub(crate) fn new(strategy: Arc<dyn RefreshStrategy>, config: Config) -> Arc<Self> {
        let events = EventSender::new(strategy.method()).observed_by(config.observer.clone());
        Arc::new(Self {
            launcher: Launcher::new(
                Arc::clone(&strategy),
                config.runtime.clone(),
                config.limiter.clone(),
            ),
            state: PerProcess::new(),
            known: Cell::empty(),
            strategy,
            config,
            snapshot: Cell::empty(),
            events,
            eager: EagerTask::default(),
        })
    }

    pub(crate) fn strategy(&self) -> &Arc<dyn RefreshStrategy> {
        &self.strategy
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.config.clock
    }

    pub(crate) fn refresh_timeout(&self) -> Duration {
        self.config.refresh_timeout
    }

    pub(crate) fn events(&self) -> Events {
        self.events.subscribe()
    }

    /// The current set; waits only as `decide` says.
    pub(crate) async fn current(self: &Arc<Self>) -> Result<Arc<CachedSet>, Error> {
        if let Some(set) = self.read(Arc::clone) {
            return Ok(set);
        }
        let rules = &self.config.rules;
        let ask = |state: &mut State, now, effects: &mut Effects| state.ask(now, rules, effects);
        match self.asked(ask, |outcome| &outcome.served).await {
            Asked::Answered(result) => result,
            Asked::Landed(outcome) => outcome.served,
        }
    }

    /// Asks the state; waits for the flight that it may name. Asks again if that was the parent's,
    /// or if its set, which `pick` chooses, has expired since.
    async fn asked(
        self: &Arc<Self>,
        ask: impl Fn(&mut State, Moment, &mut Effects) -> Answer,
        pick: impl Fn(&Outcome) -> &Result<Arc<CachedSet>, Error>,
    ) -> Asked {
        loop {
            let now = self.now();
            let flight = match self.change(|state, effects| ask(state, now, effects)) {
                Answer::Now(result) => return Asked::Answered(result),
                Answer::Wait(flight) => flight,
            };
            let Some(outcome) = flight.landing().await else {
                continue;
            };
            match pick(&outcome) {
                Ok(set) if outcome.expired_since(set, self.now()) => {}
                _ => return Asked::Landed(outcome),
            }
        }
    }

    /// The read that every call makes: the set, if it is to be served without asking.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Arc<CachedSet>) -> R) -> Option<R> {
        self.snapshot.read(|snapshot| {
            let snapshot = snapshot?;
            (!snapshot
                .quiet_until
                .is_due(Moment::coarse(&*self.config.clock)))
            .then(|| look(&snapshot.set))
        })
    }

    /// The access key id of the set, served or not.
    pub(crate) fn access_key_id(&self) -> Option<String> {
        self.snapshot.read(|snapshot| {
            snapshot.map(|snapshot| snapshot.set.credentials.access_key_id().to_owned())
        })
    }

    /// A set with at least `least` left, refreshed first if need be.
    pub(crate) async fn valid_for(
        self: &Arc<Self>,
        least: Duration,
    ) -> Result<Arc<CachedSet>, Error> {
        let rules = &self.config.rules;
        let ask = |state: &mut State, now, effects: &mut Effects| {
            state.ask_for(least, now, rules, effects)
        };
        let outcome = match self.asked(ask, |outcome| &outcome.fetched).await {
            Asked::Answered(result) => return result,
            Asked::Landed(outcome) => outcome,
        };
        match outcome.fetched {
            // Nothing could have more left; that the answer took a moment must not count.
            Ok(set) => set.check_lifetime(least),
            Err(error) => {
                let left = outcome
                    .served
                    .and_then(|set| set.check_left(least, self.now()));
                left.map_err(|_| error)
            }
        }
    }

    /// Asks the source now, whatever backoff or memory says; joins a flight that is running.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<Arc<CachedSet>, Error> {
        match self.asked(State::refresh, |outcome| &outcome.fetched).await {
            Asked::Answered(result) => result,
            Asked::Landed(outcome) => outcome.fetched,
        }
    }

    /// The first set of an eager session. A source that hands out what it has cached may give one
    /// that has expired: it is asked once more.
    pub(crate) async fn first(self: &Arc<Self>) -> Result<Arc<CachedSet>, Error> {
        match self.refresh().await {
            Err(_) if lock(&self.state()).arrived_expired() => self.refresh().await,
            first => first,
        }
    }

    /// The set with this key is no longer to be used.
    pub(crate) fn invalidate(self: &Arc<Self>, access_key_id: &str) {
        let now = self.now();
        self.change(|state, effects| {
            if state.invalidate(access_key_id, effects) {
                self.start_if_eager(state, now, effects);
            }
        });
    }

    /// A service has rejected the set with this key; paced.
    pub(crate) fn reject(self: &Arc<Self>, access_key_id: &str) -> Rejected {
        let now = self.now();
        self.change(|state, effects| {
            let rejected = state.reject(access_key_id, now, &self.config.rules, effects);
            if rejected == Rejected::Honoured {
                self.start_if_eager(state, now, effects);
            }
            rejected
        })
    }

    /// Whether this session gave out the set with this key, now or lately.
    pub(crate) fn issued(&self, access_key_id: &str) -> bool {
        // Mostly it is the current one, which takes no lock to know.
        self.read(|set| set.credentials.access_key_id() == access_key_id) == Some(true)
            || lock(&self.state()).issued(access_key_id)
    }

    /// In an eager session no caller should have to wait: an invalidated set is replaced before
    /// anybody asks.
    fn start_if_eager(&self, state: &mut State, now: Moment, effects: &mut Effects) {
        if self.eager.is_wanted() && state.flight.is_none() && state.held(now).is_none() {
            state.start(false, now, effects);
        }
    }

    /// Whether a caller would get a valid set without waiting for the source first.
    pub(crate) fn ready(&self) -> bool {
        let now = self.now();
        let situation = lock(&self.state()).situation();
        let decision = decide(&situation, now, self.config.rules.policy);
        matches!(decision, Decision::Serve | Decision::ServeAndStart)
    }

    /// What could be given if the source did not answer now.
    pub(crate) fn left_to_serve(self: &Arc<Self>) -> Option<Arc<CachedSet>> {
        let now = self.now();
        self.change(|state, effects| {
            let unrecoverable = state
                .failure
                .as_ref()
                .is_some_and(|failure| failure.error.is_unrecoverable());
            match fallback(
                state.set_situation().as_ref(),
                now,
                self.config.rules.policy,
                unrecoverable,
            ) {
                Decision::Serve => state.set.clone(),
                // An expired set counts only while the source is known to be in trouble.
                Decision::ServeExpired if state.failure.is_some() => {
                    state.announce_expired(effects);
                    state.set.clone()
                }
                _ => None,
            }
        })
    }

    pub(crate) fn status(&self) -> RefreshStatus {
        let now = self.now();
        let method = self.strategy.method();
        RefreshStatus::new(method, &lock(&self.state()), now, self.config.rules.policy)
    }

    /// Runs what belongs to the session but is no refresh, under the same time limit, wherever the
    /// caller sits.
    pub(crate) async fn on_own_runtime<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let limit = self.config.refresh_timeout;
        let own = crate::kit::runtime::own()
            .map_err(|error| Error::connection("no thread could be started").with_source(error))?;
        let mut time_is_up = self.config.clock.sleep(limit);
        let mut task = tokio::task::JoinSet::new();
        task.spawn_on(work, &own);
        let method = self.strategy.method();
        tokio::select! {
            biased;
            ended = task.join_next() => match ended {
                Some(Ok(result)) => result,
                _ => Err(Error::credential("the `whoami` lookup panicked: see the program's standard error")),
            },
            () = &mut time_is_up => Err(Error::connection(format!("no answer within {limit:?}"))),
        }
        .map_err(|error| error.or_method(method))
    }

    /// Forgets the credentials and answers all further calls with an error.
    pub(crate) fn close(self: &Arc<Self>) {
        self.change(|state, effects| {
            state.closed = true;
            state.set = None;
            state.failure = None;
            effects.landed = state
                .flight
                .take()
                .map(|flight| (flight, Outcome::failed(closed())));
        });
        self.eager.end();
        self.launcher.end();
        self.events.close();
    }

    /// Whether [`close`](Self::close) was called.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state()).closed
    }

    /// Takes in what a flight brought; called once for every flight, by its guard. What is logged
    /// is in `span`.
    pub(super) fn land(
        self: &Arc<Self>,
        flight: &Arc<Flight>,
        mut fetched: Fetched,
        span: &tracing::Span,
    ) {
        let now = self.now();
        fetched.result = fetched
            .result
            .map(|credentials| match &self.config.account_id {
                Some(account_id) if credentials.account_id().is_none() => {
                    credentials.with_account_id(account_id)
                }
                _ => credentials,
            });
        let mut fetched = Some(fetched);
        let effects = self.change_state(|state, effects| {
            // A closed session has taken the flight out and resolved it (invariant 5).
            if state
                .flight
                .as_ref()
                .is_some_and(|current| Arc::ptr_eq(current, flight))
            {
                state.flight = None;
                if let Some(fetched) = fetched.take() {
                    state.land(flight, fetched, now, &self.config.rules, effects);
                }
            }
        });
        self.carry_out(effects.1, span);
        // What was not taken in is dropped here, without the lock: an error's source is foreign
        // (invariant 4).
        drop(fetched);
    }

    /// Takes out a flight that cannot be landed, since a clock of the user's panics.
    pub(super) fn forget(&self, flight: &Arc<Flight>) {
        let state = self.state();
        let mut state = lock(&state);
        if state
            .flight
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, flight))
        {
            state.flight = None;
            // Without a clock there is no telling until when readers may be quiet: they ask from
            // now on.
            self.snapshot.store(None);
        }
    }

    fn now(&self) -> Moment {
        Moment::now(&*self.config.clock)
    }

    /// Changes the state and publishes the snapshot, then carries out the effects without the lock.
    fn change<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, &mut Effects) -> R) -> R {
        // Without threads there is no eager task; callers refresh, and hear of it.
        let _ = self.eager.go_on(self);
        let (result, effects) = self.change_state(change);
        self.carry_out(effects, &tracing::Span::none());
        result
    }

    /// The part of a change that is done under the lock.
    fn change_state<R>(&self, change: impl FnOnce(&mut State, &mut Effects) -> R) -> (R, Effects) {
        let mut effects = Effects::default();
        let now = self.now();
        let state = self.state();
        let mut state = lock(&state);
        let result = change(&mut state, &mut effects);
        effects.outdated = self.publish(&state, now);
        (result, effects)
    }

    /// This process's state.
    fn state(&self) -> Arc<Mutex<State>> {
        self.state.get_or_make(|parents| {
            // The parent's stays in memory, and must not keep a set there.
            if let Some(Ok(mut parents)) = parents.map(Mutex::try_lock) {
                parents.forget_what_is_known();
            }
            let known = self.known.load().unwrap_or_default();
            Mutex::new(State::new(
                self.strategy.method(),
                self.config.seed.map_or_else(rng, fastrand::Rng::with_seed),
                known,
            ))
        })
    }

    /// Gives what was known before.
    fn publish(&self, state: &State, now: Moment) -> Option<Arc<Known>> {
        // A child may be forked in between: its state must not be older than what its readers have
        // seen.
        let is_known = self
            .known
            .read(|known| known.is_some_and(|known| std::ptr::eq(known, &**state.known())));
        let outdated = if is_known {
            None
        } else {
            self.known.swap(Some(Arc::clone(state.known())))
        };
        let quiet_until = quiet_until(&state.situation(), now, self.config.rules.policy);
        let same = self
            .snapshot
            .read(|snapshot| match (snapshot, &state.set, quiet_until) {
                (Some(snapshot), Some(set), Some(until)) => {
                    Arc::ptr_eq(&snapshot.set, set) && snapshot.quiet_until == until
                }
                (None, _, None) => true,
                _ => false,
            });
        if !same {
            let set = state.set.clone();
            self.snapshot.store(
                set.zip(quiet_until)
                    .map(|(set, quiet_until)| Arc::new(Snapshot { set, quiet_until })),
            );
        }
        outdated
    }

    /// Whether readers look at the newest state (invariant 2); for the model, when nothing moves.
    #[cfg(all(test, brs_model))]
    pub(super) fn snapshot_is_current(&self) -> bool {
        let now = self.now();
        let state = self.state();
        let state = lock(&state);
        let expected = state.set.clone().zip(quiet_until(
            &state.situation(),
            now,
            self.config.rules.policy,
        ));
        self.snapshot.read(|snapshot| match (snapshot, &expected) {
            (Some(snapshot), Some((set, until))) => {
                Arc::ptr_eq(&snapshot.set, set) && snapshot.quiet_until == *until
            }
            (None, None) => true,
            _ => false,
        })
    }

    /// Waiters first, subscribers' logs last: those may be slow. Events go in before waiters are
    /// answered, which may look for them.
    fn carry_out(self: &Arc<Self>, effects: Effects, span: &tracing::Span) {
        for event in &effects.events {
            self.events.send(event.clone());
        }
        if let Some((flight, outcome)) = effects.landed {
            flight.resolve(outcome);
        }
        if let Some(launch) = effects.launch {
            let cx = RefreshContext {
                // Counted again when the source is asked.
                deadline: launch
                    .flight
                    .started
                    .monotonic
                    .saturating_add(self.config.refresh_timeout),
                reason: launch.flight.reason,
                attempt: launch.attempt,
                previous_access_key_id: launch.previous_access_key_id,
                previous_expiration: launch.previous_expiration,
                clock: Arc::clone(&self.config.clock),
                events: self.events.clone(),
                permit: None,
                was_not_asked: Arc::default(),
            };
            let guard = Guard::new(Arc::downgrade(self), Arc::clone(&launch.flight));
            self.launcher
                .launch(&launch.flight, guard, cx, self.config.refresh_timeout);
        }
        if effects.events.is_empty() && effects.shortened.is_none() {
            return;
        }
        span.in_scope(|| {
            if let Some(times) = effects.shortened {
                self.events.warn_shortened(
                    times.lifetime,
                    times.advisory_window,
                    times.mandatory_window,
                );
            }
            for event in &effects.events {
                self.events.log(event);
            }
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // In a child that has not used it, the parent's is still there. Its calls stay in memory,
        // and hold a sender.
        self.state();
        self.events.close();
    }
}

/// The thread's own generator is copied by a fork: children would roll the same.
fn rng() -> fastrand::Rng {
    let process = u64::from(std::process::id());
    fastrand::Rng::with_seed(fastrand::u64(..) ^ process.rotate_left(32))
}

#[cfg(all(test, not(brs_model)))]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::super::{AdvisoryRefresh, Policy, RefreshBackoff, Windows};
    use super::*;
    use crate::test_util::{ManualClock, Scripted, Step};

    #[tokio::test]
    async fn the_read_takes_no_lock() {
        let policy = Policy {
            advisory_refresh: AdvisoryRefresh::Background,
            static_stability: false,
        };
        let config = Config {
            rules: Rules {
                method: "scripted",
                is_limited: false,
                policy,
                windows: Windows::default(),
                backoff: RefreshBackoff::default(),
            },
            refresh_timeout: Duration::from_secs(30),
            account_id: None,
            clock: Arc::new(ManualClock::new(std::time::UNIX_EPOCH)),
            runtime: None,
            limiter: None,
            observer: None,
            seed: Some(7),
        };
        let engine = Engine::new(
            Scripted::always(Step::Fresh(Duration::from_secs(3600))).shared(),
            config,
        );
        engine.current().await.unwrap();
        let (answer, answered) = mpsc::channel();
        let state = engine.state();
        let held = lock(&state);
        let reader = Arc::clone(&engine);
        let thread =
            std::thread::spawn(move || answer.send(reader.current().now_or_never().is_some()));
        // A reader that waits for the lock would wait for this very thread.
        let read = answered.recv_timeout(Duration::from_secs(10));
        drop(held);
        thread.join().unwrap().unwrap();
        assert_eq!(read, Ok(true));
    }
}
