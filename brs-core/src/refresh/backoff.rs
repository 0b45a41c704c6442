//! How long the source is left alone after a failure. Pure.
//!
//! *Adaptive* waits half of what is left of the set's life, so that tries come closer as the end
//! does. Past the end, and with nothing cached, the first failure starts no wait, and the following
//! ones wait 1 s, doubling up to 60 s: a set that services reject is worth nothing, and a source
//! that has recovered is noticed within a minute. Unrecoverable failures past the end, with nothing
//! cached or in the foreground are repeated from memory for 5 s.

use std::time::Duration;

use super::policy::AdvisoryRefresh;
use crate::kit::error::Error;

const SECOND: Duration = Duration::from_secs(1);

/// Longest waits are drawn uniformly between these: what the AWS SDKs agreed on for a failing
/// refresh.
const CAP: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(600));

/// Shorter waits would ask a failing source without a pause.
const SHORTEST: Duration = Duration::from_millis(100);

/// Longer waits outlive every set.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Waits that double are shortened by up to this part, so that a fleet does not move in step.
const JITTER: f64 = 0.2;

/// How long an unrecoverable error is repeated from memory.
const MEMORY: Duration = Duration::from_secs(5);

/// How long a session leaves its source alone after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RefreshBackoff {
    /// Half of the set's remaining life, at least the shorter of 5 s and a twentieth of its
    /// lifetime, at most 5–10 min; past the end no wait after the first failure, then 1 s, doubling
    /// up to 60 s.
    #[default]
    Adaptive,
    /// Drawn uniformly between two durations; made by [`RefreshBackoff::uniform`].
    #[non_exhaustive]
    Uniform {
        /// The shortest wait.
        min: Duration,
        /// The longest wait.
        max: Duration,
    },
}

impl RefreshBackoff {
    /// Waits drawn uniformly from `min..=max`; the AWS SDKs use 300–600 s, a fixed wait is `min ==
    /// max`.
    ///
    /// Between 100 ms and 24 h. Shorter waits recover sooner and ask a failing source more often.
    pub fn uniform(min: Duration, max: Duration) -> Self {
        Self::Uniform { min, max }
    }

    pub(crate) fn validate(self) -> Result<(), Error> {
        match self {
            Self::Uniform { min, max } if min > max => Err(Error::validation(format!(
                "the shortest wait ({min:?}) is longer than the longest ({max:?}): swap them"
            ))
            .with_param("refresh_backoff")),
            Self::Uniform { min, max } if min < SHORTEST || max > LONGEST => Err(Error::validation(format!(
                "a refresh backoff must be between {SHORTEST:?} and 24 hours, this is from {min:?} to {max:?}"
            ))
            .with_param("refresh_backoff")),
            _ => Ok(()),
        }
    }
}

/// The cached set, as far as the wait depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Remaining {
    Nothing,
    /// A set without an end.
    Endless,
    Valid {
        left: Duration,
        lifetime: Duration,
    },
    /// Expired; how many failures there have been since, this one included.
    Expired {
        failures: u32,
    },
}

/// Two numbers drawn uniformly from `0.0..1.0`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rolls(pub(crate) f64, pub(crate) f64);

