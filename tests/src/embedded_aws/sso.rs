//! The portal of IAM Identity Center: role credentials for who has logged in. JSON, not signed, a bearer token.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::json;

use super::call::Call;
use super::directory::{ACCOUNT, Role};
use super::error::AwsError;
use super::server::State;
use super::sts::{Answer, DEFAULT_SECONDS, Gate, enter};

/// The path of GetRoleCredentials, and what the log calls it.
pub(super) const PATH: &str = "/federation/credentials";
pub(super) const ACTION: &str = "GetRoleCredentials";
const TOKEN: &str = "x-amz-sso_bearer_token";

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let expired = match enter(state, call, "anonymous").await {
        Gate::Answered(answer) => return answer,
        Gate::Open { expired } => expired,
    };
    let refused = |status: u16, code: &'static str, message: &str| {
        Ok(Answer::Json(status, Some(code), Bytes::from(json!({ "message": message }).to_string())))
    };
    let token = call.header(TOKEN).unwrap_or_default();
    let mut directory = state.directory();
    if !directory.sso_logins.contains(token) {
        return refused(401, "UnauthorizedException", "Session token not found or invalid");
    }
    let (Some(name), Some(account)) = (call.parameter("role_name"), call.parameter("account_id")) else {
        return refused(400, "InvalidRequestException", "role_name and account_id are required");
    };
    let arn = format!("arn:aws:iam::{account}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_{name}");
    let Some(role) = Role::parse(&arn).filter(|_| account == ACCOUNT) else {
        return refused(403, "ForbiddenException", "No access");
    };
    let now = state.now();
    let expiration = state.expiration(now, Duration::from_secs(DEFAULT_SECONDS), expired);
    let session = directory.open_session(&role, "brs", expiration, (Vec::new(), None));
    drop(directory);
    let since = session.expiration.duration_since(UNIX_EPOCH).unwrap_or_default();
    let body = json!({ "roleCredentials": {
        "accessKeyId": session.credentials.access_key_id(),
        "secretAccessKey": session.credentials.secret_access_key(),
        "sessionToken": session.credentials.session_token(),
        "expiration": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    } });
    Ok(Answer::Json(200, None, Bytes::from(body.to_string())))
}
