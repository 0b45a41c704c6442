//! Notices that the process was stopped: SIGSTOP, a paused container, AWS Lambda between
//! invocations, a suspended machine.
//!
//! While a process is stopped its sources go on, connections die, and time limits run out that
//! that no code could keep. On return everything is overdue at once, so what a call was doing says
//! nothing about its source. The watch beats a few times a second, in real time and only while a
//! flight is in the air; a beat that comes more than a second late means a stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::kit::clock::{Clock, SystemClock};

/// A busy machine may be late by less than this; with a short time limit half of that counts, or
/// the limit would run out unnoticed.
const LATE: Duration = Duration::from_secs(1);
const LEAST_LATE: Duration = Duration::from_millis(100);

/// Watches for stops from its making on. Shared by a flight's tower, which beats, and its call.
#[derive(Debug)]
pub(super) struct StopWatch {
    /// The last beat, in milliseconds of the monotonic clock.
    last: AtomicU64,
    stops: AtomicU64,
    /// A beat that is late by more than this tells of a stop; four beats are as long.
    late: Duration,
}

impl StopWatch {
    /// For a call with that time limit.
    pub(super) fn new(limit: Duration) -> Self {
        let late = (limit / 2).clamp(LEAST_LATE, LATE);
        Self {
            last: AtomicU64::new(now()),
            stops: AtomicU64::new(0),
            late,
        }
    }

    fn beat(&self) -> Duration {
        self.late / 4
    }

    /// Beats, and is ready when the process has been stopped since `seen`, which then counts that
    /// stop, too.
    pub(super) async fn stopped(&self, seen: &mut u64) {
        while !self.was_stopped(seen) {
            tokio::time::sleep(self.beat()).await;
        }
    }

    /// Whether the process has been stopped since `seen`, which then counts that stop, too.
    pub(super) fn was_stopped(&self, seen: &mut u64) -> bool {
        let now = now();
        let late = Duration::from_millis(now.saturating_sub(self.last.load(Ordering::Acquire)))
            > self.beat() + self.late;
        if late {
            // Before the beat: who does not see the old beat sees the count.
            self.stops.fetch_add(1, Ordering::AcqRel);
        }
        self.last.fetch_max(now, Ordering::AcqRel);
        let stops = self.stops.load(Ordering::Acquire);
        std::mem::replace(seen, stops) != stops
    }
}

fn now() -> u64 {
    u64::try_from(SystemClock::new().monotonic().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(brs_model)))]
mod tests {
    use super::*;

    fn last_beat_before(limit: Duration, before: Duration) -> StopWatch {
        let watch = StopWatch::new(limit);
        watch.last.fetch_sub(
            u64::try_from(before.as_millis()).expect("a few seconds"),
            Ordering::Relaxed,
        );
        watch
    }

    #[test]
    fn a_beat_that_is_late_by_more_than_a_second_is_a_stop() {
        let limit = Duration::from_secs(30);
        let watch = last_beat_before(limit, 2 * LATE);
        let mut seen = 0;
        assert!(watch.was_stopped(&mut seen));
        assert!(!watch.was_stopped(&mut seen), "told once");
        assert!(watch.was_stopped(&mut 0), "to each");
        assert!(!last_beat_before(limit, LATE).was_stopped(&mut 0));
    }

    #[test]
    fn with_a_short_limit_half_of_it_is_a_stop() {
        let limit = Duration::from_millis(500);
        assert!(last_beat_before(limit, 2 * limit).was_stopped(&mut 0));
        assert!(!last_beat_before(limit, limit / 4).was_stopped(&mut 0));
    }
}
