//! Status, events, health, whoami, and what none of them shows.

use brs_core::test_util::{Scripted, Step};
use brs_core::{Error, ErrorKind, Event, RefreshBackoff, RefreshReason, RefreshableSession};
use serde_json::json;

use crate::common::*;

#[tokio::test]
async fn status_tells_what_the_session_knows() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let empty = session.status();
    assert_eq!(
        (empty.method(), empty.access_key_id(), empty.refreshes()),
        ("scripted", None, 0)
    );
    key(&session).await;
    let status = session.status();
    assert_eq!(status.access_key_id(), Some(key_number(1).as_str()));
    assert_eq!(status.expiration(), Some(start() + HOUR));
    assert_eq!(
        (status.advisory_window(), status.mandatory_window()),
        (Some(seconds(900)), Some(seconds(60)))
    );
    assert_eq!(
        (status.refreshes(), status.last_success()),
        (1, Some(start()))
    );
    assert!(!status.is_refreshing() && status.last_error().is_none());
}

#[tokio::test]
async fn events_tell_the_story() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let mut events = session.events();
    key(&session).await;
    strategy.otherwise(Step::Fail(dead()));
    session.invalidate(&key_number(1));
    key(&session).await;
    let story: Vec<_> = so_far(&mut events)
        .into_iter()
        .map(|event| match event {
            Event::RefreshStarted { reason } => format!("started {reason:?}"),
            Event::RefreshSucceeded { access_key_id, .. } => format!("succeeded {access_key_id}"),
            Event::RefreshFailed { next_try, .. } => {
                format!("failed, next try {}", next_try.is_some())
            }
            Event::Invalidated { access_key_id } => format!("invalidated {access_key_id}"),
            other => format!("{other:?}"),
        })
        .collect();
    let first = key_number(1);
    assert_eq!(
        story,
        [
            format!("started {:?}", RefreshReason::First),
            format!("succeeded {first}"),
            format!("invalidated {first}"),
            format!("started {:?}", RefreshReason::Invalidated),
            "failed, next try true".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_delays_no_refresh() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let mut lazy = session.events();
    for _ in 0..500 {
        session.refresh().await.unwrap();
    }
    let told = so_far(&mut lazy);
    assert!(
        matches!(told[0], Event::Missed { count: 744 }),
        "{:?}",
        told[0]
    );
    assert_eq!(told.len(), 257);
}

/// Tells about its certificate at each refresh.
#[derive(Debug)]
struct Certified;

#[async_trait::async_trait]
impl brs_core::RefreshStrategy for Certified {
    fn method(&self) -> &'static str {
        "certified"
    }

    fn source(&self) -> &'static str {
        "certified"
    }

    async fn refresh(
        &self,
        cx: &brs_core::RefreshContext,
    ) -> Result<brs_core::TemporaryCredentials, Error> {
        let subject = ("subject", "CN=device".to_owned());
        cx.warn("certificate_expiring", "expires soon", [subject]);
        Ok(brs_core::TemporaryCredentials::new(
            "ASIACERTIFIED",
            "s",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

#[tokio::test]
async fn a_strategy_can_tell_the_subscribers_something() {
    let strategy = std::sync::Arc::new(Certified);
    let session = RefreshableSession::with_strategy(strategy)
        .clock(clock())
        .build()
        .await
        .unwrap();
    let mut events = session.events();
    key(&session).await;
    let told = so_far(&mut events);
    assert!(told.iter().any(
        |event| matches!(event, Event::Warning { name: "certificate_expiring", details, .. }
            if details["subject"] == "CN=device")
    ));
}

#[tokio::test]
async fn ready_is_whether_a_call_would_be_answered_at_once() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    assert!(!session.ready());
    key(&session).await;
    assert!(session.ready());
    session.invalidate(&key_number(1));
    assert!(!session.ready(), "the next call waits");
    key(&session).await;
    clock.advance(ADVISORY);
    assert!(session.ready());
    clock.advance(MANDATORY - ADVISORY);
    assert!(!session.ready(), "the next call waits");
    strategy.otherwise(Step::Fail(dead()));
    key(&session).await;
    assert!(
        session.ready(),
        "while the backoff runs, what is valid is served at once"
    );
}

#[tokio::test]
async fn a_failed_refresh_of_the_users_leaves_a_fresh_set_ready() {
    let (strategy, clock) = (Scripted::interactive(Step::Fresh(HOUR)), clock());
    let session = session(&strategy, &clock).await;
    key(&session).await;
    strategy.otherwise(Step::Fail(denied()));
    session.refresh().await.unwrap_err();
    assert!(session.ready() && at_once(&session).is_ok());
}

#[test]
fn a_subscriber_that_asks_for_credentials_itself_hangs_nobody() {
    /// Asks as a log layer would that signs what it ships: in the middle of being told.
    struct Asks(RefreshableSession, std::sync::atomic::AtomicBool);
    impl std::task::Wake for Asks {
        fn wake(self: std::sync::Arc<Self>) {
            if !self.1.swap(true, std::sync::atomic::Ordering::SeqCst) {
                let _ = crate::callers::pollster(self.0.credentials());
            }
        }
    }
    let clock = clock();
    let gate = brs_core::test_util::Gate::new();
    let failing = Step::After(gate.clone(), Box::new(Step::Fail(dead())));
    let strategy = hourly().first([failing]);
    let session = crate::callers::pollster(session(&strategy, &clock));
    let mut events = session.events();
    let mut waiter = Box::pin(session.refresh());
    assert!(futures_util::FutureExt::now_or_never(waiter.as_mut()).is_none());
    while futures_util::FutureExt::now_or_never(events.next()).is_some() {}
    let asks = std::sync::Arc::new(Asks(session.clone(), Default::default()));
    let waker = std::sync::Arc::clone(&asks).into();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(futures_util::StreamExt::poll_next_unpin(&mut events, &mut cx).is_pending());
    gate.open();
    assert!(crate::callers::pollster(waiter).is_err());
    assert!(crate::callers::pollster(session.credentials()).is_ok());
}

#[tokio::test]
async fn a_subscriber_that_panics_hangs_nobody() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("as the test wants");
        }
    }
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let waker = std::sync::Arc::new(Panics).into();
    let mut cx = std::task::Context::from_waker(&waker);
    for _ in 0..3 {
        let gate = brs_core::test_util::Gate::new();
        strategy.then([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
        let mut events = session.events();
        assert!(futures_util::StreamExt::poll_next_unpin(&mut events, &mut cx).is_pending());
        let mut waiter = Box::pin(session.refresh());
        assert!(std::future::Future::poll(waiter.as_mut(), &mut cx).is_pending());
        gate.open();
        session.refresh().await.unwrap();
    }
    assert!(at_once(&session).is_ok());
}

#[tokio::test]
async fn whoami_names_method_source_and_key() {
    let (strategy, clock) = (hourly(), clock());
    let identity = session(&strategy, &clock).await.whoami().await.unwrap();
    assert_eq!(
        (identity.method.as_str(), identity.source.as_str()),
        ("scripted", "scripted")
    );
    assert_eq!(identity.access_key_id, key_number(1));
    assert_eq!(identity.caller, None, "this build has no `sts`");
}

#[tokio::test]
async fn the_strategy_can_be_looked_at() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    assert_eq!(session.strategy::<Scripted>().unwrap().calls(), 0);
    assert_eq!(session.method(), "scripted");
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let set = session.credentials().await.unwrap();
    let provider = session.credentials_provider();
    let shown = format!(
        "{session:?}{:?}{provider:?}{:?}{set:?}",
        session.status(),
        session.sdk_config()
    );
    assert!(shown.contains(&key_number(1)));
    assert!(
        !shown.contains("scripted-secret") && !shown.contains("scripted-token"),
        "{shown}"
    );
}

