//! The methods `sts-saml` and `sts-root`: a new assertion for each refresh, and what each refusal
//! says; one task in a member account.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brs::command::Command;
use brs::sts::StsClient;
use brs::sts::{root, saml};
use brs::{ErrorKind, Recovery, RefreshableSession};
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
            "aws iam update-saml-provider",
        ),
        (
            another.into_bytes(),
            Some("InvalidIdentityToken"),
            "does not have this role with this provider",
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
        assert_eq!(error.recovery(), Recovery::Later, "{error:?}");
        if code.is_none() {
            assert_eq!(
                (error.kind(), error.param()),
                (ErrorKind::Configuration, Some("assertion_source"))
            );
        }
    }
    std::fs::write(&file, wrapped).unwrap();
    session.refresh().await.unwrap();
}

/// A refusal of AWS's, as it is documented or as users have reported it: status, code and message;
/// what brs makes of it, and a piece of the remedy.
type Refusal = (u16, &'static str, &'static str, Recovery, &'static str);

/// Has a session refused in each of these ways.
async fn refuses(aws: &EmbeddedAws, session: &RefreshableSession, action: &str, all: &[Refusal]) {
    for (status, code, message, recovery, remedy) in all {
        let failure = Failure::Error {
            status: *status,
            code,
            message: (*message).into(),
        };
        aws.fail_next_of(action, [failure]);
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Request, "{error:?}");
        assert_eq!((error.status(), error.code()), (Some(*status), Some(*code)));
        assert_eq!(error.recovery(), *recovery, "{code}: {error}");
        assert!(error.to_string().contains(remedy), "{code}: {error}");
        assert!(!error.to_string().contains("nobody"), "{error}");
    }
}

/// What AWS says about an assertion.
const REFUSED_ASSERTIONS: [Refusal; 24] = [
    (
        400,
        "InvalidIdentityToken",
        "Invalid base64 SAMLResponse (Service: AWSOpenIdDiscoveryService; Status Code: 400; Error Code: \
         AuthSamlInvalidSamlResponseException; Request ID: 1; Proxy: null)",
        Recovery::Later,
        "the field `SAMLResponse`",
    ),
    (
        400,
        "InvalidIdentityToken",
        "Specified provider doesn't exist (Service: AWSOpenIdDiscoveryService; Status Code: 400; Error Code: \
         AuthSamlManifestNotFoundException; Request ID: 1; Proxy: null)",
        Recovery::Person,
        "correct `provider_arn` (`aws iam list-saml-providers`)",
    ),
    (
        400,
        "InvalidIdentityToken",
        "Issuer not present in specified provider (Service: AWSOpenIdDiscoveryService; Status Code: 400; Error Code: \
         AuthSamlInvalidSamlResponseException; Request ID: 1; Proxy: null)",
        Recovery::Later,
        "its issuer is not the one in the SAML provider's metadata",
    ),
    (
        400,
        "InvalidIdentityToken",
        "Response signature invalid",
        Recovery::Later,
        "aws iam update-saml-provider",
    ),
    (
        400,
        "InvalidIdentityToken",
        "SAML Assertion doesn't contain the requested Role and Metadata in the attributes",
        Recovery::Later,
        "assign the role at the identity provider",
    ),
    (
        400,
        "InvalidIdentityToken",
        "RoleSessionName is required in AuthnResponse",
        Recovery::Later,
        "Attributes/RoleSessionName` must have 2 to 64",
    ),
    (
        400,
        "InvalidIdentityToken",
        "RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}",
        Recovery::Later,
        "Attributes/RoleSessionName` must have 2 to 64",
    ),
    (
        400,
        "InvalidIdentityToken",
        "Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with \"aws:\"",
        Recovery::Later,
        "Attributes/SourceIdentity`",
    ),
    (
        400,
        "InvalidIdentityToken",
        "Responses must contain SubjectConfirmatonData with a Recipient and NotOnOrAfter",
        Recovery::Later,
        "`Recipient` and `NotOnOrAfter`",
    ),
    (
        400,
        "InvalidIdentityToken",
        "Response does not contain the required audience.",
        Recovery::Later,
        "https://signin.aws.amazon.com/saml",
    ),
    (
        400,
        "InvalidIdentityToken",
        "Something new",
        Recovery::Later,
        "issuer, audience, signature and attributes",
    ),
    (
        400,
        "ExpiredTokenException",
        "Token must be redeemed within 5 minutes of issuance",
        Recovery::Later,
        "within five minutes of its issue",
    ),
    (
        403,
        "IDPRejectedClaim",
        "The claim was rejected",
        Recovery::Later,
        "log in again",
    ),
    (
        400,
        "PackedPolicyTooLarge",
        "Packed policy consumes 112% of allotted space",
        Recovery::Person,
        "(112 % of what AWS allows): shorten `policy` or `policy_arns`, or the session tags (`PrincipalTag`)",
    ),
    (
        400,
        "MalformedPolicyDocument",
        "Syntax errors in policy.",
        Recovery::Person,
        "correct the policy document in `policy`",
    ),
    (
        403,
        "RegionDisabledException",
        "STS is not activated in this region for account:123456789012. Your account administrator can activate STS in \
         this region using the IAM Console.",
        Recovery::Person,
        "for the account of role `arn:aws:iam::123456789012:role/demo`: activate it",
    ),
    (
        403,
        "AccessDenied",
        "Not authorized to perform sts:AssumeRoleWithSAML",
        Recovery::Person,
        "the role's trust policy",
    ),
    (
        403,
        "AccessDenied",
        "Access denied",
        Recovery::Person,
        "check that it names this role and this provider",
    ),
    (
        403,
        "AccessDenied",
        "User: arn:aws:sts::123456789012:assumed-role/demo/ann is not authorized to perform: sts:TagSession on \
         resource: arn:aws:iam::123456789012:role/demo",
        Recovery::Person,
        "session tags need `sts:TagSession`",
    ),
    (
        400,
        "ValidationError",
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        Recovery::Person,
        "`duration` is more than the role's maximum",
    ),
    (
        400,
        "ValidationError",
        "Request ARN is invalid",
        Recovery::Person,
        "refused a value of the request: Request ARN is invalid",
    ),
    (
        400,
        "Throttling",
        "Rate exceeded",
        Recovery::Throttled,
        "is throttling",
    ),
    (
        503,
        "ServiceUnavailable",
        "Service is unable to handle request.",
        Recovery::Soon,
        "an error on its side (503)",
    ),
    (
        500,
        "InternalFailure",
        "An internal error occurred.",
        Recovery::Soon,
        "an error on its side (500)",
    ),
];

