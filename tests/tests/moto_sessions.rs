//! The same sessions against an independent server: moto, with signature and policy checks switched
//! on.

use aws_sdk_sts::Client;
use brs::sts::AssumeExt as _;
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
        assert!(
            identity.arn().unwrap().contains("assumed-role/demo/"),
            "{identity:?}"
        );
        session.refresh().await.unwrap();
    }
    let caller = session.whoami().await.unwrap().caller.unwrap();
    assert!(caller.arn.contains("assumed-role/demo/"), "{caller:?}");
}

#[tokio::test]
#[ignore = "needs moto"]
async fn wrong_base_credentials_are_refused_by_moto_and_said_so() {
    let (moto, user) = Moto::start_with_auth();
    let wrong = aws_sdk_sts::config::Credentials::new(
        user.credentials.access_key_id(),
        "guess",
        None,
        None,
        "test",
    );
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
    let params = custom::Params::function_with(
        (client, user.role_arn.clone()),
        async |(client, role): (Client, String)| {
            let answer = client
                .assume_role()
                .role_arn(role)
                .role_session_name("by-function")
                .send()
                .await?;
            let issued = answer.credentials.ok_or("no credentials")?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(TemporaryCredentials::new(
                issued.access_key_id,
                issued.secret_access_key,
                Some(issued.session_token),
                Some(issued.expiration.try_into()?),
            ))
        },
    );
    let session = RefreshableSession::builder("custom", params)
        .region("eu-west-1")
        .endpoint_url(moto.endpoint_url())
        .build()
        .await
        .unwrap();
    let identity = Client::new(session.sdk_config())
        .get_caller_identity()
        .send()
        .await
        .unwrap();
    assert!(
        identity
            .arn()
            .unwrap()
            .ends_with("assumed-role/demo/by-function"),
        "{identity:?}"
    );
}

/// moto takes any code; that each is sent once is the embedded AWS's affair.
#[tokio::test]
#[ignore = "needs moto"]
async fn an_mfa_session_and_a_chain_of_roles_work_against_moto() {
    let moto = Moto::start();
    let serial_number = "arn:aws:iam::123456789012:mfa/moto";
    let totp = sts::MfaTokenProvider::totp("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    let user = RefreshableSession::builder(
        "sts-session-token",
        sts::session_token::Params::new().mfa(serial_number, totp),
    )
    .region("eu-west-1")
    .endpoint_url(moto.endpoint_url())
    .base_credentials(aws_sdk_sts::config::Credentials::new(
        "AKIAMOTO", "secret", None, None, "test",
    ))
    .await
    .unwrap();
    let hub = user
        .assume("arn:aws:iam::123456789012:role/hub")
        .await
        .unwrap();
    let role = sts::Params::new("arn:aws:iam::123456789012:role/spoke")
        .role_session_name("moto-{pid}")
        .external_id("partner-17")
        .duration(std::time::Duration::from_secs(900))
        .policy(r#"{"Version":"2012-10-17","Statement":[]}"#)
        .tag("team", "blue")
        .source_identity("alice");
    let spoke = hub.assume(role).await.unwrap();
    let identity = spoke.whoami().await.unwrap();
    let name = format!("assumed-role/spoke/moto-{}", std::process::id());
    assert!(identity.caller.unwrap().arn.ends_with(&name));
    assert_eq!(identity.chain.len(), 2);
    assert!(
        identity.chain[1]
            .caller
            .as_ref()
            .unwrap()
            .arn
            .contains("assumed-role/hub/"),
        "{:?}",
        identity.chain
    );
    let left = spoke.credentials().await.unwrap().expiration().unwrap();
    let now = brs::Clock::now(&brs::SystemClock::new());
    assert!(left.duration_since(now).unwrap() <= std::time::Duration::from_secs(900));
    spoke.refresh().await.unwrap();
}

#[tokio::test]
#[ignore = "needs moto"]
async fn a_saml_assertion_works_against_moto() {
    let moto = Moto::start();
    let (role, provider) = (
        "arn:aws:iam::123456789012:role/demo",
        "arn:aws:iam::123456789012:saml-provider/idp",
    );
    let idp = brs_tests::EmbeddedAws::start();
    let login = move || Ok::<_, brs::Error>(idp.issue_saml_assertion(role, provider, "ann"));
    let source = sts::saml::AssertionSource::blocking_function(login);
    let session = RefreshableSession::with(sts::saml::Params::new(role, provider, source))
        .region("eu-west-1")
        .endpoint_url(moto.endpoint_url())
        .build()
        .await
        .unwrap();
    session.refresh().await.unwrap();
    session.refresh().await.unwrap();
    let caller = session.whoami().await.unwrap().caller.unwrap();
    assert!(caller.arn.ends_with("assumed-role/demo/ann"), "{caller:?}");
}

#[tokio::test]
#[ignore = "needs moto"]
async fn a_web_identity_works_against_moto() {
    let moto = Moto::start();
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwb2QifQ.").unwrap();
    let params = sts::web_identity::Params::new()
        .role_arn("arn:aws:iam::123456789012:role/pod")
        .token_file(token.path());
    let session = RefreshableSession::builder("sts-web-identity", params)
        .region("eu-west-1")
        .endpoint_url(moto.endpoint_url())
        .await
        .unwrap();
    let identity = session.whoami().await.unwrap();
    assert!(
        identity.caller.unwrap().arn.contains("assumed-role/pod/"),
        "{:?}",
        identity.chain
    );
}
