//! Logins by device authorization (RFC 8628): a client registers, gets a code for a person, and asks
//! until the person has entered it.
//!
//! The codes of refusals, their status and their form are those of the service's API model. Codes
//! are good for ten minutes by the server's clock; whoever asks again before the interval is over is
//! told to slow down, and has to wait five seconds more from then on.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::{Asked, LOGIN_SECONDS, invalid};
use crate::embedded_aws::call::Call;
use crate::embedded_aws::error::AwsError;
use crate::embedded_aws::gate::{Gate, enter};
use crate::embedded_aws::server::State;
use crate::embedded_aws::sts::Answer;

pub(in crate::embedded_aws) const REGISTER_PATH: &str = "/client/register";
pub(in crate::embedded_aws) const REGISTER_ACTION: &str = "RegisterClient";
pub(in crate::embedded_aws) const START_PATH: &str = "/device_authorization";
pub(in crate::embedded_aws) const START_ACTION: &str = "StartDeviceAuthorization";
pub(super) const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// How long a registration lasts, and a code.
const REGISTRATION: Duration = Duration::from_secs(90 * 24 * 3600);
const CODE: Duration = Duration::from_secs(600);
const INTERVAL: Duration = Duration::from_secs(1);
const SLOWED: Duration = Duration::from_secs(5);

/// What the token service knows of clients and codes.
#[derive(Default)]
pub(in crate::embedded_aws) struct Devices {
    /// Secrets and scopes by client ids.
    clients: HashMap<String, (String, Vec<String>)>,
    /// By device codes.
    codes: HashMap<String, Code>,
    /// How many there were.
    made: usize,
    /// What a person decides about the next codes before they are made.
    pub(in crate::embedded_aws) decision: Option<Decision>,
}

struct Code {
    client_id: String,
    user_code: String,
    expires_at: SystemTime,
    interval: Duration,
    asked_at: Option<SystemTime>,
    decision: Option<Decision>,
}

/// What a person did on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Entered the code, and allowed it.
    Allowed,
    /// Entered the code, and refused.
    Refused,
    /// Let the code expire.
    Ignored,
}

impl Devices {
    /// A person decides about a code.
    pub(in crate::embedded_aws) fn decide(&mut self, user_code: &str, decision: Decision) {
        let code = self
            .codes
            .values_mut()
            .find(|code| code.user_code == user_code)
            .expect("the service has given that code");
        code.decision = Some(decision);
    }

    fn check(&self, asked: &Asked) -> Result<String, AwsError> {
        let id = asked.text("clientId").unwrap_or_default();
        let known = self.clients.get(id).map(|(secret, _)| secret.as_str());
        if known.is_none() || known != asked.text("clientSecret") {
            return Err(AwsError::new(
                401,
                "InvalidClientException",
                "Invalid client provided",
            ));
        }
        Ok(id.to_owned())
    }
}

