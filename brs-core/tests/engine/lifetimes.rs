//! What ends when: the last handle, a closed session.

use std::sync::Arc;

use brs_core::test_util::{Gate, Step};
use brs_core::{ErrorKind, RefreshStrategy};
use futures_util::FutureExt;

use crate::common::*;

/// Waits until nobody but the test holds the strategy: engine, tasks and sets are then gone.
async fn until_freed(strategy: &std::sync::Weak<dyn RefreshStrategy>) {
    while strategy.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_last_handle_ends_task_flight_and_set() {
    let (script, clock) = (hourly(), clock());
    let strategy = script.shared();
    let freed = Arc::downgrade(&strategy);
    let session = brs_core::RefreshableSession::with_strategy(strategy)
        .clock(clock.clone())
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    let mut events = session.events();
    clock.sleepers(1).await;
    script.otherwise(Step::Hang);
    clock.advance(ADVISORY);
    script.called(2).await;
    assert_eq!(script.running(), 1, "a flight is under way");
    drop(session);
    until_freed(&freed).await;
    while script.running() > 0 {
        tokio::task::yield_now().await;
    }
    while events.next().await.is_some() {}
    while clock.sleeping() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_last_handle_ends_a_task_that_sleeps() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    clock.sleepers(1).await;
    drop(session);
    while clock.sleeping() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn configurations_and_providers_keep_the_engine_alive() {
    let (script, clock) = (hourly(), clock());
    let strategy = script.shared();
    let freed = Arc::downgrade(&strategy);
    let session = brs_core::RefreshableSession::with_strategy(strategy)
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let (provider, config) = (session.credentials_provider(), session.sdk_config().clone());
    drop(session);
    assert!(freed.strong_count() > 0);
    drop(provider);
    assert!(freed.strong_count() > 0);
    drop(config);
    until_freed(&freed).await;
}

#[tokio::test]
async fn a_session_dropped_while_others_hold_clones_goes_on() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let clone = session.clone();
    drop(session);
    assert_eq!(key(&clone).await, key_number(1));
}

#[tokio::test]
async fn closing_answers_who_waits_and_every_later_call() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::After(gate, Box::new(Step::Fresh(HOUR)))]);
    let session = session(&strategy, &clock).await;
    let mut waiter = Box::pin(session.credentials());
    assert!(waiter.as_mut().now_or_never().is_none());
    strategy.called(1).await;
    session.close();
    let error = waiter.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("closed"), "{error}");
    for error in [
        at_once(&session).unwrap_err(),
        session.refresh().await.unwrap_err(),
        session.credentials_valid_for(seconds(1)).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("closed"), "{error}");
    }
    assert!(!session.ready() && session.status().access_key_id().is_none());
    while strategy.running() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_flight_outlives_the_last_handle_however_launches_overlap() {
    for _ in 0..300 {
        let clock = clock();
        let strategy =
            brs_core::test_util::Scripted::always(Step::Hang).first([Step::Fail(dead())]);
        let session = session(&strategy, &clock).await;
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move {
                    // The first flight fails without a wait; who comes next starts the one that
                    // hangs.
                    let _ = session.credentials().await.map(drop);
                    let _ = session.credentials().now_or_never();
                })
            })
            .collect();
        drop(session);
        strategy.called(1).await;
        for caller in callers {
            caller.abort();
            let _ = caller.await;
        }
        while strategy.running() > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn closing_ends_the_events() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let mut events = session.events();
    key(&session).await;
    session.close();
    let mut told = 0;
    while events.next().await.is_some() {
        told += 1;
    }
    assert_eq!(told, 2, "what was told before is still read");
    assert!(session.events().next().await.is_none());
}

#[tokio::test]
async fn closing_ends_the_eager_task() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    clock.sleepers(1).await;
    session.close();
    while clock.sleeping() > 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(10 * HOUR);
    assert_eq!(strategy.calls(), 1);
}
