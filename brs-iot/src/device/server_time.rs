//! What the endpoint's clock shows, according to its answers.
//!
//! A device's own clock may be wrong by years. Each answer's `Date`, carried on by the monotonic
//! clock, is what a new certificate is judged by, and what an error about a server's certificate
//! compares this machine's clock with. Only answers of an endpoint that is trusted count.
//!
//! No lock is needed, so a forked child waits for none.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use brs_core::Clock;

/// The clock of a session's endpoint.
pub struct ServerTime {
    clock: Arc<dyn Clock>,
    /// The last `Date`, and the monotonic instant at which it came.
    heard: ArcSwapOption<(SystemTime, Duration)>,
}

impl ServerTime {
    /// Nothing heard yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            heard: ArcSwapOption::empty(),
        }
    }

    /// An answer that has just come.
    pub fn hear(&self, date: SystemTime) {
        let heard = Arc::new((date, self.clock.monotonic()));
        self.heard.store(Some(heard));
    }

    /// The endpoint's present; `None` until it has answered.
    pub fn now(&self) -> Option<SystemTime> {
        let (date, at) = **self.heard.load().as_ref()?;
        date.checked_add(self.clock.monotonic().saturating_sub(at))
    }
}

impl fmt::Debug for ServerTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTime")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use brs_core::test_util::ManualClock;

    use super::*;

    #[test]
    fn the_endpoints_clock_goes_on_whatever_becomes_of_this_machines() {
        let clock = ManualClock::new(UNIX_EPOCH);
        let server = ServerTime::new(Arc::new(clock.clone()));
        assert_eq!(server.now(), None);
        let date = UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        server.hear(date);
        clock.advance(Duration::from_secs(60));
        clock.step_wall(UNIX_EPOCH);
        assert_eq!(server.now(), Some(date + Duration::from_secs(60)));
    }
}
