//! The table of classes, and what errors show.

use super::*;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::error::ErrorMetadata;
use brs_core::ErrorKind;
use brs_core::kit::MAX_TEXT;

use crate::sts::proxy::Proxy;

const NONE: Origins = Origins::NONE;

const CALL: Call<'static> = Call {
    operation: Operation::AssumeRole {
        role_arn: "arn:aws:iam::123456789012:role/reader",
        with_external_id: false,
    },
    origins: &NONE,
    place: "region `eu-west-1`",
    credentials: "the profile `dev`",
    fixed_credentials: false,
    device: None,
    difference: None,
    hidden: &["semi-secret", "123456"],
    sent: true,
    way: Way::Unknown,
};

fn answer(code: Option<&str>, message: &str, status: u16, body: &'static str) -> Error {
    let mut meta = ErrorMetadata::builder();
    if let Some(code) = code {
        meta = meta.code(code).message(message);
    }
    let mut raw = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    raw.headers_mut().insert("x-amzn-requestid", "request-1");
    from_sdk(
        &SdkError::service_error(AssumeRoleError::generic(meta.build()), raw),
        &CALL,
    )
    .error
}

fn unreached(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    from_sdk::<AssumeRoleError>(
        &SdkError::dispatch_failure(ConnectorError::other(source.into(), None)),
        &CALL,
    )
    .error
}

#[test]
fn codes_and_statuses_fall_into_their_classes() {
    let (retryable, unrecoverable, neither) = ((true, false), (false, true), (false, false));
    for (code, status, class, recovery) in [
        (
            Some("AccessDenied"),
            403,
            Class::AccessDenied,
            unrecoverable,
        ),
        (
            Some("AccessDeniedException"),
            400,
            Class::AccessDenied,
            unrecoverable,
        ),
        (
            Some("ExpiredToken"),
            403,
            Class::ExpiredCredentials,
            neither,
        ),
        (
            Some("ExpiredTokenException"),
            400,
            Class::ExpiredCredentials,
            neither,
        ),
        (
            Some("InvalidClientTokenId"),
            403,
            Class::UnknownCredentials,
            neither,
        ),
        (
            Some("UnrecognizedClientException"),
            400,
            Class::UnknownCredentials,
            neither,
        ),
        (
            Some("SignatureDoesNotMatch"),
            403,
            Class::BadSignature,
            neither,
        ),
        (Some("RequestExpired"), 400, Class::Clock, neither),
        (Some("RequestTimeTooSkewed"), 403, Class::Clock, neither),
        (Some("IncompleteSignature"), 400, Class::Incomplete, neither),
        (Some("InvalidIdentityToken"), 400, Class::BadToken, neither),
        (Some("IDPRejectedClaim"), 403, Class::RejectedToken, neither),
        (
            Some("IDPCommunicationError"),
            400,
            Class::ProviderUnreached,
            retryable,
        ),
        (
            Some("RegionDisabledException"),
            403,
            Class::RegionDisabled,
            unrecoverable,
        ),
        (
            Some("MalformedPolicyDocument"),
            400,
            Class::MalformedPolicy,
            unrecoverable,
        ),
        (
            Some("PackedPolicyTooLarge"),
            400,
            Class::PolicyTooLarge,
            unrecoverable,
        ),
        (Some("ValidationError"), 400, Class::Invalid, unrecoverable),
        (Some("Throttling"), 400, Class::Throttled, retryable),
        (
            Some("ThrottlingException"),
            400,
            Class::Throttled,
            retryable,
        ),
        (
            Some("RequestLimitExceeded"),
            503,
            Class::Throttled,
            retryable,
        ),
        (Some("SomethingNew"), 429, Class::Throttled, retryable),
        (
            Some("InternalFailure"),
            500,
            Class::ServiceTrouble,
            retryable,
        ),
        (
            Some("ServiceUnavailable"),
            503,
            Class::ServiceTrouble,
            retryable,
        ),
        (Some("SomethingNew"), 403, Class::Other, neither),
        (Some("SomethingNew"), 400, Class::Other, neither),
        (None, 403, Class::Foreign, neither),
        (None, 400, Class::Foreign, neither),
        (None, 401, Class::Foreign, neither),
        (None, 404, Class::Foreign, neither),
        (None, 408, Class::Throttled, retryable),
        (None, 429, Class::Throttled, retryable),
        (None, 500, Class::ServiceTrouble, retryable),
        (None, 503, Class::ServiceTrouble, retryable),
    ] {
        assert_eq!(Class::of(code, status, None), class, "{code:?} {status}");
        assert_eq!(class.recovery(), recovery, "{class:?}");
    }
}

