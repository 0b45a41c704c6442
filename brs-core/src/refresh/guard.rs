//! Makes sure that a flight lands: exactly once, and at the latest when its task is gone.

use std::sync::{Arc, Weak};

use super::engine::Engine;
use super::flight::{Flight, Outcome, ended};
use super::times::Moment;
use crate::credentials::TemporaryCredentials;
use crate::kit::error::{Error, ErrorKind};

/// What a flight brought.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) result: Result<TemporaryCredentials, Error>,
    /// When the source was asked; `None`: it was not.
    pub(super) asked: Option<Moment>,
    /// The process was stopped meanwhile: a failure says nothing about the source.
    pub(super) was_stopped: bool,
    /// It comes from a store beside the source, which others have it from, too.
    pub(super) is_stored: bool,
    /// The source was known to be down when it was asked.
    pub(super) was_down: bool,
}

impl Fetched {
    /// Whether the source has answered, if only to refuse.
    pub(super) fn is_answer(&self) -> bool {
        let was_reached = |error: &Error| error.kind() != ErrorKind::Connection;
        self.asked.is_some() && self.result.as_ref().err().is_none_or(was_reached)
    }

    /// The source was not asked, or its answer was not waited for.
    pub(super) fn failed(error: Error) -> Self {
        Self {
            result: Err(error),
            asked: None,
            was_stopped: false,
            is_stored: false,
            was_down: false,
        }
    }
}

/// Lands its flight when told to, or when it is dropped.
#[derive(Debug)]
pub(super) struct Guard {
    engine: Weak<Engine>,
    /// `None` once landed.
    flight: Option<Arc<Flight>>,
    /// The logs of the landing are in it.
    span: tracing::Span,
}

impl Guard {
    pub(super) fn new(engine: Weak<Engine>, flight: Arc<Flight>) -> Self {
        Self {
            engine,
            flight: Some(flight),
            span: tracing::Span::none(),
        }
    }

    pub(super) fn set_span(&mut self, span: &tracing::Span) {
        self.span.clone_from(span);
    }

    pub(super) fn land(mut self, fetched: Fetched) {
        self.land_once(fetched);
    }

    fn land_once(&mut self, fetched: Fetched) {
        let Some(flight) = &self.flight else { return };
        match self.engine.upgrade() {
            // The flight stays in the guard until this has returned: should a clock of the user's
            // panic in there, the guard's drop goes on with it.
            Some(engine) => engine.land(flight, fetched, &self.span),
            // The session is gone; the eager task may still wait.
            None => flight.resolve(Outcome::failed(ended())),
        }
        self.flight = None;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(flight) = self.flight.clone() else {
            return;
        };
        if std::thread::panicking() {
            // A clock of the user's panicked while the flight landed: it would again.
            if let Some(engine) = self.engine.upgrade() {
                engine.forget(&flight);
            }
        } else {
            self.land_once(Fetched::failed(ended()));
        }
        // Whatever happened above, no waiter is left; the first outcome counts.
        flight.resolve(Outcome::failed(ended()));
    }
}
