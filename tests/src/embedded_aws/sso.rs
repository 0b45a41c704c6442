//! The portal of IAM Identity Center: role credentials for who has logged in. JSON, not signed, a bearer token.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::call::Call;
use super::directory::{Inherited, Role};
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::server::State;
use super::sts::Answer;

/// The path of GetRoleCredentials, and what the log calls it.
pub(super) const PATH: &str = "/federation/credentials";
pub(super) const ACTION: &str = "GetRoleCredentials";
const ACCESS_TOKEN: &str = "x-amz-sso_bearer_token";

/// A permission set's session duration, unless its administrator chose another.
const LIFETIME: Duration = Duration::from_secs(3600);

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let entry = match enter(state, call, "anonymous").await {
        Gate::Answered(answer) => return answer,
        Gate::Open(entry) => entry,
    };
    let now = state.now();
    let mut directory = state.directory();
    if !call.header(ACCESS_TOKEN).is_some_and(|token| directory.sso_logins.contains(token)) {
        return Err(AwsError::new(401, "UnauthorizedException", "Session token not found or invalid"));
    }
    let (Some(name), Some(account)) = (call.parameter("role_name"), call.parameter("account_id")) else {
        return Err(AwsError::new(400, "InvalidRequestException", "role_name and account_id are required"));
    };
    let arn = format!("arn:aws:iam::{account}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_{name}");
    let role = Role::parse(&arn).filter(|role| directory.may_assume(role)).ok_or_else(AwsError::no_access)?;
    let expiration = state.expiration(now, LIFETIME, entry.expired);
    let session = directory.open_session(&role, "brs", expiration, Inherited::default());
    drop(directory);

    let since = session.expiration.duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = json!({ "roleCredentials": {
        "accessKeyId": session.credentials.access_key_id(),
        "secretAccessKey": session.credentials.secret_access_key(),
        "sessionToken": session.credentials.session_token(),
        "expiration": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    } });
    Ok(Answer::Json(body.to_string()))
}
