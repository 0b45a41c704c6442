//! The contract that every strategy must keep, as a suite for its author's tests.
//!
//! The author says how to put the strategy in front of a source that behaves in a given way
//! ([`Subject`]); [`check`] tries each behaviour and panics with the clause that was broken.
//! Behaviours that a source cannot show are left out and listed, so that a test can insist on the
//! list it expects:
//!
//! ```
//! # use std::sync::Arc;
//! # use brs_core::test_util::contract::{Source, Subject, check};
//! # use brs_core::test_util::{Scripted, Step};
//! # use brs_core::RefreshStrategy;
//! struct MySubject;
//!
//! #[async_trait::async_trait]
//! impl Subject for MySubject {
//!     async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
//!         match source {
//!             Source::Healthy => Some(Scripted::always(Step::Fresh(std::time::Duration::from_secs(3600))).shared()),
//!             Source::Hanging => Some(Scripted::always(Step::Hang).shared()),
//!             _ => None,
//!         }
//!     }
//! }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let report = check(&MySubject).await;
//! assert_eq!(report.left_out(), ["expired", "failing", "panicking", "blocking"]);
//! # });
//! ```

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::sync::Notify;

use super::{Gate, ManualClock};
use crate::credentials::TemporaryCredentials;
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::method::strategy::{RefreshContext, RefreshStrategy};
use crate::session::RefreshableSession;

/// How the source behind the strategy behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// Gives credentials that live long by the clock of [`now`].
    Healthy,
    /// Gives credentials that are already expired by the clock of [`now`].
    Expired,
    /// Answers with an error.
    Failing,
    /// Never answers.
    Hanging,
    /// The code that the strategy calls panics.
    Panicking,
    /// The code that the strategy calls blocks its thread until the gate is open, then behaves as
    /// healthy.
    Blocking(Gate),
}

/// The wall time during the checks: sources that make up their own expirations count from it.
pub fn now() -> SystemTime {
    // 2033-05-18: a time that no test takes for the real one.
    UNIX_EPOCH + Duration::from_secs(2_000_000_000)
}

/// A strategy under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The strategy in front of a source that behaves like this; `None` where the source cannot.
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>>;

    /// The wall time at which the checks run. Default: [`now`]; sources with a clock of their own
    /// need another.
    fn now(&self) -> SystemTime {
        now()
    }

    /// Texts that must never be shown, beside the credentials' own secrets.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What was checked.
#[derive(Clone, Debug, Default)]
pub struct Report {
    checked: Vec<&'static str>,
    left_out: Vec<&'static str>,
}

impl Report {
    /// The behaviours that were checked.
    pub fn checked(&self) -> &[&'static str] {
        &self.checked
    }

    /// The behaviours that the subject's source cannot show.
    pub fn left_out(&self) -> &[&'static str] {
        &self.left_out
    }
}

/// The time limit of refreshes during the checks, on the manual clock.
const LIMIT: Duration = Duration::from_secs(30);

/// Real time after which a strategy that has not returned from a poll is taken to block.
const PATIENCE: Duration = Duration::from_secs(10);

/// Checks the contract.
///
/// # Panics
///
/// With the clause that the strategy breaks.
///
/// # Cancel safety
///
/// For tests only; a check that is dropped has checked nothing.
pub async fn check(subject: &dyn Subject) -> Report {
    let gate = Gate::new();
    let mut report = Report::default();
    for (name, source) in [
        ("healthy", Source::Healthy),
        ("expired", Source::Expired),
        ("failing", Source::Failing),
        ("hanging", Source::Hanging),
        ("panicking", Source::Panicking),
        ("blocking", Source::Blocking(gate.clone())),
    ] {
        let Some(strategy) = subject.strategy(source.clone()).await else {
            report.left_out.push(name);
            continue;
        };
        let case = Case::new(subject, strategy);
        match source {
            Source::Healthy => case.healthy().await,
            Source::Expired => case.expired().await,
            Source::Failing => case.failing().await,
            Source::Hanging => case.hanging().await,
            Source::Panicking => case.panicking().await,
            Source::Blocking(gate) => case.blocking(&gate).await,
        }
        report.checked.push(name);
    }
    report
}

struct Case<'a> {
    subject: &'a dyn Subject,
    strategy: Arc<dyn RefreshStrategy>,
    clock: ManualClock,
}

impl<'a> Case<'a> {
    fn new(subject: &'a dyn Subject, strategy: Arc<dyn RefreshStrategy>) -> Self {
        Self {
            subject,
            strategy,
            clock: ManualClock::new(subject.now()),
        }
    }

    async fn session(&self) -> RefreshableSession {
        self.session_of(Arc::clone(&self.strategy)).await
    }

    async fn session_of(&self, strategy: Arc<dyn RefreshStrategy>) -> RefreshableSession {
        RefreshableSession::with_strategy(strategy)
            .clock(self.clock.clone())
            .refresh_timeout(LIMIT)
            .build()
            .await
            .expect("a session can be opened with the strategy")
    }

    fn context(&self) -> RefreshContext {
        RefreshContext::for_test(Arc::new(self.clock.clone()), LIMIT)
    }

