//! What is done without a caller: by a session's eager task, and by a pool for its sessions.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::eager::EagerStep;
use super::super::policy::Age;
use super::super::sync::lock;
use super::Engine;
use crate::kit::error::Error;

impl Engine {
    /// The first set of the session is one of many that are fetched together: its advisory window
    /// begins at a time of its own.
    pub(crate) fn spread_first(self: &Arc<Self>) {
        self.change(|state, _| {
            if state.set.is_none() {
                state.spread_next();
            }
        });
    }

    /// Whether a refresh is under way, and when the set ends.
    pub(crate) fn look(&self) -> (bool, Option<SystemTime>) {
        let state = self.state();
        let state = lock(&state);
        let expiration = state
            .set
            .as_ref()
            .and_then(|set| set.credentials.expiration());
        (state.flight.is_some(), expiration)
    }

    /// What a pool does for a session from time to time: starts what is due without a caller, and
    /// moves up in line what will soon be waited for. A session that was never used is left alone.
    pub(crate) fn tend(self: &Arc<Self>) {
        let now = self.now();
        let awaited = self.change(|state, effects| {
            if state.closed {
                return None;
            }
            let set = state.set_situation()?;
            let age = if set.invalidated {
                Age::Mandatory
            } else {
                set.age(now)
            };
            match &state.flight {
                Some(flight) => (age >= Age::Mandatory).then(|| Arc::clone(flight)),
                None if age >= Age::Advisory && state.held_unattended(now).is_zero() => {
                    state.start(false, now, effects);
                    None
                }
                None => None,
            }
        });
        #[cfg(not(brs_model))]
        if let Some(flight) = awaited {
            flight.place.wait_for(self.strategy.method());
        }
        #[cfg(brs_model)]
        drop(awaited);
    }

    /// Starts the task that refreshes without a caller.
    pub(crate) fn keep_fresh(self: &Arc<Self>) -> Result<(), Error> {
        self.eager.start(self)
    }

    /// One step of the eager task; `None`: the session is closed.
    pub(in super::super) fn eager_step(self: &Arc<Self>) -> Option<EagerStep> {
        let now = self.now();
        self.change(|state, effects| {
            if state.closed {
                return None;
            }
            if let Some(flight) = &state.flight {
                return Some(EagerStep::Wait(Arc::clone(flight)));
            }
            let left = match &state.set {
                Some(set) if !state.invalidated => match set.times {
                    Some(times) if times.advisory.is_due(now) => Duration::ZERO,
                    Some(times) => times.advisory.left(now),
                    None => Duration::MAX,
                },
                _ => Duration::ZERO,
            };
            let left = left.max(state.held_unattended(now));
            if left.is_zero() {
                return Some(EagerStep::Wait(state.start(false, now, effects)));
            }
            Some(EagerStep::Sleep(left))
        })
    }
}