#[test]
fn a_refusal_carries_code_status_request_and_remedy() {
    let error = answer(
        Some("AccessDenied"),
        "User: arn:aws:iam::1:user/me is not authorized",
        403,
        "",
    );
    assert_eq!(error.kind(), ErrorKind::Request);
    assert_eq!(
        (error.code(), error.status()),
        (Some("AccessDenied"), Some(403))
    );
    assert!(error.is_unrecoverable() && !error.is_retryable());
    assert!(
        error.to_string().contains("role/reader") && error.to_string().contains("trust policy"),
        "{error}"
    );
    assert_eq!(
        error.details()["aws_message"],
        "User: arn:aws:iam::1:user/me is not authorized"
    );
    assert_eq!(error.details()["request_id"], "request-1");
    assert!(error.source().is_none());
}

#[test]
fn a_code_that_is_nested_too_deep_is_found() {
    let body = "<ErrorResponse><Errors><Error><Code>InvalidClientTokenId</Code>\
                <Message>The token</Message></Error></Errors>";
    let error = answer(None, "", 403, body);
    assert_eq!(
        (error.code(), error.details()["aws_message"].as_str()),
        (Some("InvalidClientTokenId"), "The token")
    );
    assert_eq!(
        answer(None, "", 403, "<Code>not a code</Code>").code(),
        None
    );
}

#[test]
fn what_aws_says_is_bounded_and_hides_the_requests_secrets() {
    let long = format!(
        "Value '123456' of\n 'semi-secret'\u{7} {}",
        "x".repeat(1000)
    );
    let error = answer(Some("ValidationError"), &long, 400, "");
    let shown = format!("{error} {error:?}");
    assert!(
        !shown.contains("123456'") && !shown.contains("semi-secret") && !shown.contains('\u{7}'),
        "{shown}"
    );
    assert_eq!(error.details()["aws_message"].chars().count(), MAX_TEXT + 1);
}

#[test]
fn a_time_out_and_an_unreached_endpoint_are_retryable_and_name_the_place() {
    for error in [
        from_sdk::<AssumeRoleError>(&SdkError::timeout_error("slow"), &CALL).error,
        from_sdk::<AssumeRoleError>(
            &SdkError::dispatch_failure(ConnectorError::timeout("slow".into())),
            &CALL,
        )
        .error,
        unreached(std::io::Error::other("refused")),
        unreached("invalid peer certificate: UnknownIssuer"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Connection, "{error}");
        assert!(
            error.is_retryable() && error.to_string().contains("eu-west-1"),
            "{error}"
        );
        assert!(error.source().is_some());
    }
    assert!(
        unreached("invalid peer certificate: UnknownIssuer")
            .to_string()
            .contains("client.verify")
    );
    assert!(unreached(std::io::Error::other("refused")).details()["cause"].contains("refused"));
}

#[test]
fn base_credentials_that_cannot_be_loaded_say_which() {
    for (source, kind, unrecoverable) in [
        (
            CredentialsError::not_loaded("nothing"),
            ErrorKind::Configuration,
            false,
        ),
        (
            CredentialsError::invalid_configuration("loop"),
            ErrorKind::Configuration,
            true,
        ),
        (
            CredentialsError::provider_error("503"),
            ErrorKind::Configuration,
            false,
        ),
        (
            CredentialsError::unhandled("taken"),
            ErrorKind::Configuration,
            false,
        ),
        (
            CredentialsError::provider_timed_out(std::time::Duration::from_secs(1)),
            ErrorKind::Connection,
            false,
        ),
    ] {
        let error = unreached(source);
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (kind, unrecoverable),
            "{error}"
        );
        assert!(error.to_string().contains("profile `dev`"), "{error}");
    }
    let own = Error::configuration("log in").unrecoverable();
    let error = unreached(CredentialsError::provider_error(own));
    assert!(error.to_string() == "log in" && error.is_unrecoverable());
}

