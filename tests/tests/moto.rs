//! moto, as the fixture runs it.

use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use brs_tests::moto::Moto;

fn client(moto: &Moto, credentials: Credentials) -> Client {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .endpoint_url(moto.endpoint_url())
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

#[tokio::test]
#[ignore = "needs moto"]
async fn moto_answers_whoever_asks() {
    let moto = Moto::start();
    let client = client(
        &moto,
        Credentials::new("AKIASTRANGER", "guess", None, None, "test"),
    );
    let role = "arn:aws:iam::123456789012:role/demo";
    let output = client
        .assume_role()
        .role_arn(role)
        .role_session_name("me")
        .send()
        .await
        .unwrap();
    assert!(
        output
            .credentials()
            .unwrap()
            .access_key_id()
            .starts_with("ASIA")
    );
}

#[tokio::test]
#[ignore = "needs moto"]
async fn moto_with_auth_knows_its_user_and_nobody_else() {
    let (moto, user) = Moto::start_with_auth();
    let assume = |credentials| {
        let call = client(&moto, credentials).assume_role();
        call.role_arn(&user.role_arn).role_session_name("me").send()
    };
    let output = assume(user.credentials.clone()).await.unwrap();
    let issued = output.credentials().unwrap();
    let token = Some(issued.session_token().to_owned());
    let session = Credentials::new(
        issued.access_key_id(),
        issued.secret_access_key(),
        token,
        None,
        "test",
    );
    let identity = client(&moto, session)
        .get_caller_identity()
        .send()
        .await
        .unwrap();
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::123456789012:assumed-role/demo/me")
    );

    let stranger = Credentials::new(
        user.credentials.access_key_id(),
        "guess",
        None,
        None,
        "test",
    );
    let error = assume(stranger).await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 403);
    assert!(!format!("{user:?} {moto:?}").contains(user.credentials.secret_access_key()));
}

#[test]
#[ignore = "needs moto"]
fn moto_ends_with_its_handle() {
    let moto = Moto::start();
    let address = moto.endpoint_url().trim_start_matches("http://").to_owned();
    std::net::TcpStream::connect(&address).unwrap();
    drop(moto);
    assert!(std::net::TcpStream::connect(&address).is_err());
}
