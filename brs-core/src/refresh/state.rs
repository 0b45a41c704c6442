//! What the engine knows, and how it changes: methods of plain data that the engine calls under its
//! lock.
//!
//! Nothing foreign runs in here (invariant 4): what a change brings about outside is collected in
//! [`Effects`].

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::backoff::{RefreshBackoff, Remaining, Rolls, unattended_wait, wait_after};
use super::flight::{Flight, Outcome};
use super::guard::Fetched;
use super::pace::{Pace, Verdict};
use super::policy::{Age, Decision, Hold, Policy, SetSituation, Situation, fallback};
use super::times::{
    ADVISORY_JITTER, ADVISORY_SPREAD, CachedSet, Moment, Obtained, Times, Windows, place_of_set,
};
use super::unusable::unusable;
use crate::credentials::TemporaryCredentials;
use crate::kit::error::Error;
use crate::method::events::Event;
use crate::method::strategy::RefreshReason;

/// What a change of the state brings about outside of it, to be carried out after the lock is
/// released.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) events: Vec<Event>,
    /// A flight that is to be launched.
    pub(crate) launch: Option<Launch>,
    /// A flight that is to be resolved.
    pub(crate) landed: Option<(Arc<Flight>, Outcome)>,
    /// A configured window did not fit the set's lifetime; said once per session.
    pub(crate) shortened: Option<Times>,
    /// What was known before. A failure in it has a foreign source, and so dropping it is foreign.
    pub(crate) outdated: Option<Arc<Known>>,
    /// A failure that does not count; foreign in the same way.
    pub(crate) dropped: Option<Error>,
}

/// A flight that is to be launched, and what its strategy is told.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) flight: Arc<Flight>,
    pub(crate) attempt: u32,
    pub(crate) previous_access_key_id: Option<String>,
    pub(crate) previous_expiration: Option<SystemTime>,
}

/// The last failure.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) hold: Option<Hold>,
    /// Until when, on the monotonic clock, nothing is tried that no caller wants.
    unattended_until: Duration,
    /// The hold's end on the wall clock, for people.
    pub(crate) next_try: Option<SystemTime>,
    /// The set was valid, and so the wait is one that callers do not feel.
    left_valid: bool,
}

/// How sets are timed and failures paced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The strategy's, for errors that do not name one.
    pub(crate) method: &'static str,
    /// A limiter paces the calls: a flight asks again itself where that may help.
    pub(crate) is_limited: bool,
    pub(crate) policy: Policy,
    pub(crate) windows: Windows,
    pub(crate) backoff: RefreshBackoff,
}

/// The state of one process. Reads and writes what is known as if it were its own; the first write
/// after a publication makes a copy.
#[derive(Debug)]
pub(crate) struct State {
    method: &'static str,
    /// Invariant 1.
    pub(crate) flight: Option<Arc<Flight>>,
    known: Arc<Known>,
    rng: fastrand::Rng,
    /// From `0.0` to `1.0`; drawn when it is first needed.
    place: Option<f64>,
}

/// What outlives a fork (invariant 10).
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) set: Option<Arc<CachedSet>>,
    pub(crate) invalidated: bool,
    pub(crate) failure: Option<Failure>,
    /// In a row.
    pub(crate) failures: u32,
    /// In a row, since the set expired.
    failures_expired: u32,
    pub(crate) refreshes: u64,
    pub(crate) last_success: Option<SystemTime>,
    pub(crate) closed: bool,
    /// Whether serving the expired set has been announced since the last flight.
    announced_expired: bool,
    warned_shortened: bool,
    pace: Pace,
    /// The keys that were the set's before, the oldest first.
    former: VecDeque<String>,
    /// Whether the last set had expired when it arrived.
    arrived_expired: bool,
    /// The next set's advisory window begins at a time of its own.
    spreads_next: bool,
}

impl Deref for State {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl DerefMut for State {
    fn deref_mut(&mut self) -> &mut Known {
        Arc::make_mut(&mut self.known)
    }
}

/// How many former keys are remembered: a call that was signed with one of them may still be on its
/// way.
const FORMER: usize = 8;

/// What became of a service's rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejected {
    /// The next call waits for another set.
    Honoured,
    /// There is another set already, or will be.
    Replaced,
    /// Too soon after the last one: the set stays.
    PassedOver,
    /// The key is none of this session's.
    Foreign,
}

impl State {
    pub(crate) fn new(method: &'static str, rng: fastrand::Rng, known: Arc<Known>) -> Self {
        Self {
            method,
            flight: None,
            known,
            rng,
            place: None,
        }
    }

