//! How long to wait before the next attempt to connect.
//!
//! Doubles from the shortest to the longest wait, each with jitter, and starts again only after a
//! connection that was stable: one that is accepted and lost at once, as with a client id used
//! twice, must not be tried in a tight loop.

use std::time::Duration;

/// How long a connection has to stand to count as stable.
pub(crate) const STABLE: Duration = Duration::from_secs(30);

/// The waits between tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    shortest: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            next: shortest,
        }
    }

    /// The wait before the next try; `spread`, of 0 to 1, is the jitter: half of the wait to all of
    /// it.
    pub(crate) fn wait(&mut self, spread: f64) -> Duration {
        let wait = self.next;
        self.next = wait.saturating_mul(2).min(self.longest);
        (wait / 2)
            .saturating_add((wait / 2).mul_f64(spread.clamp(0.0, 1.0)))
            .max(self.shortest / 2)
    }

    /// A connection has stood for that long.
    pub(crate) fn stood_for(&mut self, duration: Duration) {
        if duration >= STABLE {
            self.next = self.shortest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORTEST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(128);

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        let waits: Vec<u64> = (0..10).map(|_| backoff.wait(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 128, 128]);
    }

    #[test]
    fn jitter_takes_away_up_to_half() {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        assert_eq!(backoff.wait(0.0), Duration::from_millis(500));
        assert_eq!(backoff.wait(0.5), Duration::from_millis(1500));
    }

    #[test]
    fn only_a_stable_connection_starts_anew() {
        let mut backoff = Backoff::new(SHORTEST, LONGEST);
        for _ in 0..5 {
            backoff.wait(1.0);
        }
        backoff.stood_for(STABLE - Duration::from_millis(1));
        assert_eq!(backoff.wait(1.0).as_secs(), 32);
        backoff.stood_for(STABLE);
        assert_eq!(backoff.wait(1.0).as_secs(), 1);
    }
}
