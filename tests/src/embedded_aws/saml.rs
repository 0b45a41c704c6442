//! AssumeRoleWithSAML: a role for who has an identity provider's assertion. Not signed.
//!
//! The signature of an assertion is not computed: one is good if this server has made it. The words
//! of the refusals are AWS's: those of IAM's guide ("Troubleshoot SAML federation") and, with the
//! service behind STS that they name, those that users have reported.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::call::Call;
use super::directory::{Inherited, SamlAssertion};
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::policy;
use super::server::{State, request_id};
use super::sts::{ALLOWED_SECONDS, Answer, granted, role, write_session};
use super::validate::{PRINCIPAL_ARN, SAML_ASSERTION, duration};
use super::xml::element;

pub(super) const ACTION: &str = "AssumeRoleWithSAML";
const ISSUER: &str = "https://idp.example.com/saml";
const AUDIENCE: &str = "https://signin.aws.amazon.com/saml";
/// How long after its issue an assertion is taken.
const REDEEMABLE: Duration = Duration::from_secs(300);

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let entry = match enter(state, call, "anonymous").await {
        Gate::Answered(answer) => return answer,
        Gate::Open(entry) => entry,
    };
    let role = role(call)?;
    let provider = PRINCIPAL_ARN.required(call)?;
    let text = SAML_ASSERTION.required(call)?;
    let requested = duration(call, &ALLOWED_SECONDS, state.issuing().short_durations)?;
    let packed = policy::check_policies(call)?;
    let now = state.now();

    let invalid = |message: &str| AwsError::new(400, "InvalidIdentityToken", message);
    let behind = |message: &str, code: &str| {
        invalid(&format!(
            "{message} (Service: AWSOpenIdDiscoveryService; Status Code: 400; Error Code: {code}; Request ID: {}; \
             Proxy: null)",
            request_id()
        ))
    };
    if aws_smithy_types::base64::decode(text).is_err() {
        let code = "AuthSamlInvalidSamlResponseException";
        return Err(behind("Invalid base64 SAMLResponse", code));
    }
    let mut directory = state.directory();
    if !directory.saml_providers.contains(provider) {
        let code = "AuthSamlManifestNotFoundException";
        return Err(behind("Specified provider doesn't exist", code));
    }
    let Some(assertion) = directory.saml_assertions.get(text).cloned() else {
        return Err(invalid("Response signature invalid"));
    };
    if assertion.provider_arn != provider {
        let code = "AuthSamlInvalidSamlResponseException";
        return Err(behind("Issuer not present in specified provider", code));
    }
    if now > assertion.issued_at + REDEEMABLE {
        return Err(AwsError::new(
            400,
            "ExpiredTokenException",
            "Token must be redeemed within 5 minutes of issuance",
        ));
    }
    if assertion.role_arn != role.arn {
        return Err(invalid(
            "SAML Assertion doesn't contain the requested Role and Metadata in the attributes",
        ));
    }
    if !directory.may_assume(&role) {
        return Err(AwsError::not_authorized(ACTION));
    }
    let granted = granted(requested, directory.conditions(role.arn).max_duration)?;
    let expiration = state.expiration(now, granted, entry.expired);
    let name = assertion.session_name.as_str();
    let session = directory.open_session(&role, name, expiration, Inherited::default());
    drop(directory);

    let mut result = String::new();
    write_session(&mut result, &session);
    for (name, value) in [
        ("Issuer", ISSUER),
        ("Audience", AUDIENCE),
        ("Subject", name),
        ("SubjectType", "persistent"),
        ("NameQualifier", "SbdGOnUkh1i4+EXAMPLExL/jEvs="),
        ("PackedPolicySize", &packed.to_string()),
    ] {
        element(&mut result, name, value);
    }
    Ok(Answer::Result(result))
}

/// What an identity provider answers, as base64: a response with one assertion.
pub(super) fn response(assertion: &SamlAssertion, number: usize) -> String {
    let date = |at: SystemTime| {
        let at = DateTime::from_secs(DateTime::from(at).secs()).fmt(Format::DateTime);
        at.expect("the server's clock shows a year of four digits")
    };
    let SamlAssertion {
        role_arn,
        provider_arn,
        session_name,
        issued_at,
    } = assertion;
    let (issued, ends) = (date(*issued_at), date(*issued_at + REDEEMABLE));
    aws_smithy_types::base64::encode(format!(
        "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" ID=\"_r{number}\" Version=\"2.0\" \
         IssueInstant=\"{issued}\" Destination=\"{AUDIENCE}\"><Issuer>{ISSUER}</Issuer><Assertion ID=\"_a{number}\" \
         IssueInstant=\"{issued}\" Version=\"2.0\" xmlns=\"urn:oasis:names:tc:SAML:2.0:assertion\"><Issuer>{ISSUER}\
         </Issuer><Subject><NameID>{session_name}</NameID><SubjectConfirmation><SubjectConfirmationData \
         NotOnOrAfter=\"{ends}\"/></SubjectConfirmation></Subject><AttributeStatement><Attribute \
         Name=\"https://aws.amazon.com/SAML/Attributes/Role\"><AttributeValue>{role_arn},{provider_arn}\
         </AttributeValue></Attribute><Attribute Name=\"https://aws.amazon.com/SAML/Attributes/RoleSessionName\">\
         <AttributeValue>{session_name}</AttributeValue></Attribute></AttributeStatement></Assertion></samlp:Response>"
    ))
}
