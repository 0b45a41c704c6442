//! Where workloads get identity tokens: GitHub Actions, Google Cloud's metadata server, Azure's
//! instance metadata and App Service, over plain HTTP on a free port of 127.0.0.1.
//!
//! Requests are checked as the real ones check them (headers, audience, version, who is asked for)
//! and refused with their status and wording, as far as their documentation and clients show it:
//! actions/toolkit, google-auth, azure-identity. Tokens are JSON web tokens without a signature
//! worth the name; each is made known to the [`EmbeddedAws`], which lets it expire.
//!
//! GitHub's wording of a refusal and App Service's are not documented: status and form are theirs,
//! the sentence is not.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::embedded_aws::EmbeddedAws;
use crate::embedded_aws::server::{Server, State as Aws};

/// What a job of GitHub Actions authenticates with.
pub const GITHUB_TOKEN: &str = "github-runtime-hush";
/// What an App Service authenticates with.
pub const IDENTITY_HEADER: &str = "identity-header-hush";
/// What the plain URL asks for.
pub const API_KEY: &str = "api-key-hush";
/// The mail address of the one service account of Google Cloud, beside `default`.
pub const SERVICE_ACCOUNT: &str = "deploy@example.iam.gserviceaccount.com";
/// The client id of the one managed identity of Azure.
pub const CLIENT_ID: &str = "5c4f0a5e-0000-4000-8000-1f9bb6b6a0c1";

/// The running server; it stops when the handle is dropped.
pub struct IdentityProviders {
    server: Server,
    state: Arc<State>,
}

struct State {
    aws: Arc<Aws>,
    inner: Mutex<Inner>,
}

struct Inner {
    lifetime: Duration,
    /// How far back the expiry of the next tokens is.
    stale: VecDeque<Duration>,
    failures: VecDeque<(u16, String)>,
    hang: bool,
    issued: Vec<String>,
    asked: Vec<String>,
}

impl IdentityProviders {
    /// Starts the server; `aws` takes the tokens.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(aws: &EmbeddedAws) -> Self {
        let state = Arc::new(State {
            aws: Arc::clone(&aws.state),
            inner: Mutex::new(Inner {
                lifetime: Duration::from_secs(600),
                stale: VecDeque::new(),
                failures: VecDeque::new(),
                hang: false,
                issued: Vec::new(),
                asked: Vec::new(),
            }),
        });
        let serving = Arc::clone(&state);
        let server = Server::start("identity-providers", move |listener| {
            accept(listener, serving, answer)
        })
        .expect("a port of 127.0.0.1 can be bound");
        Self { server, state }
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What GitHub Actions puts into `ACTIONS_ID_TOKEN_REQUEST_URL`.
    #[must_use]
    pub fn github_url(&self) -> String {
        format!("{}/abc//idtoken/7/8?api-version=2.0", self.url())
    }

    /// How long the tokens issued from now on live.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.inner().lifetime = lifetime;
    }

    /// Lets the next tokens have expired that long ago, one each.
    pub fn issue_expired(&self, ago: impl IntoIterator<Item = Duration>) {
        self.inner().stale.extend(ago);
    }

    /// Answers the next requests with these statuses and bodies.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = (u16, &'static str)>) {
        let failures = failures
            .into_iter()
            .map(|(status, body)| (status, body.to_owned()));
        self.inner().failures.extend(failures);
    }

    /// Lets every request hang.
    pub fn hang(&self, hang: bool) {
        self.inner().hang = hang;
    }

    /// Every token that was issued.
    #[must_use]
    pub fn issued(&self) -> Vec<String> {
        self.inner().issued.clone()
    }

    /// The path and query of every request, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.inner().asked.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.inner()
    }
}

