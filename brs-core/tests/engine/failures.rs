//! What a caller gets when the source fails, row by row, and how often the source is asked.

use std::time::Duration;

use brs_core::test_util::{Scripted, Step};
use brs_core::{AdvisoryRefresh, ErrorKind, Event, RefreshBackoff, TemporaryCredentials};

use crate::common::*;

const BACKGROUND: AdvisoryRefresh = AdvisoryRefresh::Background;
const FOREGROUND: AdvisoryRefresh = AdvisoryRefresh::Foreground;

/// A session that has a set and whose source fails from now on.
pub(super) async fn failing(
    strategy: &Scripted,
    clock: &brs_core::test_util::ManualClock,
    mode: AdvisoryRefresh,
    error: brs_core::Error,
) -> brs_core::RefreshableSession {
    let session = builder(strategy, clock)
        .advisory_refresh(mode)
        .build()
        .await
        .unwrap();
    key(&session).await;
    strategy.otherwise(Step::Fail(error));
    session
}

#[tokio::test]
async fn a_recoverable_failure_serves_the_valid_set_and_backs_off() {
    for mode in [BACKGROUND, FOREGROUND] {
        let (strategy, clock) = (hourly(), clock());
        let session = failing(&strategy, &clock, mode, dead()).await;
        let mut events = session.events();
        clock.advance(ADVISORY);
        assert_eq!(key(&session).await, key_number(1));
        failed(&mut events).await;
        for _ in 0..1000 {
            assert_eq!(at_once(&session).unwrap(), key_number(1));
        }
        assert_eq!(strategy.calls(), 2, "the backoff holds the source off");
        let status = session.status();
        assert_eq!(status.consecutive_failures(), 1);
        assert_eq!(status.last_error().unwrap().to_string(), dead().to_string());
        let wait = status
            .refresh_allowed_at()
            .unwrap()
            .duration_since(start() + ADVISORY)
            .unwrap();
        assert!(
            (seconds(300)..=seconds(600)).contains(&wait),
            "half of 900 s, at most 5 to 10 min: {wait:?}"
        );
    }
}

