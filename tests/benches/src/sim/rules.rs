//! The rules by which brs and the SDK time and pace their calls, on integers and floats of
//! simulated time.
//!
//! What is public in the products is used (`brs::kit`); the rest is restated, and names the code
//! that it restates. Of brs's, the tests below hold the restatement against the product itself,
//! through its public API on a manual clock.

use std::time::Duration;

use brs::kit::{default_advisory_window, fitting_window};

use super::world::Outcome;

/// Simulated milliseconds since the start of the day.
pub(super) type Millis = u64;

pub(super) const SECOND: Millis = 1000;
pub(super) const MINUTE: Millis = 60 * SECOND;
pub(super) const HOUR: Millis = 60 * MINUTE;

/// What STS gives: `sts::Params`' default duration, and the SDK's.
pub(super) const LIFETIME: Millis = HOUR;

/// brs-core `refresh/times.rs`: `MANDATORY_WINDOW`, `LEAST_LIFETIME`, `ADVISORY_JITTER`,
/// `ADVISORY_SPREAD`.
pub(super) const MANDATORY: Millis = MINUTE;
pub(super) const LEAST_LIFETIME: Millis = SECOND;
pub(super) const JITTER: f64 = 0.1;
pub(super) const SPREAD: f64 = 0.5;
/// brs-core `refresh/flight.rs`: `TRIES`, `THROTTLED_TRIES`.
pub(super) const TRIES: u8 = 3;
pub(super) const THROTTLED_TRIES: u8 = 10;
/// brs-core `session/open.rs`: `REFRESH_TIMEOUT`, which is also how long a refresh stays in line
/// while none of its method succeeds (`refresh/launch.rs`).
pub(super) const FLIGHT: Millis = 30 * SECOND;
/// brs-core `pool/tend.rs`: `EVERY`.
pub(super) const TEND: Millis = 5 * SECOND;
/// brs-core `kit/limiter.rs`: `DEFAULT_RATE`, `DEFAULT_BURST`; `bucket.rs` there: `FLOOR`, `GROWTH`;
/// `outage.rs`: `PAUSE`, `PATIENCE`.
pub(super) const RATE: f64 = 50.0;
pub(super) const BURST: f64 = 100.0;
const FLOOR: f64 = 1.0;
const GROWTH: f64 = 1.0;
const OUTAGE_PAUSE: Millis = SECOND;
const OUTAGE_PATIENCE: Millis = 5 * SECOND;

/// brs-shared `entry.rs`: `LEAST_LEFT`; a set of the store is used with more than its advisory
/// window left (`usable`).
pub(super) const LEAST_LEFT: Millis = 5 * SECOND;
/// brs-shared `host/busy.rs` and `fleet/order.rs`: `FIRST_WAIT` and `LONGEST_WAIT`, `BEYOND`,
/// `USUAL_CALL`; `fleet/access.rs`: `OPERATION`, `PAUSE`.
pub(super) const HOST_WAITS: (Millis, Millis) = (25, 200);
pub(super) const FLEET_WAITS: (Millis, Millis) = (100, 2000);
pub(super) const LEASE: Millis = FLIGHT + 5 * SECOND;
pub(super) const PATIENCE: Millis = FLIGHT - 5 * SECOND;
pub(super) const OPERATION: Millis = 500;
pub(super) const STORE_PAUSE: Millis = 30 * SECOND;

/// aws-smithy-runtime 1.16 `client/identity/cache/lazy.rs`: `DEFAULT_BUFFER_TIME` and its jitter.
pub(super) const SDK_BUFFER: Millis = 10 * SECOND;
pub(super) const SDK_JITTER: f64 = 0.5;
/// The same crate's `client/retries`: three attempts, the quota of retries of a process, what a
/// retry takes of it, and the first backoff after throttling and after another failure.
pub(super) const SDK_ATTEMPTS: u8 = 3;
pub(super) const SDK_QUOTA: u16 = 500;
pub(super) const SDK_COST: (u16, u16) = (5, 14);
pub(super) const SDK_BACKOFF: (f64, f64) = (1000.0, 50.0);

/// The advisory window with nothing configured.
pub(super) fn advisory_window(lifetime: Millis) -> Millis {
    let lifetime = Duration::from_millis(lifetime);
    millis(fitting_window(default_advisory_window(lifetime), lifetime))
}

fn millis(duration: Duration) -> Millis {
    duration.as_millis() as Millis
}

/// brs-core `refresh/times.rs`, `place_of_set`: a place for each set.
pub(super) fn place_of_set(role: u32, generation: u32) -> f64 {
    fastrand::Rng::with_seed(u64::from(role) << 32 | u64::from(generation)).f64()
}

