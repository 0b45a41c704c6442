//! AWS's refusals: each names the setting to look at and, where there is one, the command that
//! shows it.

use brs::roles_anywhere::RolesAnywhere;
use brs::{ErrorKind, Recovery, RefreshStrategy as _};
use brs_tests::embedded_aws::Failure;

use super::*;

/// What an error must say: parameter, code and words.
fn check(error: &Error, param: &str, status: u16, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(error.param(), Some(param), "{error:?}");
    assert_eq!(error.status(), Some(status));
    assert_eq!(error.kind(), ErrorKind::Request);
    assert!(error.is_unrecoverable(), "{error:?}");
    assert!(
        error.details().contains_key("aws_message") && error.details().contains_key("request_id")
    );
}

#[tokio::test]
async fn a_trust_anchor_that_is_disabled_or_does_not_exist() {
    let bench = Bench::new();
    bench.anywhere.enable_trust_anchor(false);
    let error = bench.fails(bench.params()).await;
    check(
        &error,
        "trust_anchor_arn",
        403,
        &["is disabled", "enable-trust-anchor --region eu-west-1"],
    );
    assert_eq!(error.code(), Some("AccessDeniedException"));
    let other = "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/absent";
    let params = bench
        .bare_by(other)
        .certificate(bench.device.certificate_pem.as_str())
        .private_key(bench.device.private_key_pem.as_str());
    let error = bench.fails(params).await;
    check(
        &error,
        "trust_anchor_arn",
        404,
        &[other, "list-trust-anchors"],
    );
    assert_eq!(error.code(), Some("ResourceNotFoundException"));
}

#[tokio::test]
async fn a_profile_that_is_disabled_absent_or_without_the_role() {
    let bench = Bench::new();
    bench.anywhere.remove_role(ROLE);
    let error = bench.fails(bench.params()).await;
    check(
        &error,
        "role_arn",
        403,
        &[ROLE, bench.anywhere.profile_arn(), "roleArns"],
    );
    bench.anywhere.add_role(ROLE);
    bench.anywhere.enable_profile(false);
    let error = bench.fails(bench.params()).await;
    check(
        &error,
        "profile_arn",
        403,
        &["is disabled", "enable-profile"],
    );
    let other = "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/absent";
    let params = Params::new(bench.anywhere.trust_anchor_arn(), other, ROLE)
        .endpoint_url(bench.anywhere.endpoint())
        .trust_store(bench.iot.trust_store())
        .certificate(bench.device.certificate_pem.as_str())
        .private_key(bench.device.private_key_pem.as_str());
    check(
        &bench.fails(params).await,
        "profile_arn",
        404,
        &[other, "list-profiles"],
    );
}

#[tokio::test]
async fn a_role_that_does_not_trust_the_service_or_lives_too_briefly() {
    let bench = Bench::new();
    bench.aws.deny_role(ROLE);
    let error = bench.fails(bench.params()).await;
    check(
        &error,
        "role_arn",
        403,
        &[
            ROLE,
            "`sts:SetSourceIdentity`",
            "rolesanywhere.amazonaws.com",
        ],
    );
    bench.aws.add_role(ROLE);
    bench.anywhere.set_profile_duration(12 * HOUR);
    bench.aws.set_max_session_duration(ROLE, HOUR);
    let error = bench.fails(bench.params().duration(12 * HOUR)).await;
    check(
        &error,
        "duration",
        403,
        &["`MaxSessionDuration`", "get-profile"],
    );
}

#[tokio::test]
async fn a_session_name_and_properties_that_the_profile_does_not_want() {
    let bench = Bench::new();
    let error = bench.fails(bench.params().role_session_name("night")).await;
    check(
        &error,
        "role_session_name",
        403,
        &["--accept-role-session-name", "leave"],
    );
    bench.anywhere.require_instance_properties(true);
    let error = bench.fails(bench.params()).await;
    check(
        &error,
        "instance_properties",
        403,
        &["requireInstanceProperties"],
    );
}

#[tokio::test]
async fn certificates_that_are_revoked_unknown_unfit_or_out_of_time() {
    let bench = Bench::new();
    bench.anywhere.revoke(&bench.device);
    let error = bench.fails(bench.params()).await;
    check(
        &error,
        "certificate",
        403,
        &["is revoked", "list-crls", "CN=backup-7"],
    );
    bench.anywhere.unrevoke(&bench.device);

    // Another authority's, and one without what leads to its own.
    let other = EmbeddedIot::start(&bench.aws);
    let stranger = other.add_device(SERVER, KeyKind::EcP256);
    for (certificate, device) in [
        (stranger.certificate_pem.as_str(), &stranger),
        (bench.device.leaf_pem(), &bench.device),
    ] {
        let error = bench.fails(bench.params_of(certificate, device)).await;
        check(
            &error,
            "certificate",
            403,
            &[
                "was not issued by trust anchor",
                "`intermediates`",
                "get-trust-anchor",
            ],
        );
    }

    let device = bench
        .iot
        .add_device_valid(SERVER, KeyKind::EcP256, start() - DAY..start() + DAY);
    let session = bench
        .session(bench.params_of(&device.certificate_pem, &device))
        .await;
    session.refresh().await.unwrap();
    bench.clock.advance(2 * DAY);
    let error = session.refresh().await.unwrap_err();
    check(
        &error,
        "certificate",
        403,
        &["is not valid now", "openssl x509 -noout -dates"],
    );
}

