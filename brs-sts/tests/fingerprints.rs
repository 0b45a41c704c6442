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
use brs_sts::{Params, Sts, StsClient, container, imds, root, saml, session_token, web_identity};

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

#[tokio::test]
async fn a_root_task_is_told_by_who_asks_target_policy_and_duration() {
    let audit = "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials";
    let told = async |params: root::Params| {
        let told = of::<root::Root>(on_keys(params, "sts-root")).await;
        told.unwrap()
    };
    let task = || root::Params::new("210987654321", audit);
    let one = told(task()).await;
    assert_eq!(told(task()).await, one);
    assert!(one.contains("AKIDBASE") && one.contains(audit), "{one}");
    let unlock = "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy";
    for other in [
        root::Params::new("210987654322", audit),
        root::Params::new("210987654321", unlock),
        task().duration(Duration::from_secs(60)),
        task().client(StsClient::new().region("eu-west-2")),
    ] {
        assert_ne!(told(other).await, one);
    }
    let provider = RefreshableSession::with(task()).region("eu-west-1");
    let provider = provider.base_credentials(Own);
    assert_eq!(of::<root::Root>(provider).await, None);
}

/// An identity provider's answer for somebody; another one each time.
fn response(subject: &str, number: u32) -> String {
    aws_smithy_types::base64::encode(format!(
        "<p:Response ID=\"_{number}\"><p:Assertion ID=\"_a{number}\"><p:Issuer>https://idp</p:Issuer><p:Subject>\
         <p:NameID>{subject}</p:NameID></p:Subject><p:AttributeStatement><p:Attribute Name=\"hush-role\">\
         <p:AttributeValue>{ROLE}</p:AttributeValue></p:Attribute></p:AttributeStatement></p:Assertion></p:Response>"
    ))
}

#[tokio::test]
async fn a_saml_login_is_told_by_the_subject_of_its_assertion() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("assertion");
    let provider = "arn:aws:iam::123456789012:saml-provider/idp";
    let params = |source| saml::Params::new(ROLE, provider, source);
    let told = async |params: saml::Params| {
        let builder = RefreshableSession::with(params).region("eu-west-1");
        of::<saml::Saml>(builder).await
    };
    let of_file = async |text: &str| {
        std::fs::write(&path, text).unwrap();
        told(params(saml::AssertionSource::file(&path))).await
    };
    let one = of_file(&response("ann", 1)).await.unwrap();
    assert_eq!(of_file(&response("ann", 2)).await.unwrap(), one);
    assert_ne!(of_file(&response("bob", 1)).await.unwrap(), one);
    assert!(one.contains("ann") && !one.contains("hush"), "{one}");
    assert_eq!(of_file("PHhtbC8+").await, None);

    std::fs::write(&path, response("ann", 3)).unwrap();
    let of_file = || params(saml::AssertionSource::file(&path));
    for other in [
        of_file().duration(Duration::from_secs(900)),
        of_file().policy_arns(["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
        of_file().policy(r#"{"Version":"2012-10-17","Statement":[]}"#),
        saml::Params::new(
            "arn:aws:iam::123456789012:role/other",
            provider,
            saml::AssertionSource::file(&path),
        ),
    ] {
        assert_ne!(told(other).await.unwrap(), one);
    }
    let command = brs_core::command::Command::parse("cat assertion").unwrap();
    for source in [
        saml::AssertionSource::command(command),
        saml::AssertionSource::blocking_function(|| Ok::<_, std::io::Error>(response("ann", 1))),
        saml::AssertionSource::file(folder.path().join("absent")),
    ] {
        assert_eq!(told(params(source)).await, None);
    }
}

#[tokio::test]
async fn a_task_is_told_by_its_credentials_id_and_a_pod_by_its_token() {
    let told = async |params: container::Params| {
        let builder = RefreshableSession::with(params).region("eu-west-1");
        of::<container::Container>(builder).await
    };
    let task = |path: &str| container::Params::new().relative_uri(path);
    let id = "/v2/credentials/0f1d2c3b-4a59-4687-8796-a5b4c3d2e1f0";
    let one = told(task(id)).await.unwrap();
    assert_eq!(told(task(id)).await.unwrap(), one);
    let whole = container::Params::new().full_uri(format!("http://169.254.170.2{id}"));
    assert_eq!(told(whole).await.unwrap(), one);
    assert_ne!(told(task(&id.replace("0f1d", "1f1d"))).await.unwrap(), one);
    assert!(
        !one.contains("0f1d2c3b"),
        "whoever has the id has the credentials: {one}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let agent = || {
        let params = container::Params::new().full_uri("http://169.254.170.23/v1/credentials");
        params.authorization_token_file(&path)
    };
    let pod = async |uid: &str, exp: u32| {
        let claims = format!(
            r#"{{"iss":"https://oidc.eks","sub":"system:serviceaccount:a:b","aud":["pods.eks.amazonaws.com"],
            "exp":{exp},"kubernetes.io":{{"namespace":"a","warnafter":{exp},"pod":{{"name":"x","uid":"{uid}"}}}}}}"#
        );
        let claims = aws_smithy_types::base64::encode(claims);
        std::fs::write(&path, format!("e30.{}.hush", claims.trim_end_matches('='))).unwrap();
        told(agent()).await
    };
    let one = pod("u-1", 1).await.unwrap();
    assert_eq!(pod("u-1", 2).await.unwrap(), one);
    assert_ne!(pod("u-2", 1).await.unwrap(), one);
    assert!(!one.contains("hush"), "{one}");
    // Whoever answers may give out what it likes, and a token of one's own says nothing.
    let elsewhere = container::Params::new().full_uri("https://broker.example/v1/credentials");
    for params in [
        elsewhere.authorization_token_file(&path),
        task("/creds"),
        task(id).authorization_token("hush"),
        container::Params::new().full_uri("http://127.0.0.1:8080/v1/credentials"),
        container::Params::new()
            .full_uri("http://169.254.170.23/v1/credentials")
            .authorization_token("hush"),
    ] {
        assert_eq!(told(params).await, None);
    }
    std::fs::write(&path, "opaque-hush").unwrap();
    assert_eq!(told(agent()).await, None);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_instances_role_is_told_by_its_name_and_the_machine() {
    let told = async |params: imds::Params| {
        let builder = RefreshableSession::with(params).region("eu-west-1");
        of::<imds::Imds>(builder).await
    };
    let named = |name: &str| imds::Params::new().role_name(name);
    let one = told(named("web")).await.unwrap();
    assert_eq!(told(named("web")).await.unwrap(), one);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(one.contains(boot.trim()), "{one}");
    for other in [named("batch"), named("web").endpoint("http://127.0.0.1:1")] {
        assert_ne!(told(other).await.unwrap(), one);
    }
    // It may be another role tomorrow.
    assert_eq!(told(imds::Params::new()).await, None);
}
