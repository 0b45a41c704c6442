//! What follows from the lifetime of credentials, for those who keep them.

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The advisory window that a session has by default for credentials of this lifetime, before it is
/// cut to what the lifetime has room for: up to 20 min → 5 min, under 90 min → 15 min, else 60 min.
pub fn default_advisory_window(lifetime: Duration) -> Duration {
    if lifetime <= 20 * MINUTE {
        5 * MINUTE
    } else if lifetime < 90 * MINUTE {
        15 * MINUTE
    } else {
        60 * MINUTE
    }
}

/// A window that fits the lifetime: one as long as that is cut to half of it.
pub fn fitting_window(window: Duration, lifetime: Duration) -> Duration {
    if window >= lifetime {
        lifetime / 2
    } else {
        window
    }
}

/// How much less than its lifetime a set may have left and still count as new: a hundredth of it,
/// at least a second or a tenth of it, at most half a minute.
pub fn slack(lifetime: Duration) -> Duration {
    (lifetime / 100).clamp(SECOND.min(lifetime / 10), 30 * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slack_is_a_hundredth_between_a_second_and_half_a_minute() {
        for (lifetime, expected) in [(10, 1), (600, 6), (2000, 20), (3600, 30), (43_200, 30)] {
            assert_eq!(
                slack(Duration::from_secs(lifetime)),
                Duration::from_secs(expected)
            );
        }
    }
}