    pub(crate) fn known(&self) -> &Arc<Known> {
        &self.known
    }

    /// For a state that is no longer used.
    pub(crate) fn forget_what_is_known(&mut self) {
        self.known = Arc::default();
    }

    pub(crate) fn situation(&self) -> Situation {
        Situation {
            set: self.set_situation(),
            flying: self.flight.is_some(),
            hold: self.failure.as_ref().and_then(|failure| failure.hold),
        }
    }

    pub(crate) fn set_situation(&self) -> Option<SetSituation> {
        self.set.as_ref().map(|set| SetSituation {
            times: set.times,
            invalidated: self.invalidated,
        })
    }

    /// Starts a flight; there is none yet.
    pub(crate) fn start(
        &mut self,
        requested: bool,
        now: Moment,
        effects: &mut Effects,
    ) -> Arc<Flight> {
        debug_assert!(self.flight.is_none(), "invariant 1");
        let reason = match self.set_situation() {
            None => RefreshReason::First,
            Some(set) if set.invalidated => RefreshReason::Invalidated,
            Some(set) => match set.age(now) {
                _ if requested => RefreshReason::Requested,
                Age::Fresh | Age::Advisory => RefreshReason::Advisory,
                Age::Mandatory => RefreshReason::Mandatory,
                Age::Expired => RefreshReason::Expired,
            },
        };
        let flight = Flight::new(self.method, reason, now);
        effects.events.push(Event::RefreshStarted { reason });
        self.launch(&flight, effects);
        flight
    }

    fn launch(&mut self, flight: &Arc<Flight>, effects: &mut Effects) {
        self.flight = Some(Arc::clone(flight));
        effects.launch = Some(Launch {
            flight: Arc::clone(flight),
            attempt: self.failures.saturating_add(1),
            previous_access_key_id: self
                .set
                .as_ref()
                .map(|set| set.credentials.access_key_id().to_owned()),
            previous_expiration: self
                .set
                .as_ref()
                .and_then(|set| set.credentials.expiration()),
        });
    }

    /// Takes in what the source gave. `flight` has been taken out of the state by the caller.
    pub(super) fn land(
        &mut self,
        flight: &Arc<Flight>,
        fetched: Fetched,
        now: Moment,
        rules: &Rules,
        effects: &mut Effects,
    ) {
        let asked = fetched.asked.unwrap_or(flight.started);
        let duration = now.monotonic.saturating_sub(asked.monotonic);
        let accepted = fetched
            .result
            .and_then(|credentials| self.accept(credentials, asked, now, fetched.is_stored, rules));
        let asks_again = |error: &Error| {
            // Only the process failed: it was stopped when the answer came.
            let only_stopped = fetched.was_stopped && !error.is_unrecoverable();
            only_stopped
                || (rules.is_limited
                    && fetched.asked.is_some()
                    && flight.try_again(error, fetched.was_down))
        };
        if accepted.as_ref().is_err_and(asks_again) {
            effects.dropped = accepted.err();
            self.launch(flight, effects);
            return;
        }
        self.announced_expired = false;
        let outcome = match accepted.map_err(|error| error.or_method(rules.method)) {
            Ok(set) => {
                self.replace(&set, now);
                self.failure = None;
                if let Some(times) = set
                    .times
                    .filter(|times| times.shortened && !self.warned_shortened)
                {
                    self.warned_shortened = true;
                    effects.shortened = Some(times);
                }
                effects.events.push(Event::RefreshSucceeded {
                    access_key_id: set.credentials.access_key_id().to_owned(),
                    expiration: set.credentials.expiration(),
                    duration,
                });
                Outcome {
                    fetched: Ok(Arc::clone(&set)),
                    served: Ok(set),
                    landed: Some(now),
                }
            }
            Err(error) => {
                let next_try = self.failed(&error, now, rules);
                effects.events.push(Event::RefreshFailed {
                    error: error.clone(),
                    duration,
                    next_try,
                });
                let set = self.set_situation();
                let served =
                    match fallback(set.as_ref(), now, rules.policy, error.is_unrecoverable()) {
                        Decision::Serve => self.set.clone(),
                        Decision::ServeExpired => {
                            self.announce_expired(effects);
                            self.set.clone()
                        }
                        _ => None,
                    };
                Outcome {
                    fetched: Err(error.clone()),
                    served: served.ok_or(error),
                    landed: Some(now),
                }
            }
        };
        effects.landed = Some((Arc::clone(flight), outcome));
    }