#[tokio::test]
async fn an_unknown_method_is_a_validation_error_that_lists_the_registered_ones() {
    let error = RefreshableSession::new("stss", json!({}))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Validation, Some("method"))
    );
    assert!(error.to_string().contains("registered: `vault`"), "{error}");
}

#[tokio::test]
async fn wrong_options_are_refused_by_name() {
    let clock = clock();
    let refused =
        async |change: fn(brs_core::SessionBuilder) -> brs_core::SessionBuilder| -> Error {
            change(builder(&hourly(), &clock))
                .build()
                .await
                .unwrap_err()
        };
    for (error, param) in [
        (
            refused(|b| b.refresh_timeout(seconds(0))).await,
            "refresh_timeout",
        ),
        (
            refused(|b| b.refresh_backoff(RefreshBackoff::uniform(seconds(2), seconds(1)))).await,
            "refresh_backoff",
        ),
        (refused(|b| b.account_id("12345")).await, "account_id"),
        (refused(|b| b.profile_name("dev")).await, "profile_name"),
    ] {
        assert_eq!(error.param(), Some(param), "{error}");
    }
}

#[tokio::test]
async fn wrong_regions_and_endpoints_are_refused_when_the_session_is_built() {
    let clock = clock();
    for region in ["", "eu west 1", "eu-west-1.evil.example"] {
        let error = builder(&hourly(), &clock)
            .region(region)
            .build()
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (ErrorKind::Validation, Some("region")),
            "{error}"
        );
    }
    for url in ["", "not a url", "localhost:5000", "https://user:hush@host"] {
        let error = builder(&hourly(), &clock)
            .endpoint_url(url)
            .build()
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (ErrorKind::Validation, Some("endpoint_url")),
            "{error}"
        );
        assert!(!format!("{error:?}").contains("hush"));
    }
}

