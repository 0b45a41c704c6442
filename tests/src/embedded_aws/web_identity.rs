//! AssumeRoleWithWebIdentity: a role for who has a token of an identity provider. Not signed.

use std::time::UNIX_EPOCH;

use super::call::Call;
use super::directory::Role;
use super::error::AwsError;
use super::policy;
use super::server::State;
use super::sts::{
    ALLOWED_SECONDS, Answer, DEFAULT_SECONDS, Gate, check_session_name, enter, requested_duration, required,
    write_session,
};
use super::xml::element;

const PROVIDER: &str = "https://idp.example.com";

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let expired = match enter(state, call, "anonymous").await {
        Gate::Answered(answer) => return answer,
        Gate::Open { expired } => expired,
    };
    let role_arn = required(call, "RoleArn", "roleArn")?;
    let session_name = required(call, "RoleSessionName", "roleSessionName")?;
    let token = required(call, "WebIdentityToken", "webIdentityToken")?;
    check_session_name(session_name)?;
    let requested = requested_duration(call, ALLOWED_SECONDS, DEFAULT_SECONDS, state.issuing().short_durations)?;
    let role = Role::parse(role_arn).ok_or_else(|| AwsError::validation(format!("{role_arn} is invalid")))?;
    let packed = policy::check(call)?;
    let now = state.now();

    let mut directory = state.directory();
    let Some(identity) = directory.web_identities.get(token).cloned() else {
        let message = format!("No OpenIDConnect provider found in your account for {PROVIDER}");
        return Err(AwsError::new(400, "InvalidIdentityToken", message));
    };
    if let Some(expired_at) = identity.expired_at {
        let seconds = |time: std::time::SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let message = format!(
            "Token expired: current date/time {} must be before the expiration date/time {}",
            seconds(now),
            seconds(expired_at)
        );
        return Err(AwsError::new(400, "ExpiredTokenException", message));
    }
    if !directory.may_assume(&role) {
        let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
        return Err(AwsError::new(403, "AccessDenied", message));
    }
    let expiration = state.expiration(now, requested, expired);
    let session = directory.open_session(&role, session_name, expiration, (Vec::new(), None));
    drop(directory);

    let mut result = String::new();
    write_session(&mut result, &session);
    element(&mut result, "SubjectFromWebIdentityToken", &identity.subject);
    element(&mut result, "Audience", "sts.amazonaws.com");
    element(&mut result, "Provider", PROVIDER);
    element(&mut result, "PackedPolicySize", &packed.to_string());
    Ok(Answer::Result(result))
}
