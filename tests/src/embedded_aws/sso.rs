//! IAM Identity Center: its portal has role credentials for who has logged in, its token service
//! renews logins. Both speak JSON and are not signed; the portal takes a bearer token, the token
//! service a refresh token, which is used up. `device` makes logins by device authorization.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::call::Call;
use super::directory::{Inherited, Role};
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::server::State;
use super::sts::Answer;

pub(super) mod device;

/// The path of GetRoleCredentials, and what the log calls it.
pub(super) const PATH: &str = "/federation/credentials";
pub(super) const ACTION: &str = "GetRoleCredentials";
/// The path of CreateToken, and what the log calls it.
pub(super) const TOKEN_PATH: &str = "/token";
pub(super) const TOKEN_ACTION: &str = "CreateToken";
const ACCESS_TOKEN: &str = "x-amz-sso_bearer_token";

/// A permission set's session duration, unless its administrator chose another.
const LIFETIME: Duration = Duration::from_secs(3600);

/// How long a renewed login lasts, in seconds.
const LOGIN_SECONDS: u64 = 8 * 3600;

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    match call.action() {
        device::REGISTER_ACTION => return device::register(state, call).await,
        device::START_ACTION => return device::start(state, call).await,
        TOKEN_ACTION => return create_token(state, call).await,
        _ => {}
    }
    let entry = match enter(state, call, "anonymous").await {
        Gate::Answered(answer) => return answer,
        Gate::Open(entry) => entry,
    };
    let now = state.now();
    let mut directory = state.directory();
    if !call
        .header(ACCESS_TOKEN)
        .is_some_and(|token| directory.sso_logins.contains(token))
    {
        return Err(AwsError::new(
            401,
            "UnauthorizedException",
            "Session token not found or invalid",
        ));
    }
    let (Some(name), Some(account)) = (call.parameter("role_name"), call.parameter("account_id"))
    else {
        return Err(AwsError::new(
            400,
            "InvalidRequestException",
            "role_name and account_id are required",
        ));
    };
    let arn =
        format!("arn:aws:iam::{account}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_{name}");
    let role = Role::parse(&arn)
        .filter(|role| directory.may_assume(role))
        .ok_or_else(AwsError::no_access)?;
    let expiration = state.expiration(now, LIFETIME, entry.expired);
    let session = directory.open_session(&role, "brs", expiration, Inherited::default());
    drop(directory);

    let since = session
        .expiration
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let body = json!({ "roleCredentials": {
        "accessKeyId": session.credentials.access_key_id(),
        "secretAccessKey": session.credentials.secret_access_key(),
        "sessionToken": session.credentials.session_token(),
        "expiration": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
    } });
    Ok(Answer::Json(body.to_string()))
}

/// The action of a path; `None` for a path of others.
pub(super) fn action(path: &str) -> Option<&'static str> {
    Some(match path {
        PATH => ACTION,
        TOKEN_PATH => TOKEN_ACTION,
        device::REGISTER_PATH => device::REGISTER_ACTION,
        device::START_PATH => device::START_ACTION,
        _ => return None,
    })
}

/// The fields of a request in JSON.
struct Asked(serde_json::Value);

impl Asked {
    fn of(call: &Call) -> Result<Self, AwsError> {
        let asked = serde_json::from_slice(&call.body);
        asked.map(Self).map_err(|_| invalid("not JSON"))
    }

    /// A field that is a text and not empty.
    fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).and_then(serde_json::Value::as_str);
        value.filter(|text| !text.is_empty())
    }
}

fn invalid(problem: &str) -> AwsError {
    AwsError::new(400, "InvalidRequestException", problem)
}

async fn create_token(state: &State, call: &Call) -> Result<Answer, AwsError> {
    if let Gate::Answered(answer) = enter(state, call, "anonymous").await {
        return answer;
    }
    let asked = Asked::of(call)?;
    let (Some(grant), Some(_), Some(_)) = (
        asked.text("grantType"),
        asked.text("clientId"),
        asked.text("clientSecret"),
    ) else {
        return Err(invalid("grantType, clientId and clientSecret are required"));
    };
    match grant {
        "refresh_token" => renew(state, &asked),
        device::GRANT => device::token(state, &asked),
        _ => Err(AwsError::new(
            400,
            "UnsupportedGrantTypeException",
            "Grant type is not supported",
        )),
    }
}

fn renew(state: &State, asked: &Asked) -> Result<Answer, AwsError> {
    let mut directory = state.directory();
    let (refresh_token, access_token) = asked
        .text("refreshToken")
        .and_then(|token| directory.sso_renewals.remove_entry(token))
        .ok_or_else(|| {
            AwsError::new(
                400,
                "InvalidGrantException",
                "Invalid refresh token provided",
            )
        })?;
    let next = format!("{refresh_token}+");
    directory.sso_logins.insert(access_token.clone());
    directory
        .sso_renewals
        .insert(next.clone(), format!("{access_token}+"));
    let body = json!({
        "accessToken": access_token, "expiresIn": LOGIN_SECONDS, "refreshToken": next, "tokenType": "Bearer",
    });
    Ok(Answer::Json(body.to_string()))
}
