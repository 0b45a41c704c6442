//! One call to the source for a flight, and the task that makes it.
//!
//! The call runs where foreign code may run: on the chosen runtime or brs's own. What belongs to it
//! (strategy, clock, span, the flight's guard) is in [`Call`], which the tower, where time is kept,
//! holds weakly: nothing foreign is polled or dropped there.
//!
//! A strategy whose future blocks its thread cannot be ended. It keeps its place until it returns,
//! as synchronous code in [`Blocking`] does, and is not called again meanwhile; a call that has not
//! begun takes no place, and never begins once its task is aborted.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tracing::Instrument;

use super::flight::ended;
use super::guard::{Fetched, Guard};
use super::stops::StopWatch;
use super::sync::{Mutex, lock};
use super::times::Moment;
use crate::credentials::TemporaryCredentials;
use crate::kit::blocking::Blocking;
use crate::kit::clock::{ForeignSleep, Sleep, sleep_on};
use crate::kit::error::{Error, Recovery};
use crate::kit::limiter::{Held, Shown, UnderWay, Used};
use crate::kit::turns::{self, Turn};
use crate::method::strategy::{RefreshContext, RefreshStrategy};

/// A turn that comes after this part of the time limit, none having been answered meanwhile, comes
/// too late.
const WAITED_ENOUGH: f64 = 0.9;

/// One call to the source.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) strategy: Arc<dyn RefreshStrategy>,
    pub(super) cx: RefreshContext,
    pub(super) limit: Duration,
    pub(super) lined_up: Moment,
    /// Whether the strategy asks a person.
    pub(super) is_interactive: bool,
    /// Beaten by the tower. A failure after a stop says nothing about the source.
    pub(super) stops: Arc<StopWatch>,
    /// One call at a time, of this session.
    pub(super) place: Blocking,
    pub(super) state: Mutex<CallState>,
}

#[derive(Debug)]
pub(super) struct CallState {
    /// Taken by the one that lands the flight.
    guard: Option<Guard>,
    /// Until the flight lands.
    turn: Option<Arc<Turn>>,
    has_begun: bool,
    /// The limiter's permit, until the call begins.
    permit: Option<Held>,
    /// How many calls of the method had been answered when it lined up, if it had to wait.
    waited: Option<u64>,
    /// How often the process had been stopped when it got its turn.
    stops: u64,
    /// The sleep for the time limit, where its clock is foreign.
    sleep: Option<ForeignSleep>,
}

impl CallState {
    pub(super) fn new(guard: Guard) -> Self {
        Self {
            guard: Some(guard),
            turn: None,
            has_begun: false,
            permit: None,
            waited: None,
            stops: 0,
            sleep: None,
        }
    }
}

impl Call {
    /// Sleeps for the time limit; the landing ends it.
    pub(super) fn sleep(&self) -> Sleep {
        let (sleep, foreign) = sleep_on(self.cx.clock(), self.limit);
        lock(&self.state).sleep = foreign;
        sleep
    }

    /// Lets the call begin.
    pub(super) fn give(
        &self,
        turn: Arc<Turn>,
        permit: Option<Held>,
        waited: Option<u64>,
        stops: u64,
    ) {
        let mut state = lock(&self.state);
        (state.turn, state.permit) = (Some(turn), permit);
        (state.waited, state.stops) = (waited, stops);
    }

    /// What the call is doing.
    pub(super) fn progress(&self) -> Progress {
        let state = lock(&self.state);
        match &state.turn {
            _ if !state.has_begun => Progress::NotBegun,
            Some(turn) if turn.is_blocked() => Progress::Blocked,
            _ => Progress::Waiting,
        }
    }

    /// Takes what lands the flight; `None`: it has landed.
    pub(super) fn take_landing(&self, fetched: Fetched) -> Option<impl FnOnce() + Send + use<>> {
        self.end_turn();
        let mut state = lock(&self.state);
        let (guard, sleep, mut stops) = (state.guard.take(), state.sleep.take(), state.stops);
        drop(state);
        let was_stopped = self.stops.was_stopped(&mut stops);
        let guard = guard?;
        Some(move || {
            if let Some(sleep) = sleep {
                sleep.end();
            }
            guard.land(Fetched {
                was_stopped,
                ..fetched
            });
        })
    }

    /// The flight is over: others may have its turn, unless code of the call still occupies a
    /// thread.
    pub(super) fn end_turn(&self) {
        let turn = lock(&self.state).turn.take();
        if let Some(turn) = turn.filter(|turn| !turn.is_blocked()) {
            turn.give_back();
        }
    }

