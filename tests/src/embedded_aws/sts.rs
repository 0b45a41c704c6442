//! The actions of the Security Token Service.
//!
//! Owns what each action demands and what it answers with. A further action is one more arm in [`respond`] and one
//! function; another service is a module beside this one, chosen in `server`. Order of a call: signature, then the
//! planned fault, then the parameters, so that a badly signed request never uses up a failure.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;

use super::call::Call;
use super::directory::{Directory, Kind, Principal, Role, Session};
use super::error::AwsError;
use super::faults::Failure;
use super::mfa::Refused;
use super::policy;
use super::server::State;
use super::session_token;
use super::signature::Authorization;
use super::web_identity;
use super::xml::{element, nested};

const VERSION: &str = "2011-06-15";
pub(super) const DEFAULT_SECONDS: u64 = 3600;
const CHAINED: Duration = Duration::from_secs(3600);
pub(super) const ALLOWED_SECONDS: RangeInclusive<u64> = 900..=43_200;
const MALFORMED: &[u8] = b"<AssumeRoleResponse <<&";
const TRUNCATED: &[u8] =
    b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIATRUNCATED</AccessKeyId><Secret";
const PAGE: &[u8] = b"<html><head><title>Login</title></head><body>Please log in to use this network.</body></html>";
const OVERSIZED_BYTES: usize = 8 << 20;

/// What goes back to the client.
pub(super) enum Answer {
    /// The elements of the action's result.
    Result(String),
    /// This status and this body, whatever it is.
    Raw(u16, Bytes),
    /// A JSON service's answer: status, error code, body.
    Json(u16, Option<&'static str>, Bytes),
    /// No answer; the connection is closed.
    Drop,
}

/// Carries one call out.
pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    match (call.action(), call.version()) {
        ("", _) => Err(AwsError::missing_action()),
        ("AssumeRole", VERSION) => assume_role(state, call).await,
        ("AssumeRoleWithWebIdentity", VERSION) => web_identity::respond(state, call).await,
        ("GetSessionToken", VERSION) => session_token::respond(state, call).await,
        ("GetCallerIdentity", VERSION) => get_caller_identity(state, call).await,
        (action, version) => Err(AwsError::invalid_action(action, version)),
    }
}

/// Who signed the call, once the signature is found good.
pub(super) fn authenticate(state: &State, call: &Call) -> Result<Principal, AwsError> {
    let authorization = Authorization::of(call)?;
    let now = state.now();
    let session_token = call.header("x-amz-security-token");
    let (credentials, principal) = state.directory().look_up(&authorization.access_key_id, session_token, now)?;
    authorization.verify(call, "sts", &credentials, now, state.allowed_skew)?;
    Ok(principal)
}

async fn get_caller_identity(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let principal = authenticate(state, call)?;
    if let Gate::Answered(answer) = enter(state, call, &principal.arn).await {
        return answer;
    }
    let mut result = String::new();
    element(&mut result, "Arn", &principal.arn);
    element(&mut result, "UserId", &principal.user_id);
    element(&mut result, "Account", &principal.account);
    Ok(Answer::Result(result))
}

async fn assume_role(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let principal = authenticate(state, call)?;
    match enter(state, call, &principal.arn).await {
        Gate::Answered(answer) => answer,
        Gate::Open { expired } => issue(state, call, &principal, expired),
    }
}

/// What a call meets before its parameters are looked at.
pub(super) enum Gate {
    /// A planned fault.
    Answered(Result<Answer, AwsError>),
    /// The usual answer, with credentials that are expired or not.
    Open { expired: bool },
}

/// Lets a planned fault happen. A code that comes with a failing call is noted, and not used up.
pub(super) async fn enter(state: &State, call: &Call, caller: &str) -> Gate {
    let mut passage = state.faults.enter(call.action());
    passage.pass().await;
    let expired = passage.failure == Some(Failure::AlreadyExpired);
    let Some(answer) = passage.failure.and_then(|failure| failed(&failure, call, caller)) else {
        return Gate::Open { expired };
    };
    if let (Some(serial_number), Some(code)) = (call.parameter("SerialNumber"), call.parameter("TokenCode")) {
        state.directory().devices.note(call.action(), serial_number, code, false);
    }
    Gate::Answered(answer)
}

/// The answer to a call that is to fail; `None` for the usual one.
fn failed(failure: &Failure, call: &Call, caller: &str) -> Option<Result<Answer, AwsError>> {
    Some(match failure {
        Failure::Status(status) => Err(AwsError::of_status(*status)),
        Failure::Throttled => Err(AwsError::throttled()),
        Failure::AccessDenied => Err(AwsError::access_denied(caller, call.parameter("RoleArn").unwrap_or("*"))),
        Failure::DropConnection => Ok(Answer::Drop),
        Failure::EmptyBody => Ok(Answer::Raw(200, Bytes::new())),
        Failure::MalformedXml => Ok(Answer::Raw(200, Bytes::from_static(MALFORMED))),
        Failure::Truncated => Ok(Answer::Raw(200, Bytes::from_static(TRUNCATED))),
        Failure::Oversized => Ok(Answer::Raw(200, oversized(call.action()))),
        Failure::Page(status) => Ok(Answer::Raw(*status, Bytes::from_static(PAGE))),
        Failure::Error { status, code, message } => Err(AwsError::new(*status, code, message.clone())),
        Failure::AlreadyExpired | Failure::Hang => return None,
    })
}