    async fn healthy(&self) {
        let strategy = &self.strategy;
        assert!(
            !strategy.method().is_empty() && !strategy.source().is_empty(),
            "method and source have names"
        );
        // Dropped after ever more polls: the next call must work all the same.
        for polls in 1..=4 {
            let cx = self.context();
            let mut refresh = strategy.refresh(&cx);
            for _ in 0..polls {
                if (&mut refresh).now_or_never().is_some() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let session = self.session().await;
        let mut events = session.events();
        let set = session
            .credentials()
            .await
            .expect("a healthy source's credentials arrive after dropped refreshes");
        let again = session
            .refresh()
            .await
            .expect("a healthy source gives credentials a second time");
        let identity = strategy
            .identity(&set)
            .await
            .expect("the strategy can tell who the credentials are");
        assert_eq!(
            identity.method,
            strategy.method(),
            "the identity names the method"
        );
        assert_eq!(
            identity.access_key_id,
            set.access_key_id(),
            "the identity names the access key id"
        );
        let mut shown = format!(
            "{strategy:?}{session:?}{identity:?}{:?}{set:?}",
            session.status()
        );
        while let Some(Some(event)) = events.next().now_or_never() {
            let _ = write!(shown, "{event:?}");
        }
        self.assert_no_secret(&shown, &[&set, &again]);
    }

    async fn expired(&self) {
        let error = self.fails("credentials that are already expired").await;
        assert!(
            !error.is_unrecoverable(),
            "already expired credentials are a recoverable failure: {error:?}"
        );
    }

    async fn failing(&self) {
        self.fails("the source's error").await;
    }

    async fn hanging(&self) {
        let waits = Arc::new(Notify::new());
        let watched = Watched {
            strategy: Arc::clone(&self.strategy),
            waits: Arc::clone(&waits),
        };
        let session = self.session_of(Arc::new(watched)).await;
        let call = Box::pin(session.credentials());
        let time_passes = Box::pin(async {
            // Not before the strategy has been asked and waits: one that answers must have had its
            // chance.
            waits.notified().await;
            // The first sleeper may be the strategy's own, before that of the time limit.
            loop {
                self.clock.sleepers(1).await;
                self.clock.advance(LIMIT + Duration::from_secs(1));
            }
        });
        // A source that answers after all must not leave the clock waiting for a sleeper.
        let Either::Left((result, _)) = select(call, time_passes).await;
        let error = result.expect_err("a source that never answers ends in the time limit");
        assert!(
            error.is_retryable(),
            "a time limit is worth another try: {error:?}"
        );
        self.assert_no_secret(&show(&error), &[]);
    }

    async fn panicking(&self) {
        let error = self.fails("a panic").await;
        assert!(
            !error.is_unrecoverable(),
            "a panic is a recoverable failure: {error:?}"
        );
    }

    /// Polls on a thread of its own, since a strategy that breaks this clause would stop the test.
    async fn blocking(&self, gate: &Gate) {
        let own = crate::kit::runtime::own().expect("threads can be started");
        let (strategy, cx) = (Arc::clone(&self.strategy), self.context());
        let (polled, has_polled) = mpsc::channel();
        std::thread::spawn(move || {
            let _entered = own.enter();
            let first = strategy.refresh(&cx).now_or_never();
            let _ = polled.send(first.is_some());
        });
        let first = has_polled.recv_timeout(PATIENCE);
        gate.open();
        assert!(
            first.is_ok(),
            "a strategy must not block the thread that polls it: see `Blocking`"
        );
        assert_eq!(
            first,
            Ok(false),
            "a source that blocks has not answered yet"
        );
        let session = self.session().await;
        // The abandoned call may still be on its thread; the engine's rules then say: an error, and
        // another try.
        let deadline = SystemClockDeadline::new();
        loop {
            match session.refresh().await {
                Ok(_) => break,
                Err(error) => assert!(
                    !deadline.is_over(),
                    "once it has returned, the next refresh works: {error}"
                ),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn fails(&self, what: &str) -> Error {
        let session = self.session().await;
        let Err(error) = session.credentials().await else {
            panic!("{what} must not become credentials")
        };
        assert_eq!(
            error.method(),
            Some(self.strategy.method()),
            "the error names the method"
        );
        assert!(
            session.credentials().await.is_err(),
            "the session goes on after {what}"
        );
        self.assert_no_secret(&show(&error), &[]);
        error
    }

    fn assert_no_secret(&self, shown: &str, sets: &[&TemporaryCredentials]) {
        let mut secrets = self.subject.secrets();
        for set in sets {
            secrets.push(set.secret_access_key().to_owned());
            secrets.extend(set.session_token().map(str::to_owned));
        }
        let leak = secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .any(|secret| shown.contains(secret.as_str()));
        // The text itself is not repeated here: it holds the secret.
        assert!(
            !leak,
            "a secret is shown by `Debug` or by an error of the strategy `{}`",
            self.strategy.method()
        );
    }
}

/// A strategy that tells when a refresh waits for its source.
#[derive(Debug)]
struct Watched {
    strategy: Arc<dyn RefreshStrategy>,
    waits: Arc<Notify>,
}

#[async_trait]
impl RefreshStrategy for Watched {
    fn method(&self) -> &'static str {
        self.strategy.method()
    }

    fn source(&self) -> &'static str {
        self.strategy.source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let mut refresh = self.strategy.refresh(cx);
        std::future::poll_fn(|task| {
            let polled = refresh.as_mut().poll(task);
            if polled.is_pending() {
                self.waits.notify_one();
            }
            polled
        })
        .await
    }
}

/// An error as a program may print it, its sources included.
fn show(error: &Error) -> String {
    let mut shown = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(shown, " {error} {error:?}");
        source = error.source();
    }
    shown
}

/// A deadline in real time, for what other threads do.
struct SystemClockDeadline(Duration);

impl SystemClockDeadline {
    fn new() -> Self {
        Self(crate::kit::clock::SystemClock::new().monotonic() + PATIENCE)
    }

    fn is_over(&self) -> bool {
        crate::kit::clock::SystemClock::new().monotonic() >= self.0
    }
}
