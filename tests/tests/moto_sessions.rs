//! The same sessions against an independent server: moto, with signature and policy checks switched on.

use aws_sdk_sts::Client;
use brs::{RefreshableSession, TemporaryCredentials, custom, sts};
use brs_tests::moto::Moto;

#[tokio::test]
#[ignore = "needs moto"]
async fn an_sts_session_works_against_moto() {
    let (moto, user) = Moto::start_with_auth();
    let session = RefreshableSession::builder("sts", sts::Params::new(user.role_arn.clone()))
        .region("eu-west-1")
        .endpoint_url(moto.endpoint_url())
        .base_credentials(user.credentials.clone())
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    let client = Client::new(session.sdk_config());
    for _ in 0..3 {
        let identity = client.get_caller_identity().send().await.unwrap();
        assert!(identity.arn().unwrap().contains("assumed-role/demo/"), "{identity:?}");
        session.refresh().await.unwrap();
    }
    let caller = session.whoami().await.unwrap().caller.unwrap();
    assert!(caller.arn.contains("assumed-role/demo/"), "{caller:?}");
}

#[tokio::test]
#[ignore = "needs moto"]
async fn wrong_base_credentials_are_refused_by_moto_and_said_so() {
    let (moto, user) = Moto::start_with_auth();
    let wrong = aws_sdk_sts::config::Credentials::new(user.credentials.access_key_id(), "guess", None, None, "test");
    let session = RefreshableSession::builder("sts", sts::Params::new(user.role_arn.clone()))
        .region("eu-west-1")
        .endpoint_url(moto.endpoint_url())
        .base_credentials(wrong)
        .build()
        .await
        .unwrap();
    let error = session.credentials().await.unwrap_err();
    assert_eq!(error.status(), Some(403), "{error:?}");
}

#[tokio::test]
#[ignore = "needs moto"]
async fn a_custom_session_works_against_moto() {
    let (moto, user) = Moto::start_with_auth();
    let base = aws_sdk_sts::Config::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(aws_sdk_sts::config::Region::new("eu-west-1"))
        .endpoint_url(moto.endpoint_url())
        .credentials_provider(user.credentials.clone())
        .build();
    let client = Client::from_conf(base);
    let params =
        custom::Params::function_with((client, user.role_arn.clone()), async |(client, role): (Client, String)| {
            let answer = client.assume_role().role_arn(role).role_session_name("by-function").send().await?;
            let issued = answer.credentials.ok_or("no credentials")?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(TemporaryCredentials::new(
                issued.access_key_id,
                issued.secret_access_key,
                Some(issued.session_token),
                Some(issued.expiration.try_into()?),
            ))
        });
    let session = RefreshableSession::builder("custom", params)
        .region("eu-west-1")
        .endpoint_url(moto.endpoint_url())
        .build()
        .await
        .unwrap();
    let identity = Client::new(session.sdk_config()).get_caller_identity().send().await.unwrap();
    assert!(identity.arn().unwrap().ends_with("assumed-role/demo/by-function"), "{identity:?}");
}
