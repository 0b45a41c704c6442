//! A process with a shared session; the tests start many of them.
//!
//! Arguments: the host cache's directory (`environment`: that of the environment), and an STS
//! endpoint, or `local` or `person` for a source within the probe, which `person` says asks a
//! person. The variable `PROBE_TIMEOUT` is the time limit of refreshes in seconds. Reads commands
//! from the standard input, a line each, and ends with it:
//!
//! - `get`, `refresh`, `reject`: credentials as they are, new ones, and others in place of rejected
//!   ones. Prints `key ID`, or `error TEXT`.
//! - `churn N`: rejects N times.
//! - `answer`, `fail`: what the source within the probe says to its next call, which it announces
//!   by `asked`. Answers can be given in advance.
//!
//! Warnings are printed as they come: `warning NAME MESSAGE`. Nothing printed holds a secret.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use brs::shared::{HostCache, Shared};
use brs::{
    Error, Event, Fingerprint, RefreshContext, RefreshStrategy, RefreshableSession,
    TemporaryCredentials,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::{Mutex, mpsc};

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";

/// A source that says what the test wants.
#[derive(Debug)]
struct Within {
    is_person: bool,
    answers: Mutex<mpsc::UnboundedReceiver<bool>>,
    issued: AtomicU32,
}

#[async_trait::async_trait]
impl RefreshStrategy for Within {
    fn method(&self) -> &'static str {
        "within"
    }

    fn source(&self) -> &'static str {
        "within"
    }

    fn interactive(&self) -> bool {
        self.is_person
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("within"))
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        println!("asked");
        match self.answers.lock().await.recv().await {
            Some(true) => {
                let number = self.issued.fetch_add(1, Ordering::Relaxed);
                // Each part carries the number, so that a mixed set can be told.
                let number = format!("{:010}{number:010}", std::process::id());
                Ok(TemporaryCredentials::new(
                    format!("ASIA{number}"),
                    format!("hush-secret-{number}"),
                    // As long as AWS's are.
                    Some(format!("hush-token-{number}-{}", "x".repeat(1000))),
                    Some(cx.clock().now() + Duration::from_secs(3600)),
                ))
            }
            Some(false) => Err(Error::request("the source refused").with_code("Refused")),
            None => Err(Error::connection("nobody answers")),
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(source)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: shared_probe DIRECTORY (ENDPOINT_URL|local|person)");
        return ExitCode::from(2);
    };
    let (answer, answers) = mpsc::unbounded_channel();
    let opened = if source == "local" || source == "person" {
        let within = Within {
            is_person: source == "person",
            answers: Mutex::new(answers),
            issued: AtomicU32::new(0),
        };
        let cache = match directory.as_str() {
            "environment" => HostCache::new(),
            directory => HostCache::in_directory(directory),
        };
        let shared = Shared::new(within, cache);
        let seconds = std::env::var("PROBE_TIMEOUT").ok();
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        RefreshableSession::with_strategy(shared)
            .refresh_timeout(Duration::from_secs(seconds.unwrap_or(30)))
            .build()
            .await
    } else {
        let data = serde_json::json!({
            "store": { "kind": "host", "directory": directory },
            "of": { "method": "sts", "role_arn": ROLE, "client": { "endpoint_url": source } },
            "region": "eu-west-1",
            "access_key_id": std::env::var("PROBE_KEY").unwrap_or_default(),
            "secret_access_key": std::env::var("PROBE_SECRET").unwrap_or_default(),
        });
        RefreshableSession::from_method("shared", data).await
    };
    let session = match opened {
        Ok(session) => session,
        Err(error) => {
            println!("error {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut events = session.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Warning { name, message, .. } = event {
                println!("warning {name} {message}");
            }
        }
    });
    println!("ready");
    let session = Arc::new(session);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut running = tokio::task::JoinSet::new();
    while let Ok(Some(line)) = lines.next_line().await {
        match line.as_str() {
            "answer" | "fail" => drop(answer.send(line == "answer")),
            command => {
                let (command, session) = (command.to_owned(), Arc::clone(&session));
                running.spawn(async move { obey(&command, &session).await });
            }
        }
    }
    drop(answer);
    running.join_all().await;
    ExitCode::SUCCESS
}

async fn obey(command: &str, session: &RefreshableSession) {
    let (command, times) = command.split_once(' ').unwrap_or((command, "1"));
    for _ in 0..times.parse().unwrap_or(1) {
        let result = match command {
            "get" => session.credentials().await,
            "refresh" => session.refresh().await,
            _ => {
                if let Some(id) = session.status().access_key_id() {
                    session.invalidate(id);
                }
                session.refresh().await
            }
        };
        match result {
            Ok(set) => println!("key {}", set.access_key_id()),
            Err(error) => println!("error {error}"),
        }
    }
}
