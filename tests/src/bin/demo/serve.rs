//! `--serve`: the command `brs serve` with three sessions, and programs in other languages that call
//! AWS through it, boto3 and the AWS SDK for JavaScript, while their credentials expire and the
//! connections to AWS are cut.
//!
//! The parent owns the embedded AWS, the way to it that is cut, and the picture. The programs are
//! those of the conformance tests; each prints a line a call, and the AWS tells which keys signed.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use brs::Error;
use brs_tests::EmbeddedAws;
use brs_tests::clients::{Client, brs_command};
use brs_tests::rough_path::RoughPath;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use crate::screen::say;

/// The sessions, and the one beneath each.
const SESSIONS: [(&str, Option<&str>); 3] = [
    ("hub", None),
    ("web", Some("hub")),
    ("reports", Some("hub")),
];
const CLIENTS: [(&str, Client); 2] = [("boto3", Client::Boto3), ("JavaScript", Client::JavaScript)];
/// How often all connections to AWS are cut.
const CUT: Duration = Duration::from_secs(3);
/// More than any run makes: the programs are killed at the end.
const CALLS: usize = 100_000_000;
const REGION: &str = "eu-west-1";

/// What a program says of itself.
#[derive(Clone, Debug, Default)]
struct Report {
    calls: u64,
    failures: u64,
    last_failure: Option<String>,
}

struct Program {
    name: String,
    /// Killed when it is dropped.
    _process: Child,
    report: watch::Receiver<Report>,
}

/// Runs it; the exit code says whether a call failed, or was signed by somebody else.
pub(crate) async fn run(seconds: u64, lifetime: u64, rate: u64) -> Result<ExitCode, Error> {
    let aws = EmbeddedAws::start();
    aws.set_lifetime(Some(Duration::from_secs(lifetime)));
    // The programs call one after another: how fast is up to who answers.
    aws.set_latency(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
    let address = aws.endpoint_url();
    let address = address.trim_start_matches("http://").parse();
    let path =
        RoughPath::start(address.map_err(|_| Error::configuration("the AWS has no address"))?);
    let url = format!("http://{}", path.address());
    let home = tempfile::tempdir().map_err(failed)?;
    let page = free_address()?;
    fs::write(
        home.path().join("brs.toml"),
        configuration(&aws, &url, home.path(), &page),
    )
    .map_err(failed)?;
    let (serving, endpoint) = serve(home.path()).await?;

    let password = fs::read_to_string(home.path().join("page.token")).map_err(failed)?;
    say(&format!(
        "`brs serve` has three sessions, whose credentials live {lifetime} s. boto3 and the AWS SDK for JavaScript \
         call AWS through it,"
    ));
    say(&format!(
        "{rate} times a second each, while all connections to AWS are cut every {} s.",
        CUT.as_secs()
    ));
    say(&format!(
        "Its status page: http://{page}/ (any user name, password {password})"
    ));
    say("");
    let mut programs = Vec::new();
    for (session, _) in SESSIONS {
        for (name, client) in CLIENTS {
            programs.push(start(name, client, session, &url, &endpoint, home.path())?);
        }
    }

    let begin = Instant::now();
    let limit = Duration::from_secs(seconds);
    let mut ticks = interval(Duration::from_secs(1));
    let mut cuts = interval(CUT);
    let mut cut = 0;
    cuts.reset();
    let interrupted = tokio::signal::ctrl_c();
    let mut interrupted = std::pin::pin!(interrupted);
    while begin.elapsed() < limit {
        tokio::select! {
            _ = ticks.tick() => say(&line(begin.elapsed(), &aws, &programs)),
            _ = cuts.tick() => {
                path.cut();
                cut += 1;
            }
            _ = &mut interrupted => break,
        }
    }
    let ran = begin.elapsed();
    let reports: Vec<_> = programs
        .iter()
        .map(|program| (program.name.clone(), program.report.borrow().clone()))
        .collect();
    drop((programs, serving));
    Ok(summary(&aws, &reports, ran, cut))
}

fn failed(error: std::io::Error) -> Error {
    Error::configuration("a file or a program of the demo is not available").with_source(error)
}

/// One that nobody listens on.
fn free_address() -> Result<String, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(listener.map_err(failed)?.to_string())
}

/// The file of the command: three sessions, and a consumer for each.
fn configuration(aws: &EmbeddedAws, url: &str, home: &Path, page: &str) -> String {
    let mut text = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\nadmin = \"{page}\"\nadmin_token_file = \"{}\"\n",
        home.join("page.token").display()
    );
    for (name, base) in SESSIONS {
        let keys = match base {
            Some(base) => format!("base = \"{base}\"\n"),
            None => format!(
                "access_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
                aws.access_key_id(),
                aws.secret_access_key()
            ),
        };
        let token = home.join(format!("{name}.token"));
        text.push_str(&format!(
            r#"
[sessions.{name}]
method = "sts"
assume_role.role_arn = "arn:aws:iam::123456789012:role/{name}"
assume_role.role_session_name = "demo"
region = "{REGION}"
endpoint_url = "{url}"
{keys}
[serve.consumers.{name}]
sessions = ["{name}"]
token_file = "{}"
"#,
            token.display()
        ));
    }
    text
}

