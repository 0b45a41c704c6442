//! The clock of the sessions whose wall clock is stepped.
//!
//! The monotonic clock is the machine's, as it is on a machine whose wall clock is set.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use brs::{Clock, Sleep, SystemClock};

/// The system's clocks, the wall clock off by some seconds. Clones are one clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stepped(Arc<AtomicI64>);

impl Stepped {
    pub(crate) fn step(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }

    fn stepped(&self, wall: SystemTime) -> SystemTime {
        let seconds = self.0.load(Ordering::Relaxed);
        let by = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { wall - by } else { wall + by }
    }
}

impl Clock for Stepped {
    fn now(&self) -> SystemTime {
        self.stepped(SystemClock::new().now())
    }

    fn monotonic(&self) -> Duration {
        SystemClock::new().monotonic()
    }

    fn coarse(&self) -> (SystemTime, Duration) {
        let (wall, monotonic) = SystemClock::new().coarse();
        (self.stepped(wall), monotonic)
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        SystemClock::new().sleep(duration)
    }
}
