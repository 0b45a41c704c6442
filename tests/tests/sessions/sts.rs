//! The method `sts`: what is sent, what comes back, and what each failure is called.

use aws_sdk_sts::Client;
use brs::sts::{Params, Sts, StsClient};
use brs::{ErrorKind, RefreshableSession};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use serde_json::json;

use super::*;

#[tokio::test]
async fn clients_made_from_the_session_work() {
    let aws = EmbeddedAws::start();
    let session = RefreshableSession::builder("sts", role())
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .build()
        .await
        .unwrap();
    let client = Client::new(session.sdk_config());
    for _ in 0..20 {
        let identity = client.get_caller_identity().send().await.unwrap();
        assert_eq!(
            identity.arn(),
            Some("arn:aws:sts::123456789012:assumed-role/demo/brs-session")
        );
    }
    assert_eq!(
        (aws.calls("AssumeRole"), aws.calls("GetCallerIdentity")),
        (1, 20)
    );
}

#[tokio::test]
async fn a_deferred_constructor_contacts_nobody() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    assert!(aws.requests().is_empty());
    assert_eq!(session.sdk_config().region().unwrap().as_ref(), "eu-west-1");
    key(&session).await;
    assert_eq!(aws.requests().len(), 1);
}

#[tokio::test]
async fn an_eager_constructor_fetches_and_fails_with_the_sources_error() {
    let (aws, clock) = aws();
    let session = builder(&aws, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    assert!(session.ready());
    aws.deny_role(ROLE);
    let error = builder(&aws, &clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.status()),
        (Some("AccessDenied"), Some(403))
    );
}

