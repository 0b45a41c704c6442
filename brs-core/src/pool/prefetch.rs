//! Fetching the credentials of many keys.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use super::{PoolKey, SessionPool};
use crate::kit::error::Error;

/// How many keys are under way at a time: enough for every rate that a limiter allows, while an
/// ordinary caller's key is not behind thousands.
const UNDER_WAY: usize = 256;

/// The outcomes of [`SessionPool::prefetch`], as they come. Await it for all of them.
#[must_use = "nothing is fetched unless it is awaited or read"]
pub struct Prefetch<K>(BoxStream<'static, (K, Result<(), Error>)>);

/// What became of the keys of a prefetch, in the order in which they were done.
#[derive(Clone, Debug)]
pub struct PrefetchReport<K> {
    outcomes: Vec<(K, Result<(), Error>)>,
}

impl<K> PrefetchReport<K> {
    /// All outcomes.
    pub fn outcomes(&self) -> &[(K, Result<(), Error>)] {
        &self.outcomes
    }

    /// Those that failed.
    pub fn failures(&self) -> impl Iterator<Item = (&K, &Error)> {
        self.outcomes
            .iter()
            .filter_map(|(key, outcome)| Some((key, outcome.as_ref().err()?)))
    }

    /// Whether none failed.
    pub fn is_complete(&self) -> bool {
        self.failures().next().is_none()
    }
}

impl<K> IntoIterator for PrefetchReport<K> {
    type Item = (K, Result<(), Error>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.outcomes.into_iter()
    }
}

pub(super) fn prefetch<K: PoolKey>(
    pool: SessionPool<K>,
    keys: impl Iterator<Item = K> + Send + 'static,
    deadline: Duration,
) -> Prefetch<K> {
    // The deadline counts from the first look.
    let outcomes = futures_util::stream::once(async move {
        // Reads the configuration that the clock is part of.
        let _ = pool.0.common();
        let until = pool.0.clock().monotonic().saturating_add(deadline);
        futures_util::stream::iter(keys)
            .map(move |key| {
                let pool = pool.clone();
                async move {
                    let outcome = fetch(&pool, &key, until, deadline).await;
                    (key, outcome)
                }
            })
            .buffer_unordered(UNDER_WAY)
    });
    Prefetch(outcomes.flatten().boxed())
}

/// Fetches one set; tries again while that may help and time is left.
async fn fetch<K: PoolKey>(
    pool: &SessionPool<K>,
    key: &K,
    until: Duration,
    deadline: Duration,
) -> Result<(), Error> {
    let session = pool.get(key)?;
    let clock = session.clock().clone();
    let left = || until.saturating_sub(clock.monotonic());
    let mut time_is_up = clock.sleep(left());
    let late = |last: Option<Error>| {
        let error = Error::connection(format!(
            "not fetched within the {deadline:?} of the prefetch: allow more time, or more calls a second"
        ));
        match last {
            Some(last) => error.with_source(last),
            None => error,
        }
    };
    session.engine().spread_first();
    let mut last = None;
    loop {
        let error = tokio::select! {
            biased;
            fetched = session.credentials() => match fetched {
                Ok(_) => return Ok(()),
                Err(error) => error,
            },
            () = &mut time_is_up => return Err(late(last)),
        };
        if error.is_unrecoverable() {
            return Err(error);
        }
        let allowed = error.refresh_allowed_at().map(|at| {
            at.duration_since(clock.now())
                .unwrap_or_default()
                .max(Duration::from_millis(100))
        });
        let wait = allowed.unwrap_or(Duration::from_secs(1));
        if wait >= left() {
            return Err(error);
        }
        last = Some(error);
        tokio::select! {
            biased;
            () = clock.sleep(wait) => {}
            () = &mut time_is_up => return Err(late(last)),
        }
    }
}

impl<K: Send + 'static> IntoFuture for Prefetch<K> {
    type Output = PrefetchReport<K>;
    type IntoFuture = BoxFuture<'static, PrefetchReport<K>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let outcomes = self.0.collect().await;
            PrefetchReport { outcomes }
        })
    }
}

impl<K> Stream for Prefetch<K> {
    type Item = (K, Result<(), Error>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl<K> fmt::Debug for Prefetch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefetch").finish_non_exhaustive()
    }
}
