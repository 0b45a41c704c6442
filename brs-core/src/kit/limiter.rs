//! The rate at which a source is called: a token bucket that adapts to the source's throttling.
//!
//! Sessions that share a limiter and an endpoint line up in it before they line up for a turn
//! (`turns`). Calls that somebody waits for come before those no caller waits for, each in the
//! order in which they lined up. When the source throttles, the rate is halved and then grows back
//! by one call a second each second (`bucket`). While it is down it is called by one call at a time
//! (`outage`).
//!
//! Invariants:
//!
//! 1. In any span of time `t` at most `burst + rate × t` calls begin at an endpoint, and one more,
//!    `rate` being the configured one. Permits whose calls have not begun are held: they count as
//!    tokens, so that a source that was slow is not called at once by all that wait for a turn.
//! 2. A permit goes to the first in line; one whose call has left goes to the next.
//! 3. Calls that were under way when the rate was halved do not halve it again.
//! 4. The clock and wakers are foreign: they run without the lock, and never where time is kept.
//! 5. A forked child begins with a full bucket and an empty line.

mod bucket;
mod outage;
mod permit;
#[cfg(all(test, feature = "test-util", not(brs_model)))]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use self::bucket::Bucket;
use self::outage::Outage;
use crate::kit::clock::Clock;
use crate::kit::per_process::PerProcess;
use crate::kit::runtime;
use crate::kit::turns::{Place, Wanted};

pub(crate) use self::outage::Shown;
pub(crate) use self::permit::{Held, Permit, UnderWay, Used};

/// The default rate, in calls a second. AWS's quota on AssumeRole is 600 a second for an account
/// and region, which other programs need too.
pub(crate) const DEFAULT_RATE: u32 = 50;
/// The default burst.
pub(crate) const DEFAULT_BURST: u32 = 100;

/// How long the line rests while as many permits as the burst are held, if none of their calls
/// begins.
const REST: Duration = Duration::from_secs(1);

/// A limit on the rate at which a source is called, shared by all sessions that have it.
///
/// A token bucket for each endpoint that the sessions' sources
/// [name](crate::RefreshStrategy::endpoint), and one for all that name none: `burst` calls at once,
/// then `per_second` calls a second. When the source throttles a call the rate is halved, down to
/// one call a second, and then grows by one call a second each second until it is what was
/// configured. Waiting for a permit is not part of a refresh's time limit.
///
/// After a failure of the source itself (it cannot be reached, or answers with a status from 500
/// on) calls are made one at a time until one is answered. Those that no caller waits for are at
/// least a second apart meanwhile.
///
/// Clones share the limit. Share one between pools whose sessions call the same endpoint with
/// credentials of the same account: AWS counts calls by account and region.
#[derive(Clone)]
pub struct Limiter(Arc<Shared>);

struct Shared {
    rate: f64,
    burst: f64,
    line: PerProcess<Line>,
    /// Those of endpoints that are named.
    endpoints: PerProcess<Mutex<BTreeMap<String, Limiter>>>,
}

/// Those who wait for permits, and who hands them out.
#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    /// The next permit may come sooner than was thought.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    bucket: Option<Bucket>,
    outage: Option<Outage>,
    waiting: BTreeMap<(Wanted, u64), oneshot::Sender<Held>>,
    /// Permits whose calls have not begun.
    held: u32,
    /// Calls that the source has answered.
    answers: u64,
    numbers: u64,
    /// Whether a task hands out permits.
    is_driven: bool,
    /// Until when that task sleeps.
    handed_out_until: Duration,
    throttled: u64,
    granted: u64,
    recent: Recent,
}

/// How many calls there are in a second: an average that forgets.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    calls: f64,
    at: Duration,
}

impl Recent {
    /// Over how many seconds the average is taken.
    const SECONDS: f64 = 10.0;

    fn at(self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.calls * (-passed / Self::SECONDS).exp()
    }

    fn count(&mut self, now: Duration) {
        self.calls = self.at(now) + 1.0;
        self.at = self.at.max(now);
    }
}