    /// Calls the source and lands the flight.
    pub(super) async fn fly(self: Arc<Self>) {
        let fetched = self.fetch().await;
        if fetched.is_answer() {
            turns::answered(self.strategy.method());
        }
        if let Some(land) = self.take_landing(fetched) {
            land();
        }
    }

    async fn fetch(&self) -> Fetched {
        let span = span(self.strategy.method(), &self.cx);
        let (turn, permit, waited) = {
            let mut state = lock(&self.state);
            let Some(turn) = state.turn.clone() else {
                return Fetched::failed(ended());
            };
            state.has_begun = true;
            if let Some(guard) = &mut state.guard {
                guard.set_span(&span);
            }
            (turn, state.permit.take(), state.waited.take())
        };
        let Ok(place) = self.place.take().await else {
            return Fetched::failed(blocks());
        };
        let asked = Moment::now(&**self.cx.clock());
        // Those before it have run into their limit, and so will it: its own is as good as over.
        let waited_for = asked.monotonic.saturating_sub(self.lined_up.monotonic);
        let method = self.strategy.method();
        if waited == Some(turns::answers(method)) && waited_for >= self.limit.mul_f64(WAITED_ENOUGH)
        {
            return Fetched::failed(no_turn(method, self.limit));
        }
        let permit = permit.map(Held::begin);
        let under_way = permit.as_ref().map(Used::begin);
        let cx = RefreshContext {
            deadline: asked.monotonic.saturating_add(self.limit),
            permit: permit.clone(),
            ..self.cx.clone()
        };
        let refresh = async { self.strategy.refresh(&cx).await }.instrument(span);
        let result = AssertUnwindSafe(turn.run(refresh))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| Err(panicked()));
        // Free before anybody has the answer: they may call again at once.
        drop(place);
        self.slow_down(&result, permit.as_deref());
        self.show(&result, under_way);
        Fetched {
            result,
            asked: Some(asked),
            was_stopped: false,
            is_stored: self.cx.was_not_asked.load(Ordering::Relaxed),
            was_down: permit.is_some_and(|permit| permit.is_probe()),
        }
    }
}

impl Call {
    /// Tells the limiter that the source wants fewer calls, if it does.
    fn slow_down(&self, result: &Result<TemporaryCredentials, Error>, permit: Option<&Used>) {
        let is_throttled = |error: &Error| error.recovery() == Recovery::Throttled;
        if result.as_ref().is_err_and(is_throttled)
            && let Some(permit) = permit
            && let Some(rate) = permit.throttled(self.cx.clock().monotonic())
        {
            self.cx.warn(
                "slowed_down",
                format!("the source throttles: it is called {rate:.1} times a second at most, and more with time"),
                [("calls_per_second", format!("{rate:.1}"))],
            );
        }
    }

    /// Tells the limiter what the call shows of the source.
    fn show(&self, result: &Result<TemporaryCredentials, Error>, under_way: Option<UnderWay>) {
        if let Some(under_way) = under_way {
            under_way.ended(Shown::by(result), self.cx.clock().monotonic());
        }
    }
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    NotBegun,
    /// Its future waits, and can be dropped.
    Waiting,
    /// Code of it occupies a thread.
    Blocked,
}

/// A span of its own: the caller that happened to start the flight has nothing to do with what it
/// reports, and does not wait for its end.
fn span(method: &'static str, cx: &RefreshContext) -> tracing::Span {
    tracing::info_span!(
        parent: None,
        "refresh",
        method,
        reason = ?cx.reason(),
        attempt = cx.attempt(),
        previous_access_key_id = cx.previous_access_key_id(),
    )
}

/// The error of a flight whose turn did not come in time.
pub(super) fn no_turn(method: &'static str, limit: Duration) -> Error {
    let blocked = match turns::in_flight(method).blocked_of_method {
        0 => String::new(),
        some => format!(" ({some} of them are in synchronous functions that have not returned)"),
    };
    Error::connection(format!(
        "the refresh did not begin: for {limit:?} none of the {} refreshes of its method that run at a time has \
         been answered{blocked}: check that the source answers, and that the runtimes chosen for refreshes are driven",
        turns::limit()
    ))
    .with_detail("limit", format!("{limit:?}"))
}

fn blocks() -> Error {
    Error::connection(
        "an earlier refresh still blocks its thread past its time limit: no other is started until it returns \
         (run synchronous code on a thread of its own, see `Blocking`)",
    )
}

fn panicked() -> Error {
    // The panic's own text is not repeated: it could hold anything. The panic hook has had it.
    Error::credential("the strategy panicked: see the program's standard error, and report it to the strategy's author")
        .retryable()
}