impl fmt::Debug for IdentityProviders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentityProviders")
            .field(&self.url())
            .finish()
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new token for that audience, known to AWS.
    fn issue(&self, issuer: &str, subject: &str, audience: &str) -> String {
        let mut inner = self.inner();
        let now = self.aws.now();
        let expires = match inner.stale.pop_front() {
            Some(ago) => now - ago,
            None => now + inner.lifetime,
        };
        let seconds = expires
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let claims = serde_json::json!({
            "iss": issuer, "sub": subject, "aud": audience, "exp": seconds, "jti": inner.issued.len(),
        });
        let part = |text: &str| {
            let encoded = aws_smithy_types::base64::encode(text);
            encoded
                .replace('+', "-")
                .replace('/', "_")
                .trim_end_matches('=')
                .to_owned()
        };
        let token = format!(
            "{}.{}.{}",
            part(r#"{"alg":"RS256","typ":"JWT"}"#),
            part(&claims.to_string()),
            part(&format!("signature-hush-{}", inner.issued.len()))
        );
        inner.issued.push(token.clone());
        drop(inner);
        let expires = UNIX_EPOCH + Duration::from_secs(seconds);
        self.aws
            .directory()
            .add_web_identity(&token, subject, Some(expires));
        token
    }
}

/// Serves every connection with `answer`.
pub(crate) async fn accept<S, F>(
    listener: tokio::net::TcpListener,
    state: Arc<S>,
    answer: fn(Arc<S>, Request<Incoming>) -> F,
) where
    S: Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answered = answer(Arc::clone(&state), request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            // Clients that leave are what tests are for.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// A request taken apart.
struct Asked<'a> {
    request: &'a Request<Incoming>,
    query: BTreeMap<String, String>,
}

impl Asked<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    fn query(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (state, request) = (&*state, &request);
    let uri = request.uri();
    let (hang, failure) = {
        let mut inner = state.inner();
        inner.asked.push(uri.to_string());
        (inner.hang, inner.failures.pop_front())
    };
    if hang {
        std::future::pending::<()>().await;
    }
    if let Some((status, body)) = failure {
        return respond(status, "application/json", body);
    }
    let query = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let asked = Asked {
        request,
        query: query.into_owned().collect(),
    };
    let path = uri.path();
    if request.method() != http::Method::GET {
        return respond(405, "text/plain", "Method Not Allowed".into());
    }
    if path.contains("//idtoken/") {
        github(state, &asked)
    } else if let Some(rest) = path.strip_prefix("/computeMetadata/v1/instance/service-accounts/") {
        google(state, &asked, rest)
    } else if path == "/metadata/identity/oauth2/token" {
        azure(state, &asked)
    } else if path == "/msi/token" {
        app_service(state, &asked)
    } else if path == "/token" && asked.header("x-api-key") == Some(API_KEY) {
        let token = state.issue("https://ci.example.com", "job-7", "sts.amazonaws.com");
        match asked.query("as") {
            Some("json") => {
                let body = serde_json::json!({ "data": { "tokens": [{ "a/b": token }] } });
                respond(200, "application/json", body.to_string())
            }
            _ => respond(200, "text/plain", format!("{token}\n")),
        }
    } else {
        let message = serde_json::json!({ "message": "no such page, or not for you" });
        respond(404, "application/json", message.to_string())
    }
}

fn github(state: &State, asked: &Asked<'_>) -> Response<Full<Bytes>> {
    let refused = |status, message: &str| {
        let body = serde_json::json!({
            "$id": "1", "innerException": null, "message": message, "typeKey": "", "errorCode": 0, "eventId": 3000,
        });
        respond(status, "application/json", body.to_string())
    };
    // The scheme is not case-sensitive.
    let bearer = asked
        .header("authorization")
        .and_then(|value| value.split_once(' '));
    let is_job = bearer.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && token == GITHUB_TOKEN
    });
    if !is_job {
        return refused(401, "The user is not authorized to access this resource.");
    }
    if asked.query("api-version") != Some("2.0") {
        return refused(400, "No api-version was supplied for the request.");
    }
    let audience = asked
        .query("audience")
        .unwrap_or("https://github.com/octo-org");
    if audience.chars().any(char::is_whitespace) {
        return refused(
            400,
            &format!("Can't issue ID_TOKEN for audience '{audience}'."),
        );
    }
    let token = state.issue(
        "https://token.actions.githubusercontent.com",
        "repo:octo-org/octo-repo:ref:refs/heads/main",
        audience,
    );
    let body = serde_json::json!({ "count": token.len(), "value": token });
    respond(
        200,
        "application/json; charset=utf-8; api-version=2.0",
        body.to_string(),
    )
}

