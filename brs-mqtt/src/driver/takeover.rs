//! Two clients with one client id: noticed and reported.
//!
//! A server lets the newer connection of a client id win and closes the older one, so two programs
//! with one id take turns at evicting each other, for ever. MQTT 5 servers report it; with MQTT 3.1.1,
//! and servers that say nothing, all that shows is a connection that is accepted and lost soon
//! after, again and again.

use std::time::Duration;

/// A connection that was lost within this time was lost soon.
const SOON: Duration = Duration::from_secs(30);
/// How many in a row raise the suspicion.
const SUSPICIOUS: u32 = 3;

/// Counts what looks like evictions.
#[derive(Debug, Default)]
pub(crate) struct Takeovers {
    in_a_row: u32,
}

/// What is known of another client with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server reported it.
    Certain,
    /// The connection was lost soon after it stood, several times in a row, without a reason.
    Suspected,
}

impl Takeovers {
    /// A connection that stood for `stood` was lost: because another took it over (`told`), or
    /// closed without a word (`silent`).
    pub(crate) fn lost(&mut self, stood: Duration, told: bool, silent: bool) -> Option<Verdict> {
        if told {
            self.in_a_row += 1;
            return Some(Verdict::Certain);
        }
        if !silent || stood >= SOON {
            self.in_a_row = 0;
            return None;
        }
        self.in_a_row += 1;
        (self.in_a_row >= SUSPICIOUS).then_some(Verdict::Suspected)
    }

    /// A connection that ended by this client's own wish had stood for that long.
    pub(crate) fn stood_for(&mut self, stood: Duration) {
        if stood >= SOON {
            self.in_a_row = 0;
        }
    }

    /// A try failed before it was a connection: whatever it is, it is not eviction.
    pub(crate) fn failed(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_is_certain_at_once() {
        assert_eq!(
            Takeovers::default().lost(Duration::from_secs(3600), true, false),
            Some(Verdict::Certain)
        );
    }

    #[test]
    fn three_silent_losses_in_a_row_are_suspicious() {
        let (mut takeovers, soon) = (Takeovers::default(), Duration::from_secs(2));
        assert_eq!(
            [(); 4].map(|()| takeovers.lost(soon, false, true)),
            [
                None,
                None,
                Some(Verdict::Suspected),
                Some(Verdict::Suspected)
            ]
        );
    }

    #[test]
    fn a_stable_connection_or_another_reason_clears_the_suspicion() {
        let (mut takeovers, soon) = (Takeovers::default(), Duration::from_secs(2));
        for clear in [
            (|takeovers| takeovers.lost(SOON, false, true)) as fn(&mut Takeovers) -> _,
            |takeovers| takeovers.lost(Duration::ZERO, false, false),
            |takeovers| {
                takeovers.failed();
                None
            },
            |takeovers| {
                takeovers.stood_for(SOON);
                None
            },
        ] {
            takeovers.lost(soon, false, true);
            takeovers.lost(soon, false, true);
            clear(&mut takeovers);
            assert_eq!(takeovers.lost(soon, false, true), None);
        }
    }
}
