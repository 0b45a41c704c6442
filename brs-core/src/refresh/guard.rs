//! Makes sure that a flight lands: exactly once, and at the latest when its task is gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};

use super::engine::Engine;
use super::flight::{Flight, Outcome};
use crate::credentials::TemporaryCredentials;
use crate::error::Error;

/// Lands its flight when told to, or when it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    engine: Weak<Engine>,
    /// `None` once landed.
    flight: Option<Arc<Flight>>,
}

impl Guard {
    pub(super) fn new(engine: &Arc<Engine>, flight: Arc<Flight>) -> Self {
        Self { engine: Arc::downgrade(engine), flight: Some(flight) }
    }

    #[cfg(all(test, not(brs_model)))]
    pub(super) fn of(engine: Weak<Engine>, flight: Arc<Flight>) -> Self {
        Self { engine, flight: Some(flight) }
    }

    pub(super) fn land(mut self, result: Result<TemporaryCredentials, Error>) {
        self.land_once(result);
    }

    fn land_once(&mut self, result: Result<TemporaryCredentials, Error>) {
        let Some(flight) = &self.flight else { return };
        match self.engine.upgrade() {
            // The flight stays in the guard until this has returned: should a clock of the user's panic in there, the
            // guard's drop goes on with it.
            Some(engine) => engine.land(flight, result),
            // Nobody is left to keep a set for; the eager task may still wait.
            None => flight.resolve(Outcome::failed(ended())),
        }
        self.flight = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(flight) = self.flight.clone() else { return };
        let landed = catch_unwind(AssertUnwindSafe(|| self.land_once(Err(ended()))));
        if let (Err(_), Some(engine)) = (landed, self.engine.upgrade()) {
            engine.forget(&flight);
        }
        // Whatever happened above, nobody waits for ever; the first outcome counts.
        flight.resolve(Outcome::failed(ended()));
    }
}

pub(super) fn ended() -> Error {
    Error::connection("the refresh was ended before it had an answer")
}
