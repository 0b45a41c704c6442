//! The actions of the Security Token Service.
//!
//! Owns what each action demands and what it answers with. A further action is one more arm in [`respond`] and one
//! function; another service is a module beside this one, chosen in `server`. Order of a call: signature, then the
//! planned fault, then the parameters, so that a badly signed request never uses up a failure.

use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;

use super::call::Call;
use super::directory::{Principal, Role};
use super::error::AwsError;
use super::faults::Failure;
use super::server::State;
use super::signature::Authorization;
use super::xml::{element, nested};

const VERSION: &str = "2011-06-15";
const DEFAULT_SECONDS: u64 = 3600;
const CHAINED_SECONDS: u64 = 3600;
const ALLOWED_SECONDS: std::ops::RangeInclusive<u64> = 900..=43_200;
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
    /// No answer; the connection is closed.
    Drop,
}

/// Carries one call out.
pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    match (call.action(), call.version()) {
        ("", _) => Err(AwsError::missing_action()),
        ("AssumeRole", VERSION) => assume_role(state, call).await,
        ("GetCallerIdentity", VERSION) => get_caller_identity(state, call).await,
        (action, version) => Err(AwsError::invalid_action(action, version)),
    }
}

/// Who signed the call, once the signature is found good.
fn authenticate(state: &State, call: &Call) -> Result<Principal, AwsError> {
    let authorization = Authorization::of(call)?;
    let now = state.now();
    let session_token = call.header("x-amz-security-token");
    let (credentials, principal) = state.directory().look_up(&authorization.access_key_id, session_token, now)?;
    authorization.verify(call, "sts", &credentials, now, state.allowed_skew)?;
    Ok(principal)
}

async fn get_caller_identity(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let principal = authenticate(state, call)?;
    let mut passage = state.faults.enter(call.action());
    passage.pass().await;
    if let Some(answer) = passage.failure.and_then(|failure| failed(&failure, call, &principal)) {
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
    let mut passage = state.faults.enter(call.action());
    passage.pass().await;
    if passage.failure == Some(Failure::AlreadyExpired) {
        return issue(state, call, &principal, |now, _| now - Duration::from_secs(60));
    }
    if let Some(answer) = passage.failure.and_then(|failure| failed(&failure, call, &principal)) {
        return answer;
    }
    let lifetime = state.issuing().lifetime;
    issue(state, call, &principal, |now, requested| now + lifetime.unwrap_or(requested))
}

/// The answer to a call that is to fail; `None` for the usual one.
fn failed(failure: &Failure, call: &Call, principal: &Principal) -> Option<Result<Answer, AwsError>> {
    Some(match failure {
        Failure::Status(status) => Err(AwsError::of_status(*status)),
        Failure::Throttled => Err(AwsError::throttled()),
        Failure::AccessDenied => Err(AwsError::access_denied(&principal.arn, call.parameter("RoleArn").unwrap_or("*"))),
        Failure::DropConnection => Ok(Answer::Drop),
        Failure::EmptyBody => Ok(Answer::Raw(200, Bytes::new())),
        Failure::MalformedXml => Ok(Answer::Raw(200, Bytes::from_static(MALFORMED))),
        Failure::Truncated => Ok(Answer::Raw(200, Bytes::from_static(TRUNCATED))),
        Failure::Oversized => Ok(Answer::Raw(200, oversized(call.action()))),
        Failure::Page(status) => Ok(Answer::Raw(*status, Bytes::from_static(PAGE))),
        Failure::AlreadyExpired | Failure::Hang => return None,
    })
}

/// Checks the parameters and issues a session; `expiration` is given the time and the requested duration.
fn issue(
    state: &State,
    call: &Call,
    principal: &Principal,
    expiration: impl FnOnce(SystemTime, Duration) -> SystemTime,
) -> Result<Answer, AwsError> {
    let role_arn = required(call, "RoleArn", "roleArn")?;
    let session_name = required(call, "RoleSessionName", "roleSessionName")?;
    check_session_name(session_name)?;
    let requested = requested_duration(call, principal, state.issuing().short_durations)?;
    let role = Role::parse(role_arn).ok_or_else(|| AwsError::validation(format!("{role_arn} is invalid")))?;

    let expiration = expiration(state.now(), requested);
    let mut directory = state.directory();
    if !directory.may_assume(&role) {
        return Err(AwsError::access_denied(&principal.arn, role_arn));
    }
    if let Some(serial_number) = call.parameter("SerialNumber") {
        let token_code = call.parameter("TokenCode").unwrap_or_default();
        if !directory.take_mfa_code(serial_number, token_code) {
            return Err(AwsError::wrong_mfa_code());
        }
    }
    let session = directory.open_session(&role, session_name, expiration);
    drop(directory);

    let expiration = DateTime::from(session.expiration).fmt(Format::DateTime);
    let expiration = expiration.expect("the server's clock shows a year of four digits");
    let token = session.credentials.session_token().expect("a session is issued with a token");
    let mut result = String::new();
    nested(&mut result, "AssumedRoleUser", |out| {
        element(out, "AssumedRoleId", &session.principal.user_id);
        element(out, "Arn", &session.principal.arn);
    });
    nested(&mut result, "Credentials", |out| {
        element(out, "AccessKeyId", session.credentials.access_key_id());
        element(out, "SecretAccessKey", session.credentials.secret_access_key());
        element(out, "SessionToken", token);
        element(out, "Expiration", &expiration);
    });
    if let Some(source_identity) = call.parameter("SourceIdentity") {
        element(&mut result, "SourceIdentity", source_identity);
    }
    // STS packs into 2,048 bytes and reports the percentage in use.
    let packed = call.size_of(&["Policy", "Tags."]) * 100 / 2048;
    element(&mut result, "PackedPolicySize", &packed.to_string());
    element(&mut result, "SessionTokenSize", &token.len().to_string());
    Ok(Answer::Result(result))
}

fn required<'a>(call: &'a Call, name: &str, member: &str) -> Result<&'a str, AwsError> {
    call.parameter(name).ok_or_else(|| AwsError::constraint(member, None, "Member must not be null"))
}

