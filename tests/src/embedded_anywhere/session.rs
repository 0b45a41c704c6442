//! Decides what a client gets: credentials, or the refusal that AWS would give.
//!
//! Order of a call: what is asked for must exist, the request must be verified, then the planned
//! fault, then what may be refused for other reasons, so that a stranger never uses up a failure.

use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use super::server::Shared;
use super::verify::{Claim, DENIED, denied};
use crate::embedded_aws::directory::{Inherited, Role};
use crate::embedded_aws::error::AwsError;
use crate::embedded_aws::faults::Failure;
use crate::embedded_aws::gate::{OVERSIZED_BYTES, PAGE};

/// What the faults and the log of this server are about.
pub(super) const ACTION: &str = "CreateSession";
const INVALID: &str = "ValidationException";
const NOT_FOUND: &str = "ResourceNotFoundException";

/// What goes back to the client.
pub(super) enum Answer {
    /// This status, this type of content and this body.
    Body(u16, &'static str, Bytes),
    /// No answer; the connection is closed.
    Drop,
}

impl Answer {
    /// `CreateSession` answers 201.
    fn json(body: impl Into<Bytes>) -> Self {
        Self::Body(201, "application/json", body.into())
    }
}

/// What is asked for: in the body or, the ARNs, in the query.
struct Asked {
    trust_anchor: String,
    profile: String,
    role: String,
    duration: Option<u64>,
    session_name: Option<String>,
    has_properties: bool,
}

/// Carries one call out.
pub(super) async fn respond(
    shared: &Shared,
    head: &Parts,
    body: &[u8],
) -> Result<Answer, AwsError> {
    if head.uri.path() != "/sessions" || head.method != "POST" {
        return Err(AwsError::new(404, "UnknownOperationException", ""));
    }
    let claim = Claim::read(head)?;
    let asked = Asked::read(head, body, shared.aws.issuing().short_durations)?;
    {
        let now = shared.aws.now();
        let registry = shared.registry();
        let anchor = registry.trust_anchors.get(&asked.trust_anchor);
        let anchor =
            anchor.ok_or_else(|| AwsError::new(404, NOT_FOUND, "Trust anchor not found"))?;
        claim.verify(head, body, now, shared.aws.allowed_skew)?;
        if !anchor.enabled {
            return Err(denied("Trust anchor is disabled"));
        }
        claim.trust(&anchor.certificate, now)?;
        if registry.revoked.contains(&claim.leaf[..]) {
            return Err(denied("Certificate revoked"));
        }
    }
    let mut passage = shared.faults.enter(ACTION);
    passage.pass().await;
    let expired = passage.failure == Some(Failure::AlreadyExpired);
    if let Some(answer) = passage.failure.and_then(failed) {
        return answer;
    }
    issue(shared, &claim, &asked, expired)
}

fn issue(shared: &Shared, claim: &Claim, asked: &Asked, expired: bool) -> Result<Answer, AwsError> {
    let registry = shared.registry();
    let profile = registry.profiles.get(&asked.profile);
    let profile = profile.ok_or_else(|| AwsError::new(404, NOT_FOUND, "Profile not found"))?;
    if !profile.enabled {
        return Err(denied("Profile is disabled"));
    }
    if !profile.roles.contains(&asked.role) {
        return Err(denied("Role is not in the profile"));
    }
    if asked.session_name.is_some() && !profile.accepts_session_name {
        return Err(denied("Not authorized to set roleSessionName."));
    }
    if profile.requires_properties && !asked.has_properties {
        return Err(denied("Instance properties are required by the profile"));
    }
    let granted = asked.duration.map_or(profile.duration, |seconds| {
        Duration::from_secs(seconds).min(profile.duration)
    });
    drop(registry);

    let mut directory = shared.aws.directory();
    let cannot = format!("Unable to assume role for {}", asked.role);
    let role = Role::parse(&asked.role)
        .filter(|role| directory.may_assume(role))
        .ok_or_else(|| denied(cannot.clone()))?;
    let longest = directory.conditions(&asked.role).max_duration;
    if longest.is_some_and(|longest| granted > longest) {
        return Err(denied(format!(
            "{cannot}. The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        )));
    }
    let expiration = shared.aws.expiration(shared.aws.now(), granted, expired);
    let name = asked
        .session_name
        .clone()
        .unwrap_or_else(|| claim.session_name());
    let source_identity = claim.common_name();
    let inherited = Inherited {
        source_identity: source_identity.clone(),
        ..Inherited::default()
    };
    let session = directory.open_session(&role, &name, expiration, inherited);
    drop(directory);

    let expiration = DateTime::from(session.expiration).fmt(Format::DateTime);
    let subject = format!(
        "arn:aws:rolesanywhere:{}:{}:subject/{}",
        super::REGION,
        session.principal.account,
        claim.session_name()
    );
    let body = json!({
        "credentialSet": [{
            "assumedRoleUser": {
                "arn": session.principal.arn,
                "assumedRoleId": session.principal.user_id,
            },
            "credentials": {
                "accessKeyId": session.credentials.access_key_id(),
                "secretAccessKey": session.credentials.secret_access_key(),
                "sessionToken": session.credentials.session_token(),
                "expiration": expiration.expect("the server's clock shows a year of four digits"),
            },
            "packedPolicySize": 10,
            "roleArn": asked.role,
            "sourceIdentity": source_identity,
        }],
        "subjectArn": subject,
    });
    Ok(Answer::json(body.to_string()))
}

impl Asked {
    fn read(head: &Parts, body: &[u8], short_durations: bool) -> Result<Self, AwsError> {
        let invalid = |message: &str| AwsError::new(400, INVALID, message);
        let body: Value = if body.is_empty() {
            json!({})
        } else {
            serde_json::from_slice(body).map_err(|_| invalid("Malformed JSON"))?
        };
        let query = head.uri.query().unwrap_or_default();
        let arn = |name: &str| {
            let in_query = form_urlencoded::parse(query.as_bytes())
                .find(|(of, _)| of == name)
                .map(|(_, value)| value.into_owned());
            let in_body = body.get(name).and_then(Value::as_str).map(str::to_owned);
            in_body
                .or(in_query)
                .ok_or_else(|| invalid(&format!("{name} must not be null")))
        };
        let duration = match body.get("durationSeconds") {
            None => None,
            Some(value) => {
                let shortest = if short_durations { 1 } else { 900 };
                let seconds = value.as_u64();
                Some(
                    seconds
                        .filter(|seconds| (shortest..=43_200).contains(seconds))
                        .ok_or_else(|| invalid("durationSeconds must be between 900 and 43200"))?,
                )
            }
        };
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let is_name = |name: &String| {
            (2..=64).contains(&name.len())
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
        };
        let session_name = text("roleSessionName");
        if session_name.as_ref().is_some_and(|name| !is_name(name)) {
            return Err(invalid("roleSessionName failed to satisfy constraint"));
        }
        let properties = body.get("instanceProperties").and_then(Value::as_object);
        Ok(Self {
            trust_anchor: arn("trustAnchorArn")?,
            profile: arn("profileArn")?,
            role: arn("roleArn")?,
            duration,
            session_name,
            has_properties: properties.is_some_and(|properties| !properties.is_empty()),
        })
    }
}

/// The answer to a call that is to fail; `None` for the usual one.
fn failed(failure: Failure) -> Option<Result<Answer, AwsError>> {
    Some(match failure {
        Failure::Status(429) | Failure::Throttled => {
            Err(AwsError::new(429, "ThrottlingException", "Rate exceeded"))
        }
        Failure::Status(status) => Err(AwsError::of_status(status)),
        Failure::AccessDenied => Err(AwsError::new(403, DENIED, "Access Denied")),
        Failure::DropConnection => Ok(Answer::Drop),
        Failure::EmptyBody => Ok(Answer::json("")),
        Failure::MalformedXml => Ok(Answer::json("{\"credentialSet\":[{{")),
        Failure::Truncated => Ok(Answer::json(
            "{\"credentialSet\":[{\"credentials\":{\"accessKeyId\":\"ASIATRUNCATED\",\"secretAcc",
        )),
        Failure::Oversized => Ok(Answer::json(format!(
            "{{\"filler\":\"{}\"}}",
            "x".repeat(OVERSIZED_BYTES)
        ))),
        Failure::Body { status, body } => Ok(Answer::Body(status, "application/json", body.into())),
        Failure::Page(status) => Ok(Answer::Body(status, "text/html", Bytes::from_static(PAGE))),
        Failure::Error {
            status,
            code,
            message,
        } => Err(AwsError::new(status, code, message)),
        Failure::AlreadyExpired | Failure::Hang => return None,
    })
}
