//! Notices that the process was stopped: SIGSTOP, a paused container, AWS Lambda between invocations, a suspended
//! machine.
//!
//! While a process is stopped its sources go on, connections die, and time limits run out that nobody could keep. On
//! return everything is overdue at once, so what a call was doing says nothing about its source. The watch beats a few
//! times a second, in real time and only while a flight is in the air; a beat that comes more than a second late means
//! a stop.

use std::time::Duration;

use crate::clock::{Clock, SystemClock};

const BEAT: Duration = Duration::from_millis(250);

/// A busy machine may be late by less than this.
const LATE: Duration = Duration::from_secs(1);

/// Watches for stops from its making on.
#[derive(Debug)]
pub(super) struct StopWatch {
    last: Duration,
}

impl StopWatch {
    pub(super) fn new() -> Self {
        Self { last: SystemClock::new().monotonic() }
    }

    /// Is ready when the process has been stopped. May be dropped and called again; no stop is missed.
    pub(super) async fn stopped(&mut self) {
        while !self.was_stopped() {
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Whether the process has been stopped since the last look.
    pub(super) fn was_stopped(&mut self) -> bool {
        let now = SystemClock::new().monotonic();
        let since = now.saturating_sub(std::mem::replace(&mut self.last, now));
        since > BEAT + LATE
    }
}

#[cfg(all(test, not(brs_model)))]
mod tests {
    use super::*;

    #[test]
    fn a_beat_that_is_late_by_more_than_a_second_is_a_stop() {
        let now = SystemClock::new().monotonic();
        let mut watch = StopWatch { last: now.saturating_sub(BEAT + 2 * LATE) };
        assert!(watch.was_stopped());
        assert!(!watch.was_stopped(), "told once");
        assert!(!StopWatch { last: now.saturating_sub(BEAT) }.was_stopped());
    }
}
