//! A host of a fleet: several members that share credentials by a store, each with a way of its own
//! to it. The tests start many of them.
//!
//! Arguments: the store as JSON (`kind` and `url`, or `table` and `endpoint_url`; `timeout`, the
//! time limit of a refresh in seconds), a source, the number of members, and that of keys. The
//! source is an STS endpoint, for which keys are role session names, or the address of a server that
//! answers a key with a number of its own: with it, what is measured is the sharing. The base
//! credentials come from the environment, the seal's keys from `PROBE_SEAL_KEYS`. Reads commands
//! from the standard input, a line each: `get` and `refresh`. After each prints a line: the number
//! of errors, that of failures of the store, and the access key ids, each once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use brs::prelude::*;
use brs::shared::{DynamoDbStore, Fleet, RedisStore, Seal};
use brs::{
    Error, Event, Fingerprint, RefreshContext, RefreshStrategy, RefreshableSession,
    TemporaryCredentials, sts,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";

/// A source that costs next to nothing, and counts.
#[derive(Debug)]
struct Counted {
    address: SocketAddr,
    name: String,
}

#[async_trait::async_trait]
impl RefreshStrategy for Counted {
    fn method(&self) -> &'static str {
        "counted"
    }

    fn source(&self) -> &'static str {
        "counted"
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("counted").with("name", &self.name))
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let number = async {
            let mut server = TcpStream::connect(self.address).await?;
            server
                .write_all(format!("{}\n", self.name).as_bytes())
                .await?;
            let mut number = String::new();
            server.read_to_string(&mut number).await?;
            std::io::Result::Ok(number)
        };
        let failed = |error| Error::connection("the counter does not answer").with_source(error);
        let number = number.await.map_err(failed)?;
        Ok(TemporaryCredentials::new(
            format!("ASIACOUNTED{number}"),
            format!("hush-secret-{number}"),
            Some(format!("hush-token-{number}-{}", "x".repeat(1000))),
            Some(cx.clock().now() + Duration::from_secs(3600)),
        ))
    }
}

/// How many members of a process are at work: with more, a machine with two processors keeps the
/// store from answering in time.
const AT_ONCE: usize = 2;

/// A member: its sessions, by key.
struct Member {
    fleet: Fleet,
    sessions: Vec<RefreshableSession>,
    first: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [store, source, members, keys] = arguments.as_slice() else {
        return Err("usage: fleet_probe STORE SOURCE MEMBERS KEYS".into());
    };
    let store: Value = serde_json::from_str(store)?;
    let (members, keys): (usize, usize) = (members.parse()?, keys.parse()?);
    let mut all = Vec::new();
    for member in 0..members {
        // Each begins at another key.
        let first = member * keys / members;
        let opened = Member::open(&store, source, keys, first);
        all.push(Arc::new(opened.await?));
    }
    println!("ready");
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(command) = lines.next_line().await? {
        let mut running = JoinSet::new();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        for member in &all {
            let (member, is_new) = (member.clone(), command == "refresh");
            let turns = Arc::clone(&turns);
            running.spawn(async move {
                let _turn = turns.acquire().await;
                member.round(is_new).await
            });
        }
        let mut errors = 0;
        let mut ids = BTreeSet::new();
        for answer in running.join_all().await.into_iter().flatten() {
            match answer {
                Ok(id) => drop(ids.insert(id)),
                Err(error) => {
                    eprintln!("{error}");
                    errors += 1;
                }
            }
        }
        let failures: u64 = all.iter().map(|one| one.fleet.status().failures).sum();
        let ids: Vec<String> = ids.into_iter().collect();
        println!("{errors} {failures} {}", ids.join(" "));
    }
    Ok(())
}

impl Member {
    async fn open(
        store: &Value,
        source: &str,
        keys: usize,
        first: usize,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let text = |name: &str| store[name].as_str().unwrap_or_default();
        let seal = Seal::from_keys(std::env::var("PROBE_SEAL_KEYS")?)?;
        let fleet = match text("kind") {
            "redis" => Fleet::new(RedisStore::new(text("url"))?, seal),
            _ => {
                let config = aws_config::defaults(BehaviorVersion::latest())
                    .region(Region::new("eu-west-1"));
                let table = DynamoDbStore::new(text("table"), &config.load().await);
                Fleet::new(table.endpoint_url(text("endpoint_url")), seal)
            }
        };
        let timeout = Duration::from_secs(store["timeout"].as_u64().unwrap_or(30));
        let mut sessions = Vec::new();
        for key in 0..keys {
            let name = format!("key-{key}");
            let builder = match source.parse() {
                Ok(address) => RefreshableSession::with_strategy(Counted { address, name }),
                Err(_) => {
                    let params = sts::Params::new(ROLE).role_session_name(name);
                    let params = params.client(sts::StsClient::new().endpoint_url(source));
                    RefreshableSession::with(params).region("eu-west-1")
                }
            };
            let builder = builder.refresh_timeout(timeout).shared(fleet.clone());
            let session = builder.build().await?;
            let mut events = session.events();
            // What went wrong is told by the test's output.
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    if let Event::Warning { name, message, .. } = event {
                        eprintln!("{name}: {message}");
                    }
                }
            });
            sessions.push(session);
        }
        Ok(Self {
            fleet,
            sessions,
            first,
        })
    }

    /// One key after the other.
    async fn round(&self, is_new: bool) -> Vec<Result<String, Error>> {
        let mut answers = Vec::new();
        let count = self.sessions.len();
        for session in self.sessions.iter().cycle().skip(self.first).take(count) {
            let set = match is_new {
                true => session.refresh().await,
                false => session.credentials().await,
            };
            answers.push(set.map(|set| set.access_key_id().to_owned()));
        }
        answers
    }
}
