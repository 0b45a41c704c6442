//! How often, and in which order, a pool calls its source.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use brs_core::test_util::ManualClock;
use brs_core::{
    Error, Event, Limiter, PoolEvent, RefreshContext, RefreshStrategy, SessionPool,
    TemporaryCredentials,
};
use futures_util::StreamExt;

use crate::source::*;

/// Lets time pass in steps for as long as `work` takes. A step is taken when nothing is under way.
pub(crate) async fn pass_time<T>(
    pool: &SessionPool<u32>,
    clock: &ManualClock,
    step: Duration,
    work: impl IntoFuture<Output = T>,
) -> T {
    let mut work = std::pin::pin!(IntoFuture::into_future(work));
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = at_rest(pool) => clock.advance(step),
        }
    }
}

pub(crate) async fn at_rest(pool: &SessionPool<u32>) {
    // A sleep that began just after time went on ends later than planned: then nothing moves before
    // time does.
    for _ in 0..5_000 {
        tokio::task::yield_now().await;
        if pool.is_at_rest() {
            return;
        }
    }
}

#[tokio::test]
async fn a_prefetch_reports_every_key_as_it_is_done() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).build();
    let report = pool.prefetch([1, DENIED, 2], seconds(60)).await;
    assert_eq!(report.outcomes().len(), 3);
    assert!(!report.is_complete());
    let failures: Vec<_> = report
        .failures()
        .map(|(key, error)| (*key, error.is_unrecoverable()))
        .collect();
    assert_eq!(failures, [(DENIED, true)]);
    let mut one_by_one = pool.prefetch([1, 2, 3], seconds(60));
    let mut seen = Vec::new();
    while let Some((key, outcome)) = one_by_one.next().await {
        outcome.unwrap();
        seen.push(key);
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(
        source.calls().len(),
        3,
        "what was there is not fetched again"
    );
}

#[tokio::test]
async fn a_prefetch_ends_at_its_deadline_with_an_error_for_each_key_that_is_left() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    source.is_dead.store(true, Ordering::SeqCst);
    let pool = builder(&source, &clock).build();
    let report = pass_time(
        &pool,
        &clock,
        seconds(1),
        pool.prefetch([1, 2], seconds(120)),
    )
    .await;
    assert_eq!(report.failures().count(), 2);
    assert!(
        report
            .failures()
            .all(|(_, error)| !error.is_unrecoverable())
    );
}

#[tokio::test]
async fn a_prefetch_against_a_source_with_a_limit_is_hardly_throttled() {
    let source = Arc::new(Source::granting(50));
    let clock = clock();
    let pool = builder(&source, &clock)
        .limiter(Limiter::adaptive(50, 50))
        .build();
    let report = pass_time(
        &pool,
        &clock,
        Duration::from_millis(5),
        pool.prefetch(0..400, seconds(600)),
    )
    .await;
    assert!(report.is_complete(), "{:?}", report.failures().next());
    // A burst and a second's rate may come within one second of the source's.
    let throttled = source.throttled.load(Ordering::SeqCst);
    assert!(throttled <= 54, "{throttled}");
    assert_eq!(source.calls().len(), 400 + throttled);
}

/// How many calls there were in each span of that length.
pub(crate) fn per(span: Duration, calls: &[Duration]) -> BTreeMap<u128, usize> {
    let mut counted = BTreeMap::new();
    for call in calls {
        *counted
            .entry(call.as_millis() / span.as_millis())
            .or_default() += 1;
    }
    counted
}

/// The keys' sets, fetched at once; the calls after that.
async fn prefetched(pool: &SessionPool<u32>, source: &Source, keys: u32) -> usize {
    let report = pool.prefetch(0..keys, seconds(60)).await;
    assert!(report.is_complete());
    source.calls().len()
}

#[tokio::test]
async fn sets_that_were_fetched_together_are_not_renewed_together() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).build();
    let first = prefetched(&pool, &source, 300).await;
    pass_time(&pool, &clock, seconds(5), async {
        while source.calls().len() < first + 300 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let renewals = &source.calls()[first..first + 300];
    // Half of a window of a quarter of an hour: 450 s.
    let minutes = per(seconds(60), renewals);
    assert!(minutes.len() >= 7, "{minutes:?}");
    assert!(minutes.values().all(|calls| *calls < 100), "{minutes:?}");
}

#[tokio::test]
async fn throttling_slows_the_calls_down_and_is_no_callers_error() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock)
        .limiter(Limiter::adaptive(10, 10))
        .build();
    let mut events = pool.events();
    source.throttles_next.store(2, Ordering::SeqCst);
    let session = pool.get(&1).unwrap();
    pass_time(
        &pool,
        &clock,
        Duration::from_millis(50),
        session.credentials(),
    )
    .await
    .unwrap();
    assert_eq!(source.calls().len(), 3);
    let status = pool.status();
    assert_eq!(status.throttled, 2);
    assert!(status.allowed_per_second < 10.0, "{status:?}");
    let warned = loop {
        if let PoolEvent::Session {
            key: 1,
            event: Event::Warning { name, details, .. },
        } = events.next().await.unwrap()
        {
            break (name, details["calls_per_second"].clone());
        }
    };
    assert_eq!(warned, ("slowed_down", "5.0".to_owned()));
}

