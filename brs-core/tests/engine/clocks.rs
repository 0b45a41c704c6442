//! Clocks that step, machines that sleep, servers whose clock is not ours.

use std::time::Duration;

use brs_core::test_util::{Gate, ManualClock, Scripted, Step};
use brs_core::{Clock, TemporaryCredentials};
use futures_util::FutureExt;

use crate::common::*;

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_wall_clock_that_steps_forward_refreshes_but_withholds_nothing() {
    for step in [HOUR, DAY] {
        let (strategy, clock) = (hourly(), clock());
        let session = session(&strategy, &clock).await;
        key(&session).await;
        strategy.otherwise(Step::Fail(dead()));
        clock.step_wall(start() + step);
        assert_eq!(
            key(&session).await,
            key_number(1),
            "the monotonic clock says that the set is valid"
        );
        assert_eq!(
            strategy.calls(),
            2,
            "the wall clock says that a refresh is due"
        );
        assert_eq!(at_once(&session).unwrap(), key_number(1));
    }
}

#[tokio::test]
async fn a_wall_clock_that_steps_back_does_not_keep_an_expired_set() {
    for step in [HOUR, DAY] {
        let (strategy, clock) = (hourly(), clock());
        let session = session(&strategy, &clock).await;
        key(&session).await;
        clock.step_wall(start() - step);
        clock.advance(HOUR);
        assert_eq!(
            key(&session).await,
            key_number(2),
            "the monotonic clock says that a refresh is due"
        );
    }
}

/// The step is no part of what is left of the set, which the backoff depends on.
#[tokio::test]
async fn a_wall_clock_that_steps_back_does_not_lengthen_a_backoff_past_the_end() {
    for step in [HOUR, DAY] {
        let (strategy, clock) = (hourly(), clock());
        let session = session(&strategy, &clock).await;
        let first = key(&session).await;
        clock.step_wall(start() - step);
        strategy.otherwise(Step::Fail(dead()));
        clock.advance(HOUR);
        assert_eq!(key(&session).await, first, "valid by the wall clock");
        assert_eq!(strategy.calls(), 2);
        strategy.otherwise(Step::Fresh(HOUR));
        clock.advance(seconds(5));
        assert_ne!(key(&session).await, first, "the source is well again");
    }
}

#[tokio::test]
async fn a_wall_clock_that_steps_back_does_not_make_an_expired_set_last() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let first = key(&session).await;
    clock.step_wall(start() - DAY);
    clock.advance(HOUR);
    let set = session.credentials_valid_for(seconds(600)).await.unwrap();
    assert_ne!(set.access_key_id(), first);
}

#[tokio::test]
async fn a_machine_that_was_suspended_refreshes_at_the_next_call() {
    // With a clock that counts suspended time both clocks have moved on.
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    clock.advance(DAY);
    assert_eq!(key(&session).await, key_number(2));
    // Without one, only the wall clock has.
    clock.step_wall(clock.now() + DAY);
    assert_eq!(key(&session).await, key_number(3));
}

#[tokio::test]
async fn clock_steps_do_not_end_a_backoff() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(ADVISORY);
    key(&session).await;
    strategy.called(2).await;
    while session.status().is_refreshing() {
        tokio::task::yield_now().await;
    }
    for day in 0..50 {
        clock.step_wall(start() + DAY * day);
        assert_eq!(key(&session).await, key_number(1));
        clock.step_wall(start() - DAY * day);
        assert_eq!(key(&session).await, key_number(1));
    }
    assert_eq!(strategy.calls(), 2);
}

#[tokio::test]
async fn a_device_whose_clock_is_wrong_refreshes_in_time() {
    // The source's clock is a day ahead of or behind the device's; its sets live an hour.
    for ahead in [true, false] {
        let clock = clock();
        let server = ServerClock {
            clock: clock.clone(),
            ahead,
        };
        let strategy =
            Scripted::always(server.set("SECOND", HOUR)).first([server.set("FIRST", HOUR)]);
        let session = session(&strategy, &clock).await;
        assert_eq!(key(&session).await, "FIRST");
        let reported = session.status().expiration().unwrap();
        assert_eq!(
            reported,
            server.now() + HOUR,
            "the source's own expiration is what is reported"
        );
        clock.advance(ADVISORY - seconds(91));
        assert_eq!(at_once(&session).unwrap(), "FIRST");
        assert_eq!(strategy.calls(), 1);
        strategy.otherwise(server.set("SECOND", HOUR));
        clock.advance(MANDATORY - (ADVISORY - seconds(91)));
        assert_eq!(key(&session).await, "SECOND");
    }
}

