//! What refusals and an unreached STS are blamed on.

use super::*;

#[test]
fn a_reason_far_back_in_a_long_message_is_found_and_the_quote_is_cut() {
    let names = format!(
        "User: arn:aws:sts::111122223333:assumed-role/{}/{} is not authorized to perform: sts:AssumeRole on resource: \
         arn:aws:iam::444455556666:role/{} with an explicit deny in a service control policy",
        "a".repeat(64),
        "s".repeat(64),
        "b".repeat(200)
    );
    assert!(names.find("service control").unwrap() > MAX_TEXT);
    let error = answer(Some("AccessDenied"), &names, 403, "");
    assert!(
        error
            .to_string()
            .contains("a service control policy of the organization"),
        "{error}"
    );
    assert_eq!(error.details()["aws_message"].chars().count(), MAX_TEXT + 1);
    let long = format!(
        "{} Packed policy consumes 112% of allotted space",
        "x".repeat(400)
    );
    let error = answer(Some("PackedPolicyTooLarge"), &long, 400, "");
    assert_eq!(error.details()["packed_policy_percent"], "112");
    let long = format!(
        "{} exceeds the MaxSessionDuration set for this role",
        "x".repeat(400)
    );
    let error = answer(Some("ValidationError"), &long, 400, "");
    assert!(
        error.to_string().contains("max-session-duration"),
        "{error}"
    );
}

#[test]
fn the_kind_of_policy_is_named_for_tags_too() {
    for action in ["sts:TagSession", "sts:SetSourceIdentity"] {
        for (says, look_at) in [
            (
                "with an explicit deny in an identity-based policy",
                "an identity-based policy",
            ),
            (
                "with an explicit deny in a service control policy",
                "a service control policy",
            ),
            (
                "with an explicit deny in a resource control policy",
                "a resource control policy",
            ),
            (
                "because no permissions boundary allows it",
                "permissions boundary",
            ),
            ("because no session policy allows it", "the session policy"),
            (
                "with an explicit deny in a sessions policy",
                "the session policy",
            ),
            (
                "because no role trust policy allows the action",
                "trust policy does not allow",
            ),
            (
                "with an explicit deny in the role trust policy",
                "trust policy denies it",
            ),
            (
                "because no VPC endpoint policy allows it",
                "the VPC endpoint",
            ),
            (
                "with an explicit deny in a resource-based policy",
                "trust policy denies it",
            ),
            (
                "because no resource-based policy allows it",
                "trust policy does not allow",
            ),
        ] {
            let message =
                format!("User: me is not authorized to perform: {action} on resource: x {says}");
            let text = answer(Some("AccessDenied"), &message, 403, "").to_string();
            let kind = text.find(look_at);
            assert!(kind.is_some() && kind < text.find(action), "{text}");
        }
    }
}

#[test]
fn a_denial_without_a_known_reason_quotes_awss_sentence() {
    for (message, look_at) in [
        (
            "User: me is not authorized to perform: sts:AssumeRole on resource: x",
            "trust policy",
        ),
        ("Roles may not be assumed by root accounts.", "an IAM user"),
        ("MultiFactorAuthentication must be present", "MFA"),
    ] {
        let text = answer(Some("AccessDenied"), message, 403, "").to_string();
        assert!(
            text.contains(look_at) && text.contains(&format!("({message})")),
            "{text}"
        );
    }
}

#[test]
fn the_kind_of_policy_is_named_for_every_operation() {
    let web_identity = Operation::WebIdentity {
        role_arn: "arn:aws:iam::123456789012:role/reader",
        token: "the web identity token in `/var/token`",
    };
    for (operation, names) in [
        (web_identity, "/var/token"),
        (Operation::SessionToken, "GetSessionToken"),
        (Operation::CallerIdentity, "GetCallerIdentity"),
    ] {
        let says = "User: me is not authorized to perform: x with an explicit deny in a service control policy";
        let text = refused(operation, "AccessDenied", says).to_string();
        assert!(text.contains(names), "{text}");
        assert!(
            text.contains("a service control policy of the organization"),
            "{text}"
        );
        assert!(text.contains(says), "{text}");
        assert!(
            !text.contains("own access key") && !text.contains("audience"),
            "{text}"
        );
    }
}

fn refused(operation: Operation<'static>, code: &str, message: &str) -> Error {
    let meta = ErrorMetadata::builder().code(code).message(message).build();
    let raw = HttpResponse::new(StatusCode::try_from(403).unwrap(), SdkBody::empty());
    let call = Call { operation, ..CALL };
    from_sdk(
        &SdkError::service_error(AssumeRoleError::generic(meta), raw),
        &call,
    )
    .error
}

