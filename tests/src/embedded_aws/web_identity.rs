//! AssumeRoleWithWebIdentity: a role for who has a token of an identity provider. Not signed.

use std::time::{SystemTime, UNIX_EPOCH};

use super::call::Call;
use super::directory::Inherited;
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::policy;
use super::server::State;
use super::sts::{ALLOWED_SECONDS, Answer, granted, role, write_session};
use super::validate::{ROLE_SESSION_NAME, WEB_IDENTITY_TOKEN, duration};
use super::xml::element;

pub(super) const ACTION: &str = "AssumeRoleWithWebIdentity";
const PROVIDER: &str = "https://idp.example.com";

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let entry = match enter(state, call, "anonymous").await {
        Gate::Answered(answer) => return answer,
        Gate::Open(entry) => entry,
    };
    let role = role(call)?;
    let session_name = ROLE_SESSION_NAME.required(call)?;
    let token = WEB_IDENTITY_TOKEN.required(call)?;
    let requested = duration(call, &ALLOWED_SECONDS, state.issuing().short_durations)?;
    let packed = policy::check_policies(call)?;
    let now = state.now();

    let mut directory = state.directory();
    let Some(identity) = directory.web_identities.get(token).cloned() else {
        let message = format!("No OpenIDConnect provider found in your account for {PROVIDER}");
        return Err(AwsError::new(400, "InvalidIdentityToken", message));
    };
    if let Some(expired_at) = identity.expired_at.filter(|at| *at <= now) {
        let (now, expired_at) = (seconds(now), seconds(expired_at));
        let message = format!(
            "Token expired: current date/time {now} must be before the expiration date/time {expired_at}"
        );
        return Err(AwsError::new(400, "ExpiredTokenException", message));
    }
    if !directory.may_assume(&role) {
        return Err(AwsError::not_authorized(ACTION));
    }
    let granted = granted(requested, directory.conditions(role.arn).max_duration)?;
    let expiration = state.expiration(now, granted, entry.expired);
    let session = directory.open_session(&role, session_name, expiration, Inherited::default());
    drop(directory);

    let mut result = String::new();
    write_session(&mut result, &session);
    element(
        &mut result,
        "SubjectFromWebIdentityToken",
        &identity.subject,
    );
    element(&mut result, "Audience", "sts.amazonaws.com");
    element(&mut result, "Provider", PROVIDER);
    element(&mut result, "PackedPolicySize", &packed.to_string());
    Ok(Answer::Result(result))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
