//! Properties of state and policy over random interleavings of calls, clock steps, outcomes and
//! drops.
//!
//! A world of plain data: the state as the engine has it, callers that wait, a source that lands
//! when the interleaving wants it. What the engine adds to it, the lock and the snapshot, is checked
//! by the model and the stress test.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt;
use proptest::prelude::*;

use super::AdvisoryRefresh;
use super::backoff::RefreshBackoff;
use super::calls::Answer;
use super::flight::{Flight, Wait};
use super::guard::Fetched;
use super::policy::{Age, Decision, Policy, decide, quiet_until};
use super::state::{Effects, Rejected, Rules, State};
use super::times::{CachedSet, Moment, Windows};
use crate::credentials::TemporaryCredentials;
use crate::kit::error::Error;

#[derive(Clone, Debug)]
enum Op {
    Call,
    ValidFor(u64),
    Refresh,
    DropCaller(usize),
    Land(Outcome),
    /// The process was stopped while the flight was in the air.
    LandAfterStop(Outcome),
    Advance(u64),
    StepWall(i64),
    Invalidate,
    Reject,
}

#[derive(Clone, Debug)]
enum Outcome {
    Fresh(u64),
    Endless,
    Same,
    Expired,
    Dead,
    Denied,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let outcome = prop_oneof![
        4 => (2_u64..8000).prop_map(Outcome::Fresh),
        1 => Just(Outcome::Endless),
        1 => Just(Outcome::Same),
        1 => Just(Outcome::Expired),
        3 => Just(Outcome::Dead),
        2 => Just(Outcome::Denied),
    ];
    let op = prop_oneof![
        8 => Just(Op::Call),
        1 => (0_u64..8000).prop_map(Op::ValidFor),
        1 => Just(Op::Refresh),
        1 => (0_usize..4).prop_map(Op::DropCaller),
        6 => outcome.clone().prop_map(Op::Land),
        1 => outcome.prop_map(Op::LandAfterStop),
        6 => prop_oneof![0_u64..10, 0_u64..4000].prop_map(Op::Advance),
        1 => (-90_000_i64..90_000).prop_map(Op::StepWall),
        1 => Just(Op::Invalidate),
        2 => Just(Op::Reject),
    ];
    prop::collection::vec(op, 1..120)
}

fn rules() -> impl Strategy<Value = Rules> {
    let windows = (prop::option::of(0_u64..5000), prop::option::of(0_u64..5000)).prop_map(
        |(advisory, mandatory)| Windows {
            advisory: advisory.map(Duration::from_secs),
            mandatory: mandatory.map(Duration::from_secs),
        },
    );
    let backoff = prop_oneof![
        Just(RefreshBackoff::Adaptive),
        Just(RefreshBackoff::uniform(
            Duration::from_secs(300),
            Duration::from_secs(600)
        )),
    ];
    (any::<bool>(), any::<bool>(), windows, backoff).prop_map(
        |(foreground, static_stability, windows, backoff)| {
            let advisory_refresh = if foreground {
                AdvisoryRefresh::Foreground
            } else {
                AdvisoryRefresh::Background
            };
            Rules {
                method: "scripted",
                is_limited: false,
                policy: Policy {
                    advisory_refresh,
                    static_stability,
                },
                windows,
                backoff,
            }
        },
    )
}

struct World {
    rules: Rules,
    state: State,
    now: Moment,
    waiting: Vec<(Arc<Flight>, Wait)>,
    issued: BTreeSet<String>,
    numbers: u32,
}

impl World {
    fn new(rules: Rules, seed: u64) -> Self {
        let now = Moment {
            wall: UNIX_EPOCH + Duration::from_secs(2_000_000_000),
            monotonic: Duration::ZERO,
        };
        let state = State::new("scripted", fastrand::Rng::with_seed(seed), Arc::default());
        Self {
            rules,
            state,
            now,
            waiting: Vec::new(),
            issued: BTreeSet::new(),
            numbers: 0,
        }
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        let mut effects = Effects::default();
        let (flying, held) = (
            self.state.flight.is_some(),
            self.state.held(self.now).is_some(),
        );
        match op {
            Op::Call => self.call(&mut effects)?,
            Op::ValidFor(least) => {
                let answer = self.state.ask_for(
                    Duration::from_secs(*least),
                    self.now,
                    &self.rules,
                    &mut effects,
                );
                self.take(answer)?;
            }
            Op::Refresh => {
                let answer = self.state.refresh(self.now, &mut effects);
                self.take(answer)?;
            }
            Op::DropCaller(index) => {
                if *index < self.waiting.len() {
                    self.waiting.swap_remove(*index);
                }
            }
            Op::Land(outcome) => self.land(outcome, &mut effects)?,
            Op::LandAfterStop(outcome) => return self.land_after_stop(outcome),
            Op::Advance(seconds) => self.now = self.now.plus(Duration::from_secs(*seconds)),
            Op::StepWall(seconds) => {
                let by = Duration::from_secs(seconds.unsigned_abs());
                self.now.wall = if *seconds < 0 {
                    self.now.wall - by
                } else {
                    self.now.wall + by
                };
            }
            Op::Invalidate | Op::Reject => {
                if let Some(key) = self
                    .state
                    .set
                    .as_ref()
                    .map(|set| set.credentials.access_key_id().to_owned())
                {
                    match op {
                        Op::Invalidate => self.state.invalidate(&key, &mut effects),
                        _ => {
                            self.state.reject(&key, self.now, &self.rules, &mut effects)
                                == Rejected::Honoured
                        }
                    };
                }
            }
        }
        if effects.launch.is_some() {
            prop_assert!(!flying, "two flights at once");
            prop_assert!(
                !held || matches!(op, Op::Refresh),
                "the source was asked although a backoff was running"
            );
        }
        self.quiet_is_quiet()
    }

