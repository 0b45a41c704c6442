//! Who is refused, and with which code.

use super::*;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;

const INVALID: &str = "The security token included in the request is invalid.";

/// The headers that sign a request, for requests that the SDK's client does not make.
fn signed(
    aws: &EmbeddedAws,
    method: &str,
    path: &str,
    body: &str,
    service: &str,
    time: SystemTime,
) -> Vec<(String, String)> {
    let identity = aws.credentials().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let uri = format!("{}{path}", aws.endpoint_url());
    let request = SignableRequest::new(
        method,
        uri,
        std::iter::empty(),
        SignableBody::Bytes(body.as_bytes()),
    )
    .unwrap();
    let (instructions, _) = sign(request, &parameters).unwrap().into_parts();
    instructions
        .headers()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test]
async fn an_unknown_access_key_is_an_invalid_token() {
    let aws = EmbeddedAws::start();
    let stranger = Credentials::new("AKIASTRANGER", aws.secret_access_key(), None, None, "test");
    let expected = (403, "InvalidClientTokenId".to_owned(), INVALID.to_owned());
    assert_eq!(refusal(identify(&aws, stranger).await), expected);
}

#[tokio::test]
async fn a_wrong_secret_does_not_match() {
    let aws = EmbeddedAws::start();
    let wrong = Credentials::new(aws.access_key_id(), "guess", None, None, "test");
    let (status, code, message) = refusal(identify(&aws, wrong).await);
    assert_eq!((status, code.as_str()), (403, "SignatureDoesNotMatch"));
    assert!(
        message.starts_with("The request signature we calculated does not match"),
        "{message}"
    );
}

#[tokio::test]
async fn a_session_token_must_be_the_one_that_was_issued() {
    let aws = EmbeddedAws::start();
    let good = issued(&assume(&aws).await.unwrap());
    let other = issued(&assume(&aws).await.unwrap());
    for token in [None, Some("guess"), other.session_token()] {
        let wrong = Credentials::new(
            good.access_key_id(),
            good.secret_access_key(),
            token.map(str::to_owned),
            None,
            "test",
        );
        let (status, code, message) = refusal(identify(&aws, wrong).await);
        assert_eq!(
            (status, code.as_str(), message.as_str()),
            (403, "InvalidClientTokenId", INVALID)
        );
    }
}

#[tokio::test]
async fn a_users_key_carries_no_session_token() {
    let aws = EmbeddedAws::start();
    let wrong = Credentials::new(
        aws.access_key_id(),
        aws.secret_access_key(),
        Some("token".into()),
        None,
        "test",
    );
    assert_eq!(
        refusal(identify(&aws, wrong).await).1,
        "InvalidClientTokenId"
    );
}

#[tokio::test]
async fn an_unsigned_request_lacks_its_token() {
    let aws = EmbeddedAws::start();
    let answer = raw(
        &aws,
        "POST /",
        &[],
        "Action=GetCallerIdentity&Version=2011-06-15",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(
        answer.contains("<Type>Sender</Type><Code>MissingAuthenticationToken</Code>"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_half_written_authorization_is_incomplete() {
    let aws = EmbeddedAws::start();
    for authorization in [
        "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/sts/aws4_request, SignedHeaders=host",
        "AWS4-HMAC-SHA256 Credential=AKIA, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256",
    ] {
        let headers = [("authorization".to_owned(), authorization.to_owned())];
        let answer = raw(
            &aws,
            "POST /",
            &headers,
            "Action=GetCallerIdentity&Version=2011-06-15",
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(
            answer.contains("<Code>IncompleteSignature</Code>"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_unknown_action_or_version_is_invalid() {
    let aws = EmbeddedAws::start();
    for (form, code) in [
        ("Action=Nonsense&Version=2011-06-15", "InvalidAction"),
        ("Action=AssumeRole", "InvalidAction"),
        ("Version=2011-06-15", "MissingAction"),
    ] {
        let answer = raw(&aws, "POST /", &[], form).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains(&format!("<Code>{code}</Code>")), "{answer}");
    }
}

#[tokio::test]
async fn a_signed_get_is_answered_like_a_post() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    let path = "/?Action=GetCallerIdentity&Version=2011-06-15";
    let headers = signed(&aws, "GET", path, "", "sts", clock.now());
    let answer = raw(&aws, &format!("GET {path}"), &headers, "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("<Arn>arn:aws:iam::123456789012:user/brs</Arn>"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_changed_body_breaks_the_signature() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let headers = signed(&aws, "POST", "/", body, "sts", clock.now());
    let accepted = raw(&aws, "POST /", &headers, body).await;
    assert!(accepted.starts_with("HTTP/1.1 200"), "{accepted}");
    let refused = raw(&aws, "POST /", &headers, &format!("{body}&More=1")).await;
    assert!(
        refused.contains("<Code>SignatureDoesNotMatch</Code>"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_signature_for_another_service_does_not_match() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let headers = signed(&aws, "POST", "/", body, "iam", clock.now());
    let refused = raw(&aws, "POST /", &headers, body).await;
    assert!(
        refused.contains("<Code>SignatureDoesNotMatch</Code>"),
        "{refused}"
    );
    assert!(
        refused.contains("Credential should be scoped to correct service: &apos;sts&apos;."),
        "{refused}"
    );
}

#[tokio::test]
async fn a_signature_is_good_for_five_minutes_either_way() {
    let clock = TestClock::at_present();
    let aws = EmbeddedAws::builder().clock(clock.reader()).start();
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let headers = signed(&aws, "POST", "/", body, "sts", clock.now());
    clock.advance(300);
    assert!(
        raw(&aws, "POST /", &headers, body)
            .await
            .starts_with("HTTP/1.1 200")
    );
    clock.advance(1);
    let late = raw(&aws, "POST /", &headers, body).await;
    assert!(
        late.contains("<Code>SignatureDoesNotMatch</Code><Message>Signature expired: "),
        "{late}"
    );
    clock.rewind(601);
    assert!(
        raw(&aws, "POST /", &headers, body)
            .await
            .starts_with("HTTP/1.1 200")
    );
    clock.rewind(1);
    let early = raw(&aws, "POST /", &headers, body).await;
    assert!(
        early.contains("<Code>SignatureDoesNotMatch</Code><Message>Signature not yet current: "),
        "{early}"
    );
}

#[tokio::test]
async fn a_body_over_256_kib_is_too_large() {
    let aws = EmbeddedAws::start();
    let answer = raw(&aws, "POST /", &[], &"x".repeat((256 << 10) + 1)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(aws.requests()[0].status, Some(413));
}

#[tokio::test]
async fn a_second_user_signs_with_a_key_of_its_own() {
    let aws = EmbeddedAws::start();
    let output = identify(&aws, aws.add_user("eve")).await.unwrap();
    assert_eq!(output.arn(), Some("arn:aws:iam::123456789012:user/eve"));
    let first_key = identify(&aws, aws.credentials()).await.unwrap();
    assert_ne!(output.user_id(), first_key.user_id());
}