#[test]
fn a_signature_is_blamed_on_what_aws_says_is_wrong_with_it() {
    for (code, message, expected) in [
        (
            "SignatureDoesNotMatch",
            "Credential should be scoped to correct service: 'iam'. ",
            "another AWS service",
        ),
        (
            "SignatureDoesNotMatch",
            "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z",
            "clock",
        ),
        (
            "InvalidSignatureException",
            "Signature not yet current: 20260101T010000Z is still later than 20260101T000500Z",
            "clock",
        ),
        (
            "SignatureDoesNotMatch",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP",
            "clock",
        ),
        ("RequestExpired", "Request has expired.", "clock"),
        (
            "RequestTimeTooSkewed",
            "The difference is too large.",
            "clock",
        ),
        (
            "IncompleteSignature",
            "Authorization header requires 'Signature' parameter.",
            "cannot read the signature",
        ),
    ] {
        let text = answer(Some(code), message, 403, "").to_string();
        assert!(text.contains(expected), "{code}: {text}");
        assert!(
            !text.contains("secret access key") && !text.contains("region's"),
            "{text}"
        );
        assert_eq!(expected == "clock", text.contains("clock"), "{text}");
    }
    let error = answer(
        Some("SignatureDoesNotMatch"),
        "Credential should be scoped to correct service: 'iam'. ",
        403,
        "",
    );
    assert!(
        error.is_unrecoverable() && !error.to_string().contains("client.region"),
        "{error}"
    );
}

#[test]
fn what_is_wrong_with_a_web_identity_token_is_told_apart() {
    let operation = Operation::WebIdentity {
        role_arn: "arn:aws:iam::123456789012:role/reader",
        token: "the web identity token in `/var/token`",
    };
    for (code, message, retryable, remedy) in [
        (
            "InvalidIdentityToken",
            "Incorrect token audience",
            false,
            "add-client-id-to-open-id-connect-provider",
        ),
        (
            "InvalidIdentityToken",
            "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
            false,
            "update-open-id-connect-provider-thumbprint",
        ),
        (
            "InvalidIdentityTokenException",
            "Token must be issued within the last 24 hours",
            false,
            "renew it, and check the clock of its issuer",
        ),
        (
            "InvalidIdentityToken",
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
            false,
            "an access token is another one",
        ),
        (
            "InvalidIdentityToken",
            "Something new",
            false,
            "check its issuer and audience",
        ),
        (
            "IDPRejectedClaim",
            "The claim was revoked",
            false,
            "renew the token",
        ),
        ("IDPCommunicationError", "", true, "discovery document"),
        (
            "InvalidIdentityToken",
            "Couldn't retrieve verification key from your identity provider",
            true,
            "discovery document",
        ),
        (
            "ExpiredTokenException",
            "expired",
            false,
            "check what renews it",
        ),
    ] {
        let error = refused(operation, code, message);
        let text = error.to_string();
        assert!(
            text.contains(remedy) && text.contains("/var/token"),
            "{text}"
        );
        // The file is read at each refresh: another token may be in it.
        assert_eq!(
            (error.is_retryable(), error.is_unrecoverable()),
            (retryable, false),
            "{text}"
        );
    }
}

