//! The strategy around a strategy.
//!
//! What a store does at a refresh is its own ([`Sharing`]); everything else is handed on to the
//! strategy that it stands around. A strategy without a fingerprint shares nothing, which is said
//! once, when the session is opened.
//!
//! The fingerprint may change under an open session: the token's file gets another subject's token,
//! the profile other keys. So it is computed for each refresh, and again after the source has
//! answered: what the source said is stored only under a key that was true before and after.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use brs_core::{
    BaseSession, Blocking, Error, Fingerprint, Identity, IntoStrategy, RefreshContext,
    RefreshStrategy, SessionBuilder, TemporaryCredentials,
};
use futures_util::future::{Either, select};

use crate::entry::{Entry, Owner, is_of_source};
use crate::key::Key;

/// Where credentials are shared. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store(Arc<dyn Sharing>);

impl Store {
    pub(crate) fn new(sharing: impl Sharing + 'static) -> Self {
        Self(Arc::new(sharing))
    }
}

/// What a kind of store does at a refresh.
#[async_trait]
pub(crate) trait Sharing: fmt::Debug + Send + Sync {
    /// A set from the store, or from `source`, whose set then goes into the store.
    async fn refresh(
        &self,
        source: &Source,
        key: &Key,
        cx: &RefreshContext,
    ) -> Result<TemporaryCredentials, Error>;
}

/// The strategy that is shared, during one refresh: it notes whether it was asked.
#[derive(Debug)]
pub(crate) struct Source {
    told: Told,
    /// What the fingerprint was when the refresh began.
    key: Key,
    was_asked: AtomicBool,
}

impl Source {
    pub(crate) async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.was_asked.store(true, Ordering::Relaxed);
        self.told.strategy.refresh(cx).await
    }

    /// Asks, and gives beside the answer the entry that tells others of it, in place of the one
    /// that was there before; none if the answer may be that to somebody else, or is a failure that
    /// others need not have.
    pub(crate) async fn ask(
        &self,
        cx: &RefreshContext,
        before: Option<&Entry>,
        generation: impl FnOnce() -> u64,
    ) -> (Result<TemporaryCredentials, Error>, Option<Entry>) {
        let clock = cx.clock();
        let began = clock.monotonic();
        let answer = self.refresh(cx).await;
        let took = clock.monotonic().saturating_sub(began);
        let now = clock.now();
        if let Err(error) = &answer
            && !is_of_source(error, self.interactive())
        {
            return (answer, None);
        }
        if self.told.key(cx).await.as_ref() != Some(&self.key) {
            tracing::debug!("who asks for the credentials has changed: they are not shared");
            return (answer, None);
        }
        let (generation, owner) = (generation(), Owner::this());
        let entry = match &answer {
            Ok(set) => {
                let set = set.clone();
                // The source answered at some time of the call: its clock shows this at the most.
                let source_now = set.server_time().and_then(|then| then.checked_add(took));
                let set = match source_now {
                    Some(source_now) => set.with_server_time(source_now),
                    None => set,
                };
                Entry::with_set(generation, &owner, set, now, took)
            }
            Err(error) => {
                let attempt = cx.attempt();
                let is_again = self.told.failed.swap(attempt, Ordering::Relaxed) == attempt;
                Entry::with_failure(generation, &owner, before, error, now, is_again)
            }
        };
        (answer, Some(entry))
    }
}

/// How long computing a fingerprint may take: it may read files.
const TELLING: Duration = Duration::from_secs(5);

/// A strategy, and where its fingerprint is computed.
#[derive(Clone, Debug)]
struct Told {
    strategy: Arc<dyn RefreshStrategy>,
    place: Blocking,
    /// The [`attempt`](RefreshContext::attempt) that failed last: it tells the further tries of one
    /// refresh, as behind a limiter, from the next refresh.
    failed: Arc<AtomicU32>,
}

fn told(strategy: &dyn RefreshStrategy) -> Option<Fingerprint> {
    strategy.fingerprint()?.complete()
}

