//! The credentials endpoint as programs see it: raw requests over TCP against a running server,
//! whose sessions assume roles at the embedded AWS.
//!
//! `routes` is what each path answers, `guards` who is not answered, `smuggling` what a request may
//! not look like, `limits` time, size and number, `tokens` consumers and their files, `refreshing`
//! expiries, dead sources and reloads, `metadata` the instance's service, `admin` the status page
//! and metrics, `settings` what the builder refuses, `systemd` a service as systemd starts it. This
//! file owns what they share.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod admin;
mod guards;
mod limits;
mod metadata;
mod refreshing;
mod routes;
mod settings;
mod smuggling;
mod systemd;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs::serve::{Handle, Server, ServerBuilder};
use brs::sts::{Params, StsClient};
use brs::{Clock, Error, RefreshableSession, SessionBuilder};
use brs_core::test_util::{Gate, ManualClock, Scripted, Step};
use brs_tests::EmbeddedAws;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const ROLE: &str = "arn:aws:iam::123456789012:role/path/app";
const HOUR: Duration = Duration::from_secs(3600);
/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_secs(30);
/// Nobody's: long enough to be refused for that alone.
const WRONG: &str = "0123456789012345678901234567890123456789abc";

fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

/// An embedded AWS and a clock that it shares with sessions and servers.
fn aws() -> (EmbeddedAws, ManualClock) {
    let clock = ManualClock::new(start());
    let server = clock.clone();
    let aws = EmbeddedAws::builder()
        .clock(move || server.now())
        .allowed_skew(Duration::MAX)
        .start();
    aws.add_role(ROLE);
    (aws, clock)
}

fn role(aws: &EmbeddedAws, clock: &ManualClock, role_arn: &str) -> SessionBuilder {
    RefreshableSession::with(Params::new(role_arn).client(StsClient::new().max_attempts(1)))
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .clock(clock.clone())
        .seed(7)
}

async fn session(aws: &EmbeddedAws, clock: &ManualClock) -> RefreshableSession {
    role(aws, clock, ROLE).build().await.unwrap()
}

/// A session of a script, without a network.
async fn scripted(script: &Scripted, clock: &ManualClock) -> RefreshableSession {
    RefreshableSession::with_strategy(script.shared())
        .region("eu-west-1")
        .clock(clock.clone())
        .seed(7)
        .build()
        .await
        .unwrap()
}

/// One whose first set is there, so that nothing but the server takes time.
async fn ready(clock: &ManualClock) -> RefreshableSession {
    let session = scripted(&Scripted::always(Step::Fresh(HOUR)), clock).await;
    session.credentials().await.unwrap();
    session
}

/// A running server; it ends with the test.
struct Running {
    address: SocketAddr,
    token: String,
    handle: Handle,
    task: JoinHandle<Result<(), Error>>,
}

async fn run(builder: ServerBuilder) -> Running {
    let server = builder.build().await.unwrap();
    running(server)
}

fn running(server: Server) -> Running {
    Running {
        address: server.local_addr(),
        token: server
            .token()
            .map(|token| token.expose().to_owned())
            .unwrap_or_default(),
        handle: server.handle(),
        task: tokio::spawn(server.run()),
    }
}

impl Running {
    /// `GET` with the only consumer's token.
    async fn get(&self, path: &str) -> Answer {
        self.get_as(&self.token, path).await
    }

    async fn get_as(&self, token: &str, path: &str) -> Answer {
        self.request("GET", path, &[("Authorization", token)]).await
    }

    /// A request with an ordinary `Host` and these headers.
    async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        request(self.address, method, path, headers).await
    }

    async fn shut_down(self) {
        self.handle.shutdown();
        tokio::time::timeout(LIMIT, self.task)
            .await
            .expect("the server ends")
            .unwrap()
            .unwrap();
    }
}

async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    raw(address, format!("{text}\r\n").as_bytes()).await
}

/// Sends bytes and reads until the server closes.
async fn raw(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut received = Vec::new();
    // A server that has refused may close before it has read everything.
    let _ = socket.read_to_end(&mut received).await;
    Answer::parse(&received)
}

/// One answer, or nothing if the connection ended without one.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
    /// What came after it.
    more: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let Some((head, rest)) = text.split_once("\r\n\r\n") else {
            assert_eq!(text, "", "half an answer");
            return Self {
                status: 0,
                headers: BTreeMap::new(),
                body: String::new(),
                more: String::new(),
            };
        };
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap();
        let headers: BTreeMap<_, _> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .get("content-length")
            .map(|length| length.parse().unwrap());
        let (body, more) = rest.split_at(length.unwrap_or(rest.len()).min(rest.len()));
        Self {
            status: status.parse().unwrap(),
            headers,
            body: body.to_owned(),
            more: more.to_owned(),
        }
    }

    #[track_caller]
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The answer's key, if it holds credentials.
    #[track_caller]
    fn key(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["AccessKeyId"].as_str().unwrap().to_owned()
    }

    /// The code of an error, in whose two spellings it must be the same.
    #[track_caller]
    fn code(&self) -> String {
        let body = self.json();
        assert_eq!(body["code"], body["Code"], "{self:?}");
        assert_eq!(body["message"], body["Message"], "{self:?}");
        let message = body["message"].as_str().unwrap();
        assert!(
            !message.is_empty() && message.chars().count() <= 500,
            "{message}"
        );
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        body["code"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// Asks again until the answer is as it should be.
async fn until<F: Future<Output = Answer>>(
    ask: impl Fn() -> F,
    is_right: impl Fn(&Answer) -> bool,
) -> Answer {
    let right = async {
        loop {
            let answer = ask().await;
            if is_right(&answer) {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, right)
        .await
        .expect("the answer comes")
}
