//! How long a process waits for another one's lock.

use std::time::Duration;

/// The first wait between two tries; each further one is twice as long.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(25);

/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits = std::iter::successors(Some(FIRST_WAIT), |wait| Some(next_wait(*wait)));
        let waits: Vec<u128> = waits.take(6).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [25, 50, 100, 200, 200, 200]);
    }
}
