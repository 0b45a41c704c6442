//! AWS Sign-In's token service, as `aws login` leaves logins for it: CreateOAuth2Token with a
//! refresh token that is used up, and a proof of the key it belongs to (DPoP, RFC 9449).
//!
//! The proof is verified: algorithm, key, signature, method and URL. Refusals carry the codes of the
//! service's API model.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use aws_smithy_types::date_time::Format;
use aws_smithy_types::{DateTime, base64};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::embedded_aws::EmbeddedAws;
use crate::embedded_aws::directory::{Inherited, Role};
use crate::embedded_aws::server::{Server, State as Aws, WAIT_LIMIT};
use crate::identity_providers::{accept, respond};

const CLIENT_ID: &str = "arn:aws:signin:::devtools/same-device";
const ROLE: &str = "arn:aws:iam::123456789012:role/console";

/// The running service; it stops when the handle is dropped.
pub struct SignIn {
    server: Server,
    state: Arc<State>,
}

struct State {
    aws: Arc<Aws>,
    latency: Duration,
    inner: Mutex<Inner>,
    /// How many renewals have arrived, answered or not.
    arrived: watch::Sender<usize>,
    /// Whether what is held may go on.
    released: watch::Sender<bool>,
}

#[derive(Default)]
struct Inner {
    /// The one refresh token that is good, and the key that goes with it.
    login: Option<(String, Vec<u8>)>,
    calls: usize,
    refused: usize,
    /// Whether the next answer is kept.
    hold: bool,
    fail: bool,
    /// Status, code and error of the next refusal.
    refusal: Option<(u16, &'static str, &'static str)>,
}

impl SignIn {
    /// Starts the service; each of its answers takes `latency`, in real time.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(aws: &EmbeddedAws, latency: Duration) -> Self {
        let state = Arc::new(State {
            aws: Arc::clone(&aws.state),
            latency,
            inner: Mutex::default(),
            arrived: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        let serving = Arc::clone(&state);
        let server = Server::start("sign-in", move |listener| accept(listener, serving, answer))
            .expect("a port of 127.0.0.1 can be bound");
        Self { server, state }
    }

    /// For `AWS_ENDPOINT_URL_SIGNIN`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Logs somebody in: writes what `aws login` leaves in the cache's folder for that session, with
    /// credentials that end after `lifetime`.
    ///
    /// # Panics
    ///
    /// If the folder cannot be written.
    pub fn log_in(&self, cache: &Path, session_arn: &str, lifetime: Duration) {
        let key = PrivateKey::generate(&ECDH_P256).expect("a key can be made");
        let der: EcPrivateKeyRfc5915Der<'_> = key.as_der().expect("it has that form");
        let lines: Vec<String> = base64::encode(der.as_ref())
            .as_bytes()
            .chunks(64)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        let pem = format!(
            "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n",
            lines.join("\n")
        );
        let public = key.compute_public_key().expect("it has one");
        let refresh_token = "refresh-hush-0".to_owned();
        let (mut access_token, _) = self.state.access_token();
        access_token["accountId"] = EmbeddedAws::ACCOUNT_ID.into();
        access_token["expiresAt"] = iso8601(self.state.aws.now() + lifetime).into();
        let login = json!({
            "accessToken": access_token, "tokenType": "aws_sigv4", "refreshToken": refresh_token,
            "idToken": "eyJ.id.hush", "clientId": CLIENT_ID, "dpopKey": pem,
        });
        self.state.inner().login = Some((refresh_token, public.as_ref().to_vec()));
        std::fs::create_dir_all(cache).expect("the folder can be made");
        let path = Self::cache_file(cache, session_arn);
        std::fs::write(path, login.to_string()).expect("the login can be written");
    }

    /// Where the login of that session is kept.
    #[must_use]
    pub fn cache_file(cache: &Path, session_arn: &str) -> PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, session_arn.as_bytes());
        let name: String = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        cache.join(format!("{name}.json"))
    }

    /// Ends the login: no refresh token is good any more.
    pub fn log_out(&self) {
        self.state.inner().login = None;
    }

    /// Keeps the answer to the next renewal, and to no other, until [`release`](Self::release).
    pub fn hold_next(&self) {
        self.state.released.send_replace(false);
        self.state.inner().hold = true;
    }

    /// Gives the answer that was kept.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Refuses the next renewal with this status, code and error of the service's API model.
    pub fn refuse_next(&self, status: u16, code: &'static str, error: &'static str) {
        self.state.inner().refusal = Some((status, code, error));
    }

    /// Answers every renewal with 503, or no longer.
    pub fn fail(&self, fail: bool) {
        self.state.inner().fail = fail;
    }

    /// Waits until at least `count` renewals have arrived, answered or not.
    ///
    /// # Panics
    ///
    /// If they have not arrived within 30 s.
    ///
    /// # Cancel safety
    ///
    /// Leaving early changes nothing.
    pub async fn wait_for_calls(&self, count: usize) {
        let arrived = self.state.arrived.subscribe();
        let enough = move |arrived: &usize| *arrived >= count;
        if !self.server.wait_until(arrived, enough).await {
            panic!("{count} renewals did not arrive in {WAIT_LIMIT:?}");
        }
    }

    /// How many renewals were asked for, and how many of them were refused.
    #[must_use]
    pub fn calls(&self) -> (usize, usize) {
        let inner = self.state.inner();
        (inner.calls, inner.refused)
    }
}