#[tokio::test]
async fn refusals_in_the_services_own_words() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    for (status, code, message, param, words) in [
        (
            403,
            "AccessDeniedException",
            "Untrusted certificate. Insufficient certificate",
            "certificate",
            "needs X.509 version 3, `CA:FALSE`, the key usage `digitalSignature`",
        ),
        (
            403,
            "AccessDeniedException",
            "Unable to assume role for arn:aws:iam::000000000000:role/x. Some attributes failed to be mapped into \
             session tags. Issuer: [  ]; Subject: [  ]; SAN: [ DNS/2 ]",
            "certificate",
            "cannot be session tags",
        ),
        (
            403,
            "AccessDeniedException",
            "Credential should be scoped to a valid region.",
            "region",
            "does not serve region `eu-west-1`",
        ),
    ] {
        bench.anywhere.fail_next([Failure::Error {
            status,
            code,
            message: message.into(),
        }]);
        let error = session.refresh().await.unwrap_err();
        check(&error, param, status, &[words]);
        assert_eq!(error.code(), Some(code));
    }
    for (status, code, message, words) in [
        (
            403,
            "AccessDeniedException",
            "Invalid signature",
            "found the signature wrong",
        ),
        (
            400,
            "ValidationException",
            "Something new",
            "(400): Something new",
        ),
    ] {
        bench.anywhere.fail_next([Failure::Error {
            status,
            code,
            message: message.into(),
        }]);
        let error = session.refresh().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.is_unrecoverable() && error.code() == Some(code));
    }
    assert_eq!(bench.anywhere.calls(), 5, "none is tried again");
}

#[tokio::test]
async fn a_code_in_the_body_counts_and_pages_of_proxies_are_told_apart() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    bench.anywhere.fail_next([Failure::Body {
        status: 403,
        body: r#"{"__type":"com.amazonaws.rolesanywhere#AccessDeniedException","Message":"Certificate revoked"}"#
            .into(),
    }]);
    let error = session.refresh().await.unwrap_err();
    check(&error, "certificate", 403, &["is revoked"]);
    assert_eq!(error.code(), Some("AccessDeniedException"));
    for failure in [Failure::Page(403), Failure::Page(302)] {
        bench.anywhere.fail_next([failure]);
        let error = session.refresh().await.unwrap_err();
        assert!(
            error.to_string().contains("is not IAM Roles Anywhere"),
            "{error}"
        );
        assert!(!error.is_unrecoverable() && error.kind() == ErrorKind::Credential);
    }
}

#[tokio::test]
async fn throttling_and_trouble_are_tried_again_within_the_refresh() {
    let bench = Bench::new();
    let session = bench.session(bench.params()).await;
    bench
        .anywhere
        .fail_next([Failure::Throttled, Failure::Status(503)]);
    session.refresh().await.unwrap();
    bench.anywhere.fail_next([Failure::DropConnection]);
    session.refresh().await.unwrap();
    assert_eq!(bench.anywhere.calls(), 5);
    bench.anywhere.fail_always(Some(Failure::Throttled));
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.is_throttled() && error.to_string().contains("10 a second"),
        "{error}"
    );
    assert_eq!(bench.anywhere.calls(), 8);
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let bench = Bench::new();
    let session = bench
        .session(bench.params().private_key_passphrase("passphrase-hush"))
        .await;
    session.refresh().await.unwrap();
    let set = session.credentials().await.unwrap();
    let strategy = session.strategy::<RolesAnywhere>().unwrap();
    let identity = strategy.identity(&set).await.unwrap();
    let mut shown = format!(
        "{session:?} {strategy:?} {identity:?} {:?}",
        strategy.fingerprint()
    );
    for failure in [
        Failure::AccessDenied,
        Failure::Truncated,
        Failure::Status(500),
        Failure::Page(200),
    ] {
        bench.anywhere.fail_always(Some(failure));
        shown += &show(&session.refresh().await.unwrap_err());
    }
    let key = bench
        .device
        .private_key_pem
        .lines()
        .filter(|line| !line.starts_with('-'));
    let mut secrets: Vec<String> = key.map(str::to_owned).collect();
    secrets.extend(bench.aws.issued_secrets());
    secrets.push("passphrase-hush".to_owned());
    for secret in secrets {
        assert!(!shown.contains(&secret), "{shown}");
    }
}

/// Status, code and message; the parameter that is blamed, what brs makes of it, and a piece of the
/// remedy.
type Refusal = (
    u16,
    &'static str,
    &'static str,
    Option<&'static str>,
    Recovery,
    &'static str,
);

const DENIED: &str = "AccessDeniedException";
const UNABLE: &str = "Unable to assume role for arn:aws:iam::123456789012:role/backup";

