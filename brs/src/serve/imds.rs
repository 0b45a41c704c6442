//! The metadata service: one session, as an EC2 instance has it, for programs that ask nothing else.
//!
//! Version 2 only: a token is asked for with PUT, and every other request shows it. What it knows
//! beside the credentials is what SDKs ask for: region, zone and identity of an instance that does
//! not exist. Whatever else is asked for is 404, on which newer SDKs go on to the older path.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use brs_core::{RefreshableSession, TemporaryCredentials};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::answer::{self, Refusal, Reply};
use super::consumer::Pace;
use super::endpoint::within;
use super::guard::{self, Door, Ends};
use super::kept::Kept;
use super::pattern;
use super::shared::Shared;
use super::tally::Route;
use super::token::{self, Hash, Token};

const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
const LONGEST_TTL: u64 = 21_600;
/// How many tokens live at a time; beyond, the one that ends first goes.
const MOST_TOKENS: usize = 256;

/// The service.
#[derive(Debug)]
pub(super) struct Metadata {
    session: String,
    tokens: Mutex<HashMap<Hash, Duration>>,
    pace: Pace,
}

impl Metadata {
    pub(super) fn new(session: &str) -> Self {
        Self {
            session: session.to_owned(),
            tokens: Mutex::default(),
            pace: Pace::default(),
        }
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(&self, shared: &Shared, parts: &Parts, ends: Ends) -> Reply {
        let began = shared.clock.monotonic();
        let result = self.decide(shared, parts, ends).await;
        let reply = result.unwrap_or_else(Refusal::into_text);
        let code = reply.status().as_u16();
        shared
            .metadata
            .count(Route::Metadata, code, shared.seconds());
        let took = shared.clock.monotonic().saturating_sub(began);
        shared.durations.observe(took.as_secs_f64());
        reply
    }

    async fn decide(&self, shared: &Shared, parts: &Parts, ends: Ends) -> Result<Reply, Refusal> {
        guard::check(parts, ends, Door::Metadata)?;
        let now = shared.clock.monotonic();
        let path = parts.uri.path().trim_end_matches('/');
        if path == "/latest/api/token" {
            return match parts.method {
                Method::PUT => self.give_token(parts, now),
                Method::HEAD => Err(not_found()),
                _ => Err(Refusal::method_not_allowed("PUT")),
            };
        }
        match parts.method {
            Method::GET => {}
            Method::HEAD => return Err(not_found()),
            _ => return Err(Refusal::method_not_allowed("GET")),
        }
        let left = self.token_left(parts, now)?;
        self.pace.pass(now).map_err(|wait| {
            let message =
                "more than 1,000 requests a second: keep the credentials until they expire";
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
                .retry_after(wait)
        })?;
        let offer = shared.offer();
        let kept = offer.sessions.get(&self.session).ok_or_else(|| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "NoSuchSession",
                "the session of the metadata service is gone",
            )
        })?;
        let mut reply = get(shared, kept, path).await?;
        reply.headers_mut().insert(TTL, left.as_secs().into());
        Ok(reply)
    }

    fn give_token(&self, parts: &Parts, now: Duration) -> Result<Reply, Refusal> {
        self.pace.pass(now).map_err(|wait| {
            let message = "more than 1,000 requests a second: keep the token until it ends";
            Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
                .retry_after(wait)
        })?;
        let ttl = parts.headers.get(&TTL).and_then(|ttl| ttl.to_str().ok());
        let is_number = |ttl: &&str| ttl.bytes().all(|byte| byte.is_ascii_digit());
        let ttl: Option<u64> = ttl.filter(is_number).and_then(|ttl| ttl.parse().ok());
        let ttl = ttl
            .filter(|ttl| (1..=LONGEST_TTL).contains(ttl))
            .ok_or_else(|| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "BadRequest",
                    format_args!("`{TTL}` must be 1 to {LONGEST_TTL} seconds"),
                )
            })?;
        let token = Token::random();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, end| now < *end);
        if tokens.len() >= MOST_TOKENS
            && let Some(first) = tokens.iter().min_by_key(|(_, end)| **end)
        {
            let first = *first.0;
            tokens.remove(&first);
        }
        tokens.insert(
            token::hash(token.expose().as_bytes()),
            now + Duration::from_secs(ttl),
        );
        let mut reply = answer::text(StatusCode::OK, token.expose().to_owned());
        reply.headers_mut().insert(TTL, HeaderValue::from(ttl));
        Ok(reply)
    }

    /// How long the request's token is still good.
    fn token_left(&self, parts: &Parts, now: Duration) -> Result<Duration, Refusal> {
        let presented = parts.headers.get(&TOKEN).map(HeaderValue::as_bytes);
        // Its hash tells nothing about a token that is close.
        let hash = token::hash(presented.unwrap_or_default());
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let end = tokens.get(&hash).copied();
        end.and_then(|end| end.checked_sub(now))
            .filter(|left| !left.is_zero())
            .ok_or_else(|| {
                Refusal::new(
                    StatusCode::UNAUTHORIZED,
                    "Unauthorized",
                    "ask for a token first: PUT /latest/api/token",
                )
            })
    }
}

fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "NotFound", "there is nothing here")
}

async fn get(shared: &Shared, kept: &Kept, path: &str) -> Result<Reply, Refusal> {
    let plain = |text: String| Ok(answer::text(StatusCode::OK, text));
    let found = |text: Option<String>| text.map_or_else(|| Err(not_found()), plain);
    const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials";
    const EXTENDED: &str = "/latest/meta-data/iam/security-credentials-extended";
    match path {
        CREDENTIALS | EXTENDED => return plain(role_name(kept).to_owned()),
        "/latest/meta-data/iam/info" => return info(shared, kept).await,
        "/latest/meta-data/placement/region" => return found(region(&kept.session)),
        "/latest/meta-data/placement/availability-zone" => return found(zone(&kept.session)),
        "/latest/meta-data/instance-id" => return plain(instance_id(kept)),
        "/latest/dynamic/instance-identity/document" => return document(kept),
        _ => {}
    }
    let (role, is_extended) = match path.rsplit_once('/') {
        Some((CREDENTIALS, role)) => (role, false),
        Some((EXTENDED, role)) => (role, true),
        _ => return Err(not_found()),
    };
    if role != role_name(kept) {
        return Err(not_found());
    }
    let set = usable(shared, kept).await?;
    let account = is_extended.then(|| account(kept, &set)).flatten();
    let now = shared.clock.now();
    let updated = kept.session.status().last_success().unwrap_or(now);
    Ok(answer::json(answer::metadata(
        &set,
        account.as_deref(),
        updated,
        now,
    )))
}

/// Whatever keeps the set away, an instance's would be away for a moment.
async fn usable(shared: &Shared, kept: &Kept) -> Result<TemporaryCredentials, Refusal> {
    let unavailable = |refusal: Refusal| Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        ..refusal
    };
    match within(shared, &kept.shown(), kept.credentials()).await {
        Ok(Ok(set)) => Ok(set),
        Ok(Err(error)) => Err(unavailable(kept.refusal(&error))),
        Err(refusal) => Err(refusal),
    }
}

/// The name of the role in the credentials' path: the role's own, or the session's.
fn role_name(kept: &Kept) -> &str {
    let role = kept.role_arn.as_deref().and_then(pattern::role_name);
    role.unwrap_or(&kept.name)
}

fn account(kept: &Kept, set: &TemporaryCredentials) -> Option<String> {
    let of_role = || kept.role_arn.as_deref().and_then(pattern::account);
    set.account_id().or_else(of_role).map(str::to_owned)
}

fn region(session: &RefreshableSession) -> Option<String> {
    let region = session.sdk_config().region();
    region.map(|region| region.as_ref().to_owned())
}

fn zone(session: &RefreshableSession) -> Option<String> {
    region(session).map(|region| region + "a")
}

/// The same for a session as long as it has its name.
fn instance_id(kept: &Kept) -> String {
    let hash = token::hash(format!("instance of session {}", kept.name).as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("i-{}", &hex[..17])
}

async fn info(shared: &Shared, kept: &Kept) -> Result<Reply, Refusal> {
    let set = usable(shared, kept).await?;
    let account = account(kept, &set).ok_or_else(not_found)?;
    let role = role_name(kept);
    let hash = token::hash(format!("profile {account} {role}").as_bytes());
    let id: String = hash[..17]
        .iter()
        .map(|byte| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(byte % 32)]))
        .collect();
    let updated = kept.session.status().last_success();
    let body = serde_json::json!({
        "Code": "Success",
        "LastUpdated": answer::to_seconds(updated.unwrap_or_else(|| shared.clock.now())),
        "InstanceProfileArn": format!("arn:aws:iam::{account}:instance-profile/{role}"),
        "InstanceProfileId": format!("AIPA{id}"),
    });
    Ok(answer::json(body.to_string()))
}

fn document(kept: &Kept) -> Result<Reply, Refusal> {
    let region = region(&kept.session).ok_or_else(not_found)?;
    let account = kept.role_arn.as_deref().and_then(pattern::account);
    let body = serde_json::json!({
        "accountId": account,
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" },
        "availabilityZone": format!("{region}a"),
        "billingProducts": null,
        "devpayProductCodes": null,
        "marketplaceProductCodes": null,
        "imageId": null,
        "instanceId": instance_id(kept),
        "instanceType": null,
        "kernelId": null,
        "pendingTime": null,
        "privateIp": "127.0.0.1",
        "ramdiskId": null,
        "region": region,
        "version": "2017-09-30",
    });
    Ok(answer::json(body.to_string()))
}