#[tokio::test]
async fn a_lost_connection_is_tried_again_as_the_sources_client_would() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).build();
    source.breaks_next.store(2, Ordering::SeqCst);
    pool.get(&1).unwrap().credentials().await.unwrap();
    source.breaks_next.store(3, Ordering::SeqCst);
    assert!(pool.get(&2).unwrap().credentials().await.is_err());
    assert_eq!(source.calls().len(), 6);
}

#[tokio::test]
async fn an_outage_of_ten_minutes_is_no_callers_error_and_ends_without_a_burst() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let limiter = Limiter::adaptive(10, 10);
    let pool = builder(&source, &clock).limiter(limiter).build();
    pass_time(&pool, &clock, Duration::from_millis(100), async {
        assert!(pool.prefetch(0..200, seconds(60)).await.is_complete());
    })
    .await;
    let sessions: Vec<_> = (0..200).map(|key| pool.get(&key).unwrap()).collect();
    // The first advisory windows have begun.
    clock.advance(seconds(2250));
    source.is_dead.store(true, Ordering::SeqCst);
    let mut until_recovery = usize::MAX;
    for step in 0..3000 {
        if step == 600 {
            source.is_dead.store(false, Ordering::SeqCst);
            until_recovery = source.calls().len();
        }
        for session in &sessions {
            let ready = futures_util::FutureExt::now_or_never(session.credentials());
            assert!(ready.expect("no caller waits").is_ok());
        }
        at_rest(&pool).await;
        clock.advance(seconds(1));
        if source.calls().len() >= until_recovery.saturating_add(200) {
            break;
        }
    }
    assert!(
        source.calls().len() >= until_recovery + 200,
        "all are renewed"
    );
    let calls = per(seconds(1), &source.calls());
    let most = calls.values().max().copied().unwrap_or_default();
    assert!(most <= 20, "a burst and a second's rate: {most}");
}

#[tokio::test]
async fn what_waits_in_line_at_its_mandatory_window_is_as_urgent_as_a_caller() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock)
        .limiter(Limiter::adaptive(1, 1))
        .build();
    pass_time(&pool, &clock, seconds(1), async {
        assert!(pool.prefetch(0..60, seconds(600)).await.is_complete());
    })
    .await;
    // All are due, and the last ones in line will not have their turn before they are urgent.
    clock.advance(seconds(3500));
    let mut most = 0;
    for _ in 0..60 {
        at_rest(&pool).await;
        most = most.max(pool.status().awaited);
        clock.advance(seconds(1));
    }
    assert!(
        most > 0,
        "nobody waits for them, and yet they have moved up"
    );
    let callers = (0..60).map(|key| pool.get(&key).unwrap());
    for session in callers {
        pass_time(&pool, &clock, seconds(1), session.credentials())
            .await
            .unwrap();
    }
}

/// Gives sets that come from a store beside the source.
#[derive(Debug)]
struct Stored;

#[async_trait::async_trait]
impl RefreshStrategy for Stored {
    fn method(&self) -> &'static str {
        "stored"
    }

    fn source(&self) -> &'static str {
        "stored"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        cx.source_was_not_asked();
        let end = cx.clock().now() + HOUR;
        Ok(TemporaryCredentials::new(
            "ASIAX",
            "secret",
            None,
            Some(end),
        ))
    }
}

#[tokio::test]
async fn what_comes_from_a_store_does_not_count() {
    let clock = clock();
    let of = clock.clone();
    let pool = SessionPool::with_strategy(|_: &u32| Stored)
        .options(|session| session.clock(of))
        .limiter(Limiter::adaptive(1, 5))
        .build();
    for key in 0..100 {
        pool.get(&key).unwrap().credentials().await.unwrap();
    }
    assert_eq!(pool.limiter().status().calls, 0);
}
