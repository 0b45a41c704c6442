//! Time for tests of MFA: manual, and passing by itself where a session waits for a device's next
//! code.

use std::time::{Duration, SystemTime};

use brs::Clock;
use brs_core::test_util::ManualClock;

/// A manual clock on which waiting for a device's next step takes no time, and a refresh's time
/// limit never comes.
#[derive(Clone, Debug)]
pub(crate) struct Flowing(pub(crate) ManualClock);

/// No step is longer; no time limit here is shorter.
const STEP: Duration = Duration::from_secs(30);

impl Clock for Flowing {
    fn now(&self) -> SystemTime {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    fn sleep(&self, duration: Duration) -> brs_core::Sleep {
        if duration > STEP {
            return Box::pin(std::future::pending());
        }
        self.0.advance(duration);
        Box::pin(std::future::ready(()))
    }
}
