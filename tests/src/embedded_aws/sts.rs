//! The actions of the Security Token Service.
//!
//! Owns what each action demands and what it answers with. A further action is one more arm in
//! [`respond`] and one function; another service is a module beside this one, chosen in `server`.
//! Order of a call: signature, then the planned fault, then the parameters, so that a badly signed
//! request never uses up a failure.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;

use super::call::Call;
use super::directory::{Directory, Kind, Principal, Role, Session};
use super::error::AwsError;
use super::gate::{Entry, Gate, enter};
use super::mfa::Refused;
use super::policy;
use super::root;
use super::saml;
use super::server::State;
use super::session_token;
use super::signature;
use super::validate::{EXTERNAL_ID, ROLE_SESSION_NAME, TOKEN_CODE, duration, required};
use super::web_identity;
use super::xml::{element, nested};

const VERSION: &str = "2011-06-15";
const DEFAULT: Duration = Duration::from_secs(3600);
const CHAINED: Duration = Duration::from_secs(3600);
pub(super) const ALLOWED_SECONDS: RangeInclusive<u64> = 900..=43_200;

/// What goes back to the client.
pub(super) enum Answer {
    /// The elements of the action's result.
    Result(String),
    /// A document of a JSON service.
    Json(String),
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
        (web_identity::ACTION, VERSION) => web_identity::respond(state, call).await,
        (saml::ACTION, VERSION) => saml::respond(state, call).await,
        (root::ACTION, VERSION) => root::respond(state, call).await,
        ("GetSessionToken", VERSION) => session_token::respond(state, call).await,
        ("GetCallerIdentity", VERSION) => get_caller_identity(state, call).await,
        (action, version) => Err(AwsError::invalid_action(action, version)),
    }
}

/// Who signed the call, once the signature is found good.
pub(super) fn authenticate(state: &State, call: &Call) -> Result<Principal, AwsError> {
    signature::authenticate(state, call, "sts")
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
        Gate::Open(entry) => issue(state, call, &principal, entry),
    }
}

/// Checks the parameters and issues a session. The code comes last: a call that fails otherwise
/// does not use it up.
fn issue(
    state: &State,
    call: &Call,
    principal: &Principal,
    entry: Entry,
) -> Result<Answer, AwsError> {
    let role = role(call)?;
    let session_name = ROLE_SESSION_NAME.required(call)?;
    let requested = duration(call, &ALLOWED_SECONDS, state.issuing().short_durations)?;
    let external_id = EXTERNAL_ID.optional(call)?;
    TOKEN_CODE.optional(call)?;
    let packed = policy::check_policies(call)?;
    let inherited = policy::check_marks(call, principal)?;
    let now = state.now();

    let denied = || AwsError::access_denied(&principal.arn, "AssumeRole", role.arn);
    let mut directory = state.directory();
    let conditions = directory.conditions(role.arn);
    let right_id =
        conditions.external_id.is_none() || conditions.external_id.as_deref() == external_id;
    if !directory.may_assume(&role) || !right_id {
        return Err(denied());
    }
    if principal.kind == Kind::RoleSession && requested.is_some_and(|requested| requested > CHAINED)
    {
        return Err(AwsError::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
        ));
    }
    let granted = granted(requested, conditions.max_duration)?;
    let brought_code = take_code(&mut directory, call, entry.attempt, now)?;
    if conditions.mfa && !brought_code && principal.kind != (Kind::UserSession { with_mfa: true }) {
        return Err(denied());
    }
    let expiration = state.expiration(now, granted, entry.expired);
    let session = directory.open_session(&role, session_name, expiration, inherited);
    drop(directory);

    let mut result = String::new();
    write_session(&mut result, &session);
    if let Some(source_identity) = call.parameter("SourceIdentity") {
        element(&mut result, "SourceIdentity", source_identity);
    }
    element(&mut result, "PackedPolicySize", &packed.to_string());
    Ok(Answer::Result(result))
}

/// The role that the call wants.
pub(super) fn role(call: &Call) -> Result<Role<'_>, AwsError> {
    let role_arn = required(call, "RoleArn", "roleArn")?;
    Role::parse(role_arn).ok_or_else(|| AwsError::validation(format!("{role_arn} is invalid")))
}

/// How long a role's session lives; `longest` is what the role allows at most.
pub(super) fn granted(
    requested: Option<Duration>,
    longest: Option<Duration>,
) -> Result<Duration, AwsError> {
    let longest = longest.unwrap_or(Duration::MAX);
    if requested.is_some_and(|requested| requested > longest) {
        let message =
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(AwsError::validation(message));
    }
    Ok(requested.unwrap_or(DEFAULT.min(longest)))
}

/// Whether the call brought an MFA code, which is used up then.
pub(super) fn take_code(
    directory: &mut Directory,
    call: &Call,
    attempt: Option<usize>,
    now: SystemTime,
) -> Result<bool, AwsError> {
    match (call.parameter("SerialNumber"), attempt) {
        (None, None) => return Ok(false),
        (Some(_), Some(attempt)) => {
            directory
                .devices
                .take(attempt, now)
                .map_err(|refused| match refused {
                    Refused::WrongCode => AwsError::wrong_mfa_code(),
                    Refused::UnknownDevice => AwsError::unknown_mfa_device(),
                })?
        }
        _ => return Err(AwsError::half_an_mfa()),
    }
    Ok(true)
}

/// The elements that every kind of session has.
pub(super) fn write_session(result: &mut String, session: &Session) {
    let expiration = DateTime::from(session.expiration).fmt(Format::DateTime);
    let expiration = expiration.expect("the server's clock shows a year of four digits");
    let token = session
        .credentials
        .session_token()
        .expect("a session is issued with a token");
    if session.principal.kind == Kind::RoleSession {
        nested(result, "AssumedRoleUser", |out| {
            element(out, "AssumedRoleId", &session.principal.user_id);
            element(out, "Arn", &session.principal.arn);
        });
    }
    nested(result, "Credentials", |out| {
        element(out, "AccessKeyId", session.credentials.access_key_id());
        element(
            out,
            "SecretAccessKey",
            session.credentials.secret_access_key(),
        );
        element(out, "SessionToken", token);
        element(out, "Expiration", &expiration);
    });
    element(result, "SessionTokenSize", &token.len().to_string());
}
