//! How often a service's rejections may cause a refresh. Pure.
//!
//! A service that rejects every set must not become a storm on the source. A rejection of a set
//! that has worked for a minute is honoured at once. One within a set's first minute is honoured
//! too, but the next such one only 5 s later, then 10 s, doubling to 5 min, until a set lives
//! through its first minute.

use std::time::Duration;

/// A set rejected within this time of its arrival was probably never accepted.
const FIRST_MINUTE: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The state of the pacing; all instants are monotonic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    waits: u32,
    honoured_from: Duration,
    /// Whether the current set has been rejected within its first minute.
    rejected_early: bool,
    /// Whether one has been passed over since the last that was honoured.
    passed_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Honour,
    /// Too soon; rejections are honoured again after this long. The first of a wait is worth
    /// telling, the thousands that may follow are not.
    PassOver {
        wait: Duration,
        is_first: bool,
    },
}

impl Pace {
    /// The current set, obtained `age` ago, was rejected.
    pub(crate) fn rejected(&mut self, age: Duration, now: Duration) -> Verdict {
        self.rejected_early |= age < FIRST_MINUTE;
        if !self.rejected_early {
            self.waits = 0;
            return Verdict::Honour;
        }
        if now < self.honoured_from {
            let is_first = !std::mem::replace(&mut self.passed_over, true);
            return Verdict::PassOver {
                wait: self.honoured_from - now,
                is_first,
            };
        }
        self.passed_over = false;
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.waits.min(10))
            .min(LONGEST_WAIT);
        self.waits = self.waits.saturating_add(1);
        self.honoured_from = now.saturating_add(wait);
        Verdict::Honour
    }

    /// Another set has taken the place of the current one, which was obtained `age` ago.
    pub(crate) fn replaced(&mut self, age: Duration) {
        if !self.rejected_early && age >= FIRST_MINUTE {
            *self = Self::default();
        }
        self.rejected_early = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn pass_over(n: u64) -> Verdict {
        Verdict::PassOver {
            wait: seconds(n),
            is_first: true,
        }
    }

    #[test]
    fn a_set_that_worked_for_a_minute_is_given_up_at_once() {
        let mut pace = Pace::default();
        for now in [100, 200, 300] {
            assert_eq!(pace.rejected(seconds(60), seconds(now)), Verdict::Honour);
            pace.replaced(seconds(1));
        }
    }

    #[test]
    fn early_rejections_are_honoured_after_five_seconds_then_doubling_to_five_minutes() {
        let mut pace = Pace::default();
        let mut now = seconds(1000);
        let mut waits = Vec::new();
        for _ in 0..8 {
            assert_eq!(pace.rejected(seconds(1), now), Verdict::Honour);
            pace.replaced(seconds(1));
            let Verdict::PassOver { wait, is_first } = pace.rejected(seconds(1), now) else {
                panic!("too soon")
            };
            assert!(is_first);
            assert_eq!(
                pace.rejected(seconds(1), now),
                Verdict::PassOver {
                    wait,
                    is_first: false
                }
            );
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_set_rejected_early_stays_paced_when_it_grows_old() {
        let mut pace = Pace::default();
        pace.rejected(seconds(1), seconds(100));
        pace.replaced(seconds(1));
        assert_eq!(pace.rejected(seconds(2), seconds(102)), pass_over(3));
        assert_eq!(pace.rejected(seconds(5), seconds(105)), Verdict::Honour);
        pace.replaced(seconds(1));
        assert!(matches!(
            pace.rejected(seconds(1), seconds(106)),
            Verdict::PassOver { .. }
        ));
        assert_eq!(pace.rejected(seconds(61), seconds(166)), Verdict::Honour);
        pace.replaced(seconds(1));
        assert_eq!(
            pace.rejected(seconds(1), seconds(167)),
            pass_over(19),
            "the pace was not reset"
        );
    }

    #[test]
    fn a_set_that_lives_through_its_first_minute_resets_the_pace() {
        let mut pace = Pace::default();
        for now in [100, 105, 115] {
            assert_eq!(pace.rejected(seconds(1), seconds(now)), Verdict::Honour);
            pace.replaced(seconds(1));
        }
        pace.replaced(seconds(100));
        assert_eq!(pace.rejected(seconds(1), seconds(600)), Verdict::Honour);
        assert_eq!(pace.rejected(seconds(1), seconds(600)), pass_over(5));
    }
}