impl Told {
    /// The key of now; `None` if it cannot be told.
    async fn key(&self, cx: &RefreshContext) -> Option<Key> {
        let strategy = Arc::clone(&self.strategy);
        let key = move || told(&*strategy).as_ref().map(Key::of);
        let key = std::pin::pin!(self.place.run(key));
        let limit = TELLING.min(cx.time_left() / 2);
        match select(key, cx.clock().sleep(limit)).await {
            Either::Left((key, _)) => key.ok().flatten(),
            Either::Right(_) => None,
        }
    }
}

/// What a call to the source takes if nobody knows better.
const USUAL_CALL: Duration = Duration::from_secs(5);

/// How long to wait for others with this much left of the flight, so that a call of this session's
/// is possible afterwards: it usually takes as long as the last one did.
pub(crate) fn patience(left: Duration, last_call: Option<Duration>) -> Duration {
    let call = last_call.map_or(USUAL_CALL, |last| last.max(USUAL_CALL));
    left - call.min(left / 2)
}

impl Deref for Source {
    type Target = dyn RefreshStrategy;

    fn deref(&self) -> &Self::Target {
        &*self.told.strategy
    }
}

/// A strategy whose credentials are shared with others that would get the same.
#[derive(Debug)]
pub struct Shared {
    source: Told,
    store: Store,
}

impl Shared {
    /// Shares the credentials of `strategy` through `store`.
    pub fn new(strategy: impl IntoStrategy, store: impl Into<Store>) -> Self {
        let strategy = strategy.into_strategy();
        if told(&*strategy).is_none() {
            tracing::warn!(
                method = strategy.method(),
                "the credentials are not shared: what decides them cannot be told; if it is the base \
                 credentials, name who they are with `asker_name`"
            );
        }
        Self {
            source: Told {
                strategy,
                place: Blocking::new(),
                failed: Arc::default(),
            },
            store: store.into(),
        }
    }
}

#[async_trait]
impl RefreshStrategy for Shared {
    fn method(&self) -> &'static str {
        self.source.strategy.method()
    }

    fn source(&self) -> &'static str {
        self.source.strategy.source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let Some(key) = self.source.key(cx).await else {
            return self.source.strategy.refresh(cx).await;
        };
        let source = Source {
            told: self.source.clone(),
            key,
            was_asked: AtomicBool::new(false),
        };
        let result = self.store.0.refresh(&source, &source.key, cx).await;
        if !source.was_asked.into_inner() {
            cx.source_was_not_asked();
        }
        result
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        self.source.strategy.identity(credentials).await
    }

    fn role(&self) -> Option<&str> {
        self.source.strategy.role()
    }

    fn profile(&self) -> Option<&str> {
        self.source.strategy.profile()
    }

    fn region(&self) -> Option<&str> {
        self.source.strategy.region()
    }

    fn endpoint(&self) -> Option<&str> {
        self.source.strategy.endpoint()
    }

    fn base_session(&self) -> Option<&BaseSession> {
        self.source.strategy.base_session()
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.source.strategy.fingerprint()
    }

    fn wrapped(&self) -> Option<&dyn RefreshStrategy> {
        Some(&*self.source.strategy)
    }

    fn static_stability(&self) -> bool {
        self.source.strategy.static_stability()
    }

    fn interactive(&self) -> bool {
        self.source.strategy.interactive()
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        self.source.strategy.refresh_timeout()
    }
}

/// Sharing, as an option of a session.
pub trait SharedExt: sealed::Sealed {
    /// Shares the session's credentials through a store with every other session that would get
    /// the same.
    #[must_use]
    fn shared(self, store: impl Into<Store>) -> Self;
}

impl SharedExt for SessionBuilder {
    fn shared(self, store: impl Into<Store>) -> Self {
        let store = store.into();
        self.wrap_strategy(move |strategy| Ok(Arc::new(Shared::new(strategy, store.clone()))))
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for brs_core::SessionBuilder {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_fits_behind_the_wait_for_others() {
        let seconds = Duration::from_secs;
        assert_eq!(patience(seconds(30), None), seconds(25));
        assert_eq!(patience(seconds(30), Some(seconds(1))), seconds(25));
        assert_eq!(patience(seconds(30), Some(seconds(10))), seconds(20));
        assert_eq!(patience(seconds(30), Some(seconds(40))), seconds(15));
        assert_eq!(patience(seconds(4), None), seconds(2));
    }
}