#[tokio::test]
async fn while_the_backoff_runs_the_mandatory_window_serves_the_valid_set_at_once() {
    let (strategy, clock) = (hourly(), clock());
    let session = failing(&strategy, &clock, BACKGROUND, dead()).await;
    clock.advance(MANDATORY);
    assert_eq!(
        key(&session).await,
        key_number(1),
        "the waiter gets what is still valid"
    );
    assert_eq!(at_once(&session).unwrap(), key_number(1));
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn past_the_end_a_recoverable_failure_is_the_error_without_static_stability() {
    let (strategy, clock) = (hourly(), clock());
    let session = failing(&strategy, &clock, BACKGROUND, dead()).await;
    clock.advance(2 * HOUR);
    assert_eq!(
        session
            .credentials()
            .await
            .unwrap_err()
            .refresh_allowed_at(),
        None,
        "the flight's own error"
    );
    session.credentials().await.unwrap_err();
    assert_eq!(
        strategy.calls(),
        3,
        "the first failure past the end starts no wait"
    );
    let remembered = at_once(&session).unwrap_err();
    let allowed = remembered
        .refresh_allowed_at()
        .unwrap()
        .duration_since(start() + 2 * HOUR)
        .unwrap();
    assert!(
        (Duration::from_millis(800)..=seconds(1)).contains(&allowed),
        "{allowed:?}"
    );
    assert!(
        remembered.to_string().contains("next one is allowed at"),
        "{remembered}"
    );
    assert_eq!(strategy.calls(), 3);
    clock.advance(seconds(1));
    session.credentials().await.unwrap_err();
    assert_eq!(strategy.calls(), 4, "the backoff is over");
}

#[tokio::test]
async fn past_the_end_a_recoverable_failure_serves_the_expired_set_under_static_stability() {
    for mode in [BACKGROUND, FOREGROUND] {
        let (strategy, clock) = (Scripted::statically_stable(Step::Fresh(HOUR)), clock());
        let session = failing(&strategy, &clock, mode, dead()).await;
        let mut events = session.events();
        clock.advance(2 * HOUR);
        assert!(
            !session.status().is_serving_expired(),
            "nobody has been given it yet"
        );
        for _ in 0..2 {
            assert_eq!(key(&session).await, key_number(1));
        }
        for _ in 0..100 {
            assert_eq!(at_once(&session).unwrap(), key_number(1));
        }
        assert!(!session.ready() && session.status().is_serving_expired());
        let announced = so_far(&mut events)
            .iter()
            .filter(
                |event| matches!(event, Event::ServingExpired { access_key_id, .. } if *access_key_id == key_number(1)),
            )
            .count();
        assert_eq!(
            announced, 2,
            "announced after each failure, and not once per caller"
        );
        assert_eq!(strategy.calls(), 3);
    }
}

#[tokio::test]
async fn serving_an_expired_set_is_announced_after_each_failure() {
    let (strategy, clock) = (Scripted::statically_stable(Step::Fresh(HOUR)), clock());
    let session = failing(&strategy, &clock, BACKGROUND, dead()).await;
    let mut events = session.events();
    clock.advance(2 * HOUR);
    for _ in 0..3 {
        assert_eq!(key(&session).await, key_number(1));
        clock.advance(seconds(60));
    }
    let announced = so_far(&mut events)
        .iter()
        .filter(|event| matches!(event, Event::ServingExpired { .. }))
        .count();
    assert_eq!((announced, strategy.calls()), (3, 4));
}

#[tokio::test]
async fn an_unrecoverable_failure_in_the_foreground_past_the_end_is_the_error_too() {
    let (strategy, clock) = (Scripted::statically_stable(Step::Fresh(HOUR)), clock());
    let session = failing(&strategy, &clock, FOREGROUND, denied()).await;
    clock.advance(2 * HOUR);
    assert!(session.credentials().await.unwrap_err().is_unrecoverable());
    at_once(&session).unwrap_err();
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn the_strategy_is_told_which_attempt_it_is_and_what_it_replaces() {
    let (strategy, clock) = (
        hourly().first([Step::Fail(dead()), Step::Fail(dead())]),
        clock(),
    );
    let session = session(&strategy, &clock).await;
    for _ in 0..4 {
        let _ = session.refresh().await;
    }
    assert_eq!(strategy.attempts(), [1, 2, 3, 1]);
    assert_eq!(
        strategy.previous_access_key_ids(),
        [None, None, None, Some(key_number(1))]
    );
}

#[tokio::test]
async fn a_set_that_expires_during_a_backoff_is_announced_too() {
    let (strategy, clock) = (Scripted::statically_stable(Step::Fresh(HOUR)), clock());
    let session = builder(&strategy, &clock)
        .refresh_backoff(RefreshBackoff::uniform(2 * HOUR, 2 * HOUR))
        .build()
        .await
        .unwrap();
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(MANDATORY);
    key(&session).await;
    let mut events = session.events();
    clock.advance(HOUR);
    assert_eq!(at_once(&session).unwrap(), key_number(1));
    assert!(
        so_far(&mut events)
            .iter()
            .any(|event| matches!(event, Event::ServingExpired { .. }))
    );
}

#[tokio::test]
async fn the_user_decides_on_static_stability() {
    for (chosen, strategy) in [
        (true, hourly()),
        (false, Scripted::statically_stable(Step::Fresh(HOUR))),
    ] {
        let clock = clock();
        let session = builder(&strategy, &clock)
            .static_stability(chosen)
            .build()
            .await
            .unwrap();
        key(&session).await;
        strategy.otherwise(Step::Fail(dead()));
        clock.advance(2 * HOUR);
        assert_eq!(session.credentials().await.is_ok(), chosen);
    }
}

#[tokio::test]
async fn an_unrecoverable_failure_in_the_background_serves_the_valid_set_and_is_reported() {
    let (strategy, clock) = (hourly(), clock());
    let session = failing(&strategy, &clock, BACKGROUND, denied()).await;
    let mut events = session.events();
    clock.advance(ADVISORY);
    assert_eq!(at_once(&session).unwrap(), key_number(1));
    assert!(failed(&mut events).await.is_unrecoverable());
    assert_eq!(at_once(&session).unwrap(), key_number(1));
    let status = session.status();
    assert!(status.last_error().unwrap().is_unrecoverable());
    assert!(
        status.refresh_allowed_at().unwrap() >= start() + ADVISORY + seconds(300),
        "the backoff paces the next try"
    );
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn an_unrecoverable_failure_past_the_end_is_the_error_even_under_static_stability() {
    let (strategy, clock) = (Scripted::statically_stable(Step::Fresh(HOUR)), clock());
    let session = failing(&strategy, &clock, BACKGROUND, denied()).await;
    clock.advance(2 * HOUR);
    assert!(session.credentials().await.unwrap_err().is_unrecoverable());
    assert!(!session.ready());
    for _ in 0..100 {
        at_once(&session).unwrap_err();
    }
    assert_eq!(strategy.calls(), 2, "repeated from memory");
    clock.advance(seconds(5));
    session.credentials().await.unwrap_err();
    assert_eq!(strategy.calls(), 3, "for five seconds");
}

#[tokio::test]
async fn an_unrecoverable_failure_with_nothing_cached_is_repeated_from_memory_for_five_seconds() {
    for mode in [BACKGROUND, FOREGROUND] {
        let (strategy, clock) = (Scripted::always(Step::Fail(denied())), clock());
        let session = builder(&strategy, &clock)
            .advisory_refresh(mode)
            .build()
            .await
            .unwrap();
        session.credentials().await.unwrap_err();
        assert_eq!(at_once(&session).unwrap_err().status(), Some(403));
        clock.advance(Duration::from_millis(4999));
        at_once(&session).unwrap_err();
        assert_eq!(strategy.calls(), 1);
        clock.advance(Duration::from_millis(1));
        session.credentials().await.unwrap_err();
        assert_eq!(strategy.calls(), 2);
    }
}

#[tokio::test]
async fn an_unrecoverable_failure_in_the_foreground_is_the_error_to_whoever_waited() {
    for age in [ADVISORY, MANDATORY] {
        let (strategy, clock) = (hourly(), clock());
        let session = failing(&strategy, &clock, FOREGROUND, denied()).await;
        clock.advance(age);
        assert!(session.credentials().await.unwrap_err().is_unrecoverable());
        assert!(
            at_once(&session).unwrap_err().is_unrecoverable(),
            "repeated from memory"
        );
        assert_eq!(strategy.calls(), 2);
        clock.advance(seconds(5));
        strategy.otherwise(Step::Fresh(HOUR));
        assert_eq!(
            key(&session).await,
            key_number(2),
            "no backoff beyond the five seconds"
        );
    }
}

#[tokio::test]
async fn with_nothing_cached_the_first_failure_starts_no_wait_and_later_ones_do() {
    let (strategy, clock) = (Scripted::always(Step::Fail(dead())), clock());
    let session = session(&strategy, &clock).await;
    session.credentials().await.unwrap_err();
    session.credentials().await.unwrap_err();
    assert_eq!(strategy.calls(), 2, "the second call asks again at once");
    for _ in 0..100 {
        at_once(&session).unwrap_err();
    }
    assert_eq!(strategy.calls(), 2, "then there is a wait");
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        let now = brs_core::Clock::now(&clock);
        let wait = session
            .status()
            .refresh_allowed_at()
            .unwrap()
            .duration_since(now)
            .unwrap();
        longest = longest.max(wait);
        clock.advance(wait);
        session.credentials().await.unwrap_err();
    }
    assert_eq!(strategy.calls(), 22);
    assert!(
        (seconds(48)..=seconds(60)).contains(&longest),
        "doubling up to 60 s, with jitter: {longest:?}"
    );
}

#[tokio::test]
async fn a_success_clears_backoff_memory_and_count() {
    let (strategy, clock) = (hourly(), clock());
    let session = failing(&strategy, &clock, BACKGROUND, dead()).await;
    clock.advance(2 * HOUR);
    for _ in 0..5 {
        session.refresh().await.unwrap_err();
    }
    assert_eq!(session.status().consecutive_failures(), 5);
    strategy.otherwise(Step::Fresh(HOUR));
    session.refresh().await.unwrap();
    let status = session.status();
    assert_eq!(status.consecutive_failures(), 0);
    assert!(status.last_error().is_none() && status.refresh_allowed_at().is_none());
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(2 * HOUR);
    session.credentials().await.unwrap_err();
    assert_eq!(
        session.status().refresh_allowed_at(),
        None,
        "the waits begin again"
    );
}

#[tokio::test]
async fn refresh_ignores_backoff_and_memory() {
    let (strategy, clock) = (Scripted::always(Step::Fail(denied())), clock());
    let session = session(&strategy, &clock).await;
    for calls in 1..10 {
        session.refresh().await.unwrap_err();
        assert_eq!(strategy.calls(), calls);
    }
}

#[tokio::test]
async fn a_set_that_is_already_expired_is_a_recoverable_failure() {
    let clock = clock();
    for lifetime in [Duration::ZERO, Duration::from_millis(999)] {
        let strategy = Scripted::always(Step::Fresh(lifetime));
        let error = session(&strategy, &clock)
            .await
            .credentials()
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (ErrorKind::Credential, false)
        );
        assert!(error.to_string().contains("already expired"), "{error}");
    }
}

#[tokio::test]
async fn a_set_that_no_service_would_accept_is_a_failure() {
    let end = Some(start() + HOUR);
    for (set, problem) in [
        (
            TemporaryCredentials::new("", "s", None, end),
            "access key id is empty",
        ),
        (
            TemporaryCredentials::new("A B", "s", None, end),
            "access key id holds white space",
        ),
        (
            TemporaryCredentials::new("A", "", None, end),
            "secret access key is empty",
        ),
        (
            TemporaryCredentials::new("A", "hush\n", None, end),
            "secret access key holds white space",
        ),
        (
            TemporaryCredentials::new("A", "s", Some(String::new()), end),
            "session token is empty",
        ),
        (
            TemporaryCredentials::new("A", "s", Some("hush\r".into()), end),
            "session token holds white space",
        ),
        (
            TemporaryCredentials::new("A", "s", None, end).with_account_id("1:x"),
            "account id is not 12 digits",
        ),
    ] {
        let error = session(&Scripted::always(Step::Give(set)), &clock())
            .await
            .credentials()
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (ErrorKind::Credential, false)
        );
        assert!(
            error.to_string().contains(problem) && !format!("{error:?}").contains("hush"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_uniform_backoff_waits_as_configured() {
    let (strategy, clock) = (hourly(), clock());
    let backoff = RefreshBackoff::uniform(seconds(42), seconds(42));
    let session = builder(&strategy, &clock)
        .refresh_backoff(backoff)
        .build()
        .await
        .unwrap();
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(MANDATORY);
    key(&session).await;
    assert_eq!(
        session.status().refresh_allowed_at(),
        Some(start() + MANDATORY + seconds(42))
    );
}

#[tokio::test]
async fn a_source_that_is_dead_for_the_whole_advisory_window_is_asked_a_bounded_number_of_times() {
    for step in [Step::Fail(dead()), Step::Fail(denied()), Step::Panic] {
        let (strategy, clock) = (hourly(), clock());
        let session = session(&strategy, &clock).await;
        key(&session).await;
        strategy.otherwise(step);
        clock.advance(ADVISORY);
        for _ in 0..890 {
            assert_eq!(
                key(&session).await,
                key_number(1),
                "no caller sees an error while the set is valid"
            );
            clock.advance(seconds(1));
        }
        assert!(
            (2..=12).contains(&strategy.calls()),
            "{} calls",
            strategy.calls()
        );
    }
}

#[tokio::test]
async fn a_panicking_strategy_is_an_error_and_the_session_goes_on() {
    let (strategy, clock) = (hourly().first([Step::Panic]), clock());
    let session = session(&strategy, &clock).await;
    let error = session.credentials().await.unwrap_err();
    assert!(
        error.to_string().contains("panicked") && error.is_retryable(),
        "{error}"
    );
    assert_eq!(key(&session).await, key_number(1));
}

#[tokio::test]
async fn all_waiters_get_the_same_failure() {
    let gate = brs_core::test_util::Gate::new();
    let clock = clock();
    let strategy = Scripted::always(Step::After(gate.clone(), Box::new(Step::Fail(dead()))));
    let session = session(&strategy, &clock).await;
    let mut waiters: Vec<_> = (0..1000).map(|_| Box::pin(session.credentials())).collect();
    for waiter in &mut waiters {
        assert!(futures_util::FutureExt::now_or_never(waiter.as_mut()).is_none());
    }
    gate.open();
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap_err().to_string(), dead().to_string());
    }
    assert_eq!(strategy.calls(), 1);
}

#[tokio::test]
async fn an_error_names_the_method_that_failed() {
    let (strategy, clock) = (Scripted::always(Step::Fail(dead())), clock());
    let error = session(&strategy, &clock)
        .await
        .credentials()
        .await
        .unwrap_err();
    assert_eq!(error.method(), Some("scripted"));
}

#[tokio::test]
async fn the_same_rejected_set_again_is_a_recoverable_failure() {
    let clock = clock();
    let set = TemporaryCredentials::new("ASIASAME", "s", None, Some(start() + HOUR));
    let strategy = Scripted::always(Step::Give(set));
    let session = session(&strategy, &clock).await;
    key(&session).await;
    session.invalidate("ASIASAME");
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.to_string().contains("ASIASAME") && !error.is_unrecoverable(),
        "{error}"
    );
    assert_eq!(
        at_once(&session).unwrap(),
        "ASIASAME",
        "the old set stays as fallback"
    );
}
