//! A session that is served: its answer, kept ready; the task that keeps it fresh; its history.
//!
//! - Requests only read. One that finds no usable set waits for the flight that the engine has, or
//!   starts one as any caller does, but never for a session that asks a person: of those the server
//!   hands out the set that it holds, until that expires.
//! - The task asks as a caller would, when a set is due and at least every 30 s, so deferred
//!   sessions stay fresh, too. Where sets live for 40 minutes or more it replaces them with 20
//!   minutes left: boto3 asks at every call with less than 15. For a session that asks a person it
//!   asks once, when it begins; later only for one whose *base* is what asks.
//! - An answer is rendered once a set, and handed out as a reference to the same bytes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use brs_core::{Clock, Error, RefreshableSession, TemporaryCredentials};
use bytes::Bytes;
use tokio::sync::watch;

use super::answer::{self, Refusal};
use super::history::History;

/// How often the task looks at the least, for clocks that were stepped.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// And at the most.
const SHORTEST_SLEEP: Duration = Duration::from_secs(1);
/// Sets are replaced with at least this much left…
const LEAST_LEFT: Duration = Duration::from_secs(20 * 60);
/// …if they live at least this long.
const LONG_LIFE: Duration = Duration::from_secs(40 * 60);
/// Below this, clients ask at every call for a good part of a set's life.
const SHORT_LIFE: Duration = Duration::from_secs(30 * 60);

/// One session.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) name: String,
    pub(super) session: RefreshableSession,
    /// Whether a refresh asks a person.
    pub(super) is_interactive: bool,
    pub(super) role_arn: Option<String>,
    pub(super) history: Arc<History>,
    state: Mutex<State>,
    /// Counts up when something has happened.
    pub(super) changes: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct State {
    rendered: Option<(TemporaryCredentials, Bytes)>,
    /// Of a session that asks a person.
    held: Option<TemporaryCredentials>,
    lifetime: Option<Duration>,
    has_warned: bool,
    /// Whether the first set has arrived or failed.
    has_begun: bool,
}

impl Kept {
    pub(super) fn new(
        name: &str,
        session: RefreshableSession,
        history: Arc<History>,
        changes: Arc<watch::Sender<u64>>,
    ) -> Self {
        let base = session.as_base();
        let role = base.strategy().role();
        Self {
            name: name.to_owned(),
            is_interactive: base.is_interactive(),
            role_arn: role
                .filter(|role| super::pattern::is_role_arn(role))
                .map(str::to_owned),
            session,
            history,
            state: Mutex::default(),
            changes,
        }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        self.session.clock()
    }

    /// The set to give out. Waits as long as the source takes.
    pub(super) async fn credentials(&self) -> Result<TemporaryCredentials, Error> {
        if !self.is_interactive {
            let set = self.session.credentials().await?;
            return unexpired(&self.session, set);
        }
        let now = self.clock().now();
        let held = self.state().held.clone();
        held.filter(|set| set.expiration().is_none_or(|end| now < end))
            .ok_or_else(|| {
                Error::credential("its credentials have expired, and only a person can renew them")
                    .unrecoverable()
            })
    }

    /// The answer of the container endpoint, rendered once a set.
    pub(super) fn answer(&self, set: &TemporaryCredentials) -> Bytes {
        let now = self.clock().now();
        let mut state = self.state();
        match &state.rendered {
            Some((of, body)) if of == set => body.clone(),
            _ => {
                let body = answer::container(set, self.role_arn.as_deref(), now);
                // What is said about the end of a set without one goes with the time.
                if set.expiration().is_some() {
                    state.rendered = Some((set.clone(), body.clone()));
                }
                body
            }
        }
    }

    /// Whether a request would get a valid set at once.
    pub(super) fn is_ready(&self) -> bool {
        if self.is_interactive {
            let now = self.clock().now();
            let state = self.state();
            let held = state.held.as_ref();
            return held.is_some_and(|set| set.expiration().is_none_or(|end| now < end));
        }
        let status = self.session.status();
        let now = self.clock().now();
        // In the mandatory window callers wait, and mostly get what they want.
        self.session.ready()
            || (status.access_key_id().is_some()
                && !status.is_invalidated()
                && status.expiration().is_some_and(|end| now < end))
    }