/// Checks the parameters and issues a session.
fn issue(state: &State, call: &Call, principal: &Principal, expired: bool) -> Result<Answer, AwsError> {
    let role_arn = required(call, "RoleArn", "roleArn")?;
    let session_name = required(call, "RoleSessionName", "roleSessionName")?;
    check_session_name(session_name)?;
    let requested = requested_duration(call, ALLOWED_SECONDS, DEFAULT_SECONDS, state.issuing().short_durations)?;
    let role = Role::parse(role_arn).ok_or_else(|| AwsError::validation(format!("{role_arn} is invalid")))?;
    let packed = policy::check(call)?;
    let passed_on = policy::check_tags(call, principal)?;
    let now = state.now();

    let mut directory = state.directory();
    let conditions = directory.conditions(role_arn);
    if !directory.may_assume(&role)
        || conditions.external_id.as_deref().is_some_and(|id| call.parameter("ExternalId") != Some(id))
    {
        return Err(AwsError::access_denied(&principal.arn, role_arn));
    }
    let with_mfa = take_code(&mut directory, call, now)? || principal.kind == Kind::UserSession { with_mfa: true };
    if conditions.mfa && !with_mfa {
        return Err(AwsError::access_denied(&principal.arn, role_arn));
    }
    check_longest(requested, principal, conditions.max_duration)?;
    let session = directory.open_session(&role, session_name, state.expiration(now, requested, expired), passed_on);
    drop(directory);

    let mut result = String::new();
    write_session(&mut result, &session);
    if let Some(source_identity) = call.parameter("SourceIdentity") {
        element(&mut result, "SourceIdentity", source_identity);
    }
    element(&mut result, "PackedPolicySize", &packed.to_string());
    Ok(Answer::Result(result))
}

/// Whether the call brought an MFA code, which is used up then.
pub(super) fn take_code(directory: &mut Directory, call: &Call, now: SystemTime) -> Result<bool, AwsError> {
    let (serial_number, code) = match (call.parameter("SerialNumber"), call.parameter("TokenCode")) {
        (None, None) => return Ok(false),
        (Some(serial_number), Some(code)) => (serial_number, code),
        _ => return Err(AwsError::half_an_mfa()),
    };
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        let pattern = "Member must satisfy regular expression pattern: [\\d]*";
        return Err(AwsError::constraint("tokenCode", Some(code), pattern));
    }
    let taken = directory.devices.take(serial_number, code, now);
    directory.devices.note(call.action(), serial_number, code, taken.is_ok());
    match taken {
        Ok(()) => Ok(true),
        Err(Refused::WrongCode) => Err(AwsError::wrong_mfa_code()),
        Err(Refused::UnknownDevice) => Err(AwsError::unknown_mfa_device()),
    }
}

/// The elements that every kind of session has.
pub(super) fn write_session(result: &mut String, session: &Session) {
    let expiration = DateTime::from(session.expiration).fmt(Format::DateTime);
    let expiration = expiration.expect("the server's clock shows a year of four digits");
    let token = session.credentials.session_token().expect("a session is issued with a token");
    if session.principal.kind == Kind::RoleSession {
        nested(result, "AssumedRoleUser", |out| {
            element(out, "AssumedRoleId", &session.principal.user_id);
            element(out, "Arn", &session.principal.arn);
        });
    }
    nested(result, "Credentials", |out| {
        element(out, "AccessKeyId", session.credentials.access_key_id());
        element(out, "SecretAccessKey", session.credentials.secret_access_key());
        element(out, "SessionToken", token);
        element(out, "Expiration", &expiration);
    });
    element(result, "SessionTokenSize", &token.len().to_string());
}

pub(super) fn required<'a>(call: &'a Call, name: &str, member: &str) -> Result<&'a str, AwsError> {
    call.parameter(name).ok_or_else(|| AwsError::constraint(member, None, "Member must not be null"))
}

pub(super) fn check_session_name(name: &str) -> Result<(), AwsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    let constraint = match name.len() {
        0..2 => "Member must have length greater than or equal to 2",
        65.. => "Member must have length less than or equal to 64",
        _ if !name.bytes().all(allowed) => "Member must satisfy regular expression pattern: [\\w+=,.@-]*",
        _ => return Ok(()),
    };
    Err(AwsError::constraint("roleSessionName", Some(name), constraint))
}

pub(super) fn requested_duration(
    call: &Call,
    allowed: RangeInclusive<u64>,
    default: u64,
    short_durations: bool,
) -> Result<Duration, AwsError> {
    let Some(text) = call.parameter("DurationSeconds") else { return Ok(Duration::from_secs(default)) };
    let (shortest, longest) = (if short_durations { 1 } else { *allowed.start() }, *allowed.end());
    let failed = |constraint: String| AwsError::constraint("durationSeconds", Some(text), &constraint);
    match text.parse::<u64>() {
        Err(_) => Err(failed("Member must be an integer".to_owned())),
        Ok(seconds) if seconds < shortest => {
            Err(failed(format!("Member must have value greater than or equal to {shortest}")))
        }
        Ok(seconds) if seconds > longest => {
            Err(failed(format!("Member must have value less than or equal to {longest}")))
        }
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

/// What role chaining and the role itself allow at most.
pub(super) fn check_longest(
    requested: Duration,
    principal: &Principal,
    of_role: Option<Duration>,
) -> Result<(), AwsError> {
    if requested > CHAINED && principal.kind == Kind::RoleSession {
        return Err(AwsError::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    if of_role.is_some_and(|longest| requested > longest) {
        let message = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(AwsError::validation(message));
    }
    Ok(())
}

fn oversized(action: &str) -> Bytes {
    let mut document = String::with_capacity(OVERSIZED_BYTES + 100);
    nested(&mut document, &format!("{action}Response"), |out| {
        nested(out, "Filler", |out| out.extend(std::iter::repeat_n('x', OVERSIZED_BYTES)));
    });
    document.into()
}
