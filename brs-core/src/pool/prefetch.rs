//! Fetching the credentials of many keys.

use std::collections::VecDeque;
use std::fmt;
use std::iter::Fuse;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::{FutureExt, StreamExt};

use super::{PoolKey, SessionPool};
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::session::RefreshableSession;

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
    let outcomes = stream::once(async move {
        // Reads the configuration that the clock is part of.
        let _ = pool.0.common();
        let clock = pool.0.clock();
        let until = clock.monotonic().saturating_add(deadline);
        let work = Work {
            pool,
            end: End {
                until,
                deadline,
                clock,
            },
            keys: keys.fuse(),
            again: VecDeque::new(),
            asking: FuturesUnordered::new(),
            waiting: FuturesUnordered::new(),
        };
        stream::unfold(work, async |mut work| {
            let done = work.next().await?;
            Some((done, work))
        })
    });
    Prefetch(outcomes.flatten().boxed())
}

/// The keys of a prefetch that are not done. First tries come before others, and a key that waits
/// takes no place.
struct Work<K, I: Iterator> {
    pool: SessionPool<K>,
    end: End,
    /// Not tried yet.
    keys: Fuse<I>,
    /// To be tried again now.
    again: VecDeque<Job<K>>,
    asking: FuturesUnordered<BoxFuture<'static, (Job<K>, Asked)>>,
    /// To be tried again later.
    waiting: FuturesUnordered<BoxFuture<'static, Job<K>>>,
}

/// A key, and what its last try has left.
struct Job<K> {
    key: K,
    session: Option<RefreshableSession>,
    last: Option<Error>,
}

/// What became of a try.
enum Asked {
    Done(Result<(), Error>),
    Again(Duration),
}

/// When the prefetch ends.
#[derive(Clone)]
struct End {
    until: Duration,
    deadline: Duration,
    clock: Arc<dyn Clock>,
}

impl<K: PoolKey, I: Iterator<Item = K>> Work<K, I> {
    /// The next key that is done.
    async fn next(&mut self) -> Option<(K, Result<(), Error>)> {
        loop {
            while self.asking.len() < UNDER_WAY {
                let new = self.keys.next().map(Job::new);
                let Some(job) = new.or_else(|| self.again.pop_front()) else {
                    break;
                };
                self.asking
                    .push(ask(self.pool.clone(), job, self.end.clone()).boxed());
            }
            tokio::select! {
                biased;
                Some((job, asked)) = self.asking.next() => match asked {
                    Asked::Done(outcome) => return Some((job.key, outcome)),
                    Asked::Again(wait) => {
                        let sleep = self.end.clock.sleep(wait);
                        self.waiting.push(sleep.map(|()| job).boxed());
                    }
                },
                Some(job) = self.waiting.next() => self.again.push_back(job),
                else => return None,
            }
        }
    }
}

impl<K> Job<K> {
    fn new(key: K) -> Self {
        Self {
            key,
            session: None,
            last: None,
        }
    }
}

impl End {
    fn left(&self) -> Duration {
        self.until.saturating_sub(self.clock.monotonic())
    }

    fn late(&self, last: Option<Error>) -> Error {
        let error = Error::connection(format!(
            "not fetched within the {:?} of the prefetch: allow more time, or more calls a second",
            self.deadline
        ));
        match last {
            Some(last) => error.with_source(last),
            None => error,
        }
    }
}

/// Fetches one set, unless the time is up.
async fn ask<K: PoolKey>(pool: SessionPool<K>, mut job: Job<K>, end: End) -> (Job<K>, Asked) {
    let left = end.left();
    if left.is_zero() {
        let late = end.late(job.last.take());
        return (job, Asked::Done(Err(late)));
    }
    let session = match &job.session {
        Some(session) => session.clone(),
        None => match pool.get(&job.key) {
            Ok(session) => session,
            Err(error) => return (job, Asked::Done(Err(error))),
        },
    };
    if job.session.is_none() {
        session.engine().spread_first();
    }
    let asked = tokio::select! {
        biased;
        fetched = session.credentials() => fetched.map(drop),
        () = end.clock.sleep(left) => Err(end.late(job.last.take())),
    };
    let left = end.left();
    let asked = match asked {
        Err(error) if !error.is_unrecoverable() && !left.is_zero() => {
            let allowed = error.refresh_allowed_at().map(|at| {
                at.duration_since(end.clock.now())
                    .unwrap_or_default()
                    .max(Duration::from_millis(100))
            });
            let wait = allowed.unwrap_or(Duration::from_secs(1));
            if wait < left {
                job.last = Some(error);
                Asked::Again(wait)
            } else {
                Asked::Done(Err(error))
            }
        }
        asked => Asked::Done(asked),
    };
    job.session = Some(session);
    (job, asked)
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