#[tokio::test]
async fn every_refusal_of_an_assertion_has_its_recovery_and_its_remedy() {
    let (aws, clock) = started();
    let (source, _) = login(&aws);
    let params = saml::Params::new(ROLE, PROVIDER, source);
    let session = RefreshableSession::with(params.client(StsClient::new().max_attempts(1)))
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .clock(clock)
        .build()
        .await
        .unwrap();
    refuses(&aws, &session, ACTION, &REFUSED_ASSERTIONS).await;
    // AWS may repeat what it was sent.
    let assertion = aws.issue_saml_assertion(ROLE, PROVIDER, "bob");
    let given = assertion.clone();
    let source = saml::AssertionSource::blocking_function(move || Ok::<_, Error>(given.clone()));
    let session = self::session(&aws, &ManualClock::new(start()), source).await;
    for (status, code, message, ..) in REFUSED_ASSERTIONS {
        if status >= 500 || code == "Throttling" {
            continue;
        }
        let failure = Failure::Error {
            status,
            code,
            message: format!("{assertion} {message}"),
        };
        aws.fail_next_of(ACTION, [failure]);
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert!(!format!("{error} {error:?}").contains(&assertion), "{code}");
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
    let params = root::Params::new(MEMBER, TASK).duration(seconds(901));
    let builder = RefreshableSession::builder("sts-root", params).region("eu-west-1");
    let error = builder.build().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Validation, Some("duration"))
    );
}

/// What AWS says about a root task: the API's documented errors, and those of every signed call.
const REFUSED_TASKS: [Refusal; 15] = [
    (
        403,
        "AccessDenied",
        "User: arn:aws:iam::123456789012:user/brs is not authorized to perform: sts:AssumeRoot on resource: \
         arn:aws:iam::210987654321:root",
        Recovery::Person,
        "enable-organizations-root-sessions",
    ),
    (
        403,
        "AccessDenied",
        "User: arn:aws:iam::123456789012:user/brs is not authorized to perform: sts:AssumeRoot on resource: \
         arn:aws:iam::210987654321:root because no identity-based policy allows the sts:AssumeRoot action",
        Recovery::Person,
        "no identity-based policy of the caller allows it",
    ),
    (
        403,
        "AccessDenied",
        "User: arn:aws:iam::123456789012:user/brs is not authorized to perform: sts:AssumeRoot on resource: \
         arn:aws:iam::210987654321:root with an explicit deny in a service control policy",
        Recovery::Person,
        "a service control policy of the organization",
    ),
    (
        400,
        "ExpiredTokenException",
        "The security token included in the request is expired",
        Recovery::Person,
        "have expired: renew them",
    ),
    (
        403,
        "ExpiredToken",
        "The security token included in the request is expired",
        Recovery::Person,
        "have expired: renew them",
    ),
    (
        403,
        "RegionDisabledException",
        "STS is not activated in this region for account:123456789012. Your account administrator can activate STS in \
         this region using the IAM Console.",
        Recovery::Person,
        "for the account of the caller",
    ),
    (
        403,
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
        Recovery::Person,
        "that the key is active",
    ),
    (
        403,
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided.",
        Recovery::Later,
        "check the secret access key",
    ),
    (
        400,
        "IncompleteSignature",
        "Authorization header requires 'Signature' parameter.",
        Recovery::Later,
        "no proxy changes the request's headers",
    ),
    (
        400,
        "ValidationError",
        "arn:aws:iam::aws:policy/root-task/Other is not a supported task policy",
        Recovery::Person,
        "is not a supported task policy",
    ),
    (
        400,
        "MalformedPolicyDocument",
        "Syntax errors in policy.",
        Recovery::Person,
        "check `task_policy_arn`",
    ),
    (
        400,
        "PackedPolicyTooLarge",
        "Packed policy consumes 112% of allotted space",
        Recovery::Person,
        "check `task_policy_arn`",
    ),
    (
        403,
        "OptInRequired",
        "The AWS Access Key Id needs a subscription for the service",
        Recovery::Person,
        "finish its sign-up",
    ),
    (
        400,
        "Throttling",
        "Rate exceeded",
        Recovery::Throttled,
        "is throttling",
    ),
    (
        500,
        "InternalFailure",
        "An internal error occurred.",
        Recovery::Soon,
        "an error on its side (500)",
    ),
];

#[tokio::test]
async fn every_refusal_of_a_task_has_its_recovery_and_its_remedy() {
    let (aws, clock) = started();
    let params = root::Params::new(MEMBER, TASK).client(StsClient::new().max_attempts(1));
    let session = RefreshableSession::with(params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(clock)
        .build()
        .await
        .unwrap();
    refuses(&aws, &session, "AssumeRoot", &REFUSED_TASKS).await;
}