fn check_session_name(name: &str) -> Result<(), AwsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    let constraint = match name.len() {
        0..2 => "Member must have length greater than or equal to 2",
        65.. => "Member must have length less than or equal to 64",
        _ if !name.bytes().all(allowed) => "Member must satisfy regular expression pattern: [\\w+=,.@-]*",
        _ => return Ok(()),
    };
    Err(AwsError::constraint("roleSessionName", Some(name), constraint))
}

fn requested_duration(call: &Call, principal: &Principal, short_durations: bool) -> Result<Duration, AwsError> {
    let Some(text) = call.parameter("DurationSeconds") else { return Ok(Duration::from_secs(DEFAULT_SECONDS)) };
    let (shortest, longest) = (if short_durations { 1 } else { *ALLOWED_SECONDS.start() }, *ALLOWED_SECONDS.end());
    let failed = |constraint: String| AwsError::constraint("durationSeconds", Some(text), &constraint);
    match text.parse::<u64>() {
        Err(_) => Err(failed("Member must be an integer".to_owned())),
        Ok(seconds) if seconds < shortest => {
            Err(failed(format!("Member must have value greater than or equal to {shortest}")))
        }
        Ok(seconds) if seconds > longest => {
            Err(failed(format!("Member must have value less than or equal to {longest}")))
        }
        Ok(seconds) if seconds > CHAINED_SECONDS && principal.is_session => Err(AwsError::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        )),
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

fn oversized(action: &str) -> Bytes {
    let mut document = String::with_capacity(OVERSIZED_BYTES + 100);
    nested(&mut document, &format!("{action}Response"), |out| {
        nested(out, "Filler", |out| out.extend(std::iter::repeat_n('x', OVERSIZED_BYTES)));
    });
    document.into()
}