    /// Checks a set that has just arrived.
    fn accept(
        &mut self,
        credentials: TemporaryCredentials,
        asked: Moment,
        now: Moment,
        is_stored: bool,
        rules: &Rules,
    ) -> Result<Arc<CachedSet>, Error> {
        if let Some(problem) = unusable(&credentials) {
            return Err(Error::credential(format!(
                "the source returned credentials that cannot be used: {problem}"
            )));
        }
        let rejected = self.set.as_ref().filter(|_| self.invalidated);
        if rejected
            .is_some_and(|set| set.credentials.access_key_id() == credentials.access_key_id())
        {
            return Err(Error::credential(format!(
                "the source returned the credentials `{}` again, which have been rejected or invalidated",
                credentials.access_key_id()
            ))
            .retryable());
        }
        let stored = is_stored.then(|| credentials.access_key_id());
        let early = self.early(stored, rules);
        let obtained = Obtained { asked, now };
        let times = Times::new(
            credentials.expiration(),
            credentials.server_time(),
            obtained,
            rules.windows,
            early,
        );
        self.arrived_expired = times.is_err();
        let times = times.map_err(|_| {
            let end = credentials.expiration().map(crate::kit::iso8601::iso8601).unwrap_or_default();
            Error::credential(format!(
                "the source returned credentials that are already expired (they expired at {end}): check the source, \
                     and the clock of this machine"
            ))
            .retryable()
        })?;
        Ok(Arc::new(CachedSet::new(credentials, times, now)))
    }

    fn replace(&mut self, set: &Arc<CachedSet>, now: Moment) {
        let old = self.set.replace(Arc::clone(set));
        // The same set again is no new one: what was known of it stays.
        if let Some(old) =
            old.filter(|old| old.credentials.access_key_id() != set.credentials.access_key_id())
        {
            self.pace
                .replaced(now.monotonic.saturating_sub(old.obtained.monotonic));
            if self.former.len() == FORMER {
                self.former.pop_front();
            }
            self.former
                .push_back(old.credentials.access_key_id().to_owned());
        }
        self.invalidated = false;
        self.failures = 0;
        self.failures_expired = 0;
        self.refreshes += 1;
        self.last_success = Some(now.wall);
    }

    /// Remembers a failure; returns when the source may be asked again, if not at once.
    fn failed(&mut self, error: &Error, now: Moment, rules: &Rules) -> Option<SystemTime> {
        self.failures = self.failures.saturating_add(1);
        let remaining = match self.set_situation() {
            None => Remaining::Nothing,
            Some(set) => match (set.age(now), set.times) {
                (Age::Expired, _) => {
                    self.failures_expired = self.failures_expired.saturating_add(1);
                    Remaining::Expired {
                        failures: self.failures_expired,
                    }
                }
                (_, None) => Remaining::Endless,
                (_, Some(times)) => Remaining::Valid {
                    left: times.end.left(now),
                    lifetime: times.lifetime,
                },
            },
        };
        let unrecoverable = error.is_unrecoverable();
        let advisory_refresh = rules.policy.advisory_refresh;
        let rolls = Rolls(self.rng.f64(), self.rng.f64());
        let wait = wait_after(
            remaining,
            unrecoverable,
            self.failures,
            rules.backoff,
            advisory_refresh,
            rolls,
        );
        let unattended = if unrecoverable {
            unattended_wait(self.failures, rolls).max(wait)
        } else {
            wait
        };
        let hold = wait.map(|wait| Hold {
            until: now.monotonic.saturating_add(wait),
            unrecoverable,
        });
        let next_try = wait.map(|wait| now.plus(wait).wall);
        self.failure = Some(Failure {
            error: error.clone(),
            hold,
            unattended_until: now.monotonic.saturating_add(unattended.unwrap_or_default()),
            next_try,
            left_valid: matches!(remaining, Remaining::Valid { .. } | Remaining::Endless),
        });
        next_try
    }

    /// Says that an expired set is being served: once for each failure, however many callers get
    /// it.
    pub(crate) fn announce_expired(&mut self, effects: &mut Effects) {
        if let Some(set) = self.set.clone().filter(|_| !self.announced_expired) {
            self.announced_expired = true;
            effects.events.push(Event::ServingExpired {
                access_key_id: set.credentials.access_key_id().to_owned(),
                expiration: set.credentials.expiration(),
            });
        }
    }

    /// The last error, with the time of the next try.
    pub(crate) fn remembered(&self) -> Error {
        match &self.failure {
            Some(Failure {
                error,
                next_try: Some(at),
                ..
            }) => error.clone().with_refresh_allowed_at(*at),
            Some(failure) => failure.error.clone(),
            None => Error::credential("no credentials"),
        }
    }

