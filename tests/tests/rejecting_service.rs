//! A service that rejects all credentials, in a process of its own: the SDK's retry quota is the
//! process's.

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_sts::Client;
use aws_sdk_sts::error::ProvideErrorMetadata;
use aws_smithy_types::retry::RetryConfig;
use brs::{RefreshableSession, sts};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;

#[tokio::test]
async fn a_service_that_rejects_everything_is_no_storm_on_the_source() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_900_000_000));
    let server = clock.clone();
    let aws = EmbeddedAws::builder()
        .clock(move || brs::Clock::now(&server))
        .allowed_skew(Duration::MAX)
        .start();
    let base = aws_types::SdkConfig::builder()
        .region(aws_types::region::Region::new("eu-west-1"))
        .endpoint_url(aws.endpoint_url())
        .credentials_provider(aws_types::sdk_config::SharedCredentialsProvider::new(
            aws.credentials(),
        ))
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .build();
    let role = sts::Params::new("arn:aws:iam::123456789012:role/demo");
    let session = RefreshableSession::builder("sts", role)
        .base(base)
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let client = session.client(Client::new);
    let expired = Failure::Error {
        status: 403,
        code: "ExpiredToken",
        message: "rejected".into(),
    };
    aws.fail_always_of("GetCallerIdentity", Some(expired));
    for _ in 0..600 {
        let error = client.get_caller_identity().send().await.unwrap_err();
        assert_eq!(
            error.code(),
            Some("ExpiredToken"),
            "the service's own error: {error:?}"
        );
        clock.advance(Duration::from_secs(1));
    }
    // The first set, one for the first rejection, then after 5, 10, 20, 40, 80, 160 and 300 s.
    let calls = aws.calls("AssumeRole");
    assert!((5..=10).contains(&calls), "{calls} calls in ten minutes");
    aws.fail_always_of("GetCallerIdentity", None);
    client.get_caller_identity().send().await.unwrap();
}
