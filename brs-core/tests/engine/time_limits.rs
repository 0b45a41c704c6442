//! How long a refresh may take.

use std::time::Duration;

use brs_core::test_util::{Scripted, Step};
use brs_core::{ErrorKind, TemporaryCredentials};

use crate::common::*;

#[tokio::test]
async fn a_source_that_hangs_ends_in_the_time_limit_and_the_valid_set_is_served() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    let mut events = session.events();
    strategy.otherwise(Step::Hang);
    clock.advance(ADVISORY);
    assert_eq!(at_once(&session).unwrap(), key_number(1));
    strategy.called(2).await;
    clock.sleepers(1).await;
    clock.advance(seconds(30));
    let error = failed(&mut events).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("within 30s"), "{error}");
    assert_eq!(at_once(&session).unwrap(), key_number(1));
}

#[tokio::test]
async fn the_time_limit_is_the_users_else_thirty_seconds() {
    let (strategy, clock) = (Scripted::always(Step::Hang), clock());
    let session = builder(&strategy, &clock)
        .refresh_timeout(seconds(3))
        .build()
        .await
        .unwrap();
    let (result, ()) = futures_util::future::join(session.credentials(), async {
        strategy.called(1).await;
        clock.sleepers(1).await;
        clock.advance(seconds(3));
    })
    .await;
    assert_eq!(result.unwrap_err().details()["limit"], "3s");
}

/// Says how long it may take, and until when it was told that it may.
#[derive(Debug)]
struct Patient(std::sync::Mutex<Duration>);

#[async_trait::async_trait]
impl brs_core::RefreshStrategy for Patient {
    fn method(&self) -> &'static str {
        "patient"
    }

    fn source(&self) -> &'static str {
        "patient"
    }

    async fn refresh(
        &self,
        cx: &brs_core::RefreshContext,
    ) -> Result<TemporaryCredentials, brs_core::Error> {
        *self.0.lock().unwrap() = cx.time_left();
        std::future::pending().await
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        Some(seconds(300))
    }
}

#[tokio::test]
async fn the_time_limit_is_the_strategys_own_where_the_user_says_nothing() {
    let clock = clock();
    let patient = std::sync::Arc::new(Patient(std::sync::Mutex::default()));
    let session = brs_core::RefreshableSession::with_strategy(std::sync::Arc::clone(&patient))
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let (result, ()) = futures_util::future::join(session.credentials(), async {
        while patient.0.lock().unwrap().is_zero() {
            tokio::task::yield_now().await;
        }
        clock.sleepers(1).await;
        clock.advance(seconds(300));
    })
    .await;
    assert_eq!(result.unwrap_err().details()["limit"], "300s");
    assert_eq!(
        *patient.0.lock().unwrap(),
        seconds(300),
        "the strategy is told"
    );
}