/// How long the source is left alone after a failure; `None`: not at all.
///
/// `failures` counts those in a row, this one included.
pub(crate) fn wait_after(
    remaining: Remaining,
    unrecoverable: bool,
    failures: u32,
    backoff: RefreshBackoff,
    advisory_refresh: AdvisoryRefresh,
    rolls: Rolls,
) -> Option<Duration> {
    let Rolls(roll, jitter) = rolls;
    if unrecoverable {
        let from_memory = advisory_refresh == AdvisoryRefresh::Foreground
            || matches!(remaining, Remaining::Nothing | Remaining::Expired { .. });
        if from_memory {
            return Some(MEMORY);
        }
    }
    match (remaining, backoff) {
        (Remaining::Nothing, _) => soon(failures, jitter),
        (Remaining::Expired { failures }, RefreshBackoff::Adaptive) => soon(failures, jitter),
        // What callers are shown past the end is repeated for five seconds only, however long the
        // backoff.
        (Remaining::Valid { left, .. }, RefreshBackoff::Uniform { min, max }) if unrecoverable => {
            Some(between(min, max, roll).min(left.saturating_add(MEMORY)))
        }
        (_, RefreshBackoff::Uniform { min, max }) => Some(between(min, max, roll)),
        (Remaining::Endless, RefreshBackoff::Adaptive) => Some(between(CAP.0, CAP.1, roll)),
        (Remaining::Valid { left, lifetime }, RefreshBackoff::Adaptive) => {
            let least = (5 * SECOND).min(lifetime / 20).max(SHORTEST);
            Some((left / 2).max(least).min(between(CAP.0, CAP.1, roll)))
        }
    }
}

/// The wait where nothing usable is left: none after the first failure.
fn soon(failures: u32, jitter: f64) -> Option<Duration> {
    let doublings = failures.checked_sub(2)?;
    Some(doubled(SECOND, doublings, 60 * SECOND, jitter))
}

/// How long nothing is tried that no caller wants after an unrecoverable failure: what only a
/// person can fix does not clear by itself, and tokens and accounts lock.
pub(crate) fn unattended_wait(failures: u32, Rolls(roll, jitter): Rolls) -> Option<Duration> {
    Some(doubled(
        MEMORY,
        failures.saturating_sub(1),
        between(CAP.0, CAP.1, roll),
        jitter,
    ))
}

/// Jitter before the cap: the cap has its own.
fn doubled(first: Duration, doublings: u32, longest: Duration, jitter: f64) -> Duration {
    first
        .saturating_mul(1 << doublings.min(20))
        .mul_f64(1.0 - JITTER * jitter)
        .min(longest)
}

