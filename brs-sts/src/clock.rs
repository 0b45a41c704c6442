//! The time that signatures and codes are made with: the session's clock, for codes put right by
//! what AWS's answers say.
//!
//! Signatures need no correction of ours: the SDK's client remembers from each answer how far the
//! clock is off, and signs with that. It cannot know that a TOTP is made from the time, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_types::sdk_config::TimeSource;
use brs_core::Clock;

/// How far a clock may be off before AWS refuses a signature: 5 min.
pub(crate) const TOLERATED: Duration = Duration::from_secs(300);

/// How far a clock may be off before its codes are wrong: AWS takes those of the steps beside the
/// current one.
const WRONG_CODES: Duration = Duration::from_secs(30);

/// The session's clock and what is to be added to it.
#[derive(Clone, Debug)]
pub(crate) struct Time {
    clock: Arc<dyn Clock>,
    /// Milliseconds. A single number that guards nothing else: relaxed is enough.
    correction: Arc<AtomicI64>,
}

impl Time {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            correction: Arc::default(),
        }
    }

    /// The corrected time, for codes.
    pub(crate) fn now(&self) -> SystemTime {
        let now = self.clock.now();
        let correction = self.correction.load(Ordering::Relaxed);
        let by = Duration::from_millis(correction.unsigned_abs());
        let corrected = if correction < 0 {
            now.checked_sub(by)
        } else {
            now.checked_add(by)
        };
        corrected.unwrap_or(now)
    }

    /// How far the session's clock, as it is, is from the server's.
    pub(crate) fn difference(&self, server_time: SystemTime) -> Difference {
        Difference::between(self.clock.now(), server_time)
    }

    /// An answer has told how far the clock is off: from now on that is made up for, where codes
    /// would be wrong. A clock that has been put right meanwhile needs no correction any more.
    pub(crate) fn learn(&self, difference: Difference) {
        let by = if difference.is_over(WRONG_CODES) {
            difference.by
        } else {
            Duration::ZERO
        };
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.correction.store(
            if difference.is_ahead { -by } else { by },
            Ordering::Relaxed,
        );
    }

    /// Whether a clock that is far off is made up for.
    pub(crate) fn is_corrected(&self) -> bool {
        self.correction.load(Ordering::Relaxed) != 0
    }
}

impl TimeSource for Time {
    /// The session's clock as it is: the SDK corrects it by itself.
    fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

/// How far a clock is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    by: Duration,
    /// The clock shows a later time than the server's.
    is_ahead: bool,
}

impl Difference {
    fn between(local: SystemTime, server: SystemTime) -> Self {
        match local.duration_since(server) {
            Ok(by) => Self { by, is_ahead: true },
            Err(error) => Self {
                by: error.duration(),
                is_ahead: false,
            },
        }
    }

    pub(crate) fn is_over(self, limit: Duration) -> bool {
        self.by > limit
    }

    /// The end of a sentence about this machine's clock.
    pub(crate) fn compared(self) -> String {
        let of = if self.is_ahead { "of " } else { "" };
        format!("{self} {of}AWS's")
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.by.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s")?,
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60)?,
            (0, ..) => write!(f, "{hours} h {minutes} min")?,
            _ => write!(f, "{days} d {hours} h")?,
        }
        f.write_str(if self.is_ahead { " ahead" } else { " behind" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brs_core::test_util::ManualClock;
    use std::time::UNIX_EPOCH;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_difference_is_told_in_two_units() {
        for (local, server, text) in [
            (0, 0, "0 s ahead"),
            (59, 0, "59 s ahead"),
            (0, 61, "1 min 1 s behind"),
            (7380, 0, "2 h 3 min ahead"),
            (0, 90_000, "1 d 1 h behind"),
        ] {
            assert_eq!(Difference::between(at(local), at(server)).to_string(), text);
        }
    }

    #[test]
    fn a_corrected_time_is_the_servers_and_the_difference_stays() {
        for (local, server) in [(100_000, 5000), (5000, 100_000)] {
            let clock = ManualClock::new(at(local));
            let time = Time::new(Arc::new(clock.clone()));
            let difference = time.difference(at(server));
            assert!(difference.is_over(TOLERATED));
            time.learn(difference);
            assert!(time.is_corrected());
            assert_eq!(
                (time.now(), time.difference(at(server))),
                (at(server), difference)
            );
            clock.advance(Duration::from_secs(7));
            assert_eq!(time.now(), at(server + 7));
            // Somebody sets the clock.
            clock.step_wall(at(server + 9));
            time.learn(time.difference(at(server + 8)));
            assert_eq!((time.now(), time.is_corrected()), (at(server + 9), false));
        }
    }
}
