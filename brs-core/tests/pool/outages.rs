//! How a source that is down is called, and what has nothing to do with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use brs_core::test_util::{Gate, ManualClock, Scripted, Step};
use brs_core::{
    Error, Limiter, RefreshContext, RefreshStrategy, SessionPool, TemporaryCredentials,
};
use futures_util::future::join_all;

use crate::pacing::{at_rest, pass_time};
use crate::source::*;

/// A pool whose sessions all have this script, and a limiter that alone keeps nobody waiting.
fn scripted(script: &Scripted, clock: &ManualClock) -> SessionPool<u32> {
    let (script, clock) = (script.clone(), clock.clone());
    SessionPool::with_strategy(move |_: &u32| script.clone())
        .options(|session| session.clock(clock))
        .limiter(Limiter::adaptive(100_000, 100_000))
        .build()
}

fn refused() -> Step {
    Step::Fail(Error::request("unavailable").with_status(503).retryable())
}

pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(30);
    assert!(tokio::time::timeout(limit, wait).await.is_ok(), "in vain");
}

/// What these keys get, asked for together.
async fn get(pool: &SessionPool<u32>, keys: std::ops::Range<u32>) -> Vec<Result<(), Error>> {
    let sessions: Vec<_> = keys.map(|key| pool.get(&key).unwrap()).collect();
    let asked = sessions.iter().map(|session| session.credentials());
    let answers = join_all(asked).await.into_iter();
    answers.map(|answer| answer.map(drop)).collect()
}

#[tokio::test]
async fn after_a_failure_of_the_source_callers_ask_it_one_after_the_other_until_it_answers() {
    let (gate, clock) = (Gate::new(), clock());
    let script = Scripted::always(Step::After(gate.clone(), Box::new(refused())));
    let pool = scripted(
        &script.clone().first([refused(), refused(), refused()]),
        &clock,
    );
    assert!(get(&pool, 0..1).await[0].is_err());
    assert_eq!(script.calls(), 3);
    let asks = get(&pool, 1..21);
    let looks = async {
        until(|| pool.status().awaited == 19 && script.calls() == 4).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(asks, looks);
    assert!(answers.iter().all(|answer| {
        answer
            .as_ref()
            .is_err_and(|error| error.status() == Some(503))
    }));
    // Each asks once: the next one finds out whether the source is back.
    assert_eq!((script.calls(), script.most_running()), (3 + 20, 1));
    // The first answer ends it: the others do not wait for one another.
    let gate = Gate::new();
    script.then([Step::Fresh(HOUR)]);
    script.otherwise(Step::After(gate.clone(), Box::new(Step::Fresh(HOUR))));
    let asks = get(&pool, 100..120);
    let looks = async {
        until(|| script.running() == 19).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(asks, looks);
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_no_caller_waits_for_is_asked_once_a_second_while_the_source_is_down() {
    const KEYS: usize = 100;
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock)
        .limiter(Limiter::adaptive(10, 10))
        .build();
    let keys = 0..KEYS as u32;
    let fetch = pool.prefetch(keys.clone(), seconds(60));
    let fetched = pass_time(&pool, &clock, Duration::from_millis(100), fetch);
    assert!(fetched.await.is_complete());
    let sessions: Vec<_> = keys.map(|key| pool.get(&key).unwrap()).collect();
    source.is_dead.store(true, Ordering::SeqCst);
    // All are due, and none is urgent.
    clock.advance(seconds(2700));
    let before = source.calls().len();
    for _ in 0..200 {
        at_rest(&pool).await;
        clock.advance(Duration::from_millis(100));
    }
    at_rest(&pool).await;
    // Those that were on their way when the first one failed, and one a second.
    let calls = source.calls().len() - before;
    assert!((15..=10 + 21).contains(&calls), "{calls}");
    source.is_dead.store(false, Ordering::SeqCst);
    let recovered = source.calls().len();
    // The pauses of those that failed last no longer than until their sets are urgent.
    for _ in 0..700 {
        at_rest(&pool).await;
        clock.advance(seconds(1));
    }
    at_rest(&pool).await;
    assert!(source.calls().len() >= recovered + KEYS, "all are renewed");
    for session in &sessions {
        let ready = futures_util::FutureExt::now_or_never(session.credentials());
        assert!(ready.is_some_and(|set| set.is_ok()));
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_slows_nobody_down() {
    let (gate, clock) = (Gate::new(), clock());
    let denied = Step::Fail(Error::request("denied").with_status(403).unrecoverable());
    let script = Scripted::always(Step::After(gate.clone(), Box::new(Step::Fresh(HOUR))));
    let pool = scripted(&script.clone().first([denied]), &clock);
    assert!(get(&pool, 0..1).await[0].is_err());
    let asks = get(&pool, 1..21);
    let looks = async {
        until(|| script.running() == 20).await;
        gate.open();
    };
    let (answers, ()) = tokio::join!(asks, looks);
    assert!(answers.iter().all(Result::is_ok));
}

/// A script at an endpoint.
#[derive(Debug)]
struct At(&'static str, Scripted);

#[async_trait::async_trait]
impl RefreshStrategy for At {
    fn method(&self) -> &'static str {
        self.1.method()
    }

    fn source(&self) -> &'static str {
        self.1.source()
    }

    fn endpoint(&self) -> Option<&str> {
        Some(self.0)
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.1.refresh(cx).await
    }
}

/// A pool whose even keys are at one endpoint, and the others at another one.
fn at_two(east: &Scripted, west: &Scripted, clock: &ManualClock) -> SessionPool<u32> {
    let (east, west, clock) = (east.clone(), west.clone(), clock.clone());
    SessionPool::with_strategy(move |key: &u32| match key % 2 {
        0 => At("east", east.clone()),
        _ => At("west", west.clone()),
    })
    .options(|session| session.clock(clock))
    .limiter(Limiter::adaptive(1, 1))
    .build()
}

#[tokio::test]
async fn each_endpoint_has_a_limit_of_its_own() {
    let (script, clock) = (Scripted::always(Step::Fresh(HOUR)), clock());
    let pool = at_two(&script, &script, &clock);
    // Time stands still, and so there is one call for each.
    for key in [0, 1] {
        let session = pool.get(&key).unwrap();
        let set = tokio::time::timeout(Duration::from_secs(30), session.credentials());
        assert!(set.await.expect("it waits for no other endpoint's").is_ok());
    }
    let third = pool.get(&2).unwrap();
    let waits = futures_util::FutureExt::now_or_never(third.credentials());
    assert!(waits.is_none());
    let status = pool.limiter().status();
    assert_eq!((status.calls, status.awaited), (2, 1));
    assert_eq!(pool.status().awaited, 1);
}

#[tokio::test]
async fn an_endpoint_that_throttles_or_is_down_slows_down_no_other_one() {
    let clock = clock();
    let throttled = Step::Fail(Error::request("slow down").throttled());
    let east = Scripted::always(refused()).first([throttled]);
    let west = Scripted::always(Step::Fresh(HOUR));
    let pool = at_two(&east, &west, &clock);
    let failing = pool.get(&0).unwrap();
    pass_time(
        &pool,
        &clock,
        Duration::from_millis(500),
        failing.credentials(),
    )
    .await
    .unwrap_err();
    let waits = [2, 4].map(|key| pool.get(&key).unwrap());
    for session in &waits {
        assert!(futures_util::FutureExt::now_or_never(session.credentials()).is_none());
    }
    let session = pool.get(&1).unwrap();
    let set = tokio::time::timeout(Duration::from_secs(30), session.credentials());
    assert!(set.await.expect("it waits for no other endpoint's").is_ok());
}
