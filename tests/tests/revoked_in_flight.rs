//! Credentials that are rejected under many calls, in a process of its own: the SDK's retry quota
//! is the process's.

use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_sts::Client;
use aws_sdk_sts::error::DisplayErrorContext;
use aws_smithy_types::retry::RetryConfig;
use brs::{RefreshableSession, sts};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use futures_util::future::join_all;

#[tokio::test]
async fn thirty_calls_that_are_in_flight_when_their_credentials_are_rejected_all_succeed() {
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
        .retry_config(RetryConfig::standard())
        .build();
    let role = sts::Params::new("arn:aws:iam::123456789012:role/demo");
    let session = RefreshableSession::builder("sts", role)
        .base(base)
        .clock(clock.clone())
        .build()
        .await
        .unwrap();
    let client = session.client(Client::new);
    let old = session.credentials().await.unwrap();
    clock.advance(Duration::from_secs(61));
    aws.expire(old.access_key_id());
    for answer in join_all((0..30).map(|_| client.get_caller_identity().send())).await {
        answer.unwrap_or_else(|error| panic!("{}", DisplayErrorContext(error)));
    }
    assert_eq!(
        aws.calls("AssumeRole"),
        2,
        "one call to the source, however many were rejected"
    );
}
