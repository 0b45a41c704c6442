//! What a caller gets: one pure function of (state, now, policy).
//!
//! No clock, lock or I/O: the engine calls [`decide`] under its lock and acts on the answer;
//! [`quiet_until`] tells readers how long the answer stays [`Decision::Serve`], so that they need
//! not ask; [`fallback`] is what is left when the source has failed.

use std::time::Duration;

use super::times::{Moment, Times};

/// What happens to callers when the advisory window begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum AdvisoryRefresh {
    /// Everybody gets the cached set at once while one refresh runs in the background.
    #[default]
    Background,
    /// The caller that starts the refresh waits for it, as in the AWS SDKs; all others get the
    /// cached set.
    Foreground,
}

/// What the user chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) advisory_refresh: AdvisoryRefresh,
    pub(crate) static_stability: bool,
}

/// All that the decision depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// The cached set, if there is one.
    pub(crate) set: Option<SetSituation>,
    /// Whether a flight is running.
    pub(crate) flying: bool,
    /// The last failure's hold on the source, over or not.
    pub(crate) hold: Option<Hold>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct SetSituation {
    /// `None`: the set has no end.
    pub(crate) times: Option<Times>,
    pub(crate) invalidated: bool,
}

/// The source is left alone until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// On the monotonic clock: a stepped wall clock must not bring a storm.
    pub(crate) until: Duration,
    pub(crate) unrecoverable: bool,
}

/// What to do for a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The cached set, at once.
    Serve,
    /// The cached set, at once; and start a refresh.
    ServeAndStart,
    /// The cached set although it has expired, at once.
    ServeExpired,
    /// Wait for the flight that is running.
    Join,
    /// Start a refresh and wait for it.
    StartAndWait,
    /// The last error, at once.
    Fail,
}

/// How far a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Age {
    Fresh,
    Advisory,
    Mandatory,
    Expired,
}

impl SetSituation {
    pub(crate) fn age(&self, now: Moment) -> Age {
        match &self.times {
            None => Age::Fresh,
            Some(times) if times.unusable.is_over(now) => Age::Expired,
            Some(times) if times.mandatory.is_due(now) => Age::Mandatory,
            Some(times) if times.advisory.is_due(now) => Age::Advisory,
            Some(_) => Age::Fresh,
        }
    }
}

/// What a caller at `now` gets.
pub(crate) fn decide(situation: &Situation, now: Moment, policy: Policy) -> Decision {
    let held = situation.hold.filter(|hold| now.monotonic < hold.until);
    let age = match &situation.set {
        Some(set) if !set.invalidated => set.age(now),
        // Absent or invalidated: as if it were about to expire.
        _ => Age::Mandatory,
    };
    match (age, held) {
        (Age::Fresh, _) => Decision::Serve,
        (Age::Advisory, _) if situation.flying => Decision::Serve,
        (Age::Mandatory | Age::Expired, _) if situation.flying => Decision::Join,
        (_, Some(hold)) => fallback(situation.set.as_ref(), now, policy, hold.unrecoverable),
        (Age::Advisory, None) => match policy.advisory_refresh {
            AdvisoryRefresh::Background => Decision::ServeAndStart,
            AdvisoryRefresh::Foreground => Decision::StartAndWait,
        },
        (Age::Mandatory | Age::Expired, None) => Decision::StartAndWait,
    }
}

/// What is left to give when the source has failed and may not be asked: [`Decision::Serve`],
/// `ServeExpired` or `Fail`.
pub(crate) fn fallback(
    set: Option<&SetSituation>,
    now: Moment,
    policy: Policy,
    unrecoverable: bool,
) -> Decision {
    match set.map(|set| set.age(now)) {
        None => Decision::Fail,
        Some(Age::Expired) if policy.static_stability && !unrecoverable => Decision::ServeExpired,
        Some(Age::Expired) => Decision::Fail,
        Some(_) if unrecoverable && policy.advisory_refresh == AdvisoryRefresh::Foreground => {
            Decision::Fail
        }
        Some(_) => Decision::Serve,
    }
}

