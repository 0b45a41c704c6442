//! What a caller gets in each state, in background and foreground mode, while the source works.

use brs_core::test_util::{Gate, Scripted, Step};
use brs_core::{AdvisoryRefresh, RefreshReason, TemporaryCredentials};
use futures_util::FutureExt;

use crate::common::*;

#[tokio::test]
async fn a_deferred_session_asks_the_source_only_when_credentials_are_needed() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    assert_eq!((strategy.calls(), session.ready()), (0, false));
    assert_eq!(key(&session).await, key_number(1));
    assert_eq!((strategy.calls(), session.ready()), (1, true));
}

#[tokio::test]
async fn before_the_advisory_window_the_cached_set_is_given_at_once() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    clock.advance(ADVISORY - seconds(91));
    for _ in 0..1000 {
        assert_eq!(at_once(&session).unwrap(), key_number(1));
    }
    assert_eq!(strategy.calls(), 1);
}

#[tokio::test]
async fn in_the_advisory_window_everybody_is_answered_at_once_and_one_refresh_runs() {
    let gate = Gate::new();
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    let mut events = session.events();
    strategy.then([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    clock.advance(ADVISORY);
    for _ in 0..1000 {
        assert_eq!(at_once(&session).unwrap(), key_number(1));
    }
    strategy.called(2).await;
    assert!(session.status().is_refreshing());
    gate.open();
    assert_eq!(succeeded(&mut events).await, key_number(2));
    assert_eq!(at_once(&session).unwrap(), key_number(2));
    assert_eq!((strategy.calls(), strategy.most_running()), (2, 1));
    assert_eq!(
        strategy.reasons(),
        [RefreshReason::First, RefreshReason::Advisory]
    );
}

#[tokio::test]
async fn in_the_mandatory_window_callers_wait_for_one_flight() {
    for (age, reason) in [
        (MANDATORY, RefreshReason::Mandatory),
        (2 * HOUR, RefreshReason::Expired),
    ] {
        for mode in [AdvisoryRefresh::Background, AdvisoryRefresh::Foreground] {
            let gate = Gate::new();
            let (strategy, clock) = (hourly(), clock());
            let session = builder(&strategy, &clock)
                .advisory_refresh(mode)
                .build()
                .await
                .unwrap();
            key(&session).await;
            strategy.then([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
            clock.advance(age);
            let mut callers: Vec<_> = (0..100).map(|_| Box::pin(key(&session))).collect();
            assert!(
                callers
                    .iter_mut()
                    .all(|caller| caller.as_mut().now_or_never().is_none())
            );
            gate.open();
            for caller in callers {
                assert_eq!(caller.await, key_number(2));
            }
            assert_eq!(strategy.reasons(), [RefreshReason::First, reason]);
        }
    }
}

#[tokio::test]
async fn in_the_foreground_the_caller_that_starts_the_refresh_waits_and_others_do_not() {
    let gate = Gate::new();
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .advisory_refresh(AdvisoryRefresh::Foreground)
        .build()
        .await
        .unwrap();
    key(&session).await;
    strategy.then([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    clock.advance(ADVISORY);
    let mut starter = Box::pin(key(&session));
    assert!(starter.as_mut().now_or_never().is_none());
    for _ in 0..100 {
        assert_eq!(at_once(&session).unwrap(), key_number(1));
    }
    gate.open();
    assert_eq!(starter.await, key_number(2));
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn a_strategy_that_asks_a_person_is_refreshed_in_the_foreground() {
    let strategy = Scripted::interactive(Step::Fresh(HOUR));
    let clock = clock();
    let session = session(&strategy, &clock).await;
    key(&session).await;
    clock.advance(ADVISORY);
    assert_eq!(
        key(&session).await,
        key_number(2),
        "the caller has waited for the refresh it started"
    );
}

#[tokio::test]
async fn background_refreshes_begin_up_to_a_tenth_of_the_window_early() {
    let mut starts = Vec::new();
    for seed in 0..64 {
        let (strategy, clock) = (hourly(), clock());
        let session = builder(&strategy, &clock).seed(seed).build().await.unwrap();
        key(&session).await;
        assert_eq!(
            session.status().advisory_window(),
            Some(seconds(900)),
            "status tells the window itself"
        );
        clock.advance(ADVISORY - seconds(90));
        let mut early = 90;
        while !session.status().is_refreshing() && session.status().refreshes() == 1 {
            at_once(&session).unwrap();
            clock.advance(seconds(1));
            early -= 1;
            assert!(early >= -1, "the advisory window has begun");
        }
        starts.push(early);
    }
    starts.sort_unstable();
    starts.dedup();
    assert!(starts.len() > 30, "a fleet spreads out: {starts:?}");
}

#[tokio::test]
async fn in_the_foreground_the_advisory_window_begins_exactly() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .advisory_refresh(AdvisoryRefresh::Foreground)
        .build()
        .await
        .unwrap();
    key(&session).await;
    clock.advance(ADVISORY - seconds(1));
    assert_eq!(at_once(&session).unwrap(), key_number(1));
    clock.advance(seconds(1));
    assert_eq!(key(&session).await, key_number(2));
}

#[tokio::test]
async fn a_source_whose_sets_are_always_about_to_expire_is_asked_a_bounded_number_of_times() {
    // A caching provider gives the same set until its end: each answer has less left, and the
    // windows shrink with it.
    let clock = clock();
    let set = TemporaryCredentials::new("ASIASAME", "s", None, Some(start() + seconds(600)));
    let strategy = Scripted::always(Step::Give(set));
    let session = session(&strategy, &clock).await;
    key(&session).await;
    for _ in 0..6000 {
        clock.advance(std::time::Duration::from_millis(100));
        let _ = session.credentials().await;
    }
    assert!(
        strategy.calls() < 40,
        "{} calls in ten minutes",
        strategy.calls()
    );
}

#[tokio::test]
async fn a_set_without_an_end_is_refreshed_only_after_an_invalidation() {
    let clock = clock();
    let endless = |key: &str| Step::Give(TemporaryCredentials::new(key, "s", None, None));
    let strategy = Scripted::always(endless("SECOND")).first([endless("FIRST")]);
    let session = session(&strategy, &clock).await;
    assert_eq!(key(&session).await, "FIRST");
    clock.advance(1000 * HOUR);
    assert_eq!(at_once(&session).unwrap(), "FIRST");
    session.invalidate("FIRST");
    assert_eq!(key(&session).await, "SECOND");
}

#[tokio::test]
async fn configured_windows_are_used_in_both_modes() {
    for defer in [true, false] {
        let (strategy, clock) = (hourly(), clock());
        let session = builder(&strategy, &clock)
            .defer_refresh(defer)
            .advisory_window(seconds(1800))
            .mandatory_window(seconds(900))
            .build()
            .await
            .unwrap();
        key(&session).await;
        let status = session.status();
        assert_eq!(
            (status.advisory_window(), status.mandatory_window()),
            (Some(seconds(1800)), Some(seconds(900)))
        );
    }
}

#[tokio::test]
async fn credentials_valid_for_refreshes_first_if_less_is_left() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    clock.advance(seconds(1800));
    let enough = session
        .credentials_valid_for(seconds(1800))
        .now_or_never()
        .expect("enough is left")
        .unwrap();
    assert_eq!(enough.access_key_id(), key_number(1));
    let fresh = session.credentials_valid_for(seconds(1801)).await.unwrap();
    assert_eq!(fresh.access_key_id(), key_number(2));
    assert_eq!(strategy.reasons()[1], RefreshReason::Requested);
}

#[tokio::test]
async fn credentials_valid_for_longer_than_the_source_gives_is_an_error_and_no_storm() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    for _ in 0..100 {
        let error = session.credentials_valid_for(2 * HOUR).await.unwrap_err();
        assert!(
            error.to_string().contains("3600s") && error.to_string().contains("7200s"),
            "{error}"
        );
    }
    assert_eq!(strategy.calls(), 1);
}

#[tokio::test]
async fn credentials_valid_for_the_whole_lifetime_are_no_storm() {
    // With and without the server's clock, which makes the lifetime exact.
    for server_time in [None, Some(start())] {
        let clock = clock();
        let set = TemporaryCredentials::new("ASIAFIRST", "s", None, Some(start() + HOUR));
        let set = server_time.map_or(set.clone(), |at| set.with_server_time(at));
        let strategy = hourly().first([Step::Give(set)]);
        let session = session(&strategy, &clock).await;
        for _ in 0..30 {
            session.credentials_valid_for(HOUR).await.unwrap();
            clock.advance(seconds(1));
        }
        assert_eq!(strategy.calls(), 1, "half a minute is not worth a refresh");
        clock.advance(seconds(60));
        session.credentials_valid_for(HOUR).await.unwrap();
        assert_eq!(strategy.calls(), 2);
    }
}

#[tokio::test]
async fn a_lifetime_that_is_a_moment_short_of_what_is_asked_for_will_do() {
    // AWS writes whole seconds, and the answer has travelled.
    let clock = clock();
    let strategy = Scripted::always(Step::Fresh(std::time::Duration::from_millis(3_599_700)));
    let session = session(&strategy, &clock).await;
    for _ in 0..3 {
        session.credentials_valid_for(HOUR).await.unwrap();
    }
    assert_eq!(strategy.calls(), 1);
}

#[tokio::test]
async fn credentials_valid_for_starts_what_is_due_like_any_call() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    clock.advance(ADVISORY);
    let ready = session
        .credentials_valid_for(seconds(60))
        .now_or_never()
        .expect("enough is left")
        .unwrap();
    assert_eq!(ready.access_key_id(), key_number(1));
    strategy.called(2).await;
}

#[tokio::test]
async fn credentials_valid_for_gives_what_has_enough_left_though_the_refresh_fails() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(MANDATORY);
    assert_eq!(
        session
            .credentials_valid_for(seconds(30))
            .await
            .unwrap()
            .access_key_id(),
        key_number(1)
    );
}

#[tokio::test]
async fn a_source_whose_sets_live_a_moment_is_asked_a_bounded_number_of_times() {
    for lifetime in [1000, 1050, 1099] {
        let clock = clock();
        let strategy = Scripted::always(Step::Fresh(std::time::Duration::from_millis(lifetime)));
        let session = session(&strategy, &clock).await;
        for _ in 0..1000 {
            let _ = session.credentials().await;
        }
        assert!(strategy.calls() <= 3, "{} calls", strategy.calls());
    }
}

#[tokio::test]
async fn the_random_part_is_drawn_anew_for_each_set() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let mut ages = Vec::new();
    for refreshes in 1..6 {
        key(&session).await;
        let begin = brs_core::Clock::monotonic(&clock);
        clock.advance(ADVISORY - seconds(90));
        while session.status().refreshes() == refreshes {
            at_once(&session).unwrap();
            while session.status().is_refreshing() {
                tokio::task::yield_now().await;
            }
            clock.advance(seconds(1));
        }
        ages.push(brs_core::Clock::monotonic(&clock) - begin);
    }
    ages.dedup();
    assert!(ages.len() > 2, "{ages:?}");
}

#[tokio::test]
async fn windows_stay_as_they_were_after_a_failure() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    let before = (
        session.status().advisory_window(),
        session.status().mandatory_window(),
    );
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(MANDATORY);
    key(&session).await;
    assert_eq!(
        (
            session.status().advisory_window(),
            session.status().mandatory_window()
        ),
        before
    );
}

#[tokio::test]
async fn credentials_valid_for_respects_a_running_backoff() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(seconds(1800));
    for _ in 0..10 {
        assert!(session.credentials_valid_for(seconds(3000)).await.is_err());
    }
    assert_eq!(strategy.calls(), 2);
    assert_eq!(
        at_once(&session).unwrap(),
        key_number(1),
        "the valid set is still there for everybody else"
    );
}