fn between(min: Duration, max: Duration, roll: f64) -> Duration {
    min + max.saturating_sub(min).mul_f64(roll)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAPTIVE: RefreshBackoff = RefreshBackoff::Adaptive;
    const HOUR: Duration = Duration::from_secs(3600);

    fn recoverable(remaining: Remaining, failures: u32, roll: f64) -> Option<Duration> {
        wait_after(
            remaining,
            false,
            failures,
            ADAPTIVE,
            AdvisoryRefresh::Background,
            Rolls(roll, roll),
        )
    }

    fn valid(left: u64) -> Remaining {
        Remaining::Valid {
            left: Duration::from_secs(left),
            lifetime: HOUR,
        }
    }

    #[test]
    fn while_valid_the_wait_is_half_of_what_is_left() {
        assert_eq!(recoverable(valid(200), 1, 0.0), Some(100 * SECOND));
        assert_eq!(recoverable(valid(200), 7, 0.9), Some(100 * SECOND));
    }

    #[test]
    fn while_valid_the_wait_is_at_most_five_to_ten_minutes() {
        assert_eq!(recoverable(valid(3600), 1, 0.0), Some(300 * SECOND));
        assert_eq!(recoverable(valid(3600), 1, 1.0), Some(600 * SECOND));
    }

    #[test]
    fn while_valid_the_wait_is_at_least_five_seconds_or_a_twentieth_of_the_lifetime() {
        assert_eq!(recoverable(valid(1), 1, 0.5), Some(5 * SECOND));
        let short = |lifetime| Remaining::Valid {
            left: Duration::from_millis(1),
            lifetime,
        };
        assert_eq!(
            recoverable(short(10 * SECOND), 1, 0.5),
            Some(Duration::from_millis(500))
        );
        assert_eq!(
            recoverable(short(SECOND), 1, 0.5),
            Some(Duration::from_millis(100))
        );
    }

    #[test]
    fn with_nothing_usable_the_first_failure_costs_no_wait_and_the_rest_double_up_to_a_minute() {
        for remaining in [
            |_| Remaining::Nothing,
            |failures| Remaining::Expired { failures },
        ] {
            let wait = |failures, roll| recoverable(remaining(failures), failures, roll);
            assert_eq!(wait(1, 0.5), None);
            assert_eq!(wait(2, 0.0), Some(SECOND));
            assert_eq!(wait(3, 0.0), Some(2 * SECOND));
            assert_eq!(wait(60, 0.0), Some(60 * SECOND));
            assert_eq!(wait(60, 1.0), Some(60 * SECOND));
            assert_eq!(wait(4, 1.0), Some(Duration::from_millis(3200)));
        }
    }

    #[test]
    fn past_the_end_only_the_failures_since_then_count() {
        assert_eq!(
            recoverable(Remaining::Expired { failures: 1 }, 99, 0.5),
            None
        );
    }

    #[test]
    fn unrecoverable_errors_are_remembered_for_five_seconds_where_they_are_shown() {
        for mode in [AdvisoryRefresh::Background, AdvisoryRefresh::Foreground] {
            for remaining in [Remaining::Nothing, Remaining::Expired { failures: 9 }] {
                assert_eq!(
                    wait_after(remaining, true, 9, ADAPTIVE, mode, Rolls(0.5, 0.5)),
                    Some(5 * SECOND)
                );
            }
        }
        let foreground = wait_after(
            valid(200),
            true,
            1,
            ADAPTIVE,
            AdvisoryRefresh::Foreground,
            Rolls(0.5, 0.5),
        );
        assert_eq!(foreground, Some(5 * SECOND));
    }

    #[test]
    fn in_the_background_the_backoff_paces_unrecoverable_errors_of_a_valid_set() {
        let background = wait_after(
            valid(200),
            true,
            1,
            ADAPTIVE,
            AdvisoryRefresh::Background,
            Rolls(0.5, 0.5),
        );
        assert_eq!(background, Some(100 * SECOND));
    }

    #[test]
    fn a_uniform_backoff_is_drawn_between_its_ends() {
        let uniform = RefreshBackoff::uniform(300 * SECOND, 600 * SECOND);
        for (remaining, roll, wait) in [
            (valid(10), 0.0, 300),
            (valid(10), 1.0, 600),
            (Remaining::Expired { failures: 1 }, 0.5, 450),
        ] {
            let got = wait_after(
                remaining,
                false,
                1,
                uniform,
                AdvisoryRefresh::Foreground,
                Rolls(roll, roll),
            );
            assert_eq!(got, Some(wait * SECOND));
        }
    }

    #[test]
    fn a_uniform_backoff_must_have_its_ends_in_order_and_some_length() {
        assert!(
            RefreshBackoff::uniform(2 * SECOND, SECOND)
                .validate()
                .is_err()
        );
        for (min, max) in [
            (Duration::ZERO, Duration::from_nanos(1)),
            (SECOND, Duration::MAX),
        ] {
            assert!(
                RefreshBackoff::uniform(min, max).validate().is_err(),
                "{min:?} {max:?}"
            );
        }
        assert!(RefreshBackoff::uniform(SECOND, SECOND).validate().is_ok());
        assert!(
            RefreshBackoff::uniform(SHORTEST, LONGEST)
                .validate()
                .is_ok()
        );
    }

    #[test]
    fn an_unrecoverable_error_does_not_outlive_the_set_by_more_than_five_seconds() {
        let uniform = RefreshBackoff::uniform(300 * SECOND, 600 * SECOND);
        let wait = wait_after(
            valid(55),
            true,
            1,
            uniform,
            AdvisoryRefresh::Background,
            Rolls(0.5, 0.5),
        );
        assert_eq!(wait, Some(60 * SECOND));
    }

    #[test]
    fn nobody_asks_unattended_what_only_a_person_can_mend() {
        let waits: Vec<_> = (1..10)
            .map(|n| unattended_wait(n, Rolls(0.0, 0.0)).unwrap().as_secs())
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn a_set_without_an_end_waits_five_to_ten_minutes() {
        assert_eq!(recoverable(Remaining::Endless, 1, 0.0), Some(300 * SECOND));
    }
}
