//! The way to a store: each operation limited in time, a store that failed left alone, what is
//! wrong counted and said.
//!
//! - Operations run on brs's own runtime, so that a connection never depends on a runtime that a
//!   program drives when it likes. Their limits are on the session's clock.
//! - If little is left of a refresh, an operation has less time than usual: that it did not answer
//!   then says nothing about the store.
//! - After a failure the store is left alone for [`PAUSE`]. Then one refresh tries it, and the
//!   others go on leaving it alone until that one has had an answer.
//! - A warning of an entry is given once a key until the key's entry opens again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brs_core::kit::{PerProcess, own_runtime};
use brs_core::{Blocking, RefreshContext};
use futures_util::future::{Either, select};

use super::FleetStatus;
use super::problem::Problem;
use super::seal::Seal;
use super::store::{CredentialStore, StoreError};
use crate::entry::{Generations, Holds};
use crate::key::Key;

/// How long an operation may take.
const OPERATION: Duration = Duration::from_millis(500);

/// How long getting ready may take: the store's credentials come from somewhere.
const READY: Duration = Duration::from_secs(5);

/// How long a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(30);

/// An open store.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) seal: Seal,
    pub(super) generations: Generations,
    pub(super) holds: Holds,
    store: Arc<dyn CredentialStore>,
    process: PerProcess<Process>,
}

/// What one process has of it.
#[derive(Debug, Default)]
struct Process {
    counts: Counts,
    /// Until when the store is left alone, in milliseconds of the monotonic clock. 0: it is well.
    left_alone_until: AtomicU64,
    /// Until when a failure was said.
    said_until: AtomicU64,
    notices_told: AtomicBool,
    /// The warnings that were given, by the key that they are about if it is one.
    warned: Mutex<BTreeSet<(String, &'static str)>>,
    keys: Blocking,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) taken: AtomicU64,
    pub(super) asked: AtomicU64,
    pub(super) alone: AtomicU64,
    pub(super) unopened: AtomicU64,
    pub(super) lost: AtomicU64,
    failures: AtomicU64,
}

/// How long one operation may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    limit: Duration,
    /// Less than it would have had at the beginning of its refresh.
    is_short: bool,
}

impl Limit {
    /// For a refresh that had `all` this time, has `left`, and needs time for its source.
    pub(super) fn before_the_source(all: Duration, left: Duration) -> Self {
        Self::of(all, left / 4)
    }

    /// The same, once its source has answered.
    pub(super) fn after_the_source(all: Duration, left: Duration) -> Self {
        Self::of(all, left / 4 * 3)
    }

    fn of(all: Duration, most: Duration) -> Self {
        let usual = OPERATION.min(all / 4);
        Self {
            limit: usual.min(most),
            is_short: most < usual,
        }
    }
}

/// The store cannot be used: it has failed, or is left alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alone;

impl Access {
    pub(super) fn new(store: Arc<dyn CredentialStore>, seal: Seal) -> Self {
        Self {
            seal,
            generations: Generations::default(),
            holds: Holds::default(),
            store,
            process: PerProcess::new(),
        }
    }

    pub(super) fn status(&self) -> FleetStatus {
        let process = self.process.get();
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FleetStatus {
            taken: of(&process.counts.taken),
            asked: of(&process.counts.asked),
            alone: of(&process.counts.alone),
            failures: of(&process.counts.failures),
            unopened: of(&process.counts.unopened),
            lost: of(&process.counts.lost),
            is_left_alone: process.left_alone_until.load(Ordering::Relaxed) != 0,
        }
    }

    pub(super) fn count(&self, which: impl FnOnce(&Counts) -> &AtomicU64) {
        which(&self.process.get().counts).fetch_add(1, Ordering::Relaxed);
    }

    /// Begins a refresh: the store may be asked, is ready, and the seal's keys are those of now.
    pub(super) async fn enter(&self, cx: &RefreshContext) -> Result<(), Alone> {
        let process = self.process.get();
        let (now, until) = (now(cx), process.left_alone_until.load(Ordering::Acquire));
        if until != 0 {
            let next = now + millis(PAUSE);
            let is_first = now >= until
                && process
                    .left_alone_until
                    .compare_exchange(until, next, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok();
            if !is_first {
                return Err(Alone);
            }
        }
        self.look_at_keys(cx).await;
        let store = Arc::clone(&self.store);
        let limit = Limit {
            limit: READY.min(cx.time_left() / 4),
            is_short: false,
        };
        self.limited(cx, limit, async move { store.ready().await })
            .await
    }

    /// One operation.
    pub(super) async fn ask<T, F>(
        &self,
        cx: &RefreshContext,
        limit: Limit,
        operation: impl FnOnce(Arc<dyn CredentialStore>) -> F,
    ) -> Result<T, Alone>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let answer = self
            .limited(cx, limit, operation(Arc::clone(&self.store)))
            .await?;
        let process = self.process.get();
        process.left_alone_until.store(0, Ordering::Release);
        if !process.notices_told.swap(true, Ordering::AcqRel) {
            self.tell_notices(cx);
        }
        Ok(answer)
    }

