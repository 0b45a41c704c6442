//! The methods `sts-saml` and `sts-root`: a new assertion for each refresh, and what each refusal
//! says; one task in a member account.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brs::command::Command;
use brs::sts::{root, saml};
use brs::{ErrorKind, RefreshableSession};
use brs_tests::embedded_aws::Failure;

use super::*;

const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/idp";
const MEMBER: &str = "210987654321";
const TASK: &str = "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy";
const ACTION: &str = "AssumeRoleWithSAML";

fn started() -> (Arc<EmbeddedAws>, ManualClock) {
    let (aws, clock) = aws();
    aws.add_saml_provider(PROVIDER);
    aws.add_member_account(MEMBER);
    (Arc::new(aws), clock)
}

async fn session(
    aws: &EmbeddedAws,
    clock: &ManualClock,
    assertions: saml::AssertionSource,
) -> RefreshableSession {
    let params = saml::Params::new(ROLE, PROVIDER, assertions);
    RefreshableSession::builder("sts-saml", params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .clock(clock.clone())
        .build()
        .await
        .unwrap()
}

/// An identity provider that logs `ann` in, as often as it is asked.
fn login(aws: &Arc<EmbeddedAws>) -> (saml::AssertionSource, Arc<AtomicUsize>) {
    let (aws, asked) = (Arc::clone(aws), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let source = saml::AssertionSource::blocking_function(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Error>(aws.issue_saml_assertion(ROLE, PROVIDER, "ann"))
    });
    (source, asked)
}

#[tokio::test]
async fn an_assertion_is_fetched_for_each_refresh_over_expiries_and_an_outage() {
    let (aws, clock) = started();
    let (source, asked) = login(&aws);
    let session = session(&aws, &clock, source).await;
    session.credentials().await.unwrap();
    assert_eq!(aws.requests()[0].access_key_id, None, "it is not signed");
    for _ in 0..2 {
        clock.advance(HOUR);
        session.credentials().await.unwrap();
    }
    assert_eq!((asked.load(Ordering::SeqCst), aws.calls(ACTION)), (3, 3));
    aws.fail_always_of(ACTION, Some(Failure::Status(503)));
    clock.advance(HOUR);
    let served = session.credentials().await.unwrap();
    aws.fail_always_of(ACTION, None);
    clock.advance(HOUR);
    let renewed = session.credentials().await.unwrap();
    assert_ne!(served.access_key_id(), renewed.access_key_id());
    let identity = session.whoami().await.unwrap();
    assert_eq!(
        identity.caller.unwrap().arn,
        "arn:aws:sts::123456789012:assumed-role/demo/ann"
    );
    assert_eq!(identity.details["provider_arn"], PROVIDER);
    let strategy = session.strategy::<saml::Saml>();
    assert!(!format!("{session:?} {strategy:?}").contains("PHNhbWx"));
}

#[tokio::test]
async fn each_trouble_with_an_assertion_says_what_to_look_at() {
    let (aws, clock) = started();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("assertion");
    let session = session(&aws, &clock, saml::AssertionSource::file(&file)).await;
    let old = aws.issue_saml_assertion(ROLE, PROVIDER, "ann");
    clock.advance(seconds(301));
    let good = aws.issue_saml_assertion(ROLE, PROVIDER, "ann");
    // As the tool `base64` wraps it.
    let wrapped = good
        .as_bytes()
        .chunks(76)
        .map(|line| [line, b"\r\n"].concat())
        .collect::<Vec<_>>()
        .concat();
    let another = aws.issue_saml_assertion("arn:aws:iam::123456789012:role/other", PROVIDER, "ann");
    for (text, code, words) in [
        (
            old.clone().into_bytes(),
            Some("ExpiredTokenException"),
            "within five minutes",
        ),
        (
            b"PHhtbC8+".to_vec(),
            Some("InvalidIdentityToken"),
            "check `provider_arn`",
        ),
        (
            another.into_bytes(),
            Some("AccessDenied"),
            "names this role and this provider",
        ),
        (b"<samlp:Response>".to_vec(), None, "is not base64"),
        (b"abc".to_vec(), None, "3 characters"),
        (vec![b'a'; 100_001], None, "100000 characters"),
        (vec![0xff; 8], None, "something else"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains(&old), "{error:?}");
        assert_eq!(
            error.is_unrecoverable(),
            code == Some("AccessDenied"),
            "{error:?}"
        );
        if code.is_none() {
            assert_eq!(
                (error.kind(), error.param()),
                (ErrorKind::Configuration, Some("assertion_source"))
            );
        }
    }
    std::fs::write(&file, wrapped).unwrap();
    session.refresh().await.unwrap();
    for code in [
        "IDPRejectedClaim",
        "PackedPolicyTooLarge",
        "MalformedPolicyDocument",
        "RegionDisabledException",
    ] {
        let failure = Failure::Error {
            status: 400,
            code,
            message: format!("{old} 120% was not liked"),
        };
        aws.fail_next_of(ACTION, [failure]);
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(!format!("{error} {error:?}").contains(&old), "{error:?}");
    }
}

#[tokio::test]
async fn a_session_that_asks_a_person_waits_for_one_and_asks_nobody_in_advance() {
    let (aws, clock) = started();
    let (source, asked) = login(&aws);
    let session = session(&aws, &clock, source.interactive()).await;
    assert!(session.as_base().is_interactive());
    assert_eq!(session.as_base().refresh_timeout(), seconds(330));
    session.credentials().await.unwrap();
    // Time passes, and nobody needs credentials.
    clock.advance(ADVISORY);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    clock.advance(HOUR);
    session.credentials().await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let command = Command::parse("sh -c 'echo who are you >&2; exit 1'").unwrap();
    let failing = self::session(
        &aws,
        &clock,
        saml::AssertionSource::command(command).interactive(),
    )
    .await;
    let error = failing.refresh().await.unwrap_err();
    assert!(error.to_string().contains("no SAML assertion"), "{error}");
}

async fn task(aws: &EmbeddedAws, clock: &ManualClock, target: &str) -> RefreshableSession {
    RefreshableSession::builder("sts-root", root::Params::new(target, TASK))
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(clock.clone())
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_task_is_renewed_every_fifteen_minutes_and_survives_an_outage() {
    let (aws, clock) = started();
    let session = task(&aws, &clock, MEMBER).await;
    let first = session.credentials().await.unwrap();
    assert_eq!(first.account_id(), Some(MEMBER));
    assert_eq!(first.expiration(), Some(start() + seconds(900)));
    let request = &aws.requests()[0];
    assert_eq!(request.access_key_id.as_deref(), Some(aws.access_key_id()));
    assert_eq!(request.parameters["TaskPolicyArn.arn"], TASK);
    for _ in 0..4 {
        clock.advance(seconds(900));
        session.credentials().await.unwrap();
    }
    assert_eq!(aws.calls("AssumeRoot"), 5);
    aws.fail_always_of("AssumeRoot", Some(Failure::Status(500)));
    clock.advance(seconds(900));
    session.credentials().await.unwrap();
    aws.fail_always_of("AssumeRoot", None);
    clock.advance(HOUR);
    let renewed = session.credentials().await.unwrap();
    assert!(renewed.expiration().unwrap() > brs::Clock::now(&clock));
    let identity = session.whoami().await.unwrap();
    assert_eq!(identity.caller.unwrap().account, MEMBER);
    assert_eq!(identity.details["task_policy_arn"], TASK);
}

#[tokio::test]
async fn refusals_of_a_task_say_who_may_do_it() {
    let (aws, clock) = started();
    let error = task(&aws, &clock, "999999999999")
        .await
        .refresh()
        .await
        .unwrap_err();
    assert_eq!(
        (error.code(), error.is_unrecoverable()),
        (Some("AccessDenied"), true)
    );
    for words in [
        "`999999999999`",
        "management account",
        "enable-organizations-root-sessions",
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    let session = task(&aws, &clock, MEMBER).await;
    for (status, code) in [
        (403, "ExpiredTokenException"),
        (403, "RegionDisabledException"),
    ] {
        let failure = Failure::Error {
            status,
            code,
            message: "words".into(),
        };
        aws.fail_next_of("AssumeRoot", [failure]);
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error:?}");
    }
    let params = root::Params::new(MEMBER, TASK).duration(seconds(901));
    let builder = RefreshableSession::builder("sts-root", params).region("eu-west-1");
    let error = builder.build().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Validation, Some("duration"))
    );
}
