//! Failures on purpose of every action, and errors that a test words itself.

use super::*;
use aws_sdk_sts::operation::assume_role_with_web_identity::builders::AssumeRoleWithWebIdentityFluentBuilder;
use aws_sdk_sts::operation::get_session_token::builders::GetSessionTokenFluentBuilder;
use brs_tests::embedded_aws::Failure;

const TOKEN: &str = "eyJ.token";

fn session_call(aws: &EmbeddedAws) -> GetSessionTokenFluentBuilder {
    client(aws, aws.credentials()).get_session_token()
}

fn web_call(aws: &EmbeddedAws) -> AssumeRoleWithWebIdentityFluentBuilder {
    let call = client(aws, aws.credentials()).assume_role_with_web_identity();
    call.role_arn(ROLE)
        .role_session_name("me")
        .web_identity_token(TOKEN)
}

#[tokio::test]
async fn an_error_is_answered_as_it_was_worded() {
    let aws = EmbeddedAws::start();
    for (status, code, message) in [
        (400, "MalformedPolicyDocument", "Syntax errors in policy."),
        (
            400,
            "PackedPolicyTooLarge",
            "Packed policy consumes 186% of allotted space",
        ),
        (
            403,
            "RegionDisabledException",
            "STS is not activated in this region for account:123456789012",
        ),
        (403, "ExpiredToken", ""),
        (400, "IDPCommunicationError", "<&> \"quoted\""),
        (503, "ServiceUnavailable", "later"),
        (599, "NobodyKnows", "x"),
    ] {
        let failure = Failure::Error {
            status,
            code,
            message: message.to_owned(),
        };
        let expected = (status, code.to_owned(), message.to_owned());
        aws.fail_next([failure.clone()]);
        assert_eq!(refusal(assume(&aws).await), expected);
        aws.fail_next_of("GetSessionToken", [failure.clone()]);
        assert_eq!(refusal(session_call(&aws).send().await), expected);
        aws.fail_next_of("AssumeRoleWithWebIdentity", [failure.clone()]);
        assert_eq!(refusal(web_call(&aws).send().await), expected);
        aws.fail_next_of("GetCallerIdentity", [failure]);
        assert_eq!(refusal(identify(&aws, aws.credentials()).await), expected);
        assert_eq!(
            aws.requests().last().unwrap().error_code.as_deref(),
            Some(code)
        );
    }
    assume(&aws).await.unwrap();
}

#[test]
#[should_panic(expected = "not an HTTP status")]
fn an_error_with_a_status_that_http_does_not_know_is_a_mistake() {
    EmbeddedAws::start().fail_always(Some(Failure::Error {
        status: 600,
        code: "Code",
        message: String::new(),
    }));
}

#[tokio::test]
async fn an_actions_failures_are_its_own() {
    let aws = EmbeddedAws::start();
    aws.add_web_identity(TOKEN, "pod");
    aws.fail_next_of("GetSessionToken", [Failure::Throttled]);
    aws.fail_next_of("AssumeRoleWithWebIdentity", [Failure::Status(500)]);
    assume(&aws).await.unwrap();
    assert_eq!(refusal(session_call(&aws).send().await).1, "Throttling");
    assert_eq!(refusal(web_call(&aws).send().await).1, "InternalFailure");
    session_call(&aws).send().await.unwrap();
    web_call(&aws).send().await.unwrap();
}

#[tokio::test]
async fn each_action_can_fail_always() {
    let aws = EmbeddedAws::start();
    aws.fail_always_of("GetSessionToken", Some(Failure::Throttled));
    aws.fail_always(Some(Failure::Status(503)));
    aws.fail_next_of("GetSessionToken", [Failure::Status(500)]);
    for code in ["InternalFailure", "Throttling", "Throttling"] {
        assert_eq!(refusal(session_call(&aws).send().await).1, code);
        assert_eq!(refusal(assume(&aws).await).1, "ServiceUnavailable");
    }
    identify(&aws, aws.credentials()).await.unwrap();
    aws.fail_always(None);
    assume(&aws).await.unwrap();
    assert_eq!(refusal(session_call(&aws).send().await).1, "Throttling");
    aws.fail_always_of("GetSessionToken", None);
    session_call(&aws).send().await.unwrap();
}

#[tokio::test]
async fn every_action_issues_what_has_expired_on_request() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    aws.add_web_identity(TOKEN, "pod");
    for action in [
        "GetSessionToken",
        "AssumeRoleWithWebIdentity",
        "GetCallerIdentity",
    ] {
        aws.fail_next_of(action, [Failure::AlreadyExpired]);
    }
    let (session, web) = (
        session_call(&aws).send().await.unwrap(),
        web_call(&aws).send().await.unwrap(),
    );
    for credentials in [session.credentials(), web.credentials()] {
        let expiration = SystemTime::try_from(*credentials.unwrap().expiration()).unwrap();
        assert_eq!(
            clock.now().duration_since(expiration).unwrap().as_secs(),
            60
        );
    }
    identify(&aws, aws.credentials())
        .await
        .expect("an answer without credentials is the usual one");
    assert_eq!(
        refusal(identify(&aws, keys(session.credentials())).await).1,
        "ExpiredToken"
    );
    assert_eq!(
        refusal(identify(&aws, keys(web.credentials())).await).1,
        "ExpiredToken"
    );
}

#[tokio::test]
async fn access_is_denied_in_each_actions_words() {
    let aws = EmbeddedAws::start();
    let user = "arn:aws:iam::123456789012:user/brs";
    let words = |action: &str| {
        format!("User: {user} is not authorized to perform: sts:{action} on resource: *")
    };
    for action in [
        "GetSessionToken",
        "AssumeRoleWithWebIdentity",
        "GetCallerIdentity",
    ] {
        aws.fail_next_of(action, [Failure::AccessDenied]);
    }
    assert_eq!(
        refusal(session_call(&aws).send().await).2,
        words("GetSessionToken")
    );
    assert_eq!(
        refusal(identify(&aws, aws.credentials()).await).2,
        words("GetCallerIdentity")
    );
    let web = "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned();
    assert_eq!(
        refusal(web_call(&aws).send().await),
        (403, "AccessDenied".to_owned(), web)
    );
}

#[tokio::test]
async fn broken_answers_have_the_actions_own_document() {
    let aws = EmbeddedAws::start();
    aws.add_web_identity(TOKEN, "pod");
    for action in ["GetSessionToken", "AssumeRoleWithWebIdentity"] {
        let failures = [
            Failure::MalformedXml,
            Failure::EmptyBody,
            Failure::Oversized,
            Failure::Page(403),
        ];
        aws.fail_next_of(
            action,
            failures
                .into_iter()
                .chain([Failure::DropConnection, Failure::Truncated]),
        );
    }
    for status in [200, 200, 200, 403, 0] {
        for (answered, code, _) in [
            refusal(session_call(&aws).send().await),
            refusal(web_call(&aws).send().await),
        ] {
            assert_eq!((answered, code.as_str()), (status, ""));
        }
    }
    // The SDK takes what breaks off for complete.
    let (session, web) = (
        session_call(&aws).send().await.unwrap(),
        web_call(&aws).send().await.unwrap(),
    );
    for credentials in [session.credentials(), web.credentials()] {
        assert_eq!(credentials.unwrap().access_key_id(), "ASIATRUNCATED");
    }
}
