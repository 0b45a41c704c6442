//! What each of AWS's answers becomes: its class, its fields, and what it tells to do.

use brs::sts::{Params, StsClient};
use brs::{Error, RefreshableSession};
use brs_tests::embedded_aws::Failure;

use super::*;

async fn refused(aws: &EmbeddedAws, clock: &ManualClock, params: Params) -> Error {
    with_params(aws, clock, params.client(StsClient::new().max_attempts(1)))
        .build()
        .await
        .unwrap()
        .refresh()
        .await
        .unwrap_err()
}

#[derive(Debug, PartialEq)]
enum Recovery {
    Retryable,
    Throttled,
    Unrecoverable,
    AtTheEnginesPace,
}

fn recovery(error: &Error) -> Recovery {
    match (
        error.is_throttled(),
        error.is_retryable(),
        error.is_unrecoverable(),
    ) {
        (true, true, false) => Recovery::Throttled,
        (false, true, false) => Recovery::Retryable,
        (false, false, true) => Recovery::Unrecoverable,
        (false, false, false) => Recovery::AtTheEnginesPace,
        _ => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn every_answer_of_awss_has_its_class_fields_and_remedy() {
    use Recovery::{AtTheEnginesPace, Retryable, Throttled, Unrecoverable};
    let (aws, clock) = aws();
    for (status, code, message, expected, remedy) in [
        (
            403,
            "AccessDenied",
            "not authorized",
            Unrecoverable,
            "trust policy",
        ),
        (
            403,
            "AccessDenied",
            "not authorized",
            Unrecoverable,
            "external id",
        ),
        (403, "AccessDenied", "not authorized", Unrecoverable, "MFA"),
        (403, "ExpiredToken", "expired", Unrecoverable, "renew them"),
        (
            403,
            "InvalidClientTokenId",
            "invalid",
            Unrecoverable,
            "access key",
        ),
        (
            400,
            "PackedPolicyTooLarge",
            "Packed policy consumes 186% of allotted space",
            Unrecoverable,
            "186 %",
        ),
        (
            400,
            "MalformedPolicyDocument",
            "Syntax errors",
            Unrecoverable,
            "policy",
        ),
        (
            403,
            "RegionDisabledException",
            "STS is not activated",
            Unrecoverable,
            "activate it",
        ),
        (
            400,
            "ValidationError",
            "1 validation error detected",
            Unrecoverable,
            "1 validation error",
        ),
        (
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            Unrecoverable,
            "an hour at most",
        ),
        (
            400,
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            Unrecoverable,
            "max-session-duration",
        ),
        (
            400,
            "Throttling",
            "Rate exceeded",
            Throttled,
            "too many calls",
        ),
        (
            429,
            "TooManyRequestsException",
            "Rate exceeded",
            Throttled,
            "too many calls",
        ),
        (
            500,
            "InternalFailure",
            "An internal error occurred",
            Retryable,
            "an error on its side",
        ),
        (
            503,
            "ServiceUnavailable",
            "unavailable",
            Retryable,
            "an error on its side",
        ),
        (
            403,
            "SignatureDoesNotMatch",
            "does not match",
            AtTheEnginesPace,
            "secret access key",
        ),
        (
            403,
            "SomethingNew",
            "never heard of",
            AtTheEnginesPace,
            "never heard of",
        ),
    ] {
        aws.fail_next([Failure::Error {
            status,
            code,
            message: message.into(),
        }]);
        let error = refused(&aws, &clock, Params::new(ROLE)).await;
        assert_eq!((error.code(), error.status()), (Some(code), Some(status)));
        assert_eq!(recovery(&error), expected, "{error:?}");
        assert!(error.to_string().contains(remedy), "{code}: {error}");
        assert!(error.details()["request_id"].len() == 36, "{error:?}");
    }
}

#[tokio::test]
async fn a_refused_signature_tells_how_far_the_clock_is_off() {
    let clock = ManualClock::new(start());
    let server = clock.clone();
    for (ahead, told) in [
        (true, "2 h 3 min ahead of AWS's"),
        (false, "2 h 3 min behind AWS's"),
    ] {
        let server = server.clone();
        let off = seconds(7380);
        let time = move || {
            if ahead {
                brs::Clock::now(&server) - off
            } else {
                brs::Clock::now(&server) + off
            }
        };
        let aws = EmbeddedAws::builder().clock(time).start();
        let error = refused(&aws, &clock, Params::new(ROLE)).await;
        assert_eq!(error.code(), Some("SignatureDoesNotMatch"));
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(
            error.details()["clock"],
            told.trim_end_matches(" of AWS's")
                .trim_end_matches(" AWS's")
        );
        // With the SDK's own retries it is mended in the same call.
        with_params(&aws, &clock, Params::new(ROLE))
            .build()
            .await
            .unwrap()
            .refresh()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn conditions_of_a_role_are_hinted_at_as_far_as_they_may_be_missing() {
    let (aws, clock) = aws();
    aws.require_external_id(ROLE, "partner-17");
    let error = refused(&aws, &clock, Params::new(ROLE)).await;
    assert!(
        error
            .to_string()
            .contains("whether it asks for an external id"),
        "{error}"
    );
    let error = refused(&aws, &clock, Params::new(ROLE).external_id("partner-71")).await;
    assert!(error.to_string().contains("its external id"), "{error}");
    assert!(
        !format!("{error} {error:?}").contains("partner-71"),
        "{error:?}"
    );
    with_params(&aws, &clock, Params::new(ROLE).external_id("partner-17"))
        .build()
        .await
        .unwrap()
        .refresh()
        .await
        .unwrap();
    aws.set_max_session_duration(ROLE, HOUR);
    let error = refused(
        &aws,
        &clock,
        Params::new(ROLE)
            .external_id("partner-17")
            .duration(2 * HOUR),
    )
    .await;
    assert!(
        error.to_string().contains("maximum session duration"),
        "{error}"
    );
    let policy = format!(r#"{{"Statement":[],"Id":"{}"}}"#, "x".repeat(1990));
    let tagged = Params::new(ROLE)
        .external_id("partner-17")
        .policy(policy)
        .tag("k", "v".repeat(200));
    let error = refused(&aws, &clock, tagged).await;
    assert_eq!(error.code(), Some("PackedPolicyTooLarge"));
    assert!(
        error.details()["packed_policy_percent"]
            .parse::<u32>()
            .unwrap()
            > 100,
        "{error:?}"
    );
    let error = refused(
        &aws,
        &clock,
        Params::new(ROLE).external_id("partner-17").policy("{}"),
    )
    .await;
    assert_eq!(error.code(), Some("MalformedPolicyDocument"));
}

#[tokio::test]
async fn what_is_not_reached_is_told_apart() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let (aws, clock) = aws();
    for (endpoint, message) in [
        (format!("http://127.0.0.1:{port}"), "nothing listens there"),
        (
            "http://no-such-host.invalid".to_owned(),
            "its host name is not known",
        ),
        (
            aws.endpoint_url().replace("http://", "https://"),
            "TLS with STS",
        ),
    ] {
        let params =
            Params::new(ROLE).client(StsClient::new().max_attempts(1).endpoint_url(&endpoint));
        let builder = RefreshableSession::builder("sts", params)
            .region("eu-west-1")
            .clock(clock.clone());
        let session = builder
            .base_credentials(aws.credentials())
            .build()
            .await
            .unwrap();
        let error = session.refresh().await.unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains(message),
            "{endpoint}: {error} {error:?}"
        );
        assert!(error.to_string().contains(&endpoint), "{error}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_reached_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let (aws, clock) = aws();
    for (proxy, message) in [
        (
            format!("http://127.0.0.1:{port}"),
            "nothing listens at the proxy",
        ),
        (
            "http://no-such-proxy.invalid:3128".to_owned(),
            "the host name of the proxy",
        ),
    ] {
        for endpoint in ["https://sts.example.com", "http://sts.example.com"] {
            let client = StsClient::new().max_attempts(1).endpoint_url(endpoint);
            let params = Params::new(ROLE).client(client.proxy(proxy.clone()));
            let session = RefreshableSession::builder("sts", params)
                .region("eu-west-1")
                .clock(clock.clone())
                .base_credentials(aws.credentials())
                .build()
                .await
                .unwrap();
            let error = session.refresh().await.unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(message) && text.contains(&format!("`{proxy}`")),
                "{text} {error:?}"
            );
            assert!(text.contains("`client.config.proxies`"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_users_session_is_not_to_be_had_with_a_roles_credentials() {
    let (aws, clock) = aws();
    let role = with_params(&aws, &clock, Params::new(ROLE))
        .build()
        .await
        .unwrap();
    let builder =
        RefreshableSession::builder("sts-session-token", brs::sts::session_token::Params::new());
    let error = builder
        .base_session(&role)
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap_err();
    assert_eq!(recovery(&error), Recovery::Unrecoverable);
    assert!(
        error.to_string().contains("an IAM user's own access key"),
        "{error}"
    );
}
