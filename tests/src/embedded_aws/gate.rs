//! What a call meets before its parameters are looked at: the planned fault of its action.
//!
//! Owns how each [`Failure`] looks on the wire, in XML for STS and in JSON for the portal. `faults`
//! decides which one it is. An MFA code is on record from here on, whatever becomes of its call.

use bytes::Bytes;

use super::call::Call;
use super::error::AwsError;
use super::faults::Failure;
use super::server::State;
use super::sts::Answer;
use super::{saml, sso, web_identity};

pub(crate) const PAGE: &[u8] =
    b"<html><head><title>Login</title></head><body>Please log in to use this network.</body></html>";
pub(crate) const OVERSIZED_BYTES: usize = 8 << 20;

/// The way on, or the end of it.
pub(super) enum Gate {
    /// A planned fault.
    Answered(Result<Answer, AwsError>),
    /// The usual answer.
    Open(Entry),
}

/// What is known about a call that passed the gate.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// Whether its credentials are to be expired already.
    pub(super) expired: bool,
    /// The number of its MFA code among all that were presented.
    pub(super) attempt: Option<usize>,
}

/// Lets a planned fault happen. A code that comes with a failing call is noted, and not used up.
pub(super) async fn enter(state: &State, call: &Call, caller: &str) -> Gate {
    let attempt = call.parameter("TokenCode").map(|code| {
        let serial_number = call.parameter("SerialNumber").unwrap_or_default();
        state
            .directory()
            .devices
            .present(call.action(), serial_number, code)
    });
    let mut passage = state.faults.enter(call.action());
    passage.pass().await;
    let expired = passage.failure == Some(Failure::AlreadyExpired);
    match passage
        .failure
        .and_then(|failure| failed(failure, call, caller))
    {
        Some(answer) => Gate::Answered(answer),
        None => Gate::Open(Entry { expired, attempt }),
    }
}

/// The answer to a call that is to fail; `None` for the usual one.
fn failed(failure: Failure, call: &Call, caller: &str) -> Option<Result<Answer, AwsError>> {
    Some(match failure {
        Failure::Status(status) => Err(AwsError::of_status(status)),
        Failure::Throttled if call.is_portal() => Err(AwsError::of_status(429)),
        Failure::Throttled => Err(AwsError::throttled()),
        Failure::AccessDenied => Err(denied(call, caller)),
        Failure::DropConnection => Ok(Answer::Drop),
        Failure::EmptyBody => Ok(Answer::Raw(200, Bytes::new())),
        Failure::MalformedXml => Ok(Answer::Raw(200, malformed(call))),
        Failure::Truncated => Ok(Answer::Raw(200, truncated(call))),
        Failure::Oversized => Ok(Answer::Raw(200, oversized(call))),
        Failure::Body { status, body } => Ok(Answer::Raw(status, body.into())),
        Failure::Page(status) => Ok(Answer::Raw(status, Bytes::from_static(PAGE))),
        Failure::Error {
            status,
            code,
            message,
        } => Err(AwsError::new(status, code, message)),
        Failure::AlreadyExpired | Failure::Hang => return None,
    })
}

/// The refusal as each action words it.
fn denied(call: &Call, caller: &str) -> AwsError {
    match call.action() {
        sso::ACTION => AwsError::no_access(),
        web_identity::ACTION | saml::ACTION => AwsError::not_authorized(call.action()),
        action => AwsError::access_denied(caller, action, call.parameter("RoleArn").unwrap_or("*")),
    }
}

fn malformed(call: &Call) -> Bytes {
    if call.is_portal() {
        "{\"roleCredentials\":{{"
    } else {
        "<AssumeRoleResponse <<&"
    }
    .into()
}

fn truncated(call: &Call) -> Bytes {
    if call.is_portal() {
        return "{\"roleCredentials\":{\"accessKeyId\":\"ASIATRUNCATED\",\"secret".into();
    }
    let action = call.action();
    let key = "<AccessKeyId>ASIATRUNCATED</AccessKeyId><Secret";
    format!("<{action}Response><{action}Result><Credentials>{key}").into()
}

fn oversized(call: &Call) -> Bytes {
    let filler = "x".repeat(OVERSIZED_BYTES);
    if call.is_portal() {
        return format!("{{\"filler\":\"{filler}\"}}").into();
    }
    let action = call.action();
    format!("<{action}Response><Filler>{filler}</Filler></{action}Response>").into()
}