/// A clock of a user's that panics when it is told to.
#[derive(Clone, Debug)]
struct Fragile {
    inner: ManualClock,
    broken: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Clock for Fragile {
    fn now(&self) -> std::time::SystemTime {
        assert!(
            !self.broken.load(std::sync::atomic::Ordering::SeqCst),
            "as the test wants"
        );
        self.inner.now()
    }

    fn monotonic(&self) -> Duration {
        self.inner.monotonic()
    }

    fn sleep(&self, duration: Duration) -> brs_core::Sleep {
        self.inner.sleep(duration)
    }
}

#[tokio::test]
async fn a_clock_that_panics_hangs_nobody() {
    let gate = brs_core::test_util::Gate::new();
    let clock = Fragile {
        inner: clock(),
        broken: std::sync::Arc::default(),
    };
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let session = brs_core::RefreshableSession::with_strategy(strategy.shared())
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let mut waiter = Box::pin(session.credentials());
    assert!(futures_util::FutureExt::now_or_never(waiter.as_mut()).is_none());
    strategy.called(1).await;
    clock
        .broken
        .store(true, std::sync::atomic::Ordering::SeqCst);
    gate.open();
    waiter.await.unwrap_err();
    clock
        .broken
        .store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(
        key(&session).await,
        key_number(2),
        "and the session goes on"
    );
}

struct ServerClock {
    clock: ManualClock,
    ahead: bool,
}

impl ServerClock {
    fn now(&self) -> std::time::SystemTime {
        if self.ahead {
            self.clock.now() + DAY
        } else {
            self.clock.now() - DAY
        }
    }

    fn set(&self, key: &str, lifetime: Duration) -> Step {
        let set = TemporaryCredentials::new(key, "s", None, Some(self.now() + lifetime));
        Step::Give(set.with_server_time(self.now()))
    }
}

#[tokio::test]
async fn a_set_by_the_servers_clock_ends_by_the_start_of_its_flight() {
    // The answer is 289 s late, and the server's clock is a day ahead.
    let (gate, clock) = (Gate::new(), clock());
    let server = start() + DAY;
    let given = TemporaryCredentials::new("ASIALATE", "s", None, Some(server + HOUR))
        .with_server_time(server);
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Give(given)))]);
    let session = builder(&strategy, &clock)
        .refresh_timeout(HOUR)
        .build()
        .await
        .unwrap();
    let mut caller = Box::pin(key(&session));
    assert!(caller.as_mut().now_or_never().is_none());
    strategy.called(1).await;
    clock.advance(seconds(289));
    gate.open();
    assert_eq!(caller.await, "ASIALATE");
    strategy.otherwise(Step::Fail(dead()));
    clock.advance(HOUR - seconds(289));
    assert!(session.credentials().await.is_err(), "it has expired");
}

#[tokio::test]
async fn a_set_whose_answer_comes_after_its_end_is_already_expired() {
    let (gate, clock) = (Gate::new(), clock());
    let given = TemporaryCredentials::new("ASIALATE", "s", None, Some(start() + HOUR))
        .with_server_time(start());
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Give(given)))]);
    let session = builder(&strategy, &clock)
        .refresh_timeout(2 * HOUR)
        .build()
        .await
        .unwrap();
    let mut caller = Box::pin(session.credentials());
    assert!(caller.as_mut().now_or_never().is_none());
    strategy.called(1).await;
    clock.advance(HOUR);
    gate.open();
    assert!(
        caller
            .await
            .unwrap_err()
            .to_string()
            .contains("already expired")
    );
}
