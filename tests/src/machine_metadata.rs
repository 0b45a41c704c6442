//! Where machines get their credentials: EC2's metadata service (version 2), the ECS agent's
//! credentials endpoint and the EKS Pod Identity agent's, over plain HTTP on a free port of
//! 127.0.0.1.
//!
//! Requests are checked and refused as the real ones do it: by EC2's documentation, and by the
//! sources of amazon-ecs-agent (`credentials_handler.go`) and eks-pod-identity-agent
//! (`validation`). The credentials are sessions of the [`EmbeddedAws`].

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::embedded_aws::EmbeddedAws;
use crate::embedded_aws::directory::{Inherited, Role, random};
use crate::embedded_aws::server::{Server, State as Aws};
use crate::identity_providers::{accept, respond};

/// The name of the instance's role.
pub const ROLE_NAME: &str = "web-server";
/// The id of the one task of ECS that is known at first.
pub const TASK: &str = "0c1a4b7e-task";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// The running server; it stops when the handle is dropped.
pub struct MachineMetadata {
    server: Server,
    state: Arc<State>,
}

struct State {
    aws: Arc<Aws>,
    inner: Mutex<Inner>,
}

struct Inner {
    lifetime: Duration,
    role: Option<String>,
    /// Instead of credentials.
    code: Option<(&'static str, &'static str)>,
    enabled: bool,
    /// Session tokens of the metadata service, and when each ends.
    sessions: HashMap<String, SystemTime>,
    /// The token of the pod's service account.
    pod_token: String,
    failures: VecDeque<u16>,
    hang: bool,
    asked: Vec<String>,
}

impl MachineMetadata {
    /// Starts the server with one role, one task and one pod.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(aws: &EmbeddedAws) -> Self {
        let state = Arc::new(State {
            aws: Arc::clone(&aws.state),
            inner: Mutex::new(Inner {
                lifetime: Duration::from_secs(6 * 3600),
                role: Some(ROLE_NAME.into()),
                code: None,
                enabled: true,
                sessions: HashMap::new(),
                pod_token: "pod-token-hush".into(),
                failures: VecDeque::new(),
                hang: false,
                asked: Vec::new(),
            }),
        });
        let serving = Arc::clone(&state);
        let server = Server::start("machine-metadata", move |listener| {
            accept(listener, serving, answer)
        })
        .expect("a port of 127.0.0.1 can be bound");
        Self { server, state }
    }

    /// `http://127.0.0.1:port`: where the metadata service is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The full URI of the ECS task's credentials.
    #[must_use]
    pub fn task_url(&self) -> String {
        format!("{}/v2/credentials/{TASK}", self.url())
    }

    /// The full URI of the pod's credentials.
    #[must_use]
    pub fn pod_url(&self) -> String {
        format!("{}/v1/credentials", self.url())
    }

    /// How long the credentials given out from now on live; zero for expired ones.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.inner().lifetime = lifetime;
    }

    /// Attaches another role to the instance, or none.
    pub fn set_role(&self, role: Option<&str>) {
        self.inner().role = role.map(str::to_owned);
    }

    /// Answers with this code and message instead of credentials.
    pub fn set_code(&self, code: Option<(&'static str, &'static str)>) {
        self.inner().code = code;
    }

    /// Switches the metadata service off, as `--http-endpoint disabled` does.
    pub fn set_enabled(&self, enabled: bool) {
        self.inner().enabled = enabled;
    }

    /// Ends every session token of the metadata service.
    pub fn end_sessions(&self) {
        self.inner().sessions.clear();
    }

    /// What the pod's service account token is from now on.
    pub fn set_pod_token(&self, token: &str) {
        self.inner().pod_token = token.to_owned();
    }

    /// Answers the next requests with these statuses.
    pub fn fail_next(&self, statuses: impl IntoIterator<Item = u16>) {
        self.inner().failures.extend(statuses);
    }

    /// Ends what [`fail_next`](Self::fail_next) has planned.
    pub fn recover(&self) {
        self.inner().failures.clear();
    }

    /// Lets every request hang.
    pub fn hang(&self, hang: bool) {
        self.inner().hang = hang;
    }

    /// Every session token of the metadata service that is good.
    #[must_use]
    pub fn session_tokens(&self) -> Vec<String> {
        self.inner().sessions.keys().cloned().collect()
    }

    /// Method and path of every request, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.inner().asked.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.state.inner()
    }
}

impl fmt::Debug for MachineMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MachineMetadata").field(&self.url()).finish()
    }
}