/// No other token of the same issuer would be accepted.
#[test]
fn an_issuer_that_iam_does_not_know_is_a_matter_for_a_person() {
    let operation = Operation::WebIdentity {
        role_arn: "arn:aws:iam::123456789012:role/reader",
        token: "the web identity token in `/var/token`",
    };
    let says = "No OpenIDConnect provider found in your account for https://issuer.example";
    let error = refused(operation, "InvalidIdentityToken", says);
    let text = error.to_string();
    assert!(error.is_unrecoverable() && !error.is_retryable(), "{text}");
    for part in [
        says,
        "/var/token",
        "role/reader",
        "aws iam create-open-id-connect-provider",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn refusals_say_what_to_do_about_them() {
    for (code, unrecoverable, remedies) in [
        (
            "OptInRequired",
            true,
            &[
                "profile `dev`",
                "eu-west-1",
                "finish its sign-up",
                "enable the region",
                "client.region",
            ][..],
        ),
        (
            "RegionDisabledException",
            true,
            &["profile `dev`", "eu-west-1", "activate it", "client.region"][..],
        ),
        (
            "MalformedPolicyDocument",
            true,
            &["correct the policy document in `policy`"],
        ),
        ("PackedPolicyTooLarge", true, &["shorten `policy`"]),
        (
            "InvalidClientTokenId",
            false,
            &["profile `dev`", "access key id", "is active"],
        ),
        (
            "ExpiredTokenException",
            false,
            &["profile `dev`", "renew them"],
        ),
    ] {
        let error = answer(Some(code), "", 400, "");
        for remedy in remedies {
            assert!(error.to_string().contains(remedy), "{error}");
        }
        assert_eq!(error.is_unrecoverable(), unrecoverable, "{error}");
        assert!(!error.is_retryable(), "{error}");
    }
}

#[test]
fn a_proxy_is_blamed_if_there_is_one_and_not_mentioned_if_there_is_none() {
    let given = Proxy::Given("http://me:hush@proxy.invalid:3128".to_owned().into());
    let through = |way: Way, source: Box<dyn StdError + Send + Sync>| {
        let call = Call { way, ..CALL };
        from_sdk::<AssumeRoleError>(
            &SdkError::dispatch_failure(ConnectorError::other(source, None)),
            &call,
        )
        .error
        .to_string()
    };
    type Source = fn() -> Box<dyn StdError + Send + Sync>;
    let sources: [(Source, &str, &str); 4] = [
        (
            || io::Error::from(io::ErrorKind::ConnectionRefused).into(),
            "nothing listens at the proxy",
            "nothing listens there",
        ),
        (
            || "dns error: unknown".into(),
            "the host name of the proxy",
            "its host name is not known",
        ),
        (
            || io::Error::from(io::ErrorKind::ConnectionReset).into(),
            "the connection through the proxy",
            "the connection was cut",
        ),
        (
            || "tunnel error: proxy authorization required".into(),
            "requires a user and a password",
            "check the network",
        ),
    ];
    for (source, of_proxy, direct) in sources {
        let text = through(given.way(None), source());
        assert!(
            text.contains(of_proxy) && text.contains("`http://proxy.invalid:3128`"),
            "{text}"
        );
        assert!(
            text.contains("`client.config.proxies`") && !text.contains("hush"),
            "{text}"
        );
        let text = through(Proxy::Disabled.way(None), source());
        assert!(text.contains(direct) && !text.contains("proxy"), "{text}");
        let text = through(Way::Unknown, source());
        assert!(text.contains("the HTTP client's proxy"), "{text}");
    }
}
#[test]
fn what_a_profile_brought_is_blamed_on_its_key() {
    let mut origins = Origins::NONE;
    origins.profile_key("role_arn", "dev", "role_arn");
    origins.profile_key("duration", "dev", "duration_seconds");
    origins.profile_key("serial_number", "dev", "mfa_serial");
    origins.profile_key("external_id", "dev", "external_id");
    let with_external_id = Operation::AssumeRole {
        role_arn: "arn:aws:iam::123456789012:role/reader",
        with_external_id: true,
    };
    for (message, of_profile, of_program) in [
        (
            "MultiFactorAuthentication failed, unable to validate MFA code.",
            "check `mfa_serial` of the profile `dev`",
            "check `serial_number`",
        ),
        (
            "not authorized",
            "`external_id` of the profile `dev`",
            "its external id (`external_id`)",
        ),
        (
            "not authorized",
            "the profile's `mfa_serial`",
            "(`serial_number` with",
        ),
        (
            "exceeds the MaxSessionDuration",
            "`duration_seconds` of the profile `dev` is more",
            "`duration` is more",
        ),
        (
            "exceeds the 1 hour session limit for role chaining",
            "set `duration_seconds` of the profile `dev` to at most",
            "set `duration` to at most",
        ),
    ] {
        let code = if message.contains("exceeds") {
            "ValidationError"
        } else {
            "AccessDenied"
        };
        for (origins, expected, other) in [
            (&origins, of_profile, of_program),
            (&NONE, of_program, of_profile),
        ] {
            let meta = ErrorMetadata::builder().code(code).message(message).build();
            let raw = HttpResponse::new(StatusCode::try_from(403).unwrap(), SdkBody::empty());
            let call = Call {
                operation: with_external_id,
                origins,
                ..CALL
            };
            let error = SdkError::service_error(AssumeRoleError::generic(meta), raw);
            let text = from_sdk(&error, &call).error.to_string();
            assert!(text.contains(expected) && !text.contains(other), "{text}");
        }
    }
}
