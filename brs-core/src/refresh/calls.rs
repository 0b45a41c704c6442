//! What each kind of call does to the state: answered now, or by a flight.

use std::sync::Arc;
use std::time::Duration;

use super::flight::Flight;
use super::policy::{Decision, decide};
use super::state::{Effects, Rules, State};
use super::times::{CachedSet, Moment};
use crate::kit::error::Error;
use crate::kit::lifetimes::slack;

/// What a caller gets: now, or when the flight has landed.
#[derive(Debug)]
pub(super) enum Answer {
    Now(Result<Arc<CachedSet>, Error>),
    Wait(Arc<Flight>),
}

impl State {
    /// A call for the current set, past the snapshot.
    pub(super) fn ask(&mut self, now: Moment, rules: &Rules, effects: &mut Effects) -> Answer {
        if self.closed {
            return Answer::Now(Err(closed()));
        }
        match (decide(&self.situation(), now, rules.policy), &self.flight) {
            (Decision::Serve, _) => self.serve(),
            (Decision::ServeAndStart, _) => {
                self.start(false, now, effects);
                self.serve()
            }
            (Decision::ServeExpired, _) => {
                self.announce_expired(effects);
                self.serve()
            }
            (Decision::Join, Some(flight)) => Answer::Wait(Arc::clone(flight)),
            (Decision::Join | Decision::StartAndWait, _) => {
                Answer::Wait(self.start(false, now, effects))
            }
            (Decision::Fail, _) => Answer::Now(Err(self.remembered())),
        }
    }

    /// A call for a set with at least `least` left.
    pub(super) fn ask_for(
        &mut self,
        least: Duration,
        now: Moment,
        rules: &Rules,
        effects: &mut Effects,
    ) -> Answer {
        if self.closed {
            return Answer::Now(Err(closed()));
        }
        if let Some(set) = self.set.clone().filter(|_| !self.invalidated) {
            if Arc::clone(&set).check_left(least, now).is_ok() {
                // Enough is left: an ordinary call, which starts what is due.
                return self.ask(now, rules, effects);
            }
            // Asking the source again would give no more: do not, or such a caller becomes a storm.
            if set.times.is_some_and(|times| !times.advisory.is_due(now))
                && Arc::clone(&set).check_lifetime(least).is_err()
            {
                return Answer::Now(set.check_lifetime(least));
            }
        }
        match &self.flight {
            Some(flight) => Answer::Wait(Arc::clone(flight)),
            None if self.held(now).is_some() => Answer::Now(Err(self.remembered())),
            None => Answer::Wait(self.start(true, now, effects)),
        }
    }

    /// The user wants a refresh now.
    pub(super) fn refresh(&mut self, now: Moment, effects: &mut Effects) -> Answer {
        if self.closed {
            return Answer::Now(Err(closed()));
        }
        Answer::Wait(match &self.flight {
            Some(flight) => Arc::clone(flight),
            None => self.start(true, now, effects),
        })
    }

    fn serve(&self) -> Answer {
        Answer::Now(self.set.clone().ok_or_else(|| self.remembered()))
    }
}

impl CachedSet {
    /// The set itself if at least `least` is left of it, less the slack: without that each call for
    /// the whole lifetime would be a refresh.
    pub(super) fn check_left(
        self: Arc<Self>,
        least: Duration,
        now: Moment,
    ) -> Result<Arc<Self>, Error> {
        let Some(times) = self.times else {
            return Ok(self);
        };
        let slack = slack(times.lifetime);
        let attainable = if least <= times.lifetime.saturating_add(slack) {
            least.min(times.lifetime.saturating_sub(slack))
        } else {
            least
        };
        if times.unusable.is_over(now) || times.end.left(now) < attainable {
            return Err(too_short(times.lifetime, least));
        }
        Ok(self)
    }

    /// The set itself if it ever had `least` left, less the slack.
    pub(super) fn check_lifetime(self: Arc<Self>, least: Duration) -> Result<Arc<Self>, Error> {
        match self.times {
            Some(times) if times.lifetime.saturating_add(slack(times.lifetime)) < least => {
                Err(too_short(times.lifetime, least))
            }
            _ => Ok(self),
        }
    }
}

fn too_short(lifetime: Duration, least: Duration) -> Error {
    Error::validation(format!(
        "credentials valid for another {least:?} were requested, but the source issues them for {lifetime:?}: ask for \
         less, or configure the source to give more"
    ))
}

pub(super) fn closed() -> Error {
    Error::configuration("the session is closed: open a new one").unrecoverable()
}