/// A method with a parameter that has the name of a session's option.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct VaultParams {
    endpoint_url: String,
}

async fn build_vault(params: VaultParams, setup: brs_core::Setup) -> Result<Scripted, Error> {
    assert_eq!(
        setup.base().endpoint_url(),
        None,
        "the option was not given"
    );
    assert_eq!(params.endpoint_url, "vault:8200");
    Ok(Scripted::always(Step::Fresh(HOUR)))
}

brs_core::register_method! {
    name: "vault",
    summary: "a method of this test",
    params: VaultParams,
    build: build_vault,
}

#[tokio::test]
async fn a_parameter_with_the_name_of_an_option_is_the_methods() {
    let data = json!({ "endpoint_url": "vault:8200", "region": "eu-west-1" });
    let session = RefreshableSession::from_method("vault", data)
        .await
        .unwrap();
    assert_eq!(session.sdk_config().region().unwrap().as_ref(), "eu-west-1");
}

#[tokio::test]
async fn an_unknown_name_in_data_lists_the_options_too() {
    let data = json!({ "endpoint_url": "vault:8200", "regoin": "eu-west-1" });
    let error = RefreshableSession::from_method("vault", data)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("`endpoint_url`") && error.to_string().contains("`region`"),
        "{error}"
    );
}

#[tokio::test]
async fn an_option_among_the_parameters_says_where_it_belongs() {
    let data = json!({ "endpoint_url": "vault:8200", "region_name": "eu-west-1" });
    let error = RefreshableSession::new("vault", data).await.unwrap_err();
    assert!(error.to_string().contains("`from_method`"), "{error}");
}

#[tokio::test]
async fn half_of_the_base_credentials_is_a_configuration_error() {
    for (data, message) in [
        (
            json!({ "aws_access_key_id": "AKID" }),
            "`secret_access_key`",
        ),
        (
            json!({ "aws_access_key_id": "", "aws_secret_access_key": "" }),
            "are empty",
        ),
    ] {
        let error = RefreshableSession::from_method("vault", data)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(message), "{error}");
    }
}
