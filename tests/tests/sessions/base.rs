//! A base configuration that the program gives, and base credentials of a provider that misbehaves.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use brs::{ErrorKind, RefreshableSession};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;

use super::*;

#[tokio::test]
async fn a_configuration_built_by_hand_is_enough_for_all_that_a_session_does() {
    let aws = EmbeddedAws::start();
    let base = aws_types::SdkConfig::builder()
        .region(aws_types::region::Region::new("eu-west-1"))
        .endpoint_url(aws.endpoint_url())
        .credentials_provider(aws_types::sdk_config::SharedCredentialsProvider::new(
            aws.credentials(),
        ))
        .build();
    assert!(base.behavior_version().is_none() && base.sleep_impl().is_none());
    let session = RefreshableSession::builder("sts", role())
        .base(base)
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap();
    let caller = session.whoami().await.unwrap().caller.unwrap();
    let client = aws_sdk_sts::Client::new(session.sdk_config());
    assert_eq!(
        client.get_caller_identity().send().await.unwrap().arn(),
        Some(caller.arn.as_str())
    );
    assert_eq!(
        (aws.calls("AssumeRole"), aws.calls("GetCallerIdentity")),
        (1, 2)
    );
}

/// What `AWS_ENDPOINT_URL_STS` or a profile's services section would say.
#[derive(Debug)]
struct ForSts(String);

impl LoadServiceConfig for ForSts {
    fn load_config(&self, _: ServiceConfigKey<'_>) -> Option<String> {
        Some(self.0.clone())
    }
}

#[tokio::test]
async fn the_environments_endpoint_for_sts_is_used_and_checked() {
    let aws = EmbeddedAws::start();
    let with = |url: &str| {
        let base = hand_made(&aws)
            .endpoint_url("http://127.0.0.1:9")
            .service_config(ForSts(url.to_owned()))
            .build();
        RefreshableSession::builder("sts", role())
            .base(base)
            .build()
    };
    key(&with(&aws.endpoint_url()).await.unwrap()).await;
    for url in ["nowhere", "http://me:hush@127.0.0.1:9"] {
        let error = with(url).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (ErrorKind::Configuration, true),
            "{error}"
        );
        assert!(
            error.to_string().contains("AWS_ENDPOINT_URL_STS")
                && !format!("{error:?}").contains("hush"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_endpoint_that_no_request_can_have_is_a_configuration_error() {
    let (aws, clock) = aws();
    let base = hand_made(&aws).use_fips(true).build();
    let session = RefreshableSession::builder("sts", role())
        .base(base)
        .clock(clock)
        .build()
        .await
        .unwrap();
    let error = session.credentials().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_unrecoverable()),
        (ErrorKind::Configuration, true),
        "{error:?}"
    );
    assert!(error.details()["cause"].contains("FIPS"), "{error:?}");
    assert!(aws.requests().is_empty());
}

/// A provider that does as it is told at each call.
#[derive(Debug)]
struct Provider {
    calls: AtomicUsize,
    does: fn(usize) -> Does,
    keys: Credentials,
}

enum Does {
    Give,
    Hang,
    Panic,
    Fail(&'static str),
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match (self.does)(self.calls.fetch_add(1, Ordering::SeqCst)) {
            Does::Give => future::ProvideCredentials::ready(Ok(self.keys.clone())),
            Does::Hang => future::ProvideCredentials::new(std::future::pending()),
            Does::Panic => panic!("as the test wants"),
            Does::Fail(text) => future::ProvideCredentials::ready(Err(
                CredentialsError::provider_error(text.repeat(50)),
            )),
        }
    }
}

/// The error of a session whose base credentials come from such a provider.
async fn error_with(aws: &EmbeddedAws, keys: Credentials, does: fn(usize) -> Does) -> Error {
    let provider = Provider {
        calls: AtomicUsize::new(0),
        does,
        keys,
    };
    let params = role().client(StsClient::new().max_attempts(2));
    let session = RefreshableSession::builder("sts", params)
        .base(hand_made(aws).build())
        .base_credentials(provider)
        .refresh_timeout(seconds(2))
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap_err()
}

#[tokio::test]
async fn a_provider_that_panics_is_named_for_what_it_is() {
    let aws = EmbeddedAws::start();
    let error = error_with(&aws, aws.credentials(), |_| Does::Panic).await;
    assert_eq!(error.kind(), ErrorKind::Configuration, "{error:?}");
    assert!(
        error.to_string().contains("the base configuration")
            && error.to_string().contains("panicked"),
        "{error}"
    );
    assert!(!error.is_unrecoverable() && aws.requests().is_empty());
}

#[tokio::test]
async fn keys_that_no_header_can_hold_are_refused_before_anything_is_sent() {
    let aws = EmbeddedAws::start();
    for (id, token) in [
        ("AKID\r\nx-evil: 1", None),
        ("", None),
        ("AKIDEXAMPLE", Some("token-hush\n".to_owned())),
    ] {
        let keys = Credentials::new(id, "secret-hush", token, None, "test");
        let error = error_with(&aws, keys, |_| Does::Give).await;
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (ErrorKind::Configuration, true),
            "{error:?}"
        );
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
    assert!(aws.requests().is_empty());
}

#[tokio::test]
async fn a_provider_that_hangs_at_the_second_try_is_not_stss_fault() {
    let aws = EmbeddedAws::start();
    aws.fail_next([Failure::Status(500)]);
    let error = error_with(&aws, aws.credentials(), |call| {
        if call == 0 { Does::Give } else { Does::Hang }
    })
    .await;
    assert_eq!(aws.calls("AssumeRole"), 1);
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(
        error
            .to_string()
            .contains("the credentials to call STS with"),
        "{error}"
    );
}

#[tokio::test]
async fn what_a_provider_says_is_short_and_beneath() {
    let aws = EmbeddedAws::start();
    let error = error_with(&aws, aws.credentials(), |_| {
        Does::Fail("the vault is sealed\n")
    })
    .await;
    assert!(
        error.details()["cause"].contains("the vault is sealed"),
        "{error:?}"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    for text in [&error.details()["cause"], &source] {
        assert!(
            text.chars().count() <= 301 && !text.contains('\n'),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_error_of_another_session_behind_the_base_credentials_stays_itself() {
    let (aws, clock) = aws();
    aws.deny_role(ROLE);
    let inner = session(&aws, &clock).await;
    let outer = builder(&aws, &clock)
        .base_credentials(inner.credentials_provider())
        .build()
        .await
        .unwrap();
    let error = outer.credentials().await.unwrap_err();
    assert_eq!(
        (error.code(), error.status()),
        (Some("AccessDenied"), Some(403)),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_users_http_client_is_used_and_bounded_too() {
    let (aws, clock) = aws();
    let client = http_client_fn(|_, _| SharedHttpConnector::new(Endless));
    let session = builder(&aws, &clock)
        .http_client(client)
        .build()
        .await
        .unwrap();
    let error = session.credentials().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Credential, Some(200)),
        "{error:?}"
    );
    assert!(error.to_string().contains("more than 256 KiB"), "{error}");
    assert!(aws.requests().is_empty());
}

/// Answers everything with a mebibyte.
#[derive(Debug)]
struct Endless;

impl HttpConnector for Endless {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = StatusCode::try_from(200).unwrap();
        HttpConnectorFuture::ready(Ok(HttpResponse::new(
            status,
            SdkBody::from(vec![b'x'; 1 << 20]),
        )))
    }
}