#[tokio::test]
async fn all_twelve_request_fields_arrive() {
    let (aws, clock) = aws();
    aws.add_mfa_code("arn:aws:iam::123456789012:mfa/me", "123456");
    let params = Params::new(ROLE)
        .role_session_name("me@work")
        .policy_arns(["arn:aws:iam::aws:policy/ReadOnlyAccess"])
        .policy(r#"{"Version":"2012-10-17","Statement":[]}"#)
        .duration(HOUR)
        .external_id("external-7")
        .serial_number("arn:aws:iam::123456789012:mfa/me")
        .token_code("123456")
        .tag("team", "blue")
        .transitive_tag_keys(["team"])
        .source_identity("alice")
        .provided_context(
            "arn:aws:iam::aws:contextProvider/IdentityCenter",
            "assertion",
        );
    let session = with_params(&aws, &clock, params).build().await.unwrap();
    key(&session).await;
    let sent = &aws.requests()[0].parameters;
    for (name, value) in [
        ("RoleArn", ROLE),
        ("RoleSessionName", "me@work"),
        (
            "PolicyArns.member.1.arn",
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
        ),
        ("Policy", r#"{"Version":"2012-10-17","Statement":[]}"#),
        ("DurationSeconds", "3600"),
        ("ExternalId", "external-7"),
        ("SerialNumber", "arn:aws:iam::123456789012:mfa/me"),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "blue"),
        ("TransitiveTagKeys.member.1", "team"),
        ("SourceIdentity", "alice"),
        (
            "ProvidedContexts.member.1.ProviderArn",
            "arn:aws:iam::aws:contextProvider/IdentityCenter",
        ),
        ("ProvidedContexts.member.1.ContextAssertion", "assertion"),
    ] {
        assert_eq!(sent.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(
        sent.contains_key("TokenCode"),
        "the server has checked the code itself"
    );
}

#[tokio::test]
async fn data_with_the_python_names_opens_a_session() {
    let (aws, clock) = aws();
    let data = json!({
        "assume_role_kwargs": { "RoleArn": ROLE, "RoleSessionName": "boto3-refresh-session", "DurationSeconds": 3600 },
        "sts_client_kwargs": { "endpoint_url": aws.endpoint_url(), "region_name": "eu-west-1" },
        "region_name": "eu-west-1",
        "aws_access_key_id": aws.access_key_id(),
        "aws_secret_access_key": aws.secret_access_key(),
        "advisory_timeout": 900,
        "mandatory_timeout": 600,
    });
    let session = SessionBuilder::from_data("sts", data)
        .unwrap()
        .clock(clock)
        .build()
        .await
        .unwrap();
    key(&session).await;
    assert_eq!(session.status().mandatory_window(), Some(seconds(600)));
    assert_eq!(
        aws.requests()[0].parameters["RoleSessionName"],
        "boto3-refresh-session"
    );
}

#[tokio::test]
async fn the_set_carries_the_account_and_the_servers_time() {
    let (aws, clock) = aws();
    let set = session(&aws, &clock).await.credentials().await.unwrap();
    assert_eq!(set.account_id(), Some("123456789012"));
    assert_eq!(set.server_time(), Some(start()));
    assert_eq!(set.expiration(), Some(start() + HOUR));
    assert!(set.access_key_id().starts_with("ASIA"));
}

#[tokio::test]
async fn a_device_whose_clock_is_a_day_off_refreshes_in_time() {
    let (aws, server) = aws();
    let clock = ManualClock::new(start() - seconds(86_400));
    let session = session(&aws, &clock).await;
    let first = key(&session).await;
    for clock in [&clock, &server] {
        clock.advance(MANDATORY);
    }
    assert_ne!(key(&session).await, first);
}

#[tokio::test]
async fn whoami_asks_with_the_temporary_credentials() {
    let aws = EmbeddedAws::start();
    let session = RefreshableSession::builder("sts", role())
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .build()
        .await
        .unwrap();
    let identity = session.whoami().await.unwrap();
    let caller = identity.caller.unwrap();
    assert_eq!(caller.account, "123456789012");
    assert_eq!(
        caller.arn,
        "arn:aws:sts::123456789012:assumed-role/demo/brs-session"
    );
    assert_eq!(identity.method, "sts");
    assert_eq!(
        aws.requests()[1].access_key_id.as_deref(),
        Some(identity.access_key_id.as_str())
    );
}

#[tokio::test]
async fn the_strategy_tells_its_role() {
    let (aws, clock) = aws();
    let session = session(&aws, &clock).await;
    assert_eq!(session.strategy::<Sts>().unwrap().role_arn(), ROLE);
}

#[tokio::test]
async fn a_session_may_use_credentials_of_its_own_for_the_sts_client() {
    let (aws, clock) = aws();
    let other = aws.add_user("other");
    let client =
        StsClient::new().credentials(other.access_key_id(), other.secret_access_key(), None);
    let session = with_params(&aws, &clock, role().client(client))
        .build()
        .await
        .unwrap();
    key(&session).await;
    assert_eq!(
        aws.requests()[0].access_key_id.as_deref(),
        Some(other.access_key_id())
    );
}

#[tokio::test]
async fn each_failure_of_the_source_has_its_own_error() {
    for (failure, kind, unrecoverable, message) in [
        (
            Failure::AccessDenied,
            ErrorKind::Request,
            true,
            "trust policy",
        ),
        (Failure::Throttled, ErrorKind::Request, false, ""),
        (Failure::Status(500), ErrorKind::Request, false, ""),
        (Failure::Status(503), ErrorKind::Request, false, ""),
        (Failure::DropConnection, ErrorKind::Connection, false, ""),
        (Failure::MalformedXml, ErrorKind::Credential, false, ""),
        (Failure::Truncated, ErrorKind::Credential, false, ""),
        (Failure::EmptyBody, ErrorKind::Credential, false, ""),
        (
            Failure::AlreadyExpired,
            ErrorKind::Credential,
            false,
            "already expired",
        ),
        (
            Failure::Oversized,
            ErrorKind::Credential,
            false,
            "more than 256 KiB",
        ),
        (Failure::Page(403), ErrorKind::Request, false, "is not STS"),
        (Failure::Page(404), ErrorKind::Request, false, "is not STS"),
        (Failure::Page(502), ErrorKind::Request, false, ""),
    ] {
        let (aws, clock) = aws();
        let session = session(&aws, &clock).await;
        aws.fail_next([failure.clone()]);
        let error = session.credentials().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (kind, unrecoverable),
            "{failure:?}: {error:?}"
        );
        assert!(error.to_string().contains(message), "{failure:?}: {error}");
        assert_eq!(error.method(), Some("sts"));
        if !unrecoverable {
            assert!(
                session.credentials().await.is_ok(),
                "{failure:?}: the next call asks again"
            );
        }
    }
}

#[tokio::test]
async fn wrong_base_credentials_are_named_for_what_they_are() {
    let (aws, clock) = aws();
    for (id, secret, code) in [
        ("AKIASTRANGER0000", "guess", "InvalidClientTokenId"),
        (aws.access_key_id(), "guess", "SignatureDoesNotMatch"),
    ] {
        let base = aws_sdk_sts::config::Credentials::new(id, secret, None, None, "test");
        let session = builder(&aws, &clock)
            .base_credentials(base)
            .build()
            .await
            .unwrap();
        let error = session.credentials().await.unwrap_err();
        assert_eq!(
            (error.code(), error.status()),
            (Some(code), Some(403)),
            "{error:?}"
        );
        assert!(!error.to_string().contains("guess"));
    }
}

#[tokio::test]
async fn no_server_is_a_connection_error_that_names_the_endpoint() {
    let (aws, clock) = aws();
    let endpoint = aws.endpoint_url();
    let builder = builder(&aws, &clock);
    drop(aws);
    let error = builder
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(format!("{error:?}").contains(&endpoint), "{error:?}");
}

#[tokio::test]
async fn limits_are_checked_before_any_call() {
    let (aws, clock) = aws();
    for (params, param) in [
        (Params::new("arn:aws:iam::1"), "assume_role.role_arn"),
        (
            Params::new(ROLE).role_session_name("x"),
            "assume_role.role_session_name",
        ),
        (
            Params::new(ROLE).duration(seconds(899)),
            "assume_role.duration",
        ),
        (
            Params::new(ROLE).duration(seconds(43_201)),
            "assume_role.duration",
        ),
        (
            Params::new(ROLE).external_id("x"),
            "assume_role.external_id",
        ),
    ] {
        let error = with_params(&aws, &clock, params).build().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (ErrorKind::Validation, Some(param)),
            "{error}"
        );
    }
    for (data, param) in [
        (
            json!({ "assume_role": { "role_arn": ROLE, "DurationSeconds": "long" } }),
            "assume_role.DurationSeconds",
        ),
        (
            json!({ "assume_role": { "role_arn": ROLE, "rolename": 1 } }),
            "assume_role.rolename",
        ),
        (json!({ "assume_roll": {} }), "assume_roll"),
    ] {
        let error = RefreshableSession::from_method("sts", data)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation);
        assert_eq!(error.param(), Some(param), "{error}");
    }
    assert!(aws.requests().is_empty());
}