/// Until when [`decide`] says [`Decision::Serve`] whatever `now` is before it, by both clocks;
/// `None`: ask each time.
pub(crate) fn quiet_until(situation: &Situation, now: Moment, policy: Policy) -> Option<Moment> {
    /// Beyond every instant a set can have.
    const NEVER: Duration = Duration::from_secs(1000 * 365 * 24 * 3600);
    let set = situation.set.as_ref()?;
    let never = now.plus(NEVER);
    let stage = |pick: fn(&Times) -> Moment| set.times.as_ref().map_or(never, pick);
    let held = situation.hold.filter(|hold| now.monotonic < hold.until);
    if situation.flying {
        return (!set.invalidated).then(|| stage(|times| times.mandatory));
    }
    if let Some(hold) = held
        && fallback(Some(set), now, policy, hold.unrecoverable) == Decision::Serve
    {
        let end = stage(|times| times.unusable);
        return Some(Moment {
            wall: end.wall,
            monotonic: end.monotonic.min(hold.until),
        });
    }
    (!set.invalidated).then(|| stage(|times| times.advisory))
}

#[cfg(test)]
mod tests {
    use super::super::times::{Obtained, Windows};
    use super::*;
    use std::time::UNIX_EPOCH;

    const FOREGROUND: Policy = Policy {
        advisory_refresh: AdvisoryRefresh::Foreground,
        static_stability: false,
    };
    const BACKGROUND: Policy = Policy {
        advisory_refresh: AdvisoryRefresh::Background,
        static_stability: false,
    };
    const STABLE: Policy = Policy {
        advisory_refresh: AdvisoryRefresh::Background,
        static_stability: true,
    };