/// An environment without anything that leads to other credentials.
fn clean(command: &mut Command, home: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", home)
        .env("AWS_REGION", REGION)
        // boto3 reads only this one.
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .stdin(Stdio::null())
        .kill_on_drop(true);
}

/// Starts the command, and gives the URL of its endpoint.
async fn serve(home: &Path) -> Result<(Child, String), Error> {
    let mut command = Command::new(brs_command());
    command.arg("--config").arg(home.join("brs.toml")).args([
        "-v",
        "--log-format",
        "json",
        "serve",
    ]);
    clean(&mut command, home);
    let mut process = command.stderr(Stdio::piped()).spawn().map_err(failed)?;
    let ended = || Error::configuration("`brs serve` has ended");
    let mut lines = lines(process.stderr.take()).ok_or_else(ended)?;
    let mut said = String::new();
    loop {
        let Some(line) = lines.next_line().await.map_err(failed)? else {
            return Err(Error::configuration(format!(
                "`brs serve` has ended: {said}"
            )));
        };
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(url) = value["url"].as_str() {
            let url = url.to_owned();
            // Read along, or it would stand still once the pipe is full.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok((process, url));
        }
        said.push_str(&line);
    }
}

fn lines<R: AsyncRead + Unpin>(pipe: Option<R>) -> Option<tokio::io::Lines<BufReader<R>>> {
    Some(BufReader::new(pipe?).lines())
}

fn start(
    name: &str,
    client: Client,
    session: &str,
    url: &str,
    endpoint: &str,
    home: &Path,
) -> Result<Program, Error> {
    let words = client.command_line(CALLS, url, home);
    let [program, arguments @ ..] = &words[..] else {
        return Err(Error::configuration("the client has no command line"));
    };
    let mut command = Command::new(program);
    clean(&mut command, home);
    let mut process = command
        .args(arguments)
        .env("AWS_ENDPOINT_URL", url)
        .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint)
        .env(
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            home.join(format!("{session}.token")),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (reports, report) = watch::channel(Report::default());
    if let Some(mut lines) = lines(process.stdout.take()) {
        let expected = format!("ok arn:aws:sts::123456789012:assumed-role/{session}/demo");
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                reports.send_modify(|report| {
                    report.calls += 1;
                    if line != expected {
                        report.failures += 1;
                        report.last_failure = Some(line);
                    }
                });
            }
        });
    }
    Ok(Program {
        name: format!("{name} as {session}"),
        _process: process,
        report,
    })
}

/// The keys that the programs' calls were signed with, and how many calls somebody else signed.
fn signed(aws: &EmbeddedAws) -> (BTreeSet<String>, usize) {
    let requests = aws
        .requests()
        .into_iter()
        .filter(|request| request.action == "GetCallerIdentity");
    let (mut keys, mut others) = (BTreeSet::new(), 0);
    for key in requests.filter_map(|request| request.access_key_id) {
        let is_session = aws.arn_of(&key).is_some_and(|arn| arn.ends_with("/demo"));
        others += usize::from(!is_session);
        keys.insert(key);
    }
    (keys, others)
}

fn line(elapsed: Duration, aws: &EmbeddedAws, programs: &[Program]) -> String {
    let each = programs.iter().map(|program| {
        let report = program.report.borrow();
        let failed = if report.failures == 0 {
            String::new()
        } else {
            format!(" ({} failed)", report.failures)
        };
        format!("{}: {}{failed}", program.name, report.calls)
    });
    let each: Vec<_> = each.collect();
    format!(
        "{:4} s  {} sets   {}",
        elapsed.as_secs(),
        signed(aws).0.len(),
        each.join(", ")
    )
}

fn summary(aws: &EmbeddedAws, reports: &[(String, Report)], ran: Duration, cut: u32) -> ExitCode {
    say("");
    for (name, report) in reports {
        say(&format!(
            "{name}: {} calls, {} failed",
            report.calls, report.failures
        ));
        if let Some(line) = &report.last_failure {
            say(&format!("  last failure: {line}"));
        }
    }
    let calls: u64 = reports.iter().map(|(_, report)| report.calls).sum();
    let failures: u64 = reports.iter().map(|(_, report)| report.failures).sum();
    let (keys, others) = signed(aws);
    let is_idle = reports.iter().any(|(_, report)| report.calls == 0);
    say(&format!(
        "{calls} calls of programs in {:.0} s, {failures} failed; connections were cut {cut} times",
        ran.as_secs_f64()
    ));
    say(&format!(
        "signed with {} sets of credentials, {others} by somebody else; the source was asked {} times",
        keys.len(),
        aws.calls("AssumeRole")
    ));
    if failures == 0 && others == 0 && !is_idle {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
