//! AssumeRoleWithWebIdentity: roles for who has a provider's token and no key.

use super::*;
use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;

const TOKEN: &str = "eyJ.token";

fn started() -> (TestClock, EmbeddedAws) {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    aws.add_web_identity(TOKEN, "pod-7");
    (clock, aws)
}

fn call(aws: &EmbeddedAws, token: &str) -> AssumeRoleWithWebIdentityFluentBuilder {
    let call = client(aws, aws.credentials()).assume_role_with_web_identity();
    call.role_arn(ROLE)
        .role_session_name("me")
        .web_identity_token(token)
}

#[tokio::test]
async fn a_token_opens_a_role_without_a_signature() {
    let (clock, aws) = started();
    let output = call(&aws, TOKEN).send().await.unwrap();
    assert_eq!(output.subject_from_web_identity_token(), Some("pod-7"));
    assert_eq!(output.audience(), Some("sts.amazonaws.com"));
    assert_eq!(output.provider(), Some("https://idp.example.com"));
    let assumed = output.assumed_role_user().unwrap();
    assert_eq!(
        assumed.arn(),
        "arn:aws:sts::123456789012:assumed-role/demo/me"
    );
    assert_eq!(lifetime(&clock, output.credentials()), 3600);
    let identity = identify(&aws, keys(output.credentials())).await.unwrap();
    assert_eq!(
        (identity.arn(), identity.user_id()),
        (Some(assumed.arn()), Some(assumed.assumed_role_id()))
    );
    call(&aws, TOKEN)
        .send()
        .await
        .expect("a token is good more than once");
}

#[tokio::test]
async fn the_token_is_not_in_the_log() {
    let (_, aws) = started();
    call(&aws, TOKEN).send().await.unwrap();
    let request = &aws.requests()[0];
    assert_eq!(
        (request.action.as_str(), &request.access_key_id),
        ("AssumeRoleWithWebIdentity", &None)
    );
    assert_eq!(request.parameters["WebIdentityToken"], "(redacted)");
    assert!(!format!("{aws:?} {:?}", aws.requests()).contains(TOKEN));
}

#[tokio::test]
async fn tokens_that_are_unknown_or_over_have_codes_of_their_own() {
    let (clock, aws) = started();
    let message =
        "No OpenIDConnect provider found in your account for https://idp.example.com".to_owned();
    assert_eq!(
        refusal(call(&aws, "eyJ.other").send().await),
        (400, "InvalidIdentityToken".to_owned(), message)
    );
    aws.expire_web_identity(TOKEN);
    let now = clock
        .now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let message = |now, expired| {
        format!(
            "Token expired: current date/time {now} must be before the expiration date/time {expired}"
        )
    };
    let expected = (
        400,
        "ExpiredTokenException".to_owned(),
        message(now, now - 1),
    );
    assert_eq!(refusal(call(&aws, TOKEN).send().await), expected);
    clock.advance(10);
    assert_eq!(
        refusal(call(&aws, TOKEN).send().await).2,
        message(now + 10, now - 1)
    );
    aws.add_web_identity(TOKEN, "pod-8");
    let output = call(&aws, TOKEN).send().await.unwrap();
    assert_eq!(output.subject_from_web_identity_token(), Some("pod-8"));
}

#[test]
#[should_panic(expected = "the token was added")]
fn expiring_an_unknown_token_is_a_mistake() {
    EmbeddedAws::start().expire_web_identity(TOKEN);
}

#[tokio::test]
async fn a_denied_role_is_refused_in_words_of_its_own() {
    let (_, aws) = started();
    aws.deny_role(ROLE);
    let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned();
    assert_eq!(
        refusal(call(&aws, TOKEN).send().await),
        (403, "AccessDenied".to_owned(), message.clone())
    );
    aws.add_role(ROLE);
    call(&aws, TOKEN).send().await.unwrap();
    let foreign = call(&aws, TOKEN).role_arn("arn:aws:iam::210987654321:role/guest");
    assert_eq!(refusal(foreign.send().await).2, message);
}

#[tokio::test]
async fn parameters_are_judged_as_for_a_signed_call() {
    let (clock, aws) = started();
    for seconds in [900, 43_200] {
        let output = call(&aws, TOKEN)
            .duration_seconds(seconds)
            .send()
            .await
            .unwrap();
        assert_eq!(
            i32::try_from(lifetime(&clock, output.credentials())).unwrap(),
            seconds
        );
    }
    let longest = "t".repeat(20_000);
    for token in ["four", &longest] {
        aws.add_web_identity(token, "pod");
        call(&aws, token).send().await.unwrap();
    }
    aws.set_max_session_duration(ROLE, Duration::from_secs(7200));
    for (call, code, named) in [
        (
            call(&aws, TOKEN).duration_seconds(899),
            "ValidationError",
            "'durationSeconds'",
        ),
        (
            call(&aws, TOKEN).duration_seconds(43_201),
            "ValidationError",
            "'durationSeconds'",
        ),
        (
            call(&aws, TOKEN).duration_seconds(7201),
            "ValidationError",
            "MaxSessionDuration",
        ),
        (
            call(&aws, TOKEN).role_session_name("x"),
            "ValidationError",
            "'roleSessionName'",
        ),
        (
            call(&aws, TOKEN).role_arn("demo"),
            "ValidationError",
            "demo is invalid",
        ),
        (call(&aws, "abc"), "ValidationError", "'webIdentityToken'"),
        (
            call(&aws, &"t".repeat(20_001)),
            "ValidationError",
            "'webIdentityToken'",
        ),
        (
            call(&aws, ""),
            "ValidationError",
            "Value null at 'webIdentityToken'",
        ),
        (
            call(&aws, TOKEN).policy("{}"),
            "MalformedPolicyDocument",
            "Syntax errors",
        ),
        (
            call(&aws, TOKEN).policy(format!("{:3800}", r#"{"Statement":[]}"#)),
            "PackedPolicyTooLarge",
            "186%",
        ),
    ] {
        let (status, answered, message) = refusal(call.send().await);
        assert_eq!((status, answered.as_str()), (400, code), "{message}");
        assert!(message.contains(named), "{message}");
    }
}

#[tokio::test]
async fn its_session_is_one_of_a_role() {
    let (_, aws) = started();
    let session = keys(call(&aws, TOKEN).send().await.unwrap().credentials());
    role_call(&aws, session.clone())
        .duration_seconds(3600)
        .send()
        .await
        .unwrap();
    let chained = role_call(&aws, session.clone())
        .duration_seconds(3601)
        .send()
        .await;
    assert!(refusal(chained).2.contains("role chaining"));
    let refused = client(&aws, session).get_session_token().send().await;
    assert!(refusal(refused).2.contains("session credentials"));
}
