//! How a source that is down is called, until it is known to be back. Pure: instants are given to
//! it.
//!
//! Once a call has failed because the source was not reached or has trouble of its own, calls are
//! made one at a time. Between them the calls that no caller waits for keep a pause. The first
//! answer ends the outage, and the bucket alone decides again.

use std::time::Duration;

use crate::kit::error::{Error, ErrorKind, Recovery};
use crate::kit::turns::Wanted;

/// From a failure to the next call that no caller waits for: one a second shows soon enough that the
/// source is back.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the other calls wait for the answer to one: it may hang until its time limit, or
/// never be made.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a call shows of its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// It answers, if only to refuse.
    Up,
    /// It was not reached, or has trouble of its own.
    Down,
    /// Nothing: it was not asked.
    Nothing,
}

impl Shown {
    /// What the result of a call shows.
    pub(crate) fn by<T>(result: &Result<T, Error>) -> Self {
        match result {
            Err(error) if error.refresh_allowed_at().is_some() => Self::Nothing,
            Err(error) if error.recovery() == Recovery::Soon && is_trouble(error) => Self::Down,
            _ => Self::Up,
        }
    }
}

fn is_trouble(error: &Error) -> bool {
    error.kind() == ErrorKind::Connection || error.status().is_some_and(|status| status >= 500)
}

/// A source that is down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outage {
    /// When a call last showed it.
    shown_at: Duration,
    /// The call that is under way, and until when the others wait for it.
    probe: Option<(u64, Duration)>,
}

impl Outage {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            shown_at: now,
            probe: None,
        }
    }

    /// How long a call has to wait before it may be made.
    pub(super) fn wait(&self, wanted: Wanted, now: Duration) -> Duration {
        let until = self.probe.map_or(Duration::ZERO, |(_, until)| until);
        let paused_until = match wanted {
            Wanted::Unattended => self.shown_at.saturating_add(PAUSE),
            Wanted::Awaited | Wanted::Within => Duration::ZERO,
        };
        until.max(paused_until).saturating_sub(now)
    }

    /// The call with this number is made.
    pub(super) fn probe(&mut self, number: u64, now: Duration) {
        self.probe = Some((number, now.saturating_add(PATIENCE)));
    }

    /// The source is still down.
    pub(super) fn go_on(&mut self, now: Duration) {
        self.shown_at = self.shown_at.max(now);
    }

    /// The call with this number is over.
    pub(super) fn is_over(&mut self, number: u64) {
        self.probe = self.probe.filter(|(probe, _)| *probe != number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn one_call_at_a_time_and_those_without_a_caller_once_a_second() {
        let mut outage = Outage::new(at(10_000));
        assert_eq!(outage.wait(Wanted::Awaited, at(10_000)), at(0));
        assert_eq!(outage.wait(Wanted::Unattended, at(10_000)), at(1000));
        outage.probe(7, at(10_000));
        outage.is_over(6);
        assert!(outage.wait(Wanted::Within, at(10_100)) > at(0));
        outage.go_on(at(10_200));
        outage.is_over(7);
        assert_eq!(outage.wait(Wanted::Within, at(10_200)), at(0));
        assert_eq!(outage.wait(Wanted::Unattended, at(10_200)), at(1000));
    }

    #[test]
    fn a_call_without_an_answer_keeps_the_others_waiting_for_five_seconds() {
        let mut outage = Outage::new(at(0));
        outage.probe(1, at(2000));
        for wanted in [Wanted::Awaited, Wanted::Unattended] {
            assert_eq!(outage.wait(wanted, at(2000)), at(5000));
            assert_eq!(outage.wait(wanted, at(7000)), at(0));
        }
    }

    #[test]
    fn only_what_is_the_sources_own_trouble_shows_that_it_is_down() {
        let failed = |error: Error| Shown::by::<()>(&Err(error));
        for (error, shown) in [
            (Error::connection("refused"), Shown::Down),
            (
                Error::request("x").with_status(503).retryable(),
                Shown::Down,
            ),
            (Error::request("x").with_status(503).throttled(), Shown::Up),
            (
                Error::request("x").with_status(403).unrecoverable(),
                Shown::Up,
            ),
            (Error::connection("no trust").unrecoverable(), Shown::Up),
            (Error::credential("a command failed").retryable(), Shown::Up),
        ] {
            assert_eq!(failed(error.clone()), shown, "{error}");
        }
        let remembered = Error::connection("refused");
        let remembered = remembered.with_refresh_allowed_at(std::time::UNIX_EPOCH);
        assert_eq!(failed(remembered), Shown::Nothing);
        assert_eq!(Shown::by(&Ok(())), Shown::Up);
    }
}
