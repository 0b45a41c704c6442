//! What is issued, on which conditions, and how it ends.

use super::*;

#[tokio::test]
async fn an_assumed_role_is_recognised_by_its_session() {
    let aws = EmbeddedAws::start();
    let output = assume(&aws).await.unwrap();
    let session_arn = "arn:aws:sts::123456789012:assumed-role/demo/me";
    let assumed = output.assumed_role_user().unwrap();
    assert_eq!(assumed.arn(), session_arn);
    let token_size = output.credentials().unwrap().session_token().len();
    assert_eq!(
        output.session_token_size(),
        Some(i32::try_from(token_size).unwrap())
    );

    let identity = identify(&aws, issued(&output)).await.unwrap();
    assert_eq!(identity.arn(), Some(session_arn));
    assert_eq!(identity.account(), Some(EmbeddedAws::ACCOUNT_ID));
    assert_eq!(identity.user_id(), Some(assumed.assumed_role_id()));
}

#[tokio::test]
async fn every_session_is_new_and_its_secrets_are_on_record() {
    let aws = EmbeddedAws::start();
    let (first, second) = (
        issued(&assume(&aws).await.unwrap()),
        issued(&assume(&aws).await.unwrap()),
    );
    let secrets = aws.issued_secrets();
    for session in [&first, &second] {
        assert!(session.access_key_id().starts_with("ASIA"));
        assert!(
            secrets
                .iter()
                .any(|secret| secret == session.secret_access_key())
        );
        assert!(
            secrets
                .iter()
                .any(|secret| Some(secret.as_str()) == session.session_token())
        );
    }
    assert!(
        secrets
            .iter()
            .any(|secret| secret == aws.secret_access_key())
    );
    assert_ne!(first.access_key_id(), second.access_key_id());
    assert_ne!(first.secret_access_key(), second.secret_access_key());
    assert_ne!(first.session_token(), second.session_token());
}

#[tokio::test]
async fn a_session_ends_at_its_expiration() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder()
        .clock(clock.reader())
        .allowed_skew(Duration::MAX)
        .start();
    let session = issued(&assume(&aws).await.unwrap());
    clock.advance(3599);
    identify(&aws, session.clone()).await.unwrap();
    clock.advance(1);
    let expected = "The security token included in the request is expired".to_owned();
    assert_eq!(
        refusal(identify(&aws, session).await),
        (403, "ExpiredToken".to_owned(), expected)
    );
}

#[tokio::test]
async fn a_session_that_is_ended_early_has_expired() {
    let aws = EmbeddedAws::start();
    let session = issued(&assume(&aws).await.unwrap());
    aws.expire(session.access_key_id());
    assert_eq!(refusal(identify(&aws, session).await).1, "ExpiredToken");
}

#[tokio::test]
async fn a_key_of_a_user_that_is_ended_is_invalid() {
    let aws = EmbeddedAws::start();
    aws.expire(aws.access_key_id());
    assert_eq!(refusal(assume(&aws).await).1, "InvalidClientTokenId");
}

#[test]
#[should_panic(expected = "never issued here")]
fn ending_a_foreign_key_is_a_mistake() {
    EmbeddedAws::start().expire("ASIASTRANGER");
}

#[test]
#[should_panic(expected = "is not the ARN of a role")]
fn denying_what_is_no_role_is_a_mistake() {
    EmbeddedAws::start().deny_role("demo");
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_asks_for_unless_told_otherwise() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    let client = client(&aws, aws.credentials());
    let call = || client.assume_role().role_arn(ROLE).role_session_name("me");
    assert_eq!(
        lifetime(&clock, call().send().await.unwrap().credentials()),
        3600
    );
    assert_eq!(
        lifetime(
            &clock,
            call()
                .duration_seconds(43_200)
                .send()
                .await
                .unwrap()
                .credentials()
        ),
        43_200
    );
    aws.set_lifetime(Some(Duration::from_secs(5)));
    assert_eq!(
        lifetime(
            &clock,
            call()
                .duration_seconds(900)
                .send()
                .await
                .unwrap()
                .credentials()
        ),
        5
    );
    aws.set_lifetime(None);
    aws.allow_short_durations(true);
    assert_eq!(
        lifetime(
            &clock,
            call()
                .duration_seconds(1)
                .send()
                .await
                .unwrap()
                .credentials()
        ),
        1
    );
}