impl fmt::Debug for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignIn").field(&self.url()).finish()
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn access_token(&self) -> (Value, SystemTime) {
        let role = Role::parse(ROLE).expect("it is a role's ARN");
        let expiration = self.aws.now() + Duration::from_secs(900);
        let mut directory = self.aws.directory();
        let session = directory.open_session(&role, "console", expiration, Inherited::default());
        drop(directory);
        let keys = session.credentials;
        let token = json!({
            "accessKeyId": keys.access_key_id(), "secretAccessKey": keys.secret_access_key(),
            "sessionToken": keys.session_token(),
        });
        (token, session.expiration)
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let proof = parts
        .headers
        .get("dpop")
        .and_then(|proof| proof.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    state.arrived.send_modify(|arrived| *arrived += 1);
    let (held, fails) = {
        let mut inner = state.inner();
        (std::mem::take(&mut inner.hold), inner.fail)
    };
    if held {
        let _ = state
            .released
            .subscribe()
            .wait_for(|released| *released)
            .await;
    }
    if fails {
        return respond(503, "text/plain", String::new());
    }
    tokio::time::sleep(state.latency).await;
    let mut inner = state.inner();
    inner.calls += 1;
    let refused_with = |inner: &mut Inner, status, code: &str, error: &str, message: &str| {
        inner.refused += 1;
        let body = json!({ "error": error, "message": message });
        let mut answer = respond(status, "application/json", body.to_string());
        let code = http::HeaderValue::from_str(code).expect("a code is one");
        answer.headers_mut().insert("x-amzn-errortype", code);
        answer
    };
    if let Some((status, code, error)) = inner.refusal.take() {
        return refused_with(&mut inner, status, code, error, "The request was refused.");
    }
    let refused = |inner: &mut Inner, code: &str, error: &str, message: &str| {
        refused_with(inner, 400, code, error, message)
    };
    let is_request = parts.method == http::Method::POST
        && parts.uri.path() == "/v1/token"
        && asked["grantType"] == "refresh_token"
        && asked["clientId"] == CLIENT_ID;
    if !is_request {
        let message = "The request is missing a required parameter.";
        return refused(
            &mut inner,
            "ValidationException",
            "INVALID_REQUEST",
            message,
        );
    }
    let login = inner.login.clone();
    let Some((_, key)) = login.filter(|(token, _)| asked["refreshToken"] == **token) else {
        let message = "The refresh token has expired.";
        return refused(
            &mut inner,
            "AccessDeniedException",
            "TOKEN_EXPIRED",
            message,
        );
    };
    if !proves(&proof, &key) {
        let message = "The proof of possession is not valid.";
        return refused(
            &mut inner,
            "ValidationException",
            "INVALID_REQUEST",
            message,
        );
    }
    let next = format!("refresh-hush-{}", inner.calls);
    inner.login = Some((next.clone(), key));
    drop(inner);
    let (access_token, _) = state.access_token();
    let body = json!({
        "accessToken": access_token, "tokenType": "aws_sigv4", "expiresIn": 900, "refreshToken": next,
    });
    respond(200, "application/json", body.to_string())
}

fn iso8601(at: SystemTime) -> String {
    let at = DateTime::from_secs(DateTime::from(at).secs()).fmt(Format::DateTime);
    at.expect("the server's clock shows a year of four digits")
}

/// Whether a proof is made with that key, for this service.
fn proves(proof: &str, key: &[u8]) -> bool {
    let decoded = |part: &str| {
        let padding = "=".repeat((4 - part.len() % 4) % 4);
        base64::decode(part.replace('-', "+").replace('_', "/") + &padding).ok()
    };
    let object = |part: &str| serde_json::from_slice::<Value>(&decoded(part)?).ok();
    let mut parts = proof.rsplitn(2, '.');
    let (Some(signature), Some(message)) = (parts.next().and_then(decoded), parts.next()) else {
        return false;
    };
    let Some((header, payload)) = message.split_once('.') else {
        return false;
    };
    let (Some(header), Some(payload)) = (object(header), object(payload)) else {
        return false;
    };
    let coordinate = |name: &str| header["jwk"][name].as_str().and_then(decoded);
    let (Some(x), Some(y)) = (coordinate("x"), coordinate("y")) else {
        return false;
    };
    let is_ours = header["typ"] == "dpop+jwt"
        && header["alg"] == "ES256"
        && [&[4], &x[..], &y[..]].concat() == key
        && payload["htm"] == "POST"
        && payload["htu"]
            .as_str()
            .is_some_and(|url| url.ends_with("/v1/token"));
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    is_ours && public.verify(message.as_bytes(), &signature).is_ok()
}
