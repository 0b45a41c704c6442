//! Which sessions a pool keeps, keeps fresh, and lets go.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_types::SdkConfig;
use brs_core::test_util::{ManualClock, Scripted, Step};
use brs_core::{Error, Event, MethodParams, PoolEvent, PoolEvents, SessionPool};

use crate::source::*;

async fn key(pool: &SessionPool<u32>, of: u32) -> String {
    let session = pool.get(&of).unwrap();
    session
        .credentials()
        .await
        .unwrap()
        .access_key_id()
        .to_owned()
}

/// The pool's task has done a round after this.
async fn round(clock: &ManualClock) {
    clock.sleepers(1).await;
    clock.advance(seconds(5));
    clock.sleepers(1).await;
}

async fn next<T>(events: &mut PoolEvents<u32>, pick: impl Fn(PoolEvent<u32>) -> Option<T>) -> T {
    loop {
        let event = events.next().await.expect("the pool lives");
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}

#[tokio::test]
async fn one_key_is_one_session_and_getting_it_fetches_nothing() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).build();
    let (one, again) = (pool.get(&1).unwrap(), pool.get(&1).unwrap());
    assert_eq!(pool.status().sessions, 1);
    assert_eq!(source.calls().len(), 0);
    let set = one.credentials().await.unwrap();
    assert_eq!(
        again.credentials().await.unwrap().access_key_id(),
        set.access_key_id()
    );
    assert_ne!(key(&pool, 2).await, set.access_key_id());
    assert_eq!(source.calls().len(), 2);
    let status = pool.status();
    assert_eq!(
        (status.sessions, status.idle),
        (2, 1),
        "one is held by this test"
    );
    assert_eq!(status.oldest_expiry, set.expiration());
}

#[tokio::test]
async fn beyond_the_capacity_the_one_used_longest_ago_goes() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).capacity(2).build();
    let (one, _) = (key(&pool, 1).await, key(&pool, 2).await);
    key(&pool, 1).await;
    key(&pool, 3).await;
    assert_eq!(pool.status().sessions, 2);
    assert_eq!(key(&pool, 1).await, one, "it was used after the other");
    assert_eq!(source.calls().len(), 3);
    key(&pool, 2).await;
    assert_eq!(source.calls().len(), 4, "it had gone");
}

#[tokio::test]
async fn a_session_that_somebody_holds_stays_and_the_pool_grows_and_says_so_once() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).capacity(2).build();
    let mut events = pool.events();
    let held: Vec<_> = (0..5).map(|n| pool.get(&n).unwrap()).collect();
    assert_eq!(pool.status().sessions, 5);
    let grown = |event| match event {
        PoolEvent::Grown { sessions } => Some(sessions),
        _ => None,
    };
    assert_eq!(next(&mut events, grown).await, 3);
    drop(held);
    pool.get(&5).unwrap();
    assert!(pool.status().sessions <= 2, "they are idle now");
    let started = |event| matches!(event, PoolEvent::Session { key: 5, .. }).then_some(());
    key(&pool, 5).await;
    next(&mut events, |event| {
        assert!(grown(event.clone()).is_none(), "once");
        started(event)
    })
    .await;
}

#[tokio::test]
async fn a_session_whose_client_somebody_holds_stays() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).capacity(1).build();
    let client = pool.get(&1).unwrap().client(SdkConfig::clone);
    let one = key(&pool, 1).await;
    // A client that only the pool keeps does not hold a session.
    drop(pool.get(&2).unwrap().client(SdkConfig::clone));
    key(&pool, 3).await;
    assert_eq!(key(&pool, 1).await, one);
    drop(client);
    key(&pool, 4).await;
    assert_ne!(key(&pool, 1).await, one, "it had gone");
}

#[tokio::test]
async fn sessions_are_kept_fresh_without_callers_until_nobody_has_used_them_for_long() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).idle_after(seconds(5000)).build();
    let mut events = pool.events();
    let held = pool.get(&1).unwrap();
    let untouched = pool.get(&2).unwrap();
    let first = held.credentials().await.unwrap();
    key(&pool, 3).await;
    clock.sleepers(1).await;
    clock.advance(seconds(2700));
    let mut fetched = Vec::new();
    while fetched.len() < 4 {
        let key = next(&mut events, |event| match event {
            PoolEvent::Session {
                key,
                event: Event::RefreshSucceeded { .. },
            } => Some(key),
            _ => None,
        });
        fetched.push(key.await);
    }
    fetched.sort_unstable();
    assert_eq!(
        fetched,
        [1, 1, 3, 3],
        "one that was never used is left alone"
    );
    let now = held.credentials().await.unwrap();
    assert_ne!(now.access_key_id(), first.access_key_id());
    drop(untouched);
    clock.sleepers(1).await;
    clock.advance(seconds(2400));
    while pool.status().sessions > 1 {
        round(&clock).await;
    }
    assert_eq!(
        pool.get(&1)
            .unwrap()
            .credentials()
            .await
            .unwrap()
            .access_key_id()
            .get(..5),
        Some("ASIA1")
    );
}

#[tokio::test]
async fn wrong_options_are_said_by_the_first_get() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).capacity(0).build();
    let error = pool.get(&1).unwrap_err();
    assert_eq!(error.param(), Some("capacity"));
    let pool = builder(&source, &clock)
        .options(|session| session.region("EU west"))
        .build();
    assert_eq!(pool.get(&1).unwrap_err().param(), Some("region"));
    assert_eq!(pool.status().sessions, 0);
}

#[tokio::test]
async fn the_pool_ends_with_its_last_handle() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).build();
    key(&pool, 1).await;
    let mut events = pool.events();
    drop(pool);
    while events.next().await.is_some() {}
    source.is_dead.store(true, Ordering::SeqCst);
    assert_eq!(
        Arc::strong_count(&source),
        1,
        "its sessions and their strategies are gone"
    );
}

#[tokio::test]
async fn a_session_that_somebody_closed_is_replaced() {
    let (source, clock) = (Arc::new(Source::default()), clock());
    let pool = builder(&source, &clock).build();
    pool.get(&1).unwrap().close();
    let again = pool.get(&1).unwrap();
    assert!(again.credentials().await.is_ok());
    assert_eq!(pool.status().sessions, 1);
    again.close();
    assert!(pool.prefetch([1], seconds(60)).await.is_complete());
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct LateParams {}

impl MethodParams for LateParams {
    const METHOD: &'static str = "late";
}

/// A constructor that awaits something of tokio's for a moment.
async fn late(_: LateParams, _: brs_core::Setup) -> Result<Scripted, Error> {
    // A timer of tokio's, which only a runtime that is driven ends.
    let wait = tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>());
    let _ = wait.await;
    Ok(Scripted::always(Step::Fresh(HOUR)))
}

brs_core::register_method! {
    summary: "a method of this test",
    params: LateParams,
    build: late,
}

#[test]
fn a_constructor_that_waits_does_not_need_the_callers_runtime() {
    let (done, waited) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let pool = SessionPool::builder(|_: &u32| LateParams {}).build();
            let _ = done.send(pool.get(&1).map(drop).is_ok());
        });
    });
    let answer = waited.recv_timeout(Duration::from_secs(10));
    assert!(answer.is_ok(), "after 10 s `get` has not returned");
}