/// A permit to call the source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Granted {
    /// When, on the monotonic clock.
    pub(crate) at: Duration,
    /// Which one.
    number: u64,
    /// The source is known to be down.
    pub(crate) is_probe: bool,
}

/// What a [`Limiter`] does at the moment, at all endpoints together.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LimiterStatus {
    /// The rate in force, in calls a second; of several endpoints, the lowest.
    pub calls_per_second: f64,
    /// Refreshes in line that callers wait for.
    pub awaited: usize,
    /// Refreshes in line that no caller waits for.
    pub unattended: usize,
    /// Permits given so far.
    pub calls: u64,
    /// How many of them the source throttled.
    pub throttled: u64,
}

impl LimiterStatus {
    fn and(self, other: Self) -> Self {
        Self {
            calls_per_second: self.calls_per_second.min(other.calls_per_second),
            awaited: self.awaited + other.awaited,
            unattended: self.unattended + other.unattended,
            calls: self.calls + other.calls,
            throttled: self.throttled + other.throttled,
        }
    }
}

impl Limiter {
    /// At most `burst` calls at once, and `per_second` calls a second, for each endpoint; zero
    /// counts as one.
    pub fn adaptive(per_second: u32, burst: u32) -> Self {
        Self::with(f64::from(per_second.max(1)), f64::from(burst.max(1)))
    }

    fn with(rate: f64, burst: f64) -> Self {
        Self(Arc::new(Shared {
            rate,
            burst,
            line: PerProcess::new(),
            endpoints: PerProcess::new(),
        }))
    }

    /// The limit on calls to that endpoint; `None`: to those that are not named.
    pub(crate) fn of_endpoint(&self, endpoint: Option<&str>) -> Self {
        let Some(endpoint) = endpoint else {
            return self.clone();
        };
        let known = self.endpoints();
        let mut known = lock(&known);
        let new = || Self::with(self.0.rate, self.0.burst);
        known.entry(endpoint.to_owned()).or_insert_with(new).clone()
    }

    /// A forked child goes on with the parent's, whose lines are its own.
    fn endpoints(&self) -> Arc<Mutex<BTreeMap<String, Self>>> {
        self.0.endpoints.get_or_make(|parents| {
            let parents = parents.and_then(|known| known.try_lock().ok());
            Mutex::new(parents.map_or_else(BTreeMap::new, |known| known.clone()))
        })
    }

    /// This one, and those of all endpoints.
    fn all(&self) -> Vec<Self> {
        let known = self.endpoints();
        let named: Vec<_> = lock(&known).values().cloned().collect();
        [self.clone()].into_iter().chain(named).collect()
    }

    /// What the limiter does at the moment, as of the last permit.
    pub fn status(&self) -> LimiterStatus {
        let named = self.all().into_iter().skip(1);
        named.fold(self.own_status(), |status, one| {
            status.and(one.own_status())
        })
    }

    fn own_status(&self) -> LimiterStatus {
        let line = self.line();
        let state = lock(&line.state);
        let awaited = state
            .waiting
            .keys()
            .filter(|(wanted, _)| *wanted != Wanted::Unattended)
            .count();
        LimiterStatus {
            calls_per_second: state
                .bucket
                .as_ref()
                .map_or(self.0.rate, |bucket| bucket.rate),
            awaited,
            unattended: state.waiting.len() - awaited,
            calls: state.granted,
            throttled: state.throttled,
        }
    }

    /// Whether nothing happens in line until time goes on.
    #[cfg(feature = "test-util")]
    pub(crate) fn is_at_rest(&self, now: Duration) -> bool {
        self.all().iter().all(|one| {
            let line = one.line();
            let state = lock(&line.state);
            state.waiting.is_empty() || now < state.handed_out_until
        })
    }

    /// Permits in a second, on average over the last ten.
    pub(crate) fn recent_rate(&self, clock: &Arc<dyn Clock>) -> f64 {
        let now = clock.monotonic();
        let all = self.all();
        let calls = all.iter().map(|one| lock(&one.line().state).recent.at(now));
        calls.sum::<f64>() / Recent::SECONDS
    }

    fn line(&self) -> Arc<Line> {
        self.0.line.get()
    }