const REFUSALS: [Refusal; 25] = [
    (
        403,
        DENIED,
        "Untrusted signing certificate",
        Some("certificate"),
        Recovery::Person,
        "`intermediates`",
    ),
    (
        403,
        DENIED,
        "Untrusted Signing Certificate",
        Some("certificate"),
        Recovery::Person,
        "`intermediates`",
    ),
    (
        403,
        DENIED,
        "Untrusted certificate. Insufficient certificate",
        Some("certificate"),
        Recovery::Person,
        "`digitalSignature`",
    ),
    (
        403,
        DENIED,
        "Certificate revoked",
        Some("certificate"),
        Recovery::Person,
        "list-crls",
    ),
    (
        403,
        DENIED,
        "Certificate is expired",
        Some("certificate"),
        Recovery::Person,
        "openssl x509 -noout -dates",
    ),
    (
        403,
        DENIED,
        "Invalid signature",
        None,
        Recovery::Person,
        "found the signature wrong",
    ),
    (
        403,
        DENIED,
        UNABLE,
        Some("role_arn"),
        Recovery::Person,
        "`sts:SetSourceIdentity`",
    ),
    (
        403,
        DENIED,
        "Unable to assume role for arn:aws:iam::123456789012:role/backup. The requested DurationSeconds exceeds the \
         MaxSessionDuration set for this role.",
        Some("duration"),
        Recovery::Person,
        "set a shorter `duration`",
    ),
    (
        403,
        DENIED,
        "Unable to assume role for arn:aws:iam::123456789012:role/backup. Some attributes failed to be mapped into \
         session tags. Issuer: [  ]; Subject: [  ]; SAN: [ DNS/2 ]",
        Some("certificate"),
        Recovery::Person,
        "attribute mappings",
    ),
    (
        403,
        DENIED,
        "Not authorized to set roleSessionName.",
        Some("role_session_name"),
        Recovery::Person,
        "--accept-role-session-name",
    ),
    (
        403,
        DENIED,
        "Trust anchor is disabled",
        Some("trust_anchor_arn"),
        Recovery::Person,
        "enable-trust-anchor",
    ),
    (
        403,
        DENIED,
        "Profile is disabled",
        Some("profile_arn"),
        Recovery::Person,
        "enable-profile",
    ),
    (
        403,
        DENIED,
        "Instance properties are required by the profile",
        Some("instance_properties"),
        Recovery::Person,
        "`requireInstanceProperties`",
    ),
    (
        403,
        DENIED,
        "Role is not in the profile",
        Some("role_arn"),
        Recovery::Person,
        "check its `roleArns`",
    ),
    (
        403,
        DENIED,
        "Credential should be scoped to a valid region.",
        Some("region"),
        Recovery::Person,
        "check the region in `trust_anchor_arn` and `endpoint_url`",
    ),
    (
        403,
        DENIED,
        "Something new",
        None,
        Recovery::Person,
        "(403): Something new",
    ),
    (
        404,
        "ResourceNotFoundException",
        "Trust anchor not found",
        Some("trust_anchor_arn"),
        Recovery::Person,
        "list-trust-anchors",
    ),
    (
        404,
        "ResourceNotFoundException",
        "Profile not found",
        Some("profile_arn"),
        Recovery::Person,
        "list-profiles",
    ),
    (
        400,
        "ValidationException",
        "durationSeconds must be between 900 and 43200",
        Some("duration"),
        Recovery::Person,
        "set a shorter `duration`",
    ),
    (
        400,
        "ValidationException",
        "roleSessionName failed to satisfy constraint",
        Some("role_session_name"),
        Recovery::Person,
        "leave `role_session_name` out",
    ),
    (
        429,
        "ThrottlingException",
        "Rate exceeded",
        None,
        Recovery::Throttled,
        "10 a second",
    ),
    (
        400,
        "TooManyRequestsException",
        "Too many requests",
        None,
        Recovery::Throttled,
        "10 a second",
    ),
    (
        500,
        "InternalServerException",
        "",
        None,
        Recovery::Soon,
        "failed (500): the call is retried",
    ),
    (
        503,
        "ServiceUnavailableException",
        "",
        None,
        Recovery::Soon,
        "failed (503): the call is retried",
    ),
    (
        403,
        DENIED,
        "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z",
        None,
        Recovery::Later,
        "check this machine's clock",
    ),
];

#[tokio::test]
async fn every_refusal_has_its_setting_its_recovery_and_its_remedy() {
    let bench = Bench::new();
    let session = bench.session(bench.params().max_attempts(1)).await;
    for (status, code, message, param, recovery, remedy) in REFUSALS {
        bench.anywhere.fail_always(Some(Failure::Error {
            status,
            code,
            message: message.into(),
        }));
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{error:?}");
        assert_eq!(
            (error.status(), error.code()),
            (Some(status), Some(code)),
            "{error:?}"
        );
        assert_eq!(
            (error.param(), error.recovery()),
            (param, recovery),
            "{error:?}"
        );
        assert!(error.to_string().contains(remedy), "{remedy}: {error}");
    }
}
