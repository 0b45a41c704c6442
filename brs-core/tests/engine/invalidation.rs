//! Invalidations by the user and rejections by services.

use brs_core::test_util::{Scripted, Step};
use brs_core::{Event, RefreshBackoff, RefreshReason};

use crate::common::*;

#[tokio::test]
async fn after_an_invalidation_the_next_call_waits_for_a_new_set() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    session.invalidate(&key_number(1));
    assert!(session.status().is_invalidated());
    assert_eq!(key(&session).await, key_number(2));
    assert_eq!(strategy.reasons()[1], RefreshReason::Invalidated);
}

#[tokio::test]
async fn invalidating_another_key_does_nothing() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    session.refresh().await.unwrap();
    session.invalidate(&key_number(1));
    assert_eq!(at_once(&session).unwrap(), key_number(2));
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn an_invalidated_set_stays_as_fallback() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    session.invalidate(&key_number(1));
    assert_eq!(key(&session).await, key_number(1));
}

#[tokio::test]
async fn an_invalidation_respects_a_running_backoff() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(MANDATORY);
    key(&session).await;
    for _ in 0..100 {
        session.invalidate(&key_number(1));
        assert_eq!(at_once(&session).unwrap(), key_number(1));
    }
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn an_eager_session_replaces_an_invalidated_set_before_anybody_asks() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    let mut events = session.events();
    clock.sleepers(1).await;
    session.invalidate(&key_number(1));
    assert_eq!(
        succeeded(&mut events).await,
        key_number(2),
        "though the task sleeps on"
    );
}

#[tokio::test]
async fn an_eager_session_respects_the_backoff_after_an_invalidation() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    strategy.otherwise(Step::Fail(dead()));
    session.refresh().await.unwrap_err();
    session.invalidate(&key_number(1));
    assert!(!session.status().is_refreshing());
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn a_healthy_set_ends_the_pace_of_rejections() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    for number in 1..=4 {
        assert_eq!(key(&session).await, key_number(number));
        session.report_rejected(&key_number(number));
        clock.advance(seconds(100));
    }
    assert_eq!(key(&session).await, key_number(5));
    clock.advance(MANDATORY);
    assert_eq!(
        key(&session).await,
        key_number(6),
        "the fifth has lived through its first minute"
    );
    session.report_rejected(&key_number(6));
    assert_eq!(key(&session).await, key_number(7));
    clock.advance(seconds(5));
    session.report_rejected(&key_number(7));
    assert_eq!(
        key(&session).await,
        key_number(8),
        "and the waits start over"
    );
}

#[tokio::test]
async fn a_service_that_rejects_everything_does_not_become_a_storm() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    for _ in 0..600 {
        let key = key(&session).await;
        session.report_rejected(&key);
        clock.advance(seconds(1));
    }
    // Honoured at once, then after 5, 10, 20, 40, 80, 160 and 300 s: 8 in ten minutes, after the
    // first set.
    assert!(
        (7..=9).contains(&strategy.calls()),
        "{} calls",
        strategy.calls()
    );
}

#[tokio::test]
async fn a_rejection_that_is_passed_over_is_told() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let mut events = session.events();
    for number in [1, 2] {
        key(&session).await;
        session.report_rejected(&key_number(number));
    }
    let from = so_far(&mut events)
        .into_iter()
        .find_map(|event| match event {
            Event::RejectionPassedOver { honoured_from, .. } => Some(honoured_from),
            _ => None,
        });
    assert_eq!(from, Some(start() + seconds(5)));
    assert_eq!(at_once(&session).unwrap(), key_number(2));
}

#[tokio::test]
async fn a_rejection_after_the_first_minute_is_honoured_at_once() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    for number in 1..10 {
        assert_eq!(key(&session).await, key_number(number));
        clock.advance(seconds(60));
        session.report_rejected(&key_number(number));
    }
}

#[tokio::test]
async fn a_dead_source_whose_set_is_rejected_is_asked_as_the_backoff_allows() {
    let (strategy, clock) = (
        Scripted::always(Step::Fail(dead())).first([Step::Fresh(HOUR)]),
        clock(),
    );
    let session = session(&strategy, &clock).await;
    key(&session).await;
    for _ in 0..600 {
        session.report_rejected(&key_number(1));
        assert_eq!(key(&session).await, key_number(1));
        clock.advance(seconds(1));
    }
    assert!(strategy.calls() <= 4, "{} calls", strategy.calls());
}

#[tokio::test]
async fn a_rejection_ends_the_wait_that_a_failure_with_a_valid_set_has_left() {
    for (backoff, starts) in [
        (RefreshBackoff::Adaptive, true),
        (RefreshBackoff::uniform(HOUR / 12, HOUR / 6), false),
    ] {
        let (strategy, clock) = (hourly(), clock());
        let session = builder(&strategy, &clock)
            .refresh_backoff(backoff)
            .build()
            .await
            .unwrap();
        let mut events = session.events();
        key(&session).await;
        strategy.otherwise(Step::Fail(dead()));
        clock.advance(ADVISORY);
        key(&session).await;
        failed(&mut events).await;
        assert_eq!(
            (at_once(&session).unwrap(), strategy.calls()),
            (key_number(1), 2),
            "a wait is running"
        );
        // One flight, whose failure starts a wait again, and no more for further rejections of the
        // same set.
        session.report_rejected(&key_number(1));
        assert_eq!(session.status().refresh_allowed_at().is_none(), starts);
        assert_eq!(key(&session).await, key_number(1));
        session.report_rejected(&key_number(1));
        assert_eq!(at_once(&session).unwrap(), key_number(1));
        assert_eq!(strategy.calls(), if starts { 3 } else { 2 });
    }
}

#[tokio::test]
async fn a_rejection_after_one_glitch_gets_a_new_set_at_once() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let mut events = session.events();
    key(&session).await;
    strategy.then([Step::Fail(dead())]);
    clock.advance(ADVISORY);
    key(&session).await;
    failed(&mut events).await;
    session.report_rejected(&key_number(1));
    assert_eq!(key(&session).await, key_number(2));
}

#[tokio::test]
async fn an_invalidation_by_the_user_ends_no_wait() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let mut events = session.events();
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(ADVISORY);
    key(&session).await;
    failed(&mut events).await;
    session.invalidate(&key_number(1));
    assert_eq!(
        (at_once(&session).unwrap(), strategy.calls()),
        (key_number(1), 2)
    );
}
