//! A snapshot of what a session knows about its credentials, for people and health pages.

use std::time::{Duration, SystemTime};

use super::policy::{Decision, Policy, fallback};
use super::state::State;
use super::times::Moment;
use crate::kit::error::Error;

/// What a session knew about its credentials at one moment. Holds no secret.
#[derive(Clone, Debug)]
pub struct RefreshStatus {
    method: &'static str,
    access_key_id: Option<String>,
    expiration: Option<SystemTime>,
    advisory_window: Option<Duration>,
    mandatory_window: Option<Duration>,
    last_success: Option<SystemTime>,
    last_error: Option<Error>,
    refresh_allowed_at: Option<SystemTime>,
    refreshes: u64,
    consecutive_failures: u32,
    is_invalidated: bool,
    is_refreshing: bool,
    is_serving_expired: bool,
}

impl RefreshStatus {
    pub(crate) fn new(method: &'static str, state: &State, now: Moment, policy: Policy) -> Self {
        let held = state.held(now).is_some();
        let set = state.set.as_ref();
        let times = set.and_then(|set| set.times);
        let failure = state.failure.as_ref();
        let is_serving_expired = failure.is_some_and(|failure| {
            let left = fallback(
                state.set_situation().as_ref(),
                now,
                policy,
                failure.error.is_unrecoverable(),
            );
            left == Decision::ServeExpired
        });
        Self {
            method,
            access_key_id: set.map(|set| set.credentials.access_key_id().to_owned()),
            expiration: set.and_then(|set| set.credentials.expiration()),
            advisory_window: times.map(|times| times.advisory_window),
            mandatory_window: times.map(|times| times.mandatory_window),
            last_success: state.last_success,
            last_error: failure.map(|failure| failure.error.clone()),
            refresh_allowed_at: failure
                .filter(|_| held)
                .and_then(|failure| failure.next_try),
            refreshes: state.refreshes,
            consecutive_failures: state.failures,
            is_invalidated: state.invalidated,
            is_refreshing: state.flight.is_some(),
            is_serving_expired,
        }
    }

    /// The method's registry name.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The cached set's access key id.
    pub fn access_key_id(&self) -> Option<&str> {
        self.access_key_id.as_deref()
    }

    /// When the cached set ends, as its source said.
    pub fn expiration(&self) -> Option<SystemTime> {
        self.expiration
    }

    /// The cached set's advisory window, before the random part that moves its start earlier.
    pub fn advisory_window(&self) -> Option<Duration> {
        self.advisory_window
    }

    /// The cached set's mandatory window.
    pub fn mandatory_window(&self) -> Option<Duration> {
        self.mandatory_window
    }

    /// When the last set arrived.
    pub fn last_success(&self) -> Option<SystemTime> {
        self.last_success
    }

    /// The last refresh's error; a success clears it.
    pub fn last_error(&self) -> Option<&Error> {
        self.last_error.as_ref()
    }

    /// While a backoff is running: when the source may be asked again.
    pub fn refresh_allowed_at(&self) -> Option<SystemTime> {
        self.refresh_allowed_at
    }

    /// How many refreshes have succeeded.
    pub fn refreshes(&self) -> u64 {
        self.refreshes
    }

    /// How many refreshes have failed in a row.
    pub fn consecutive_failures(&self) -> u32 {
        self.consecutive_failures
    }

    /// Whether the cached set has been invalidated and not yet replaced.
    pub fn is_invalidated(&self) -> bool {
        self.is_invalidated
    }

    /// Whether a refresh is running, or waits for its turn.
    pub fn is_refreshing(&self) -> bool {
        self.is_refreshing
    }

    /// Whether callers get an expired set because the source has a recoverable failure (static
    /// stability).
    pub fn is_serving_expired(&self) -> bool {
        self.is_serving_expired
    }
}
