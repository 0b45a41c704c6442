//! Slow sources, and those that refuse some keys: who waits, who is asked next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use brs_core::{
    Error, Limiter, RefreshContext, RefreshStrategy, SessionPool, TemporaryCredentials,
};
use futures_util::future::join_all;
use tokio::sync::watch;

use crate::outages::until;
use crate::pacing::pass_time;
use crate::source::*;

/// A source that does not answer until it recovers.
#[derive(Debug)]
struct Slow {
    calls: Arc<AtomicUsize>,
    recovered: watch::Receiver<bool>,
}

#[async_trait]
impl RefreshStrategy for Slow {
    fn method(&self) -> &'static str {
        "slow"
    }

    fn source(&self) -> &'static str {
        "slow"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _ = self.recovered.clone().wait_for(|is| *is).await;
        let end = cx.clock().now() + HOUR;
        Ok(TemporaryCredentials::new(
            "ASIASLOW",
            "secret",
            None,
            Some(end),
        ))
    }
}

/// Lets calls begin. Those that do not get to it in this time begin later, which is no more often.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_source_that_was_slow_is_not_called_more_often_than_the_limiter_says() {
    let clock = clock();
    let (calls, (recovers, recovered)) = (Arc::new(AtomicUsize::new(0)), watch::channel(false));
    let (of_strategy, on) = (Arc::clone(&calls), clock.clone());
    let pool = SessionPool::with_strategy(move |_: &u32| Slow {
        calls: Arc::clone(&of_strategy),
        recovered: recovered.clone(),
    })
    .options(|session| session.clock(on))
    .limiter(Limiter::adaptive(50, 1))
    .build();
    let sessions: Vec<_> = (0..200).map(|key| pool.get(&key).unwrap()).collect();
    let asks = join_all(sessions.iter().map(|session| session.credentials()));
    let looks = async {
        // As many as run at a time; the permits of ten seconds are not saved up.
        while calls.load(Ordering::SeqCst) < 64 {
            settle().await;
            clock.advance(Duration::from_millis(20));
        }
        for _ in 0..40 {
            settle().await;
            clock.advance(Duration::from_millis(250));
        }
        assert_eq!(calls.load(Ordering::SeqCst), 64);
        recovers.send_replace(true);
        // One whose permit was there, and those of the tokens that come.
        until(|| calls.load(Ordering::SeqCst) > 64).await;
        for step in 1..=25 {
            settle().await;
            let since = calls.load(Ordering::SeqCst) - 64;
            assert!(since <= 2 + step, "{since} calls after {step} tokens");
            clock.advance(Duration::from_millis(20));
        }
        while pool.status().refreshing > 0 {
            settle().await;
            clock.advance(Duration::from_millis(20));
        }
    };
    let (answers, ()) = tokio::join!(asks, looks);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(calls.load(Ordering::SeqCst), 200);
}

/// Answers at once: the first 200 keys are denied, the others are granted.
#[derive(Debug)]
struct HalfDenied {
    key: u32,
}

#[async_trait]
impl RefreshStrategy for HalfDenied {
    fn method(&self) -> &'static str {
        "half-denied"
    }

    fn source(&self) -> &'static str {
        "half-denied"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        if self.key < 200 {
            return Err(Error::request("access denied").unrecoverable());
        }
        let end = cx.clock().now() + HOUR;
        let id = format!("ASIA{}", self.key);
        Ok(TemporaryCredentials::new(id, "secret", None, Some(end)))
    }
}

#[tokio::test]
async fn waiting_for_the_limiter_is_not_a_source_that_does_not_answer() {
    let clock = clock();
    let on = clock.clone();
    let pool = SessionPool::with_strategy(|key: &u32| HalfDenied { key: *key })
        .options(|session| session.clock(on))
        .limiter(Limiter::adaptive(5, 1))
        .build();
    let asked = (0..400).map(|key| {
        let session = pool.get(&key).unwrap();
        async move { (key, session.credentials().await.map(drop)) }
    });
    let step = Duration::from_millis(200);
    let answers = pass_time(&pool, &clock, step, join_all(asked)).await;
    let denied = answers.iter().filter(|(_, answer)| answer.is_err());
    assert!(denied.clone().all(|(key, _)| *key < 200));
    assert_eq!(denied.count(), 200);
}

/// The endpoint of one region is dead, that of the others is well.
#[derive(Debug)]
struct OfRegion {
    key: u32,
}

#[async_trait]
impl RefreshStrategy for OfRegion {
    fn method(&self) -> &'static str {
        "of-region"
    }

    fn source(&self) -> &'static str {
        "of-region"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        if self.key < 256 {
            return Err(Error::connection("the endpoint of this region is dead").retryable());
        }
        let end = cx.clock().now() + HOUR;
        let id = format!("ASIA{}", self.key);
        Ok(TemporaryCredentials::new(id, "secret", None, Some(end)))
    }
}

#[tokio::test]
async fn keys_that_fail_do_not_keep_a_prefetch_from_the_others() {
    let clock = clock();
    let on = clock.clone();
    let pool = SessionPool::with_strategy(|key: &u32| OfRegion { key: *key })
        .options(|session| session.clock(on))
        // 1,256 calls take 126 s of the 300 that there are.
        .limiter(Limiter::adaptive(10, 10))
        .build();
    let step = Duration::from_millis(250);
    let report = pass_time(&pool, &clock, step, pool.prefetch(0..1256, seconds(300))).await;
    let failed: Vec<_> = report.failures().map(|(key, _)| *key).collect();
    assert!(failed.iter().all(|key| *key < 256), "{failed:?}");
    assert_eq!(failed.len(), 256);
}

#[tokio::test]
async fn a_prefetch_may_have_no_deadline() {
    let pool = SessionPool::with_strategy(|key: &u32| OfRegion { key: *key }).build();
    assert!(pool.prefetch([300, 301], Duration::MAX).await.is_complete());
}
