//! Decides what a device gets: credentials, or the refusal that AWS IoT would give.
//!
//! Messages and statuses are those that were observed at AWS. Of the error types,
//! `AccessDeniedException` was; the others are those that AWS IoT's API documents for the same
//! cause. Order of a call: the certificate, then the planned fault, then the rest, so that an
//! unknown device never uses up a failure.

use std::ops::RangeInclusive;
use std::time::Duration;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use serde_json::json;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::log::IotRequest;
use super::server::Shared;
use crate::embedded_aws::directory::{Inherited, Role};
use crate::embedded_aws::error::AwsError;
use crate::embedded_aws::faults::Failure;
use crate::embedded_aws::gate::{OVERSIZED_BYTES, PAGE};

/// What the faults and the log of this server are about.
pub(super) const ACTION: &str = "AssumeRoleWithCertificate";
const ALLOWED_SECONDS: RangeInclusive<u64> = 900..=43_200;
const FORBIDDEN: &str = "AccessDeniedException";
const INVALID: &str = "InvalidRequestException";
const NOT_FOUND: &str = "ResourceNotFoundException";

/// What goes back to the device.
pub(super) enum Answer {
    /// This status, this type of content and this body.
    Body(u16, &'static str, Bytes),
    /// No answer; the connection is closed.
    Drop,
}

impl Answer {
    fn json(body: impl Into<Bytes>) -> Self {
        Self::Body(200, "application/json", body.into())
    }
}

/// Carries one call out for who holds the certificate `leaf`.
pub(super) async fn respond(
    shared: &Shared,
    request: &IotRequest,
    leaf: Option<&CertificateDer<'_>>,
) -> Result<Answer, AwsError> {
    let invalid = || AwsError::new(403, FORBIDDEN, "Certificate is invalid on this endpoint");
    let is_active = leaf.is_some_and(|leaf| {
        shared
            .registry()
            .find(leaf)
            .is_some_and(|known| !known.inactive)
    });
    let leaf = leaf.filter(|_| is_active).ok_or_else(invalid)?;

    let mut passage = shared.faults.enter(ACTION);
    passage.pass().await;
    let expired = passage.failure == Some(Failure::AlreadyExpired);
    if let Some(answer) = passage.failure.and_then(failed) {
        return answer;
    }
    issue(shared, request, leaf, expired)
}

fn issue(
    shared: &Shared,
    request: &IotRequest,
    leaf: &CertificateDer<'_>,
    expired: bool,
) -> Result<Answer, AwsError> {
    let requested = duration(
        request.duration_seconds.as_deref(),
        shared.aws.issuing().short_durations,
    )?;
    let registry = shared.registry();
    let device = registry
        .find(leaf)
        .ok_or_else(|| AwsError::new(403, FORBIDDEN, "Access Denied"))?;
    if request
        .thing_name
        .as_ref()
        .is_some_and(|name| !device.things.contains(name))
    {
        return Err(AwsError::new(403, FORBIDDEN, "Invalid thing name passed"));
    }
    if request.method != "GET" {
        return Err(AwsError::new(405, INVALID, "Method not allowed"));
    }
    let Some(name) = &request.role_alias else {
        return Err(AwsError::new(404, NOT_FOUND, "Not Found"));
    };
    let Some(alias) = registry.aliases.get(name).cloned() else {
        return Err(AwsError::new(404, NOT_FOUND, "Role alias does not exist"));
    };
    if device.denied {
        return Err(AwsError::new(403, FORBIDDEN, "Access Denied"));
    }
    let certificate_id = device.certificate_id.clone();
    drop(registry);

    let mut directory = shared.aws.directory();
    let role = Role::parse(&alias.role_arn)
        .filter(|role| directory.may_assume(role) && !alias.trust_broken);
    let Some(role) = role else {
        let message = "Unable to assume the role, or the role to assume does not exist";
        return Err(AwsError::new(400, INVALID, message));
    };
    let granted = requested.unwrap_or(alias.duration);
    if directory
        .conditions(&alias.role_arn)
        .max_duration
        .is_some_and(|longest| granted > longest)
    {
        let message = "The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for the role";
        return Err(AwsError::new(400, INVALID, message));
    }
    let expiration = shared.aws.expiration(shared.aws.now(), granted, expired);
    let session = directory.open_session(&role, &certificate_id, expiration, Inherited::default());
    drop(directory);

    let expiration = DateTime::from(session.expiration).fmt(Format::DateTime);
    let body = json!({ "credentials": {
        "accessKeyId": session.credentials.access_key_id(),
        "secretAccessKey": session.credentials.secret_access_key(),
        "sessionToken": session.credentials.session_token(),
        "expiration": expiration.expect("the server's clock shows a year of four digits"),
    } });
    Ok(Answer::json(body.to_string()))
}

fn duration(seconds: Option<&str>, short_durations: bool) -> Result<Option<Duration>, AwsError> {
    let Some(text) = seconds else { return Ok(None) };
    let (shortest, longest) = (
        if short_durations {
            1
        } else {
            *ALLOWED_SECONDS.start()
        },
        *ALLOWED_SECONDS.end(),
    );
    match text.parse() {
        Ok(seconds) if (shortest..=longest).contains(&seconds) => {
            Ok(Some(Duration::from_secs(seconds)))
        }
        _ => Err(AwsError::new(
            400,
            INVALID,
            format!("CredentialDurationSeconds must be {shortest} to {longest}"),
        )),
    }
}

/// The answer to a call that is to fail; `None` for the usual one.
fn failed(failure: Failure) -> Option<Result<Answer, AwsError>> {
    Some(match failure {
        Failure::Status(429) | Failure::Throttled => {
            Err(AwsError::new(429, "ThrottlingException", "Rate exceeded"))
        }
        Failure::Status(status) => Err(AwsError::of_status(status)),
        Failure::AccessDenied => Err(AwsError::new(403, FORBIDDEN, "Access Denied")),
        Failure::DropConnection => Ok(Answer::Drop),
        Failure::EmptyBody => Ok(Answer::json("")),
        Failure::MalformedXml => Ok(Answer::json("{\"credentials\":{{")),
        Failure::Truncated => Ok(Answer::json(
            "{\"credentials\":{\"accessKeyId\":\"ASIATRUNCATED\",\"secretAcc",
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