#[test]
fn an_answer_that_cannot_be_read_is_recoverable_and_not_shown() {
    let raw = || {
        HttpResponse::new(
            StatusCode::try_from(200).unwrap(),
            SdkBody::from("<SecretAccessKey>hush"),
        )
    };
    for error in [
        SdkError::response_error("no root element", raw()),
        SdkError::service_error(AssumeRoleError::unhandled("no root element"), raw()),
    ] {
        let error = from_sdk::<AssumeRoleError>(&error, &CALL).error;
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::Credential, Some(200))
        );
        assert!(!error.is_unrecoverable());
        assert!(!format!("{error} {error:?} {:?}", error.source()).contains("hush"));
    }
}

#[test]
fn a_time_out_before_anything_was_sent_is_the_base_credentials() {
    let call = Call {
        operation: Operation::CallerIdentity,
        hidden: &[],
        sent: false,
        ..CALL
    };
    let error = from_sdk::<AssumeRoleError>(&SdkError::timeout_error("slow"), &call).error;
    assert!(
        error.is_retryable() && error.to_string().contains("profile `dev`"),
        "{error}"
    );
}

#[test]
fn a_call_that_cannot_be_built_is_a_configuration_error() {
    let error =
        from_sdk::<AssumeRoleError>(&SdkError::construction_failure("no endpoint"), &CALL).error;
    assert_eq!(error.kind(), ErrorKind::Configuration);
}

#[test]
fn a_refusal_that_is_not_stss_says_so() {
    let page = "<html><body>Please log in to use this network</body></html>";
    let error = answer(None, "", 403, page);
    assert_eq!(
        (error.kind(), error.code(), error.status()),
        (ErrorKind::Request, None, Some(403))
    );
    assert!(!error.is_unrecoverable() && !error.is_retryable());
    assert!(
        error.to_string().contains("is not STS") && error.to_string().contains("check the proxy"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("log in to use"), "{error:?}");
}

#[test]
fn a_signature_for_another_region_is_no_wrong_secret() {
    for code in ["SignatureDoesNotMatch", "InvalidSignatureException"] {
        let error = answer(
            Some(code),
            "Credential should be scoped to a valid region, not 'us-east-1'. ",
            403,
            "",
        );
        let text = error.to_string();
        assert!(
            error.is_unrecoverable() && text.contains("another region") && !text.contains("secret"),
            "{text}"
        );
        assert!(text.contains("not 'us-east-1'"), "{text}");
    }
}

#[test]
fn a_refusal_is_sent_to_where_aws_says_it_comes_from() {
    let who = "User: arn:aws:iam::111122223333:user/me is not authorized to perform:";
    for (says, look_at) in [
        (
            format!("{who} sts:TagSession on resource: arn:aws:iam::1:role/a"),
            "session tags need",
        ),
        (
            format!("{who} sts:SetSourceIdentity on resource: arn:aws:iam::1:role/a"),
            "a source identity needs",
        ),
        (
            format!(
                "{who} sts:AssumeRole on resource: x with an explicit deny in a service control policy"
            ),
            "a service control policy of the organization",
        ),
        (
            format!(
                "{who} sts:AssumeRole on resource: x because no permissions boundary allows the sts:AssumeRole action"
            ),
            "the caller's permissions boundary",
        ),
        (
            format!(
                "{who} sts:AssumeRole on resource: x because no session policy allows the sts:AssumeRole action"
            ),
            "the session policy of the caller's session",
        ),
    ] {
        let text = answer(Some("AccessDenied"), &says, 403, "").to_string();
        assert!(text.contains(look_at) && text.contains(&says), "{text}");
        assert!(!text.contains("check the role's trust policy"), "{text}");
    }
    let text = answer(
        Some("AccessDenied"),
        &format!("{who} sts:AssumeRole on resource: x"),
        403,
        "",
    )
    .to_string();
    assert!(text.contains("check the role's trust policy"), "{text}");
}

#[test]
fn what_aws_says_of_a_signature_is_not_repeated() {
    let request = "The Canonical String for this request should have been\n'POST\nx-amz-security-token:IQoJhush";
    for sentence in [
        "",
        "Credential should be scoped to a valid region. ",
        "Credential should be scoped to correct service: 'sts'. ",
        "Signature expired: 20260101T000000Z is now earlier than 20260101T000100Z. ",
    ] {
        let message = format!("{sentence}{request}");
        let error = answer(Some("SignatureDoesNotMatch"), &message, 403, "");
        assert!(
            !format!("{error} {error:?}").contains("hush")
                && error.details().get("aws_message").is_none(),
            "{error:?}"
        );
    }
}

#[test]
fn before_anything_was_sent_a_failure_is_the_requests_and_shows_nothing_of_it() {
    let call = Call {
        sent: false,
        ..CALL
    };
    let dump = "failed to apply endpoint `nowhere` to request `Request { body: \"ExternalId=semi-secret\" }`";
    let error = ConnectorError::other(dump.into(), None);
    let error = from_sdk::<AssumeRoleError>(&SdkError::dispatch_failure(error), &call).error;
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.is_unrecoverable() && error.to_string().contains("endpoint URL"),
        "{error}"
    );
    let shown = format!("{error} {error:?} {}", error.source().unwrap());
    assert!(
        shown.contains("failed to apply endpoint") && !shown.contains("semi-secret"),
        "{shown}"
    );
}

