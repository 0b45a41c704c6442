//! The sessions of a running `brs serve`, by its admin address.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::table::{Row, State};
use crate::args::Watch as Args;
use crate::exit::Failure;
use crate::open::Context;

/// How long an answer may take, and how large it may be.
const LIMIT: Duration = Duration::from_secs(5);
const MAX_BYTES: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct Serving {
    pub(super) address: SocketAddr,
    token_file: PathBuf,
}

/// What is used of `/status.json`.
#[derive(Deserialize)]
struct Status {
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Session {
    name: String,
    method: String,
    state: State,
    left_seconds: Option<u64>,
    lifetime_seconds: Option<u64>,
    refreshes: u64,
    failures: u64,
    last_error: Option<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    message: String,
}

impl Serving {
    /// As the command line names it, or the configuration.
    pub(super) fn find(args: &Args, cx: &Context) -> Result<Self, Failure> {
        let configured = match (args.admin, &args.token_file) {
            (Some(_), Some(_)) => None,
            _ => cx.config()?.serve.as_ref(),
        };
        let address = args.admin.or(configured.and_then(|serve| serve.admin)).ok_or_else(|| {
            Failure::Usage(
                "no server is named: give `--admin`, add `admin` to `[serve]`, or name sessions to watch".to_owned(),
            )
        })?;
        let token_file = args.token_file.clone();
        let token_file =
            token_file.or_else(|| configured.and_then(|serve| serve.admin_token_file()));
        let token_file = token_file.ok_or_else(|| {
            Failure::Usage("no token of the admin address is named: give `--token-file`".to_owned())
        })?;
        Ok(Self {
            address,
            token_file: brs::kit::path::expanded(&token_file).into_owned(),
        })
    }

    pub(super) async fn rows(&self) -> Result<Vec<Row>, Failure> {
        // Read each time: a server that is started again has another.
        let token = brs::kit::files::read(&self.token_file).map_err(|unread| {
            let path = self.token_file.display();
            Failure::Usage(format!("the token file `{path}` {}", unread.problem()))
        })?;
        let answer = tokio::time::timeout(LIMIT, self.ask(&token)).await;
        let missing = |problem: &str| {
            let address = self.address;
            Failure::Machine(format!(
                "the server at {address} does not answer ({problem}): start `brs serve`"
            ))
        };
        let (status, body) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(problem)) => return Err(missing(&problem)),
            Err(_) => return Err(missing("no answer in time")),
        };
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let (path, address) = (self.token_file.display(), self.address);
                return Err(Failure::Usage(format!(
                    "the server at {address} refuses the token in `{path}`: give the `admin_token_file` of that server"
                )));
            }
            other => return Err(missing(&format!("status {other}"))),
        }
        let status: Status = serde_json::from_slice(&body).map_err(|error| {
            Failure::Machine(format!("the server's answer cannot be read: {error}"))
        })?;
        Ok(status.sessions.into_iter().map(Row::from).collect())
    }

    async fn ask(&self, token: &[u8]) -> Result<(StatusCode, Bytes), String> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| error.to_string())?;
        let shown = |error: hyper::Error| error.to_string();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(shown)?;
        let driving = tokio::spawn(connection);
        let authorization = Zeroizing::new([b"Bearer ", token.trim_ascii()].concat());
        let mut authorization = http::HeaderValue::from_bytes(&authorization)
            .map_err(|_| "the token cannot be sent".to_owned())?;
        authorization.set_sensitive(true);
        let request = Request::get("/status.json")
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, authorization)
            .body(Empty::<Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(shown)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
        driving.abort();
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }
}

impl From<Session> for Row {
    fn from(session: Session) -> Self {
        Self {
            name: session.name,
            method: session.method,
            state: session.state,
            left: session.left_seconds,
            lifetime: session.lifetime_seconds,
            refreshes: session.refreshes,
            failures: session.failures,
            error: session.last_error.map(|error| error.message),
        }
    }
}
