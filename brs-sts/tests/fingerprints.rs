//! What decides credentials, told: equal where they would be the same, different where not, and
//! without secrets.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, future};
use brs_core::{Params as AnyParams, RefreshStrategy, RefreshableSession, SessionBuilder};
use brs_sts::{Params, Sts, StsClient, session_token, web_identity};

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";

fn keys(id: &str) -> Credentials {
    Credentials::new(id, "hush-secret", None, None, "test")
}

fn on_keys(params: impl Into<AnyParams>, method: &str) -> SessionBuilder {
    RefreshableSession::builder(method, params)
        .region("eu-west-1")
        .base_credentials(keys("AKIDBASE"))
}

async fn of<S: RefreshStrategy>(builder: SessionBuilder) -> Option<String> {
    let session = builder.build().await.unwrap();
    let told = session.strategy::<S>().unwrap().fingerprint();
    told.map(|told| told.canonical())
}

async fn told(params: Params) -> String {
    of::<Sts>(on_keys(params, "sts")).await.unwrap()
}

fn role() -> Params {
    Params::new(ROLE)
}

#[tokio::test]
async fn all_that_decides_the_credentials_counts() {
    let base = told(role()).await;
    for part in [
        ROLE,
        "AKIDBASE",
        "eu-west-1",
        "brs-session",
        "\"method\":\"sts\"",
    ] {
        assert!(base.contains(part), "{part}: {base}");
    }
    let client = StsClient::new;
    let others = [
        Params::new("arn:aws:iam::123456789012:role/other"),
        role().role_session_name("other"),
        role().policy_arns(["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
        role().policy(r#"{"Version":"2012-10-17","Statement":[]}"#),
        role().duration(Duration::from_secs(900)),
        role().external_id("hush-external"),
        role().tag("team", "hush-a"),
        role().tag("team", "hush-b"),
        role().tag("team", "hush-a").transitive_tag_keys(["team"]),
        role().source_identity("somebody"),
        role()
            .serial_number("arn:aws:iam::123456789012:mfa/x")
            .token_code("123456"),
        role().client(client().region("eu-west-2")),
        role().client(client().endpoint_url("https://sts.example.com")),
        role().client(client().use_fips(true)),
        role().client(client().use_dual_stack(true)),
        role().client(client().credentials("AKIDOTHER", "hush", None)),
    ];
    let mut seen = vec![base];
    for params in others {
        let other = told(params).await;
        assert!(!seen.contains(&other), "{other}");
        assert!(
            !other.contains("hush") && !other.contains("123456\""),
            "{other}"
        );
        seen.push(other);
    }
}

#[tokio::test]
async fn what_decides_nothing_does_not_count() {
    let base = told(role()).await;
    let client = StsClient::new;
    for params in [
        role().role_session_name(brs_sts::DEFAULT_ROLE_SESSION_NAME),
        role().client(client().max_attempts(7)),
        role().client(client().region("eu-west-1")),
        role().client(client().use_fips(false)),
        role().client(client().credentials("AKIDBASE", "hush", None)),
    ] {
        assert_eq!(told(params).await, base);
    }
    // Each process makes it up by itself.
    let name = || role().role_session_name("app-{random}-{pid}");
    assert_eq!(told(name()).await, told(name()).await);
    assert_ne!(told(name()).await, base);
}

#[tokio::test]
async fn a_role_on_a_session_is_told_by_the_whole_chain() {
    let hub = async |id| {
        let hub = RefreshableSession::with(role()).region("eu-west-1");
        hub.base_credentials(keys(id)).build().await.unwrap()
    };
    let spoke = async |hub: &RefreshableSession| {
        let params = Params::new("arn:aws:iam::123456789012:role/spoke");
        let builder = RefreshableSession::with(params).region("eu-west-1");
        of::<Sts>(builder.base_session(hub)).await.unwrap()
    };
    let one = spoke(&hub("AKIDA").await).await;
    assert!(one.contains("AKIDA") && one.contains(ROLE), "{one}");
    assert_eq!(spoke(&hub("AKIDA").await).await, one);
    assert_ne!(spoke(&hub("AKIDB").await).await, one);
}

#[derive(Debug)]
struct Own;

impl ProvideCredentials for Own {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Ok(keys("AKIDOWN")))
    }
}

#[tokio::test]
async fn what_leaves_a_doubt_is_not_told() {
    let provider = RefreshableSession::with(role()).region("eu-west-1");
    assert_eq!(of::<Sts>(provider.base_credentials(Own)).await, None);
    let in_client = role().client(StsClient::new().credentials_provider(Own));
    assert_eq!(of::<Sts>(on_keys(in_client, "sts")).await, None);
    let arn = "arn:aws:iam::aws:contextProvider/IdentityCenter";
    let context = role().provided_context(arn, "hush-assertion");
    assert_eq!(of::<Sts>(on_keys(context, "sts")).await, None);
}

#[tokio::test]
async fn who_cannot_be_told_is_told_by_the_name_that_the_program_gives() {
    let on = async |name: &str| {
        let builder = RefreshableSession::with(role()).region("eu-west-1");
        of::<Sts>(builder.base_credentials(Own).asker_name(name)).await
    };
    let one = on("instances").await.unwrap();
    assert!(one.contains("instances") && one.contains(ROLE), "{one}");
    assert_eq!(on("instances").await, Some(one.clone()));
    assert_ne!(on("others").await, Some(one.clone()));
    // The name stands for nobody who can be told.
    let told = async |name| of::<Sts>(on_keys(role(), "sts").asker_name(name)).await;
    assert_eq!(told("instances").await, told("others").await);
    assert_ne!(told("instances").await, Some(one.clone()));
    // As data, and beneath another role.
    let data =
        serde_json::json!({ "role_arn": ROLE, "region": "eu-west-1", "asker_name": "instances" });
    let hub = brs_core::SessionBuilder::from_data("sts", data).unwrap();
    let hub = hub.base_credentials(Own).build().await.unwrap();
    let spoke = Params::new("arn:aws:iam::123456789012:role/spoke");
    let spoke = RefreshableSession::with(spoke).region("eu-west-1");
    let spoke = of::<Sts>(spoke.base_session(&hub)).await.unwrap();
    assert!(spoke.contains(&one), "{spoke}");
    let error = RefreshableSession::with(role())
        .asker_name(" ")
        .build()
        .await;
    assert_eq!(error.unwrap_err().param(), Some("asker_name"));
}

#[tokio::test]
async fn a_session_token_is_told_by_duration_and_device() {
    let of = async |params: session_token::Params| {
        let builder = on_keys(params, "sts-session-token");
        of::<session_token::SessionToken>(builder).await.unwrap()
    };
    let base = of(session_token::Params::new()).await;
    assert!(base.contains("AKIDBASE"), "{base}");
    let longer = session_token::Params::new().duration(Duration::from_secs(7200));
    assert_ne!(of(longer).await, base);
}

#[tokio::test]
async fn a_web_identity_is_told_by_the_tokens_subject() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let of = async |claims: Option<&str>| {
        let token = match claims {
            Some(claims) => {
                let text = aws_smithy_types::base64::encode(claims);
                format!("e30.{}.hush", text.trim_end_matches('='))
            }
            None => "opaque-hush".to_owned(),
        };
        std::fs::write(&path, token).unwrap();
        let params = web_identity::Params::new().role_arn(ROLE).token_file(&path);
        let builder = RefreshableSession::with(params).region("eu-west-1");
        of::<web_identity::WebIdentity>(builder).await
    };
    let claims =
        |sub: &str, exp: u32| format!(r#"{{"iss":"a","sub":"{sub}","aud":"sts","exp":{exp}}}"#);
    let one = of(Some(&claims("pod", 1))).await.unwrap();
    assert_eq!(of(Some(&claims("pod", 2))).await.unwrap(), one);
    assert_ne!(of(Some(&claims("other", 1))).await.unwrap(), one);
    assert!(one.contains("pod") && !one.contains("hush"), "{one}");
    assert_eq!(of(None).await, None);
}
