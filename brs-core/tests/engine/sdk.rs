//! The session as an SDK credentials provider, and SDK providers as a session's source.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_types::region::Region;
use brs_core::test_util::{Scripted, Step};
use brs_core::{Error, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials};
use futures_util::FutureExt;

use crate::common::*;

#[tokio::test]
async fn the_provider_reports_the_start_of_the_mandatory_window_as_expiry() {
    let (strategy, clock) = (hourly(), clock());
    let provider = session(&strategy, &clock).await.credentials_provider();
    let credentials = provider.provide_credentials().await.unwrap();
    assert_eq!(credentials.access_key_id(), key_number(1));
    assert_eq!(credentials.expiry(), Some(start() + HOUR - seconds(60)));
    let again = provider
        .provide_credentials()
        .now_or_never()
        .expect("ready at its first poll")
        .unwrap();
    assert_eq!(again.access_key_id(), key_number(1));
}

#[tokio::test]
async fn the_configuration_carries_the_sessions_credentials_and_region() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .region("eu-west-1")
        .build()
        .await
        .unwrap();
    let config = session.sdk_config();
    assert_eq!(config.region().unwrap().as_ref(), "eu-west-1");
    let provider = config.credentials_provider().unwrap();
    assert_eq!(
        provider
            .provide_credentials()
            .await
            .unwrap()
            .access_key_id(),
        key_number(1)
    );
}

#[tokio::test]
async fn a_region_that_the_source_names_is_used_where_there_is_no_other() {
    #[derive(Debug)]
    struct Regional(Scripted);
    #[async_trait::async_trait]
    impl RefreshStrategy for Regional {
        fn method(&self) -> &'static str {
            self.0.method()
        }
        fn source(&self) -> &'static str {
            self.0.source()
        }
        async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
            self.0.refresh(cx).await
        }
        fn region(&self) -> Option<&str> {
            Some("eu-central-1")
        }
    }
    for (given, expected) in [(None, "eu-central-1"), (Some("eu-west-1"), "eu-west-1")] {
        let base = aws_types::SdkConfig::builder()
            .region(given.map(Region::new))
            .build();
        let strategy = Arc::new(Regional(hourly()));
        let session = RefreshableSession::with_strategy(strategy)
            .clock(clock())
            .base(base)
            .build()
            .await
            .unwrap();
        assert_eq!(session.sdk_config().region().unwrap().as_ref(), expected);
    }
}

#[tokio::test]
async fn a_base_configuration_built_by_hand_gets_what_sdk_clients_need() {
    let base = aws_types::SdkConfig::builder().build();
    let session = builder(&hourly(), &clock())
        .base(base)
        .endpoint_url("http://localhost:1")
        .build()
        .await
        .unwrap();
    let config = session.sdk_config();
    assert!(config.behavior_version().is_some() && config.sleep_impl().is_some());
    assert!(
        config.retry_config().is_some()
            && config.timeout_config().unwrap().connect_timeout().is_some()
    );
    assert_eq!(config.endpoint_url(), Some("http://localhost:1"));
    let kept = aws_types::SdkConfig::builder()
        .retry_config(aws_smithy_types::retry::RetryConfig::disabled())
        .build();
    let session = builder(&hourly(), &clock())
        .base(kept)
        .build()
        .await
        .unwrap();
    assert_eq!(
        session.sdk_config().retry_config().unwrap().max_attempts(),
        1,
        "what was given stays"
    );
}

#[tokio::test]
async fn the_account_fills_in_where_the_source_names_none() {
    let (strategy, clock) = (hourly(), clock());
    let session = builder(&strategy, &clock)
        .account_id("123456789012")
        .build()
        .await
        .unwrap();
    assert_eq!(
        session.credentials().await.unwrap().account_id(),
        Some("123456789012")
    );
    let set = brs_core::TemporaryCredentials::new("ASIAOWN", "s", None, Some(start() + HOUR));
    strategy.otherwise(Step::Give(set.with_account_id("210987654321")));
    assert_eq!(
        session.refresh().await.unwrap().account_id(),
        Some("210987654321"),
        "and nowhere else"
    );
}

#[tokio::test]
async fn an_sdk_load_that_is_interrupted_falls_back_to_what_is_valid() {
    let (strategy, clock) = (hourly(), clock());
    let session = session(&strategy, &clock).await;
    let provider = session.credentials_provider();
    // `SharedCredentialsProvider` does not pass the call on; chains that hold the provider itself
    // do.
    let inner = provider.as_ref();
    assert!(inner.fallback_on_interrupt().is_none());
    key(&session).await;
    strategy.otherwise(Step::Hang);
    clock.advance(MANDATORY);
    assert!(provider.provide_credentials().now_or_never().is_none());
    assert_eq!(
        inner.fallback_on_interrupt().unwrap().access_key_id(),
        key_number(1)
    );
}

#[tokio::test]
async fn an_sdk_load_that_is_interrupted_past_the_end_falls_back_only_under_static_stability() {
    let (strategy, clock) = (Scripted::statically_stable(Step::Fresh(HOUR)), clock());
    let session = session(&strategy, &clock).await;
    let provider = session.credentials_provider();
    key(&session).await;
    clock.advance(2 * HOUR);
    assert!(
        provider.as_ref().fallback_on_interrupt().is_none(),
        "nothing is known to be wrong with the source"
    );
    strategy.otherwise(Step::Fail(dead()));
    key(&session).await;
    assert_eq!(
        provider
            .as_ref()
            .fallback_on_interrupt()
            .unwrap()
            .access_key_id(),
        key_number(1)
    );
}

#[tokio::test]
async fn any_sdk_provider_gets_the_engine() {
    let credentials = Credentials::new("AKIDSTATIC", "secret", None, None, "test");
    let session = RefreshableSession::with_provider(credentials)
        .build()
        .await
        .unwrap();
    assert_eq!(
        (key(&session).await.as_str(), session.method()),
        ("AKIDSTATIC", "provider")
    );
}

#[derive(Debug)]
struct Broken(fn() -> CredentialsError);

impl ProvideCredentials for Broken {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn a_provider_that_is_not_configured_is_unrecoverable_and_others_are_not() {
    for (make, unrecoverable) in [
        (
            (|| CredentialsError::invalid_configuration("x")) as fn() -> CredentialsError,
            true,
        ),
        (|| CredentialsError::not_loaded("x"), false),
        (|| CredentialsError::provider_timed_out(seconds(1)), false),
        (|| CredentialsError::provider_error("x"), false),
        (|| CredentialsError::unhandled("x"), false),
    ] {
        let session = RefreshableSession::with_provider(Broken(make))
            .build()
            .await
            .unwrap();
        let error = session.credentials().await.unwrap_err();
        assert_eq!(error.is_unrecoverable(), unrecoverable, "{error:?}");
        assert!(std::error::Error::source(&error).is_some());
    }
}
