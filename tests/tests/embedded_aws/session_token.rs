//! GetSessionToken: who gets a session of their own, for how long, and what it opens.

use super::*;
use aws_sdk_sts::operation::get_session_token::builders::GetSessionTokenFluentBuilder;

const DEVICE: &str = "arn:aws:iam::123456789012:mfa/brs";

fn started() -> (TestClock, EmbeddedAws) {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder()
        .clock(clock.reader())
        .allowed_skew(Duration::MAX)
        .start();
    (clock, aws)
}

fn session_call(aws: &EmbeddedAws) -> GetSessionTokenFluentBuilder {
    client(aws, aws.credentials()).get_session_token()
}

async fn session(aws: &EmbeddedAws) -> Credentials {
    keys(session_call(aws).send().await.unwrap().credentials())
}

#[tokio::test]
async fn a_session_is_its_user() {
    let aws = EmbeddedAws::start();
    let session = session(&aws).await;
    assert!(session.access_key_id().starts_with("ASIA"));
    let (user, in_session) = (
        identify(&aws, aws.credentials()).await.unwrap(),
        identify(&aws, session.clone()).await.unwrap(),
    );
    assert_eq!(in_session.arn(), Some("arn:aws:iam::123456789012:user/brs"));
    assert_eq!(
        (in_session.arn(), in_session.user_id()),
        (user.arn(), user.user_id())
    );
    assert!(
        aws.issued_secrets()
            .iter()
            .any(|secret| secret == session.secret_access_key())
    );
    assert_eq!(
        aws.requests()[0].access_key_id.as_deref(),
        Some(aws.access_key_id())
    );
}

#[tokio::test]
async fn its_duration_has_limits_of_its_own() {
    let (clock, aws) = started();
    let plain = session_call(&aws).send().await.unwrap();
    assert_eq!(lifetime(&clock, plain.credentials()), 43_200);
    for seconds in [900, 129_600] {
        let output = session_call(&aws)
            .duration_seconds(seconds)
            .send()
            .await
            .unwrap();
        assert_eq!(
            i32::try_from(lifetime(&clock, output.credentials())).unwrap(),
            seconds
        );
    }
    for (seconds, constraint) in [
        (899, "greater than or equal to 900"),
        (129_601, "less than or equal to 129600"),
    ] {
        let (status, code, message) =
            refusal(session_call(&aws).duration_seconds(seconds).send().await);
        assert_eq!((status, code.as_str()), (400, "ValidationError"));
        assert!(message.contains(constraint), "{message}");
    }
    aws.allow_short_durations(true);
    let short = session_call(&aws).duration_seconds(1).send().await.unwrap();
    assert_eq!(lifetime(&clock, short.credentials()), 1);
    aws.set_lifetime(Some(Duration::from_secs(5)));
    assert_eq!(
        lifetime(
            &clock,
            session_call(&aws).send().await.unwrap().credentials()
        ),
        5
    );
}

#[tokio::test]
async fn session_credentials_get_no_session() {
    let aws = EmbeddedAws::start();
    let role = issued(&assume(&aws).await.unwrap());
    for credentials in [role, session(&aws).await] {
        let refused = client(&aws, credentials).get_session_token().send().await;
        let message = "Cannot call GetSessionToken with session credentials".to_owned();
        assert_eq!(refusal(refused), (403, "AccessDenied".to_owned(), message));
    }
}

#[tokio::test]
async fn a_session_is_a_signed_matter() {
    let aws = EmbeddedAws::start();
    let wrong = Credentials::new(aws.access_key_id(), "guess", None, None, "test");
    assert_eq!(
        refusal(client(&aws, wrong).get_session_token().send().await).1,
        "SignatureDoesNotMatch"
    );
    let answer = raw(
        &aws,
        "POST /",
        &[],
        "Action=GetSessionToken&Version=2011-06-15",
    )
    .await;
    assert!(
        answer.contains("<Code>MissingAuthenticationToken</Code>"),
        "{answer}"
    );
}

#[tokio::test]
async fn its_roles_are_not_chained() {
    let (clock, aws) = started();
    let output = role_call(&aws, session(&aws).await)
        .duration_seconds(43_200)
        .send()
        .await
        .unwrap();
    assert_eq!(lifetime(&clock, output.credentials()), 43_200);
    let chained = role_call(&aws, issued(&output))
        .duration_seconds(3601)
        .send()
        .await;
    assert!(refusal(chained).2.contains("role chaining"));
}

#[tokio::test]
async fn it_ends_like_any_other_session() {
    let (clock, aws) = started();
    let (ended, revoked) = (session(&aws).await, session(&aws).await);
    aws.expire(revoked.access_key_id());
    assert_eq!(refusal(identify(&aws, revoked).await).1, "ExpiredToken");
    clock.advance(43_199);
    role_call(&aws, ended.clone()).send().await.unwrap();
    clock.advance(1);
    assert_eq!(
        refusal(role_call(&aws, ended).send().await).1,
        "ExpiredToken"
    );
}

#[tokio::test]
async fn one_code_opens_any_number_of_roles_that_ask_for_mfa() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    aws.require_mfa(ROLE);
    assert_eq!(
        refusal(role_call(&aws, session(&aws).await).send().await).1,
        "AccessDenied"
    );
    let call = session_call(&aws)
        .serial_number(DEVICE)
        .token_code(device.code_at(clock.now()));
    let with_mfa = keys(call.send().await.unwrap().credentials());
    for _ in 0..3 {
        role_call(&aws, with_mfa.clone()).send().await.unwrap();
    }
    assert_eq!(aws.mfa_attempts().len(), 1);
}

#[tokio::test]
async fn a_code_is_judged_as_for_a_role() {
    let (clock, aws) = started();
    let device = aws.add_mfa_device(DEVICE);
    let call = |serial: &str, code: &str| {
        session_call(&aws)
            .serial_number(serial)
            .token_code(code)
            .send()
    };
    let code = device.code_at(clock.now());
    call(DEVICE, &code).await.unwrap();
    assert!(
        refusal(call(DEVICE, &code).await)
            .2
            .contains("invalid MFA one time pass code")
    );
    assert!(
        refusal(call("another", &code).await)
            .2
            .contains("unable to validate MFA code")
    );
    assert!(
        refusal(session_call(&aws).serial_number(DEVICE).send().await)
            .2
            .contains("must provide both")
    );
    assert_eq!(refusal(call(DEVICE, "12345").await).1, "ValidationError");
}