    /// How long its sets live, as far as that is known.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.state().lifetime
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state().has_begun
    }

    /// What an error means to a client.
    pub(super) fn refusal(&self, error: &Error) -> Refusal {
        refusal(&self.shown().to_string(), Some(&self.name), error)
    }

    /// The session in messages.
    pub(super) fn shown(&self) -> impl fmt::Display + Send + Sync {
        fmt::from_fn(|f| write!(f, "session `{}`", self.name))
    }

    /// Whether to assume a role with its credentials may ask a person: a session on top of this one
    /// starts its refresh in the advisory window.
    pub(super) fn may_ask_a_person(&self) -> bool {
        if !self.is_interactive {
            return false;
        }
        let (status, now) = (self.session.status(), self.clock().now());
        let window = status.advisory_window().unwrap_or_default();
        let is_far = |end: SystemTime| end.duration_since(now).is_ok_and(|left| left > 2 * window);
        let is_held = status.access_key_id().is_some() && !status.is_invalidated();
        !(is_held && status.expiration().is_none_or(is_far))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the session fresh and its history written, until the future is dropped.
    pub(super) async fn keep(self: Arc<Self>) {
        let events = self.session.events();
        tokio::join!(self.watch(events), self.refresh());
    }

    async fn watch(&self, mut events: brs_core::Events) {
        while let Some(event) = events.next().await {
            self.history.note(&event, self.clock().now());
            if let brs_core::Event::RefreshSucceeded { .. } = event {
                self.arrived().await;
            }
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// A set has just arrived: to ask for it starts nothing.
    async fn arrived(&self) {
        if let Ok(set) = self.session.credentials().await {
            self.hold(&set);
            if let Ok(identity) = self.session.as_base().strategy().identity(&set).await
                && let Some(end) = identity.details.get("certificate_not_after")
            {
                self.history.certificate_ends(end);
            }
        }
    }

    fn hold(&self, set: &TemporaryCredentials) {
        let now = self.clock().now();
        let status = self.session.status();
        let began = status.last_success().unwrap_or(now);
        let lifetime = set
            .expiration()
            .and_then(|end| end.duration_since(began).ok());
        let mut state = self.state();
        state.held = self.is_interactive.then(|| set.clone());
        state.lifetime = lifetime;
        let is_short = lifetime.is_some_and(|lifetime| lifetime < SHORT_LIFE);
        if is_short && !std::mem::replace(&mut state.has_warned, true) {
            tracing::warn!(
                session = self.name,
                ?lifetime,
                "the credentials live less than 30 min: boto3 asks again at every call with less than 15 min left, \
                 so give the session a longer duration"
            );
        }
    }

    async fn refresh(&self) {
        self.begin().await;
        // A person is asked when the server begins, and then by a program of their own.
        let asks_itself = self.session.as_base().strategy().interactive();
        if asks_itself {
            return std::future::pending().await;
        }
        loop {
            let sleep = self.ask().await;
            self.clock().sleep(sleep).await;
        }
    }

    async fn begin(&self) {
        let first = self.session.credentials().await;
        match &first {
            Ok(set) => {
                let status = self.session.status();
                let at = status.last_success().unwrap_or_else(|| self.clock().now());
                if self.history.points().is_empty() {
                    self.history.found(at, set.expiration());
                }
                self.hold(set);
            }
            Err(error) => tracing::warn!(
                session = self.name,
                %error,
                "no credentials yet; requests get the error until there are"
            ),
        }
        self.state().has_begun = true;
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Asks as a caller does; returns when to ask again.
    async fn ask(&self) -> Duration {
        let Ok(set) = self.session.credentials().await else {
            return self.until(self.session.status().refresh_allowed_at());
        };
        let Some(end) = set.expiration() else {
            return LONGEST_SLEEP;
        };
        let left = |end: SystemTime| {
            let now = self.clock().now();
            end.duration_since(now).unwrap_or_default()
        };
        let lives_long = self.lifetime().is_some_and(|life| life >= LONG_LIFE);
        if lives_long && left(end) < LEAST_LEFT {
            // The engine's own pace holds for this, too.
            if self
                .session
                .credentials_valid_for(LEAST_LEFT)
                .await
                .is_err()
            {
                return self.until(self.session.status().refresh_allowed_at());
            }
            return SHORTEST_SLEEP;
        }
        let due = match self.session.status().advisory_window() {
            Some(window) if lives_long => window.max(LEAST_LEFT),
            Some(window) => window,
            None => LEAST_LEFT,
        };
        left(end)
            .saturating_sub(due)
            .clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }

    fn until(&self, at: Option<SystemTime>) -> Duration {
        let now = self.clock().now();
        let wait = at.and_then(|at| at.duration_since(now).ok());
        wait.unwrap_or_default()
            .clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }
}

/// Static stability is for those who have nothing better to do. A client of an endpoint does: it
/// keeps the set that it has, and shows the error.
pub(super) fn unexpired(
    session: &RefreshableSession,
    set: TemporaryCredentials,
) -> Result<TemporaryCredentials, Error> {
    let now = session.clock().coarse().0;
    // By this machine's clock, which may be wrong: the engine knows the source's.
    if set.expiration().is_none_or(|end| now < end) {
        return Ok(set);
    }
    let status = session.status();
    match status.last_error() {
        Some(error) if status.is_serving_expired() => Err(error.clone()),
        _ => Ok(set),
    }
}

/// What an error of a session means to a client: 4xx where only a person can fix it, since clients
/// try again after a 5xx.
pub(super) fn refusal(named: &str, name: Option<&str>, error: &Error) -> Refusal {
    if error.is_unrecoverable() {
        let command = match name {
            Some(name) => format!("`brs whoami {name}`"),
            None => "`brs whoami`".to_owned(),
        };
        return Refusal::needs_person(format_args!(
            "{named}: a person is needed, run {command} in a terminal: {error}"
        ));
    }
    Refusal::new(
        http::StatusCode::BAD_GATEWAY,
        "SourceFailed",
        format_args!("{named}: {error}"),
    )
}
