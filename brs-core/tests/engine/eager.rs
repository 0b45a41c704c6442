//! Eager sessions: fetched in the constructor, kept fresh without a caller.

use std::time::Duration;

use brs_core::test_util::{ManualClock, Scripted, Step};
use brs_core::{Clock, RefreshableSession};

use crate::common::*;

/// Moves the clock on in the task's own steps until `done`; while a refresh is running the clock
/// stands still, or it would run into its time limit.
async fn until(clock: &ManualClock, session: &RefreshableSession, done: impl Fn() -> bool) {
    loop {
        clock.sleepers(1).await;
        if !session.status().is_refreshing() {
            if done() {
                return;
            }
            clock.advance(seconds(30));
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_first_set_is_fetched_by_the_constructor() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    assert_eq!(strategy.calls(), 1);
    assert_eq!(at_once(&session).unwrap(), key_number(1));
}

#[tokio::test]
async fn the_first_failure_is_the_constructors() {
    let (strategy, clock) = (Scripted::always(Step::Fail(denied())), clock());
    let error = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(403));
}

#[tokio::test]
async fn it_is_kept_fresh_though_nobody_calls() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    until(&clock, &session, || strategy.calls() >= 5).await;
    assert_eq!(
        at_once(&session).unwrap(),
        key_number(5),
        "no caller waits while the source works"
    );
    let passed = clock.now().duration_since(start()).unwrap();
    assert!(
        passed >= 4 * (ADVISORY - seconds(90)),
        "not before the advisory window: {passed:?}"
    );
    assert!(
        passed <= 4 * ADVISORY + seconds(240),
        "and soon after it begins: {passed:?}"
    );
}

#[tokio::test]
async fn it_tries_again_as_the_backoff_says() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    strategy.otherwise(Step::Fail(dead()));
    until(&clock, &session, || clock.now() >= start() + HOUR).await;
    let calls = strategy.calls();
    assert!(
        (2..=12).contains(&calls),
        "{calls} calls in an advisory window"
    );
    strategy.otherwise(Step::Fresh(HOUR));
    until(&clock, &session, || session.status().refreshes() >= 2).await;
    assert_eq!(session.status().consecutive_failures(), 0);
}

#[tokio::test]
async fn an_invalidated_set_is_replaced_once_the_backoff_allows() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    strategy.otherwise(Step::Fail(dead()));
    session.refresh().await.unwrap_err();
    session.invalidate(&key_number(1));
    strategy.otherwise(Step::Fresh(HOUR));
    until(&clock, &session, || session.status().refreshes() == 2).await;
    assert!(
        clock.now() < start() + seconds(700),
        "and not only in the advisory window"
    );
}

#[tokio::test]
async fn a_stepped_wall_clock_is_noticed_within_thirty_seconds() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    let mut events = session.events();
    clock.sleepers(1).await;
    clock.step_wall(start() + 2 * HOUR);
    clock.advance(seconds(30));
    assert_eq!(succeeded(&mut events).await, key_number(2));
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_not_asked_for_again_and_again() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    strategy.otherwise(Step::Fail(denied()));
    until(&clock, &session, || clock.now() >= start() + 10 * HOUR).await;
    assert!(
        (20..200).contains(&strategy.calls()),
        "{} calls in nine hours past the end",
        strategy.calls()
    );
}

#[tokio::test]
async fn in_the_foreground_too_it_is_kept_fresh() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .advisory_refresh(brs_core::AdvisoryRefresh::Foreground)
        .build()
        .await
        .unwrap();
    until(&clock, &session, || strategy.calls() >= 3).await;
    assert_eq!(at_once(&session).unwrap(), key_number(3));
}

#[tokio::test]
async fn a_strategy_that_asks_a_person_is_not_refreshed_by_a_task() {
    let (strategy, clock) = (Scripted::interactive(Step::Fresh(HOUR)), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    assert_eq!(strategy.calls(), 1);
    // The refresh's own limit may still be ending; a task would sleep for ever.
    let nobody_sleeps = async {
        while clock.sleeping() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(seconds(30), nobody_sleeps)
        .await
        .expect("no task sleeps on the clock");
    clock.advance(ADVISORY);
    assert_eq!(
        key(&session).await,
        key_number(2),
        "but in the foreground, for the caller that starts it"
    );
}

#[tokio::test]
async fn a_first_set_that_has_expired_already_is_asked_for_once_more() {
    let (strategy, clock) = (hourly().first([Step::Fresh(Duration::ZERO)]), clock());
    let session = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    assert_eq!(
        (at_once(&session).unwrap(), strategy.calls()),
        (key_number(2), 2)
    );

    let strategy = Scripted::always(Step::Fresh(Duration::ZERO));
    let error = builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("already expired"), "{error}");
    assert_eq!(strategy.calls(), 2, "once, and no more");

    let strategy = hourly().first([Step::Fail(dead())]);
    builder(&strategy, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap_err();
    assert_eq!(strategy.calls(), 1, "another failure is the constructor's");
}