    /// Lines up for a permit.
    pub(crate) fn line_up(&self, place: &Arc<Place>, clock: &Arc<dyn Clock>) -> Permit {
        place.line_up_in(self);
        let now = clock.monotonic();
        let (sender, receiver) = oneshot::channel();
        let line = self.line();
        let (granted, is_driven) = {
            let mut state = lock(&line.state);
            state.numbers += 1;
            let (number, wanted) = (state.numbers, place.wanted());
            let is_next = state.waiting.is_empty()
                && !self.0.is_full(&state)
                && state.until_asked(wanted, now).is_zero();
            if is_next && self.0.bucket(&mut state, now).take() {
                (Some(state.grant(number, now)), true)
            } else {
                place.set_permit_number(number);
                state.waiting.insert((wanted, number), sender);
                (None, std::mem::replace(&mut state.is_driven, true))
            }
        };
        if !is_driven {
            self.drive(&line, Arc::clone(clock));
        } else if granted.is_none() {
            // It may go before those that the task sleeps for.
            self.learn(|_| {});
        }
        Permit {
            limiter: self.clone(),
            place: Arc::clone(place),
            held: granted.map(|granted| Held::new(self, &line, granted)),
            receiver,
        }
    }

    /// Somebody waits for the call: it moves up.
    pub(crate) fn move_up(&self, place: &Place) {
        let line = self.line();
        let is_in_line = {
            let mut state = lock(&line.state);
            let (number, wanted) = (place.permit_number(), place.wanted());
            let sender = [Wanted::Awaited, Wanted::Unattended]
                .into_iter()
                .find_map(|before| state.waiting.remove(&(before, number)));
            sender.map(|sender| state.waiting.insert((wanted, number), sender))
        };
        if is_in_line.is_some() {
            self.learn(|_| {});
        }
    }

    /// The source has throttled a call. Gives the new rate, if this slows the calls down.
    fn throttled(&self, granted: Granted, now: Duration) -> Option<f64> {
        let line = self.line();
        let mut state = lock(&line.state);
        state.throttled += 1;
        let bucket = self.0.bucket(&mut state, now);
        bucket.slow_down(granted, now).then_some(bucket.rate)
    }

    /// A permit was not used.
    fn give_back(&self) {
        let line = self.line();
        let mut state = lock(&line.state);
        state.granted = state.granted.saturating_sub(1);
        let held = state.held;
        if let Some(bucket) = &mut state.bucket {
            bucket.give_back(held);
        }
    }

    /// A permit's call has begun, or never will.
    fn held_no_more(&self, line: &Arc<Line>, number: u64, has_begun: bool) {
        // What a fork has copied is the parent's.
        if !Arc::ptr_eq(line, &self.line()) {
            return;
        }
        let was_full = {
            let mut state = lock(&line.state);
            let was_full = self.0.is_full(&state);
            state.held = state.held.saturating_sub(1);
            was_full
        };
        if !has_begun {
            self.give_back();
            self.is_over(number);
        }
        if was_full {
            self.look_again(line);
        }
    }

    /// Makes the one who hands out permits look at the line.
    fn look_again(&self, line: &Line) {
        let is_driven = {
            let mut state = lock(&line.state);
            if state.is_driven {
                state.handed_out_until = Duration::ZERO;
            }
            state.is_driven
        };
        if is_driven {
            line.changed.notify_one();
        }
    }

    /// How many calls were answered.
    pub(crate) fn answers(&self) -> u64 {
        lock(&self.line().state).answers
    }

    /// What a call that was made shows of the source.
    fn shown(&self, shown: Shown, now: Duration) {
        lock(&self.line().state).answers += u64::from(shown == Shown::Up);
        self.learn(|outage| match shown {
            Shown::Up => *outage = None,
            Shown::Down => outage.get_or_insert(Outage::new(now)).go_on(now),
            Shown::Nothing => {}
        });
    }

    /// The call with this permit is over.
    fn is_over(&self, number: u64) {
        self.learn(|outage| {
            if let Some(outage) = outage {
                outage.is_over(number);
            }
        });
    }