#[tokio::test]
async fn parameters_out_of_bounds_are_validation_errors() {
    let aws = EmbeddedAws::start();
    let client = client(&aws, aws.credentials());
    let call = || client.assume_role().role_arn(ROLE).role_session_name("me");
    for (call, named) in [
        (
            call().duration_seconds(899),
            "Value '899' at 'durationSeconds' failed",
        ),
        (
            call().duration_seconds(43_201),
            "Value '43201' at 'durationSeconds' failed",
        ),
        (
            call().duration_seconds(-1),
            "Value '-1' at 'durationSeconds' failed",
        ),
        (call().role_arn("<demo> & co"), "<demo> & co is invalid"),
        (call().role_arn(""), "Value null at 'roleArn' failed"),
        (
            call().role_session_name(""),
            "Value null at 'roleSessionName' failed",
        ),
        (
            call().role_session_name("x"),
            "Value 'x' at 'roleSessionName' failed",
        ),
        (
            call().role_session_name("x".repeat(65)),
            "at 'roleSessionName' failed",
        ),
        (
            call().role_session_name("two words"),
            "Value 'two words' at 'roleSessionName' failed",
        ),
    ] {
        let (status, code, message) = refusal(call.send().await);
        assert_eq!((status, code.as_str()), (400, "ValidationError"), "{named}");
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn a_chained_session_is_limited_to_an_hour() {
    let aws = EmbeddedAws::start();
    let chained = client(&aws, issued(&assume(&aws).await.unwrap()));
    let call = || chained.assume_role().role_arn(ROLE).role_session_name("me");
    call().duration_seconds(3600).send().await.unwrap();
    let (_, code, message) = refusal(call().duration_seconds(3601).send().await);
    assert_eq!(code, "ValidationError");
    assert!(message.contains("role chaining"), "{message}");
}

#[tokio::test]
async fn a_denied_role_is_refused_until_it_is_added() {
    let aws = EmbeddedAws::start();
    aws.deny_role(ROLE);
    let message = format!(
        "User: arn:aws:iam::123456789012:user/brs is not authorized to perform: sts:AssumeRole on resource: {ROLE}"
    );
    assert_eq!(
        refusal(assume(&aws).await),
        (403, "AccessDenied".to_owned(), message)
    );
    aws.add_role(ROLE);
    assume(&aws).await.unwrap();
}

#[tokio::test]
async fn a_role_of_another_account_must_be_added() {
    let aws = EmbeddedAws::start();
    let foreign = "arn:aws:iam::210987654321:role/path/guest";
    let client = client(&aws, aws.credentials());
    let call = || {
        client
            .assume_role()
            .role_arn(foreign)
            .role_session_name("me")
            .send()
    };
    assert_eq!(refusal(call().await).1, "AccessDenied");
    aws.add_role(foreign);
    let identity = identify(&aws, issued(&call().await.unwrap()))
        .await
        .unwrap();
    assert_eq!(identity.account(), Some("210987654321"));
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::210987654321:assumed-role/guest/me")
    );
}

#[tokio::test]
async fn a_token_code_is_good_once() {
    let aws = EmbeddedAws::start();
    let device = "arn:aws:iam::123456789012:mfa/brs";
    aws.add_mfa_code(device, "123456");
    let client = client(&aws, aws.credentials());
    let call = |code: &str| {
        let call = client.assume_role().role_arn(ROLE).role_session_name("me");
        call.serial_number(device).token_code(code).send()
    };
    assert_eq!(refusal(call("654321").await).1, "AccessDenied");
    call("123456").await.unwrap();
    let (status, code, message) = refusal(call("123456").await);
    assert_eq!((status, code.as_str()), (403, "AccessDenied"));
    assert!(
        message.starts_with("MultiFactorAuthentication failed"),
        "{message}"
    );
}

#[tokio::test]
#[expect(
    deprecated,
    reason = "STS still sends the packed size beside its successor"
)]
async fn a_source_identity_and_a_packed_policy_are_reported() {
    let aws = EmbeddedAws::start();
    let client = client(&aws, aws.credentials());
    let call = client
        .assume_role()
        .role_arn(ROLE)
        .role_session_name("me")
        .source_identity("alice");
    let policy = format!("{:1024}", r#"{"Statement":[]}"#);
    let output = call.policy(&policy).send().await.unwrap();
    assert_eq!(output.source_identity(), Some("alice"));
    assert_eq!(output.packed_policy_size(), Some(50));
}