#[test]
fn mfa_failures_are_told_apart_by_what_aws_says() {
    let invalid = "MultiFactorAuthentication failed with invalid MFA one time pass code. ";
    let unknown = "MultiFactorAuthentication failed, unable to validate MFA code.  Please \
                   verify your MFA serial number";
    let none = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code. ";
    for (message, class) in [
        (invalid, Class::WrongCode),
        (unknown, Class::UnknownDevice),
        (none, Class::AccessDenied),
        ("", Class::AccessDenied),
    ] {
        assert_eq!(Class::of(Some("AccessDenied"), 403, Some(message)), class);
        assert_eq!(class.recovery(), (false, true));
    }
    assert_eq!(
        Class::of(Some("Throttling"), 400, Some(invalid)),
        Class::Throttled,
        "the code goes first"
    );
}

#[test]
fn the_percentage_of_a_packed_policy_is_found() {
    for (text, found) in [
        (
            "Packed policy consumes 112% of allotted space, please use smaller policy.",
            Some(112),
        ),
        (
            "Packed size of session tags consumes 101 % of allotted space.",
            Some(101),
        ),
        ("100%", Some(100)),
        ("much% too large", None),
        ("too large", None),
    ] {
        assert_eq!(class::percentage(text), found, "{text}");
    }
}

#[test]
fn a_policy_that_is_too_large_says_by_how_much() {
    let error = answer(
        Some("PackedPolicyTooLarge"),
        "Packed policy consumes 112% of allotted space",
        400,
        "",
    );
    assert!(
        error.to_string().contains("112 % of what AWS allows"),
        "{error}"
    );
    assert_eq!(error.details()["packed_policy_percent"], "112");
}

#[test]
fn keys_that_never_change_expire_for_good() {
    let expired = |fixed_credentials| {
        let call = Call {
            fixed_credentials,
            ..CALL
        };
        let meta = ErrorMetadata::builder()
            .code("ExpiredToken")
            .message("expired")
            .build();
        let raw = HttpResponse::new(StatusCode::try_from(403).unwrap(), SdkBody::empty());
        from_sdk(
            &SdkError::service_error(AssumeRoleError::generic(meta), raw),
            &call,
        )
        .error
        .is_unrecoverable()
    };
    assert!(expired(true) && !expired(false));
}

#[test]
fn what_keeps_the_network_from_sts_is_told_apart() {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    for (kind, message) in [
        (NetworkUnreachable, "no route"),
        (HostUnreachable, "no route"),
        (ConnectionRefused, "nothing listens"),
        (ConnectionReset, "was cut"),
        (io::ErrorKind::Other, "check the network"),
    ] {
        let error = unreached(io::Error::from(kind));
        assert!(
            error.is_retryable() && error.to_string().contains(message),
            "{error}"
        );
    }
    let error = unreached(io::Error::other(rustls::Error::HandshakeNotComplete));
    assert!(error.to_string().contains("TLS with STS"), "{error}");
}

mod refusals;