    /// Changes what is known of the source. In an outage the line is looked at again.
    fn learn(&self, change: impl FnOnce(&mut Option<Outage>)) {
        let line = self.line();
        let was_down = {
            let mut state = lock(&line.state);
            let was_down = state.outage.is_some();
            change(&mut state.outage);
            was_down
        };
        if was_down {
            self.look_again(&line);
        }
    }

    /// Hands out permits for as long as somebody waits for one.
    fn drive(&self, line: &Arc<Line>, clock: Arc<dyn Clock>) {
        let limiter = self.clone();
        let driven = Driven(Arc::clone(line));
        match runtime::own() {
            Ok(own) => drop(own.spawn(async move {
                let driven = driven;
                while let Some(wait) = limiter.hand_out(&driven.0, clock.monotonic()) {
                    tokio::select! {
                        () = clock.sleep(wait) => {}
                        () = driven.0.changed.notified() => {}
                    }
                }
            })),
            // Without threads there is nobody to wait: the calls will fail for the same reason.
            Err(_) => {
                let waiting = std::mem::take(&mut lock(&line.state).waiting);
                drop(waiting);
            }
        }
    }

    /// Gives what permits there are; returns how long the next one takes, if somebody waits for it.
    fn hand_out(&self, line: &Arc<Line>, now: Duration) -> Option<Duration> {
        loop {
            let (next, wait) = {
                let mut state = lock(&line.state);
                let first = state.waiting.keys().next().map(|(wanted, _)| *wanted);
                let asked_in = first.map_or(Duration::ZERO, |first| state.until_asked(first, now));
                let is_full = self.0.is_full(&state);
                let bucket = self.0.bucket(&mut state, now);
                let is_there = first.is_some() && !is_full && asked_in.is_zero() && bucket.take();
                let wait = match is_full {
                    true => REST,
                    false => bucket.until_next().max(asked_in),
                };
                let next = is_there.then(|| state.waiting.pop_first()).flatten();
                let next = next.map(|((_, number), sender)| (state.grant(number, now), sender));
                state.is_driven = next.is_some() || !state.waiting.is_empty();
                if next.is_none() {
                    state.handed_out_until = now.saturating_add(wait);
                }
                (next, state.is_driven.then_some(wait))
            };
            let Some((granted, sender)) = next else {
                return wait;
            };
            // Without the lock: it wakes. One that has left gives it back.
            drop(sender.send(Held::new(self, line, granted)));
        }
    }
}

impl State {
    /// How long a call has to wait since the source is down.
    fn until_asked(&self, wanted: Wanted, now: Duration) -> Duration {
        self.outage
            .map_or(Duration::ZERO, |outage| outage.wait(wanted, now))
    }

    /// The permit with this number, for which a token was taken.
    fn grant(&mut self, number: u64, now: Duration) -> Granted {
        self.granted += 1;
        self.held += 1;
        self.recent.count(now);
        if let Some(outage) = &mut self.outage {
            outage.probe(number, now);
        }
        Granted {
            at: now,
            number,
            is_probe: self.outage.is_some(),
        }
    }
}

/// Marks the line as not driven when its task ends by any way: a clock of the user's may panic.
struct Driven(Arc<Line>);

impl Drop for Driven {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let waiting = {
                let mut state = lock(&self.0.state);
                state.is_driven = false;
                std::mem::take(&mut state.waiting)
            };
            // Those in line go on without a permit.
            drop(waiting);
        }
    }
}

impl Shared {
    /// The bucket as it is now.
    fn bucket<'a>(&self, state: &'a mut State, now: Duration) -> &'a mut Bucket {
        let bucket = state
            .bucket
            .get_or_insert_with(|| Bucket::full(self.rate, self.burst, now));
        bucket.fill(now, state.held);
        bucket
    }

    /// Whether as many permits are held as may be used at once.
    fn is_full(&self, state: &State) -> bool {
        f64::from(state.held) >= self.burst
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("per_second", &self.0.rate)
            .field("burst", &self.0.burst)
            .finish_non_exhaustive()
    }
}

impl Default for Limiter {
    /// 50 calls a second, 100 at once.
    fn default() -> Self {
        Self::adaptive(DEFAULT_RATE, DEFAULT_BURST)
    }
}