    fn at(seconds: u64) -> Moment {
        Moment {
            wall: UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds),
            monotonic: Duration::from_secs(seconds),
        }
    }

    /// Obtained at 0, lives an hour: advisory from 2700, mandatory from 3540, unusable from 3599.
    fn cached() -> Situation {
        let obtained = Obtained {
            asked: at(0),
            now: at(0),
        };
        let times =
            Times::new(Some(at(3600).wall), None, obtained, Windows::default(), 0.0).unwrap();
        Situation {
            set: Some(SetSituation {
                times,
                invalidated: false,
            }),
            flying: false,
            hold: None,
        }
    }

    const FRESH: u64 = 100;
    const ADVISORY: u64 = 3000;
    const MANDATORY: u64 = 3550;
    const EXPIRED: u64 = 3700;

    fn with(change: impl FnOnce(&mut Situation)) -> Situation {
        let mut situation = cached();
        change(&mut situation);
        situation
    }

    fn held(unrecoverable: bool) -> Situation {
        with(|s| {
            s.hold = Some(Hold {
                until: Duration::from_secs(10_000),
                unrecoverable,
            })
        })
    }

    fn empty() -> Situation {
        Situation {
            set: None,
            flying: false,
            hold: None,
        }
    }

    #[test]
    fn nothing_cached_waits_for_a_flight() {
        for policy in [BACKGROUND, FOREGROUND] {
            assert_eq!(decide(&empty(), at(0), policy), Decision::StartAndWait);
            assert_eq!(
                decide(
                    &Situation {
                        flying: true,
                        ..empty()
                    },
                    at(0),
                    policy
                ),
                Decision::Join
            );
        }
    }

    #[test]
    fn a_fresh_set_is_served_whatever_else_is_going_on() {
        for policy in [BACKGROUND, FOREGROUND] {
            assert_eq!(decide(&cached(), at(FRESH), policy), Decision::Serve);
            assert_eq!(
                decide(&with(|s| s.flying = true), at(FRESH), policy),
                Decision::Serve
            );
            assert_eq!(decide(&held(true), at(FRESH), policy), Decision::Serve);
        }
    }

    #[test]
    fn in_the_advisory_window_background_serves_and_starts_one_refresh() {
        assert_eq!(
            decide(&cached(), at(ADVISORY), BACKGROUND),
            Decision::ServeAndStart
        );
        assert_eq!(
            decide(&with(|s| s.flying = true), at(ADVISORY), BACKGROUND),
            Decision::Serve
        );
        assert_eq!(
            decide(&held(false), at(ADVISORY), BACKGROUND),
            Decision::Serve
        );
    }

    #[test]
    fn in_the_advisory_window_foreground_makes_the_first_caller_wait() {
        assert_eq!(
            decide(&cached(), at(ADVISORY), FOREGROUND),
            Decision::StartAndWait
        );
        assert_eq!(
            decide(&with(|s| s.flying = true), at(ADVISORY), FOREGROUND),
            Decision::Serve
        );
        assert_eq!(
            decide(&held(false), at(ADVISORY), FOREGROUND),
            Decision::Serve
        );
    }

    #[test]
    fn in_the_mandatory_window_and_past_it_callers_wait() {
        for policy in [BACKGROUND, FOREGROUND, STABLE] {
            for now in [MANDATORY, EXPIRED] {
                assert_eq!(decide(&cached(), at(now), policy), Decision::StartAndWait);
                assert_eq!(
                    decide(&with(|s| s.flying = true), at(now), policy),
                    Decision::Join
                );
            }
        }
    }

    #[test]
    fn a_hold_serves_what_is_valid() {
        assert_eq!(
            decide(&held(false), at(MANDATORY), BACKGROUND),
            Decision::Serve
        );
        assert_eq!(
            decide(&held(true), at(MANDATORY), BACKGROUND),
            Decision::Serve
        );
        assert_eq!(
            decide(&held(false), at(MANDATORY), FOREGROUND),
            Decision::Serve
        );
    }

    #[test]
    fn an_unrecoverable_failure_in_the_foreground_is_repeated_although_the_set_is_valid() {
        assert_eq!(
            decide(&held(true), at(ADVISORY), FOREGROUND),
            Decision::Fail
        );
        assert_eq!(
            decide(&held(true), at(MANDATORY), FOREGROUND),
            Decision::Fail
        );
    }

    #[test]
    fn an_expired_set_is_served_only_under_static_stability_and_after_a_recoverable_failure() {
        assert_eq!(
            decide(&held(false), at(EXPIRED), STABLE),
            Decision::ServeExpired
        );
        assert_eq!(decide(&held(true), at(EXPIRED), STABLE), Decision::Fail);
        assert_eq!(
            decide(&held(false), at(EXPIRED), BACKGROUND),
            Decision::Fail
        );
    }

    #[test]
    fn a_hold_with_nothing_cached_repeats_the_error() {
        let situation = Situation {
            set: None,
            ..held(false)
        };
        assert_eq!(decide(&situation, at(0), STABLE), Decision::Fail);
    }

    #[test]
    fn a_hold_that_is_over_holds_nothing() {
        let situation = with(|s| {
            s.hold = Some(Hold {
                until: Duration::from_secs(MANDATORY),
                unrecoverable: true,
            })
        });
        assert_eq!(
            decide(&situation, at(MANDATORY), BACKGROUND),
            Decision::StartAndWait
        );
    }

    #[test]
    fn an_invalidated_set_takes_the_mandatory_path_and_stays_as_fallback() {
        let invalidated = |hold: Option<Hold>| {
            with(|s| {
                s.hold = hold;
                s.set.as_mut().unwrap().invalidated = true;
            })
        };
        assert_eq!(
            decide(&invalidated(None), at(FRESH), BACKGROUND),
            Decision::StartAndWait
        );
        let hold = Hold {
            until: Duration::from_secs(10_000),
            unrecoverable: false,
        };
        assert_eq!(
            decide(&invalidated(Some(hold)), at(FRESH), BACKGROUND),
            Decision::Serve
        );
        assert_eq!(quiet_until(&invalidated(None), at(FRESH), BACKGROUND), None);
    }

    #[test]
    fn a_set_without_an_end_is_served_until_it_is_invalidated() {
        let endless = with(|s| {
            s.set = Some(SetSituation {
                times: None,
                invalidated: false,
            })
        });
        assert_eq!(
            decide(&endless, at(1_000_000_000), BACKGROUND),
            Decision::Serve
        );
        let invalidated = with(|s| {
            s.set = Some(SetSituation {
                times: None,
                invalidated: true,
            })
        });
        assert_eq!(
            decide(&invalidated, at(FRESH), BACKGROUND),
            Decision::StartAndWait
        );
    }

    #[test]
    fn a_wall_clock_that_steps_does_not_end_a_hold() {
        let day = Moment {
            wall: at(86_400).wall,
            monotonic: at(MANDATORY).monotonic,
        };
        let situation = with(|s| {
            s.hold = Some(Hold {
                until: Duration::from_secs(3560),
                unrecoverable: false,
            })
        });
        assert_eq!(decide(&situation, day, BACKGROUND), Decision::Serve);
    }

    #[test]
    fn readers_are_quiet_until_something_may_change() {
        let quiet =
            |situation: &Situation, now| quiet_until(situation, at(now), BACKGROUND).unwrap();
        assert_eq!(quiet(&cached(), FRESH), at(2700));
        assert_eq!(quiet(&with(|s| s.flying = true), ADVISORY), at(3540));
        let hold = Some(Hold {
            until: Duration::from_secs(3100),
            unrecoverable: false,
        });
        let held = quiet(&with(|s| s.hold = hold), ADVISORY);
        assert_eq!(
            (held.wall, held.monotonic),
            (at(3599).wall, Duration::from_secs(3100))
        );
        assert_eq!(quiet_until(&empty(), at(0), BACKGROUND), None);
    }
}