pub(super) async fn register(state: &State, call: &Call) -> Result<Answer, AwsError> {
    if let Gate::Answered(answer) = enter(state, call, "anonymous").await {
        return answer;
    }
    let asked = Asked::of(call)?;
    if asked.text("clientName").is_none() || asked.text("clientType") != Some("public") {
        return Err(AwsError::new(
            400,
            "InvalidClientMetadataException",
            "clientName and the clientType public are required",
        ));
    }
    let scopes: Vec<String> = asked.0["scopes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|scope| scope.as_str().map(str::to_owned))
        .collect();
    if scopes.iter().any(|scope| !scope.contains(':')) {
        return Err(AwsError::new(400, "InvalidScopeException", "Invalid scope"));
    }
    let now = state.now();
    let mut directory = state.directory();
    let devices = &mut directory.sso_devices;
    let id = format!("client-{}", devices.clients.len());
    let secret = format!("hush-client-secret-{}", devices.clients.len());
    devices.clients.insert(id.clone(), (secret.clone(), scopes));
    let seconds = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let body = json!({
        "clientId": id, "clientSecret": secret,
        "clientIdIssuedAt": seconds(now), "clientSecretExpiresAt": seconds(now + REGISTRATION),
    });
    Ok(Answer::Json(body.to_string()))
}

pub(super) async fn start(state: &State, call: &Call) -> Result<Answer, AwsError> {
    if let Gate::Answered(answer) = enter(state, call, "anonymous").await {
        return answer;
    }
    let asked = Asked::of(call)?;
    let now = state.now();
    let mut directory = state.directory();
    let devices = &mut directory.sso_devices;
    let client_id = devices.check(&asked)?;
    let Some(start_url) = asked
        .text("startUrl")
        .filter(|url| url.starts_with("https://") && url.contains(".awsapps.com/start"))
    else {
        return Err(invalid("Invalid startUrl provided"));
    };
    let number = devices.made;
    devices.made += 1;
    let (device_code, user_code) = (format!("hush-device-{number}"), format!("BRSX-{number:04}"));
    let page = start_url.replace("/start", "/start/#/device");
    let code = Code {
        client_id,
        user_code: user_code.clone(),
        expires_at: now + CODE,
        interval: INTERVAL,
        asked_at: None,
        decision: devices.decision,
    };
    devices.codes.insert(device_code.clone(), code);
    let body = json!({
        "deviceCode": device_code, "userCode": user_code, "verificationUri": page,
        "verificationUriComplete": format!("{page}?user_code={user_code}"),
        "expiresIn": CODE.as_secs(), "interval": INTERVAL.as_secs(),
    });
    Ok(Answer::Json(body.to_string()))
}

pub(super) fn token(state: &State, asked: &Asked) -> Result<Answer, AwsError> {
    let now = state.now();
    let mut directory = state.directory();
    let devices = &mut directory.sso_devices;
    let client_id = devices.check(asked)?;
    let refused = |code, message: &str| Err(AwsError::new(400, code, message));
    let name = asked.text("deviceCode").unwrap_or_default().to_owned();
    let Some(code) = devices
        .codes
        .get_mut(&name)
        .filter(|code| code.client_id == client_id)
    else {
        return refused("InvalidGrantException", "Invalid device code provided");
    };
    if code.decision == Some(Decision::Ignored) || now >= code.expires_at {
        return refused("ExpiredTokenException", "Device code is expired");
    }
    let earlier = code.asked_at.replace(now);
    // A client's pause ends a little before the service's, by the way of its requests.
    let slack = Duration::from_millis(50);
    if earlier.is_some_and(|at| now.duration_since(at).unwrap_or_default() + slack < code.interval)
    {
        code.interval += SLOWED;
        return refused("SlowDownException", "Client is polling too often");
    }
    match code.decision {
        None | Some(Decision::Ignored) => {
            return refused("AuthorizationPendingException", "Authorization is pending");
        }
        Some(Decision::Refused) => {
            return refused("AccessDeniedException", "The person refused");
        }
        Some(Decision::Allowed) => {}
    }
    devices.codes.remove(&name);
    let scopes = devices.clients.get(&client_id).map(|(_, scopes)| scopes);
    let is_renewed = scopes.is_some_and(|scopes| !scopes.is_empty());
    let (access_token, refresh_token) = (
        format!("hush-access-{name}"),
        format!("hush-refresh-{name}"),
    );
    directory.sso_logins.insert(access_token.clone());
    let mut body = json!({
        "accessToken": access_token, "expiresIn": LOGIN_SECONDS, "tokenType": "Bearer",
    });
    // Only a client with scopes gets one.
    if is_renewed {
        let next = format!("{access_token}+");
        directory.sso_renewals.insert(refresh_token.clone(), next);
        body["refreshToken"] = refresh_token.into();
    }
    Ok(Answer::Json(body.to_string()))
}