    fn call(&mut self, effects: &mut Effects) -> Result<(), TestCaseError> {
        let set = self.state.set_situation();
        let age = set.map(|set| set.age(self.now));
        let unrecoverable = self
            .state
            .failure
            .as_ref()
            .is_some_and(|failure| failure.error.is_unrecoverable());
        let foreground = self.rules.policy.advisory_refresh == AdvisoryRefresh::Foreground;
        let answer = self.state.ask(self.now, &self.rules, effects);
        match (&answer, age) {
            (Answer::Now(Err(_)), Some(Age::Fresh | Age::Advisory | Age::Mandatory)) => {
                prop_assert!(foreground && unrecoverable, "a valid set was withheld");
            }
            (Answer::Now(Ok(_)), Some(Age::Expired)) => {
                prop_assert!(
                    self.rules.policy.static_stability && !unrecoverable,
                    "an expired set was served"
                );
            }
            (Answer::Wait(_), Some(Age::Fresh | Age::Advisory)) => {
                let invalidated = set.is_some_and(|set| set.invalidated);
                prop_assert!(
                    invalidated || foreground,
                    "a caller waits though a valid set is cached"
                );
            }
            _ => {}
        }
        self.take(answer)
    }

    fn take(&mut self, answer: Answer) -> Result<(), TestCaseError> {
        match answer {
            Answer::Now(Ok(set)) => self.whole(&set),
            Answer::Now(Err(_)) => Ok(()),
            Answer::Wait(flight) => {
                let mut wait = flight.wait();
                prop_assert!(
                    (&mut wait).now_or_never().is_none(),
                    "the flight has not landed yet"
                );
                self.waiting.push((flight, wait));
                Ok(())
            }
        }
    }

    /// A set is one that the source gave, whole.
    fn whole(&self, set: &CachedSet) -> Result<(), TestCaseError> {
        let key = set.credentials.access_key_id();
        prop_assert!(self.issued.contains(key));
        prop_assert_eq!(
            set.credentials.secret_access_key(),
            format!("secret-of-{key}")
        );
        Ok(())
    }

    fn land(&mut self, outcome: &Outcome, effects: &mut Effects) -> Result<(), TestCaseError> {
        let Some(flight) = self.state.flight.take() else {
            return Ok(());
        };
        let fetched = Fetched {
            result: self.source(outcome),
            asked: Some(self.now),
            was_stopped: false,
            is_stored: false,
            was_down: false,
        };
        let healthy = matches!(outcome, Outcome::Fresh(_) | Outcome::Endless);
        self.state
            .land(&flight, fetched, self.now, &self.rules, effects);
        self.landed(&flight, healthy, effects)
    }

    fn land_after_stop(&mut self, outcome: &Outcome) -> Result<(), TestCaseError> {
        let mut effects = Effects::default();
        let Some(flight) = self.state.flight.take() else {
            return Ok(());
        };
        let (failures, held) = (self.state.failures, self.state.held(self.now));
        let fetched = Fetched {
            result: self.source(outcome),
            asked: Some(self.now),
            was_stopped: true,
            is_stored: false,
            was_down: false,
        };
        self.state
            .land(&flight, fetched, self.now, &self.rules, &mut effects);
        if effects.landed.is_some() {
            return self.landed(&flight, false, &mut effects);
        }
        let again = effects
            .launch
            .is_some_and(|launch| Arc::ptr_eq(&launch.flight, &flight));
        prop_assert!(
            again && self.state.flight.is_some(),
            "the source is asked again, for the same waiters"
        );
        prop_assert_eq!(
            (self.state.failures, self.state.held(self.now)),
            (failures, held),
            "no failure"
        );
        Ok(())
    }