/// The same file's `Times::new`: how long after its arrival a set is due, its advisory window
/// beginning earlier by the part `early` of it.
pub(super) fn due_after(lifetime: Millis, early: f64) -> Millis {
    let window = advisory_window(lifetime);
    let early = (window as f64 * early) as Millis;
    let due = lifetime - window - early.min((lifetime - window) / 2);
    due.min(lifetime - LEAST_LIFETIME)
}

/// brs-core `refresh/backoff.rs`, `wait_after` with the adaptive backoff and a failure that may
/// pass: how long the source is left alone. `left` of a set that is valid; else how many failures
/// there have been since. Two rolls of `0.0..1.0`.
pub(super) fn wait_after(left: Option<Millis>, failures: u32, rolls: (f64, f64)) -> Option<Millis> {
    match left {
        Some(left) => {
            let most = 300_000.0 + 300_000.0 * rolls.0;
            Some((left / 2).max(5 * SECOND).min(most as Millis))
        }
        None => {
            let doublings = failures.checked_sub(2)?;
            let wait = (SECOND << doublings.min(20)) as f64 * (1.0 - 0.2 * rolls.1);
            Some((wait as Millis).min(MINUTE))
        }
    }
}

/// brs-shared `entry.rs`, `Failure::new`: how long the others leave the source alone after that
/// many failures.
pub(super) fn remembered_for(failures: u32) -> Millis {
    (SECOND << failures.saturating_sub(1).min(10)).min(MINUTE)
}

/// brs-core `kit/limiter/bucket.rs`, `Bucket`: a bucket of tokens whose rate is halved by throttling and
/// grows back.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    burst: f64,
    rate: f64,
    most: f64,
    filled_at: Millis,
    slowed_at: Option<Millis>,
}

impl Bucket {
    pub(super) fn full(rate: f64, burst: f64, now: Millis) -> Self {
        Self {
            tokens: burst,
            burst,
            rate,
            most: rate,
            filled_at: now,
            slowed_at: None,
        }
    }

    pub(super) fn fill(&mut self, now: Millis) {
        let passed = now.saturating_sub(self.filled_at) as f64 / 1e3;
        self.filled_at = self.filled_at.max(now);
        let growing = passed.min((self.most - self.rate) / GROWTH);
        self.tokens += self.rate * growing + GROWTH * growing * growing / 2.0;
        self.rate = (self.rate + GROWTH * growing).min(self.most);
        self.tokens = (self.tokens + self.most * (passed - growing)).min(self.burst);
    }

    pub(super) fn take(&mut self) -> bool {
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// At the latest.
    pub(super) fn until_next(&self) -> Millis {
        (((1.0 - self.tokens) / self.rate).max(0.0) * 1e3)
            .ceil()
            .max(1.0) as Millis
    }

    pub(super) fn slow_down(&mut self, granted_at: Millis, now: Millis) {
        if self.slowed_at.is_some_and(|slowed| granted_at <= slowed) {
            return;
        }
        self.fill(now);
        self.rate = (self.rate / 2.0).max(FLOOR.min(self.most));
        self.tokens = self.tokens.min(0.0);
        self.slowed_at = Some(now);
    }
}

/// brs-core `kit/limiter/outage.rs`, `Outage`: a source that is down is called by one call at a
/// time, whose session this names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    shown_at: Millis,
    probe: Option<(u32, Millis)>,
}

impl Outage {
    /// How long a call has to wait.
    pub(super) fn wait(&self, awaited: bool, now: Millis) -> Millis {
        let until = self.probe.map_or(0, |(_, until)| until);
        let paused_until = if awaited {
            0
        } else {
            self.shown_at + OUTAGE_PAUSE
        };
        until.max(paused_until).saturating_sub(now)
    }

    pub(super) fn probe(&mut self, whose: u32, now: Millis) {
        self.probe = Some((whose, now + OUTAGE_PATIENCE));
    }

