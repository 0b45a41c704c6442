//! A strategy around a method's: it may stop a refresh before the source is asked.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use brs::{
    BaseSession, Error, Fingerprint, Identity, RefreshContext, RefreshStrategy,
    TemporaryCredentials,
};
use tokio::sync::watch;

/// Runs before a source is asked; `Some` stops the refresh.
#[derive(Clone)]
pub(crate) struct Before(pub(crate) Arc<dyn Fn() -> Option<String> + Send + Sync>);

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Before")
    }
}

/// What a refresh was stopped for.
#[derive(Clone, Debug)]
pub(crate) enum Stopped {
    /// A person would have been asked.
    ForPerson,
    /// The caller's own reason.
    For(String),
}

/// What happens to a refresh that asks a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    /// It asks.
    Allowed,
    /// It waits for ever, and the command ends.
    Ends,
    /// It fails: the command goes on beside another program.
    Fails,
}

/// What the guards of a session and of those beneath it have in common.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stopped: watch::Sender<Option<Stopped>>,
    /// A source was asked.
    has_asked: AtomicBool,
    before: Option<Before>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    asking: Asking,
    /// How the session is named on a command line.
    typed: String,
}

impl Guard {
    pub(super) fn new(asking: Asking, before: Option<Before>, typed: &str) -> Self {
        let typed = typed.to_owned();
        Self(Arc::new(Shared {
            stopped: watch::Sender::new(None),
            has_asked: AtomicBool::new(false),
            before,
            state: Mutex::new(State { asking, typed }),
        }))
    }

    /// A guard around a method's strategy.
    pub(super) fn around(&self, source: Arc<dyn RefreshStrategy>) -> Arc<dyn RefreshStrategy> {
        Arc::new(Guarded {
            guard: self.clone(),
            source,
        })
    }

    /// Resolves once a refresh is stopped.
    pub(super) async fn stopped(&self) -> Stopped {
        let mut stopped = self.0.stopped.subscribe();
        loop {
            if let Some(stopped) = &*stopped.borrow_and_update() {
                return stopped.clone();
            }
            // The sender lives as long as `self`.
            let _ = stopped.changed().await;
        }
    }

    /// Whether a source was asked: else credentials are those of the cache.
    pub(super) fn has_asked(&self) -> bool {
        self.0.has_asked.load(Ordering::Relaxed)
    }

    pub(super) fn asking(&self) -> Asking {
        self.with_state(|state| state.asking)
    }

    pub(super) fn set_asking(&self, asking: Asking) {
        self.with_state(|state| state.asking = asking);
    }

    pub(super) fn set_typed(&self, typed: String) {
        self.with_state(|state| state.typed = typed);
    }

    /// What a person has to do.
    pub(super) fn remedy(&self) -> String {
        let typed = self.with_state(|state| state.typed.clone());
        format!(
            "run `brs whoami {typed}` once in a terminal; all processes of this host then use what it gets"
        )
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct Guarded {
    guard: Guard,
    source: Arc<dyn RefreshStrategy>,
}

#[async_trait]
impl RefreshStrategy for Guarded {
    fn method(&self) -> &'static str {
        self.source.method()
    }

    fn source(&self) -> &'static str {
        self.source.source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let before = self.guard.0.before.as_ref();
        let stopped = match self.guard.asking() {
            Asking::Ends if self.source.interactive() => Some(Stopped::ForPerson),
            Asking::Fails if self.source.interactive() => {
                let remedy = self.guard.remedy();
                return Err(
                    Error::configuration(format!("a person has to be asked: {remedy}"))
                        .with_param("mfa_token_provider")
                        .unrecoverable(),
                );
            }
            _ => before.and_then(|before| (before.0)()).map(Stopped::For),
        };
        if stopped.is_some() {
            self.guard.0.stopped.send_replace(stopped);
            return std::future::pending().await;
        }
        self.guard.0.has_asked.store(true, Ordering::Relaxed);
        self.source.refresh(cx).await
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        self.source.identity(credentials).await
    }

    fn role(&self) -> Option<&str> {
        self.source.role()
    }

    fn profile(&self) -> Option<&str> {
        self.source.profile()
    }

    fn region(&self) -> Option<&str> {
        self.source.region()
    }

    fn base_session(&self) -> Option<&BaseSession> {
        self.source.base_session()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.source.fingerprint()
    }

    fn wrapped(&self) -> Option<&dyn RefreshStrategy> {
        Some(&*self.source)
    }

    fn static_stability(&self) -> bool {
        self.source.static_stability()
    }

    fn interactive(&self) -> bool {
        self.source.interactive()
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        self.source.refresh_timeout()
    }
}