    /// What is left of the current hold.
    pub(crate) fn held(&self, now: Moment) -> Option<Duration> {
        let hold = self.failure.as_ref()?.hold?;
        hold.until
            .checked_sub(now.monotonic)
            .filter(|left| !left.is_zero())
    }

    /// How long the eager task leaves the source alone.
    pub(crate) fn held_unattended(&self, now: Moment) -> Duration {
        self.failure.as_ref().map_or(Duration::ZERO, |failure| {
            failure.unattended_until.saturating_sub(now.monotonic)
        })
    }

    /// Marks the set as unusable if it has this key; says whether that changed anything.
    pub(crate) fn invalidate(&mut self, access_key_id: &str, effects: &mut Effects) -> bool {
        if self.invalidated || !self.has_key(access_key_id) {
            return false;
        }
        self.invalidated = true;
        effects.events.push(Event::Invalidated {
            access_key_id: access_key_id.to_owned(),
        });
        true
    }

    /// Whether the set with this key is the cached one, or was one lately.
    pub(crate) fn issued(&self, access_key_id: &str) -> bool {
        self.has_key(access_key_id) || self.former.iter().any(|former| former == access_key_id)
    }

    /// The same on a service's word, paced.
    pub(crate) fn reject(
        &mut self,
        access_key_id: &str,
        now: Moment,
        rules: &Rules,
        effects: &mut Effects,
    ) -> Rejected {
        let Some(obtained) = self
            .set
            .as_ref()
            .filter(|_| self.has_key(access_key_id))
            .map(|set| set.obtained)
        else {
            return if self.issued(access_key_id) {
                Rejected::Replaced
            } else {
                Rejected::Foreign
            };
        };
        if self.invalidated {
            // While the source may not be asked the rejected set is all there is.
            let will_be_replaced = self.flight.is_some() || self.held(now).is_none();
            return if will_be_replaced {
                Rejected::Replaced
            } else {
                Rejected::PassedOver
            };
        }
        match self.pace.rejected(
            now.monotonic.saturating_sub(obtained.monotonic),
            now.monotonic,
        ) {
            Verdict::Honour => {
                self.invalidate(access_key_id, effects);
                self.end_wait_with_a_valid_set(rules);
                Rejected::Honoured
            }
            Verdict::PassOver { wait, is_first } => {
                if is_first {
                    effects.events.push(Event::RejectionPassedOver {
                        access_key_id: access_key_id.to_owned(),
                        honoured_from: now.plus(wait).wall,
                    });
                }
                Rejected::PassedOver
            }
        }
    }

    /// A wait that a failure left while the set was valid counted on the set, which a service has
    /// now rejected.
    fn end_wait_with_a_valid_set(&mut self, rules: &Rules) {
        if rules.backoff == RefreshBackoff::Adaptive
            && let Some(failure) = self.failure.as_mut().filter(|failure| failure.left_valid)
        {
            failure.hold = None;
            failure.next_try = None;
            failure.unattended_until = Duration::ZERO;
        }
    }

    /// Whether the last refresh failed since the source gave a set that had expired already.
    pub(crate) fn arrived_expired(&self) -> bool {
        self.arrived_expired && self.failure.is_some()
    }

    /// How much earlier the advisory window of a set begins, as a part of it. `stored` is the key
    /// of a set that a store gave.
    fn early(&mut self, stored: Option<&str>, rules: &Rules) -> f64 {
        // Those of a pool whose source was dead have their sets within minutes of its recovery.
        let is_one_of_many = self.spreads_next || (rules.is_limited && self.failures > 0);
        self.spreads_next = false;
        if rules.policy.advisory_refresh == super::AdvisoryRefresh::Foreground {
            return 0.0;
        }
        match stored {
            Some(id) => ADVISORY_SPREAD * f64::midpoint(place_of_set(id), self.place()),
            None if is_one_of_many => ADVISORY_SPREAD * self.rng.f64(),
            None => ADVISORY_JITTER * self.rng.f64(),
        }
    }

    /// The session's place among those who share a store: drawn once, so that they replace each set
    /// in the same order.
    fn place(&mut self) -> f64 {
        let rng = &mut self.rng;
        *self.place.get_or_insert_with(|| rng.f64())
    }

    /// Many sets are fetched together, and must not become due together.
    pub(crate) fn spread_next(&mut self) {
        self.spreads_next = true;
    }

    fn has_key(&self, access_key_id: &str) -> bool {
        self.set
            .as_ref()
            .is_some_and(|set| set.credentials.access_key_id() == access_key_id)
    }
}