impl State {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys of a new session of that role, as members of a JSON object.
    fn keys(&self, name: &str, session_name: &str) -> serde_json::Map<String, serde_json::Value> {
        let arn = format!("arn:aws:iam::{}:role/{name}", EmbeddedAws::ACCOUNT_ID);
        let role = Role::parse(&arn).expect("the name is a role's");
        let expiration = self.aws.now() + self.inner().lifetime;
        let mut directory = self.aws.directory();
        let session = directory.open_session(&role, session_name, expiration, Inherited::default());
        drop(directory);
        let keys = session.credentials;
        let text = |at: SystemTime| {
            let at = DateTime::from_secs(DateTime::from(at).secs()).fmt(Format::DateTime);
            at.expect("the server's clock shows a year of four digits")
        };
        let body = serde_json::json!({
            "AccessKeyId": keys.access_key_id(), "SecretAccessKey": keys.secret_access_key(),
            "Token": keys.session_token(), "Expiration": text(session.expiration),
        });
        match body {
            serde_json::Value::Object(members) => members,
            _ => unreachable!("an object was written"),
        }
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let (hang, failure) = {
        let mut inner = state.inner();
        inner.asked.push(format!("{} {path}", request.method()));
        (inner.hang, inner.failures.pop_front())
    };
    if hang {
        std::future::pending::<()>().await;
    }
    if let Some(status) = failure {
        return respond(status, "text/plain", String::new());
    }
    if let Some(rest) = path.strip_prefix("/latest/") {
        instance(&state, &request, rest)
    } else if let Some(id) = path.strip_prefix("/v2/credentials/") {
        task(&state, id)
    } else if path == "/v1/credentials" {
        pod(&state, &request)
    } else {
        respond(404, "text/plain", "404 page not found\n".into())
    }
}

fn header<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// The service's pages of refusal.
fn page(status: u16, title: &str) -> Response<Full<Bytes>> {
    let page = format!(
        "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n<html><head><title>{status} - {title}</title></head><body>\
         <h1>{status} - {title}</h1></body></html>\n"
    );
    respond(status, "text/html", page)
}

fn instance(state: &State, request: &Request<Incoming>, path: &str) -> Response<Full<Bytes>> {
    let now = state.aws.now();
    if !state.inner().enabled {
        return page(403, "Forbidden");
    }
    if path == "api/token" {
        let ttl = header(request, TTL_HEADER).and_then(|ttl| ttl.parse::<u64>().ok());
        return match ttl {
            _ if request.method() != Method::PUT => page(405, "Method Not Allowed"),
            _ if header(request, "x-forwarded-for").is_some() => page(403, "Forbidden"),
            Some(ttl @ 1..=21_600) => {
                let token = random(
                    56,
                    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_",
                );
                let ends = now + Duration::from_secs(ttl);
                state.inner().sessions.insert(token.clone(), ends);
                let mut answer = respond(200, "text/plain", token);
                answer.headers_mut().insert(TTL_HEADER, ttl.into());
                answer
            }
            _ => page(400, "Bad Request"),
        };
    }
    if request.method() != Method::GET {
        return page(405, "Method Not Allowed");
    }
    let token = header(request, TOKEN_HEADER).unwrap_or_default();
    let is_known = state
        .inner()
        .sessions
        .get(token)
        .is_some_and(|ends| now < *ends);
    if !is_known {
        return page(401, "Unauthorized");
    }
    let (role, code) = {
        let inner = state.inner();
        (inner.role.clone(), inner.code)
    };
    let (Some(rest), Some(role)) = (
        path.strip_prefix("meta-data/iam/security-credentials/"),
        role,
    ) else {
        return page(404, "Not Found");
    };
    if rest.is_empty() {
        return respond(200, "text/plain", role);
    }
    if rest != role {
        return page(404, "Not Found");
    }
    let body = match code {
        Some((code, message)) => serde_json::json!({
            "Code": code, "Message": message, "LastUpdated": "2030-01-31T12:00:00Z",
        }),
        None => {
            let mut keys = state.keys(&role, "i-0123456789abcdef0");
            keys.insert("Code".into(), "Success".into());
            keys.insert("LastUpdated".into(), "2030-01-31T12:00:00Z".into());
            keys.insert("Type".into(), "AWS-HMAC".into());
            serde_json::Value::Object(keys)
        }
    };
    // The service names no type for it.
    respond(200, "text/plain", format!("{body:#}"))
}

fn task(state: &State, id: &str) -> Response<Full<Bytes>> {
    let known = id == TASK && state.inner().role.is_some();
    if !known {
        let body = serde_json::json!({
            "code": "InvalidIdInRequest", "message": "CredentialsV2Request: Credentials not found",
            "HTTPErrorCode": 400,
        });
        return respond(400, "application/json", body.to_string());
    }
    let mut keys = state.keys("task", TASK);
    keys.insert(
        "RoleArn".into(),
        "arn:aws:iam::123456789012:role/task".into(),
    );
    respond(
        200,
        "application/json",
        serde_json::Value::Object(keys).to_string(),
    )
}

fn pod(state: &State, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let refused =
        |status, text: &str| respond(status, "text/plain; charset=utf-8", format!("{text}\n"));
    match header(request, "authorization") {
        None | Some("") => refused(400, "Service account token cannot be empty"),
        Some(token) if token != state.inner().pod_token => refused(
            400,
            "[req-1]: (InvalidTokenException): The token included in the request is invalid., fault: client",
        ),
        Some(_) => {
            let mut keys = state.keys("pod", "eks-demo-pod");
            keys.insert("AccountId".into(), EmbeddedAws::ACCOUNT_ID.into());
            respond(
                200,
                "application/json",
                serde_json::Value::Object(keys).to_string(),
            )
        }
    }
}
