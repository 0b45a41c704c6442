//! The method `custom` with real calls behind it.

use brs::custom::Params;
use brs::{RefreshableSession, TemporaryCredentials};
use brs_tests::EmbeddedAws;

use super::*;

fn client(aws: &EmbeddedAws) -> aws_sdk_sts::Client {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new("eu-west-1"))
        .endpoint_url(aws.endpoint_url())
        .credentials_provider(aws.credentials())
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

/// A function as a user would write one.
async fn assume(
    client: aws_sdk_sts::Client,
) -> Result<TemporaryCredentials, Box<dyn std::error::Error + Send + Sync>> {
    let answer = client
        .assume_role()
        .role_arn(ROLE)
        .role_session_name("by-function")
        .send()
        .await?;
    let credentials = answer.credentials.ok_or("no credentials")?;
    let expiration = SystemTime::try_from(credentials.expiration)?;
    Ok(TemporaryCredentials::new(
        credentials.access_key_id,
        credentials.secret_access_key,
        Some(credentials.session_token),
        Some(expiration),
    ))
}

#[tokio::test]
async fn a_function_with_arguments_feeds_sdk_clients() {
    let aws = EmbeddedAws::start();
    let session =
        RefreshableSession::builder("custom", Params::function_with(client(&aws), assume))
            .region("eu-west-1")
            .endpoint_url(aws.endpoint_url())
            .build()
            .await
            .unwrap();
    let identity = aws_sdk_sts::Client::new(session.sdk_config())
        .get_caller_identity()
        .send()
        .await
        .unwrap();
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::123456789012:assumed-role/demo/by-function")
    );
    let identity = session.whoami().await.unwrap();
    assert_eq!(
        (identity.method.as_str(), identity.source.as_str()),
        ("custom", "assume")
    );
    assert!(identity.caller.unwrap().arn.ends_with("/by-function"));
}

#[tokio::test]
async fn a_functions_own_error_arrives_with_its_source() {
    let (aws, clock) = aws();
    aws.deny_role(ROLE);
    let session =
        RefreshableSession::builder("custom", Params::function_with(client(&aws), assume))
            .clock(clock)
            .region("eu-west-1")
            .build()
            .await
            .unwrap();
    let error = session.credentials().await.unwrap_err();
    assert_eq!(error.method(), Some("custom"));
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
}
