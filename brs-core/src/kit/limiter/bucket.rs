//! The bucket of tokens. Pure: instants are given to it.

use std::time::Duration;

use super::Granted;

/// The lowest rate, in calls a second.
const FLOOR: f64 = 1.0;
/// By how much the rate grows each second, in calls a second.
const GROWTH: f64 = 1.0;

/// Tokens, of which each call takes one.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    burst: f64,
    /// In force, and configured.
    pub(super) rate: f64,
    most: f64,
    filled_at: Duration,
    slowed_at: Option<Duration>,
}

impl Bucket {
    pub(super) fn full(rate: f64, burst: f64, now: Duration) -> Self {
        Self {
            tokens: burst,
            burst,
            rate,
            most: rate,
            filled_at: now,
            slowed_at: None,
        }
    }

    /// Adds what has come together since, while so many permits are held.
    pub(super) fn fill(&mut self, now: Duration, held: u32) {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.filled_at = self.filled_at.max(now);
        // The rate grows, and then stays what was configured.
        let growing = passed.min((self.most - self.rate) / GROWTH);
        self.tokens += self.rate * growing + GROWTH * growing * growing / 2.0;
        self.rate = (self.rate + GROWTH * growing).min(self.most);
        self.tokens = (self.tokens + self.most * (passed - growing)).min(self.room(held));
    }

    /// For how many tokens there is room beside the permits that are held; always for one, or time
    /// would be lost in which a call begins.
    fn room(&self, held: u32) -> f64 {
        (self.burst - f64::from(held)).max(1.0)
    }

    pub(super) fn take(&mut self) -> bool {
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    pub(super) fn give_back(&mut self, held: u32) {
        self.tokens = (self.tokens + 1.0).min(self.room(held));
    }

    /// How long until the next token, at the latest.
    pub(super) fn until_next(&self) -> Duration {
        Duration::from_secs_f64(((1.0 - self.tokens) / self.rate).max(0.0))
            .max(Duration::from_millis(1))
    }

    /// The source has throttled a call; says whether that halves the rate.
    pub(super) fn slow_down(&mut self, granted: Granted, now: Duration) -> bool {
        // What was under way then says nothing about the rate since.
        if self.slowed_at.is_some_and(|slowed| granted.at <= slowed) {
            return false;
        }
        self.rate = (self.rate / 2.0).max(FLOOR.min(self.most));
        self.tokens = self.tokens.min(0.0);
        self.slowed_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: f64) -> Duration {
        Duration::from_secs_f64(n)
    }

    fn granted(at: Duration) -> Granted {
        Granted {
            at,
            number: 1,
            is_probe: false,
        }
    }

    fn taken(bucket: &mut Bucket, now: Duration) -> usize {
        bucket.fill(now, 0);
        std::iter::repeat_with(|| bucket.take())
            .take_while(|taken| *taken)
            .count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut bucket = Bucket::full(50.0, 100.0, seconds(7.0));
        assert_eq!(taken(&mut bucket, seconds(7.0)), 100);
        assert_eq!(taken(&mut bucket, seconds(8.0)), 50);
        assert_eq!(taken(&mut bucket, seconds(1008.0)), 100);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing() {
        let mut bucket = Bucket::full(50.0, 1.0, seconds(7.0));
        assert_eq!(taken(&mut bucket, seconds(7.0)), 1);
        assert_eq!(taken(&mut bucket, seconds(3.0)), 0);
        assert_eq!(taken(&mut bucket, seconds(7.01)), 0);
        assert_eq!(taken(&mut bucket, seconds(7.02)), 1);
    }

    #[test]
    fn throttling_halves_the_rate_which_grows_back_by_one_each_second() {
        let mut bucket = Bucket::full(50.0, 1000.0, seconds(0.0));
        let granted = granted(seconds(0.5));
        assert!(bucket.slow_down(granted, seconds(1.0)));
        assert_eq!((bucket.rate, bucket.tokens), (25.0, 0.0));
        assert!(
            !bucket.slow_down(granted, seconds(1.1)),
            "it was under way when the rate was halved"
        );
        // 25 and 26 in the first two seconds, on average.
        bucket.filled_at = seconds(1.0);
        assert_eq!(taken(&mut bucket, seconds(3.0)), 52);
        assert_eq!(bucket.rate, 27.0);
        bucket.fill(seconds(1000.0), 0);
        assert_eq!(bucket.rate, 50.0);
    }

    #[test]
    fn the_rate_never_falls_below_one_a_second() {
        let mut bucket = Bucket::full(50.0, 100.0, seconds(0.0));
        for n in 1..20 {
            let at = Duration::from_millis(n);
            assert!(bucket.slow_down(granted(at), at));
        }
        assert_eq!(bucket.rate, 1.0);
    }
}