    fn landed(
        &mut self,
        flight: &Arc<Flight>,
        healthy: bool,
        effects: &mut Effects,
    ) -> Result<(), TestCaseError> {
        let (landed, outcome) = effects
            .landed
            .take()
            .expect("a landing resolves its flight");
        prop_assert!(Arc::ptr_eq(&landed, flight));
        match &outcome.served {
            Ok(set) => {
                self.whole(set)?;
                if outcome.fetched.is_err()
                    && self
                        .state
                        .set_situation()
                        .is_some_and(|set| set.age(self.now) == Age::Expired)
                {
                    let unrecoverable =
                        outcome.fetched.as_ref().is_err_and(Error::is_unrecoverable);
                    prop_assert!(
                        self.rules.policy.static_stability && !unrecoverable,
                        "an expired set was served"
                    );
                }
            }
            Err(error) => {
                let valid = self
                    .state
                    .set_situation()
                    .is_some_and(|set| set.age(self.now) != Age::Expired);
                let foreground = self.rules.policy.advisory_refresh == AdvisoryRefresh::Foreground;
                prop_assert!(
                    !valid || foreground && error.is_unrecoverable(),
                    "a valid set was withheld"
                );
            }
        }
        landed.resolve(outcome);
        for (flight, wait) in std::mem::take(&mut self.waiting) {
            prop_assert!(
                Arc::ptr_eq(&flight, &landed),
                "every waiter waits for the one flight"
            );
            let outcome = wait.now_or_never();
            prop_assert!(outcome.is_some(), "every waiter is answered");
            prop_assert!(
                !healthy || outcome.is_some_and(|o| o.served.is_ok()),
                "one source call is enough"
            );
        }
        Ok(())
    }

    fn source(&mut self, outcome: &Outcome) -> Result<TemporaryCredentials, Error> {
        let expiration = match outcome {
            Outcome::Fresh(lifetime) => Some(self.now.wall + Duration::from_secs(*lifetime)),
            Outcome::Expired => Some(self.now.wall),
            Outcome::Endless => None,
            Outcome::Same => {
                if let Some(set) = &self.state.set {
                    return Ok(set.credentials.clone());
                }
                None
            }
            Outcome::Dead => return Err(Error::connection("dead")),
            Outcome::Denied => return Err(Error::request("denied").unrecoverable()),
        };
        self.numbers += 1;
        let key = format!("ASIA{}", self.numbers);
        self.issued.insert(key.clone());
        Ok(TemporaryCredentials::new(
            &*key,
            format!("secret-of-{key}"),
            None,
            expiration,
        ))
    }

    /// Before the moment that readers are given, the decision is always to serve.
    fn quiet_is_quiet(&self) -> Result<(), TestCaseError> {
        let situation = self.state.situation();
        let Some(until) = quiet_until(&situation, self.now, self.rules.policy) else {
            return Ok(());
        };
        for part in 0..=8 {
            let ahead = until.left(self.now) / 8 * part;
            let then = self.now.plus(ahead);
            if !until.is_due(then) {
                prop_assert_eq!(decide(&situation, then, self.rules.policy), Decision::Serve);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_promises_hold_over_random_interleavings(rules in rules(), seed in any::<u64>(), ops in ops()) {
        let mut world = World::new(rules, seed);
        for op in &ops {
            world.step(op)?;
        }
        world.step(&Op::Land(Outcome::Fresh(3600)))?;
        prop_assert!(world.waiting.is_empty());
    }
}

proptest! {
    // Each case is three hours of calls.
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dead_source_is_asked_as_often_as_the_backoff_allows(
        rules in rules(), seed in any::<u64>(), denied in any::<bool>(),
    ) {
        let mut world = World::new(rules, seed);
        world.step(&Op::Call)?;
        world.step(&Op::Land(Outcome::Fresh(3600)))?;
        let mut calls = 0;
        // Three hours of a call a second and a rejection every ten: an hour with the set, two
        // without.
        for second in 0..3 * 3600 {
            let before = world.state.flight.is_some();
            world.step(&Op::Call)?;
            if second % 10 == 0 {
                world.step(&Op::Reject)?;
            }
            if world.state.flight.is_some() && !before {
                calls += 1;
                world.step(&Op::Land(if denied { Outcome::Denied } else { Outcome::Dead }))?;
            }
            world.step(&Op::Advance(1))?;
        }
        // Unrecoverable errors are asked about every 5 s where they are shown. Past the end the
        // adaptive backoff asks at least every 48 s (a minute less the jitter), the uniform one
        // every five minutes.
        let most = match (denied, rules.backoff) {
            (true, _) => 3 * 3600 / 5 + 40,
            (false, RefreshBackoff::Adaptive) => 2 * 3600 / 48 + 40,
            (false, _) => 80,
        };
        prop_assert!(calls <= most, "{} calls", calls);
    }
}
