//! How long a process waits for another one's lock.

use std::time::Duration;

/// The first wait between two tries; each further one is twice as long.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(25);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// What a call to the source takes if nobody knows better.
const USUAL_CALL: Duration = Duration::from_secs(5);

/// Somebody else holds the lock.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Busy {
    /// The holder's process, if it has said so.
    pub(super) holder: Option<u32>,
}

impl Busy {
    /// Another session of this process does.
    pub(super) fn of_this_process() -> Self {
        Self {
            holder: Some(std::process::id()),
        }
    }
}

/// The wait after this one.
pub(super) fn next_wait(wait: Duration) -> Duration {
    (wait * 2).min(LONGEST_WAIT)
}

/// How long to wait for a lock with this much left of the flight, so that a call of one's own is
/// possible afterwards: it usually takes as long as the last one did.
pub(super) fn patience(left: Duration, last_call: Option<Duration>) -> Duration {
    let call = last_call.map_or(USUAL_CALL, |last| last.max(USUAL_CALL));
    left - call.min(left / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = std::iter::successors(Some(FIRST_WAIT), |wait| Some(next_wait(*wait)));
        let waits: Vec<u128> = waits.take(6).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [25, 50, 100, 200, 200, 200]);
    }

    #[test]
    fn a_call_of_ones_own_fits_behind_the_wait() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(30), None), seconds(25));
        assert_eq!(patience(seconds(30), Some(seconds(1))), seconds(25));
        assert_eq!(patience(seconds(30), Some(seconds(10))), seconds(20));
        assert_eq!(patience(seconds(30), Some(seconds(40))), seconds(15));
        assert_eq!(patience(seconds(4), None), seconds(2));
    }
}