    /// Gives a lease back, whatever becomes of the refresh that held it.
    pub(super) fn release_later(&self, cx: &RefreshContext, key: &Key, owner: &str) {
        let Ok(runtime) = own_runtime() else { return };
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(cx.clock()));
        let (key, owner) = (key.clone(), owner.to_owned());
        runtime.spawn(async move {
            let release = std::pin::pin!(async move { store.release(key.as_str(), &owner).await });
            // If it fails the lease ends by itself.
            select(release, clock.sleep(OPERATION)).await;
        });
    }

    /// Warns of an entry, once a key until the key [is well](Self::is_well).
    pub(super) fn warn_of_entry(&self, cx: &RefreshContext, key: &Key, problem: Problem) {
        self.count(|counts| &counts.unopened);
        if self.with_warned(|warned| warned.insert((key.as_str().to_owned(), problem.name))) {
            self.warn(cx, Some(key), problem);
        }
    }

    /// The key's entry has opened: what is wrong with it later is new.
    pub(super) fn is_well(&self, key: &Key) {
        self.with_warned(|warned| warned.retain(|(about, _)| about != key.as_str()));
    }

    pub(super) fn warn(&self, cx: &RefreshContext, key: Option<&Key>, problem: Problem) {
        let status = self.status();
        let mut details = vec![
            ("failures", status.failures.to_string()),
            ("unopened", status.unopened.to_string()),
            ("store", format!("{:?}", self.store)),
        ];
        if let Some(key) = key {
            details.push(("key", key.as_str().to_owned()));
        }
        cx.warn(problem.name, problem.text, details);
    }

    /// Reads the seal's keys again if their file has changed.
    async fn look_at_keys(&self, cx: &RefreshContext) {
        if !self.seal.is_of_file() {
            return;
        }
        let (process, seal) = (self.process.get(), self.seal.clone());
        let look = std::pin::pin!(
            process
                .keys
                .run(move || (seal.look_again(), seal.mode_problem()))
        );
        // A file system that does not answer leaves the keys as they are.
        let limit = cx.clock().sleep(OPERATION);
        let Either::Left((Ok((looked, mode)), _)) = select(look, limit).await else {
            return;
        };
        let problems = [
            looked.err().map(|error| Problem::unread(&error)),
            mode.map(Problem::mode),
        ];
        for (problem, name) in problems
            .into_iter()
            .zip(["fleet_seal_keys_unread", "fleet_seal_keys_mode"])
        {
            let about = (String::new(), name);
            match problem {
                Some(problem) if self.with_warned(|warned| warned.insert(about.clone())) => {
                    self.warn(cx, None, problem);
                }
                Some(_) => {}
                None => {
                    self.with_warned(|warned| warned.remove(&about));
                }
            }
        }
    }

    /// What the store answers within its time.
    async fn limited<T, F>(&self, cx: &RefreshContext, limit: Limit, call: F) -> Result<T, Alone>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let Limit { limit, is_short } = limit;
        let failed = match own_runtime() {
            Err(error) => StoreError::new("the fleet's store is not asked: no thread was started")
                .with_source(error),
            Ok(runtime) => {
                let mut call = OnDrop(runtime.spawn(call));
                let began = cx.clock().monotonic();
                let mut answer = select(&mut call, cx.clock().sleep(limit)).await;
                // A limit that is noticed late tells of a process that was stopped or starved, and
                // nothing of the store: once more.
                let took = cx.clock().monotonic().saturating_sub(began);
                if matches!(answer, Either::Right(_)) && took > limit + limit / 4 {
                    answer = select(&mut call, cx.clock().sleep(limit)).await;
                }
                match answer {
                    Either::Left((Ok(Ok(answer)), _)) => return Ok(answer),
                    Either::Left((Ok(Err(error)), _)) => error,
                    Either::Left((Err(error), _)) => {
                        StoreError::new("the fleet's store panicked: report it to its author")
                            .with_source(error)
                    }
                    Either::Right(_) if is_short => return Err(Alone),
                    Either::Right(_) => StoreError::new(format!(
                        "the fleet's store did not answer within {} ms: check that it runs and can \
                         be reached",
                        limit.as_millis()
                    )),
                }
            }
        };
        self.failed(cx, &failed);
        Err(Alone)
    }

    /// Leaves the store alone, and says so unless another refresh has just done it.
    fn failed(&self, cx: &RefreshContext, error: &StoreError) {
        let process = self.process.get();
        let (now, next) = (now(cx), now(cx) + millis(PAUSE));
        process.counts.failures.fetch_add(1, Ordering::Relaxed);
        process.left_alone_until.store(next, Ordering::Release);
        let said = process.said_until.load(Ordering::Acquire);
        let is_first = said <= now
            && process
                .said_until
                .compare_exchange(said, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if is_first {
            self.warn(cx, None, Problem::failed(error, PAUSE.as_secs()));
        }
    }

    /// Asks for the store's notices beside whatever follows.
    fn tell_notices(&self, cx: &RefreshContext) {
        let Ok(runtime) = own_runtime() else { return };
        let (store, cx) = (Arc::clone(&self.store), cx.clone());
        runtime.spawn(async move {
            let asked = std::pin::pin!(store.notices());
            let Either::Left((notices, _)) = select(asked, cx.clock().sleep(READY)).await else {
                return;
            };
            for notice in notices {
                let Problem { name, text } = Problem::notice(notice);
                cx.warn(name, text, [("store", format!("{store:?}"))]);
            }
        });
    }

    fn with_warned<T>(&self, change: impl FnOnce(&mut BTreeSet<(String, &'static str)>) -> T) -> T {
        let process = self.process.get();
        let mut warned = process
            .warned
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut warned)
    }
}

/// A task that ends when it is no longer waited for.
struct OnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for OnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx)
    }
}

impl<T> Drop for OnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn now(cx: &RefreshContext) -> u64 {
    millis(cx.clock().monotonic())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