    /// What is known after a call; `None`: it was not made.
    pub(super) fn after(
        known: Option<Self>,
        whose: u32,
        outcome: Option<Outcome>,
        now: Millis,
    ) -> Option<Self> {
        let known = match outcome {
            Some(Outcome::Given | Outcome::Throttled) => None,
            Some(Outcome::Dead) => Some(Self {
                shown_at: now,
                probe: known.and_then(|known| known.probe),
            }),
            None => known,
        };
        known.map(|known| Self {
            probe: known.probe.filter(|(probe, _)| *probe != whose),
            ..known
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use brs::test_util::{ManualClock, Scripted, Step};
    use brs::{Clock as _, Error, Limiter, RefreshableSession, SessionPool};
    use futures_util::FutureExt as _;

    use super::*;
    use crate::subject::REGION;

    async fn landed(session: &RefreshableSession) {
        while session.status().is_refreshing() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn windows_are_those_of_brs() {
        for minutes in [5, 15, 20, 21, 60, 89, 90, 720] {
            let clock = ManualClock::new(UNIX_EPOCH);
            let lifetime = Duration::from_secs(minutes * 60);
            let source = Scripted::always(Step::Fresh(lifetime));
            let session = RefreshableSession::with_strategy(source.shared())
                .region(REGION)
                .clock(clock.clone());
            let session = session.build().await.unwrap();
            session.credentials().await.unwrap();
            let status = session.status();
            let window = advisory_window(millis(lifetime));
            assert_eq!(status.advisory_window().map(millis), Some(window));
            if minutes >= 15 {
                assert_eq!(status.mandatory_window().map(millis), Some(MANDATORY));
            }
            // The start lies between these two, whatever was drawn.
            let (first, last) = (
                due_after(millis(lifetime), JITTER),
                due_after(millis(lifetime), 0.0),
            );
            clock.advance(Duration::from_millis(first - 1));
            session.credentials().await.unwrap();
            assert!(!session.status().is_refreshing());
            assert_eq!(source.calls(), 1, "{minutes} minutes");
            clock.advance(Duration::from_millis(last + 1 - first));
            session.credentials().await.unwrap();
            landed(&session).await;
            assert_eq!(source.calls(), 2, "{minutes} minutes");
        }
    }

    #[tokio::test]
    async fn backoffs_are_those_of_brs() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let source = Scripted::always(Step::Fresh(Duration::from_secs(3600)));
        let session = RefreshableSession::with_strategy(source.shared())
            .region(REGION)
            .clock(clock.clone());
        let session = session.build().await.unwrap();
        session.credentials().await.unwrap();
        source.otherwise(Step::Fail(Error::connection("dead")));
        let allowed = |session: &RefreshableSession| {
            let at = session.status().refresh_allowed_at()?;
            Some(millis(at.duration_since(clock.now()).unwrap()))
        };
        let within = |wait: Option<Millis>, left, failures| {
            let ends = [
                wait_after(left, failures, (0.0, 0.0)),
                wait_after(left, failures, (1.0, 1.0)),
            ];
            let (low, high) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            assert!(
                low <= wait && wait <= high,
                "{wait:?} is not from {low:?} to {high:?}"
            );
        };
        for at_s in [2701, 3401, 3592] {
            let gone = clock.monotonic();
            clock.advance(Duration::from_secs(at_s) - gone);
            session.credentials().await.unwrap();
            landed(&session).await;
            within(allowed(&session), Some(HOUR - at_s * SECOND), 1);
        }
        clock.advance(Duration::from_secs(60));
        for failures in 1..12 {
            assert!(session.credentials().await.is_err());
            landed(&session).await;
            within(allowed(&session), None, failures);
            clock.advance(Duration::from_secs(60));
        }
    }

    async fn until(is_so: impl Fn() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        let limit = Duration::from_secs(30);
        assert!(tokio::time::timeout(limit, wait).await.is_ok(), "in vain");
    }

    /// The source throttles the first of many calls: the rate is halved and grows back.
    #[tokio::test]
    async fn the_bucket_gives_what_brs_s_limiter_gives() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let throttled = Error::credential("slow down").throttled();
        let source = Scripted::always(Step::Fresh(Duration::from_secs(3600)));
        let strategy = source.first([Step::Fail(throttled)]).shared();
        let (limiter, of_pool) = (Limiter::adaptive(8, 1), clock.clone());
        let pool = SessionPool::with_strategy(move |_: &u32| strategy.clone())
            .options(move |session| session.region(REGION).clock(of_pool))
            .limiter(limiter.clone())
            .build();
        let mut bucket = Bucket::full(8.0, 1.0, 0);
        for key in 0..100 {
            let session = pool.get(&key).unwrap();
            assert!(session.credentials().now_or_never().is_none());
        }
        assert!(bucket.take());
        let mut given = 1;
        // Asleep are those in line, who hands out permits, and the pool's task; no call is under way.
        let is_at_rest = || {
            let status = pool.status();
            let in_line = status.awaited + status.unattended;
            status.refreshing == in_line && clock.sleeping() == in_line + 2
        };
        until(|| limiter.status().throttled == 1 && is_at_rest()).await;
        bucket.slow_down(0, 0);
        for _ in 0..200 {
            clock.advance(Duration::from_millis(50));
            bucket.fill(millis(clock.monotonic()));
            while bucket.take() {
                given += 1;
            }
            until(is_at_rest).await;
            // Steps are coarse: permits are given a few steps late at times, and never early.
            let calls = limiter.status().calls;
            assert!(calls <= given && given <= calls + 4, "{calls}, {given}");
        }
        assert!(given > 50, "{given}");
        assert_eq!(limiter.status().calls_per_second, 8.0);
    }
}