fn google(state: &State, asked: &Asked<'_>, rest: &str) -> Response<Full<Bytes>> {
    let page = |status, text: &str| respond(status, "text/html; charset=UTF-8", text.into());
    if asked.header("metadata-flavor") != Some("Google") {
        return page(403, "<p><b>403.</b> Missing Metadata-Flavor:Google header.");
    }
    if asked.header("x-forwarded-for").is_some() {
        return page(403, "<p><b>403.</b> Request contains X-Forwarded-For.");
    }
    let rest = percent_encoding::percent_decode_str(rest).decode_utf8_lossy();
    let Some((account @ ("default" | SERVICE_ACCOUNT), "identity")) = rest.split_once('/') else {
        return page(
            404,
            "<p><b>404.</b> The requested URL was not found on this server.",
        );
    };
    let Some(audience) = asked.query("audience") else {
        return page(400, "non-empty audience parameter required");
    };
    let token = state.issue("https://accounts.google.com", account, audience);
    let mut answer = page(200, &token);
    let google = http::HeaderValue::from_static("Google");
    answer.headers_mut().insert("metadata-flavor", google);
    answer
}

fn azure(state: &State, asked: &Asked<'_>) -> Response<Full<Bytes>> {
    if asked.header("metadata") != Some("true") {
        return invalid_request("Required metadata header not specified");
    }
    if asked.query("api-version") != Some("2018-02-01") {
        return respond(
            400,
            "application/json",
            r#"{"error":"Bad request. api-version is invalid or was not specified in the request."}"#.into(),
        );
    }
    managed_identity(state, asked)
}

fn app_service(state: &State, asked: &Asked<'_>) -> Response<Full<Bytes>> {
    if asked.header("x-identity-header") != Some(IDENTITY_HEADER)
        || asked.query("api-version") != Some("2019-08-01")
    {
        let body = r#"{"statusCode":400,"message":"The identity header or the version is wrong."}"#;
        return respond(400, "application/json", body.into());
    }
    managed_identity(state, asked)
}

fn managed_identity(state: &State, asked: &Asked<'_>) -> Response<Full<Bytes>> {
    let Some(resource) = asked.query("resource") else {
        return invalid_request("Required audience parameter not specified");
    };
    if asked.query("client_id").is_some_and(|id| id != CLIENT_ID) {
        return invalid_request("Identity not found");
    }
    if !resource.starts_with("api://") {
        let text = format!(
            "AADSTS500011: The resource principal named {resource} was not found in the tenant."
        );
        let body = serde_json::json!({ "error": "invalid_resource", "error_description": text });
        return respond(400, "application/json", body.to_string());
    }
    let token = state.issue("https://sts.windows.net/tenant/", CLIENT_ID, resource);
    let body = serde_json::json!({
        "access_token": token, "client_id": CLIENT_ID, "expires_in": "600", "expires_on": "0", "resource": resource,
        "token_type": "Bearer",
    });
    respond(200, "application/json; charset=utf-8", body.to_string())
}

fn invalid_request(description: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": "invalid_request", "error_description": description });
    respond(400, "application/json; charset=utf-8", body.to_string())
}

pub(crate) fn respond(status: u16, content_type: &str, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body)));
    response.expect("status and headers are valid")
}
