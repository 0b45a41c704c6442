//! `--fleet`: four processes as four hosts, each with a pool of forty roles, that share credentials
//! through Redis, sealed. One of the processes is killed on the way, and so is Redis for a while.
//!
//! The parent owns the embedded AWS, Redis and the picture: which host has obtained which role's
//! credentials, by the application's name in the call. A host is this program with `--host`: it takes
//! its addresses and keys from the environment and reports a line ten times a second.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brs::prelude::*;
use brs::shared::{Fleet, RedisStore, Seal};
use brs::{Error, RoleKey, SessionPool, sts};
use brs_tests::EmbeddedAws;
use brs_tests::redis::Redis;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use ratatui::{TerminalOptions, Viewport};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, interval};

use crate::screen::say;

const HOSTS: [&str; 4] = ["A", "B", "C", "D"];
const COLOURS: [Color; 4] = [Color::Green, Color::Blue, Color::Magenta, Color::Cyan];
const ROLES: usize = 40;
/// Which host is killed, and when, as parts of the run; Redis is away in between the other two.
const KILLED: usize = 2;
const KILLED_AT: f64 = 0.25;
const AWAY: std::ops::Range<f64> = 0.45..0.65;

fn roles() -> Vec<RoleKey> {
    (0..ROLES)
        .map(|n| RoleKey::new(format!("arn:aws:iam::1234567890{n:02}:role/audit")))
        .collect()
}

/// What one host says of itself.
#[derive(Clone, Copy, Debug, Default)]
struct Report {
    calls: u64,
    failures: u64,
    /// Calls to the source with and without the store's lease.
    asked: u64,
    alone: u64,
    taken: u64,
}

impl Report {
    fn line(self) -> String {
        format!(
            "{} {} {} {} {}",
            self.calls, self.failures, self.asked, self.alone, self.taken
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map_while(|number| number.parse().ok());
        let mut next = || numbers.next();
        Some(Self {
            calls: next()?,
            failures: next()?,
            asked: next()?,
            alone: next()?,
            taken: next()?,
        })
    }
}

struct Host {
    /// In the user agent of its calls.
    mark: String,
    process: Child,
    report: watch::Receiver<Report>,
    is_killed: bool,
}

/// Runs the fleet; the exit code says whether a caller had an error.
pub(crate) async fn run(seconds: u64, lifetime: u64, rate: u64) -> Result<ExitCode, Error> {
    let aws = EmbeddedAws::start();
    aws.set_lifetime(Some(Duration::from_secs(lifetime)));
    roles()
        .iter()
        .for_each(|role| aws.add_role(role.role_arn()));
    let mut redis = Redis::start();
    let seal = seal_keys();
    let mut hosts = Vec::new();
    for name in HOSTS {
        hosts.push(start(name, &aws, &redis, &seal, rate)?);
    }
    say(&format!(
        "Four processes, as four hosts, call AWS with the credentials of {ROLES} roles that live {lifetime} s. \
         They share them"
    ));
    say(&format!(
        "through Redis, sealed. Host {} is killed on the way, and Redis is away for a while. A letter for each role:",
        HOSTS[KILLED]
    ));
    say("the host that has obtained its credentials last.");
    say("");

    let begin = Instant::now();
    let limit = Duration::from_secs(seconds);
    let mut screen = Screen::open();
    let mut frames = interval(Duration::from_millis(100));
    let (mut was_away, mut calls_while_away) = (false, 0);
    let interrupted = tokio::signal::ctrl_c();
    let mut interrupted = std::pin::pin!(interrupted);
    while begin.elapsed() < limit {
        tokio::select! {
            _ = frames.tick() => {}
            _ = &mut interrupted => break,
        }
        let part = begin.elapsed().as_secs_f64() / limit.as_secs_f64();
        if part >= KILLED_AT && !hosts[KILLED].is_killed {
            hosts[KILLED].is_killed = true;
            hosts[KILLED].process.kill().await.map_err(failed)?;
        }
        let is_away = AWAY.contains(&part);
        if is_away != was_away {
            was_away = is_away;
            calls_while_away = aws.calls("AssumeRole") - calls_while_away;
            if is_away {
                redis.kill();
            } else {
                redis.start_again();
            }
        }
        screen.draw(begin.elapsed(), &aws, &hosts, is_away);
    }
    if was_away {
        calls_while_away = aws.calls("AssumeRole") - calls_while_away;
    }
    screen.draw(begin.elapsed(), &aws, &hosts, false);
    drop(screen);
    for host in &mut hosts {
        let _ = host.process.start_kill();
    }
    Ok(summary(
        &aws,
        &hosts,
        begin.elapsed(),
        lifetime,
        calls_while_away,
    ))
}

fn seal_keys() -> String {
    let bytes: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
    let base64 = <base64ct::Base64 as base64ct::Encoding>::encode_string(&bytes);
    format!("demo:{base64}")
}

fn failed(error: std::io::Error) -> Error {
    Error::configuration("a host cannot be started or killed").with_source(error)
}

fn start(
    name: &str,
    aws: &EmbeddedAws,
    redis: &Redis,
    seal: &str,
    rate: u64,
) -> Result<Host, Error> {
    let program = std::env::current_exe().map_err(failed)?;
    let mut process = Command::new(program)
        .args(["--host", name, "--rate", &rate.to_string()])
        .env("AWS_ACCESS_KEY_ID", aws.access_key_id())
        .env("AWS_SECRET_ACCESS_KEY", aws.secret_access_key())
        .env_remove("AWS_SESSION_TOKEN")
        .env_remove("AWS_PROFILE")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ENDPOINT_URL", aws.endpoint_url())
        .env("DEMO_REDIS_URL", redis.url())
        .env("DEMO_SEAL_KEYS", seal)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (reports, report) = watch::channel(Report::default());
    if let Some(said) = process.stdout.take() {
        tokio::spawn(async move {
            let mut lines = BufReader::new(said).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(report) = Report::parse(&line) {
                    reports.send_replace(report);
                }
            }
        });
    }
    Ok(Host {
        mark: format!("app/{}", app_name(name)),
        process,
        report,
        is_killed: false,
    })
}

/// What a host calls itself to AWS.
fn app_name(host: &str) -> String {
    format!("host-{host}")
}

/// One of the hosts.
pub(crate) async fn host(name: &str, rate: u64) -> Result<ExitCode, Error> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| Error::configuration(format!("`{name}` is not set")))
    };
    let store = RedisStore::new(variable("DEMO_REDIS_URL")?)?;
    let fleet = Fleet::new(store, Seal::from_keys(variable("DEMO_SEAL_KEYS")?)?);
    let shared = fleet.clone();
    let app = app_name(name);
    // The same identity whichever host asks: what decides the credentials is the role.
    let pool = SessionPool::builder(move |key: &RoleKey| {
        let client = sts::StsClient::new().app_name(&app);
        sts::Params::from(key)
            .role_session_name("fleet")
            .client(client)
    })
    .options(move |session| session.shared(shared))
    .build();
    let counts = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    for key in roles() {
        let (pool, counts) = (pool.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / u32::try_from(rate).unwrap_or(1));
            loop {
                ticks.tick().await;
                let called = async { pool.get(&key)?.credentials().await };
                let is_failure = called.await.is_err();
                counts[usize::from(is_failure)].fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut ticks = interval(Duration::from_millis(100));
    loop {
        ticks.tick().await;
        let status = fleet.status();
        let report = Report {
            calls: counts[0].load(Ordering::Relaxed),
            failures: counts[1].load(Ordering::Relaxed),
            asked: status.asked,
            alone: status.alone,
            taken: status.taken,
        };
        println!("{}", report.line());
    }
}

/// The host, by its number, that has obtained each role's credentials last.
fn obtained_by(aws: &EmbeddedAws, hosts: &[Host]) -> Vec<Option<usize>> {
    let mut last = BTreeMap::new();
    for request in aws.requests() {
        let agent = request.user_agent.unwrap_or_default();
        let host = hosts
            .iter()
            .position(|host| agent.split(' ').any(|word| word == host.mark));
        if let (Some(role), Some(host)) = (request.parameters.get("RoleArn"), host) {
            last.insert(role.clone(), host);
        }
    }
    roles()
        .iter()
        .map(|role| last.get(role.role_arn()).copied())
        .collect()
}

enum Screen {
    Live(Box<Terminal<CrosstermBackend<std::io::Stdout>>>),
    /// The second that was printed last.
    Plain(Option<u64>),
}

impl Screen {
    fn open() -> Self {
        let options = TerminalOptions {
            viewport: Viewport::Inline(7),
        };
        let stdout = std::io::stdout();
        if stdout.is_terminal()
            && let Ok(terminal) = Terminal::with_options(CrosstermBackend::new(stdout), options)
        {
            return Self::Live(Box::new(terminal));
        }
        Self::Plain(None)
    }

    fn draw(&mut self, elapsed: Duration, aws: &EmbeddedAws, hosts: &[Host], is_away: bool) {
        let second = elapsed.as_secs();
        let calls = aws.calls("AssumeRole");
        let redis = if is_away { "AWAY" } else { "up" };
        let of = obtained_by(aws, hosts);
        let head = format!("{second:4} s   Redis {redis:5} source calls {calls:5}   ");
        let rows = hosts.iter().zip(HOSTS).map(|(host, name)| {
            let report = *host.report.borrow();
            let state = if host.is_killed { "killed" } else { "up" };
            format!(
                "host {name}  {state:6}  {:7} calls, {} failed   obtained {:4}   taken from the store {:5}",
                report.calls,
                report.failures,
                report.asked + report.alone,
                report.taken
            )
        });
        match self {
            Self::Live(terminal) => {
                let letters = of.iter().map(|host| match host {
                    Some(host) => Span::styled(HOSTS[*host], Style::new().fg(COLOURS[*host])),
                    None => Span::raw("."),
                });
                let mut lines = vec![Line::raw(head), Line::default()];
                lines.extend(
                    rows.zip(COLOURS)
                        .map(|(row, colour)| Line::styled(row, Style::new().fg(colour))),
                );
                lines.push(
                    std::iter::once(Span::raw("roles   "))
                        .chain(letters)
                        .collect(),
                );
                let _ =
                    terminal.draw(|frame| frame.render_widget(Paragraph::new(lines), frame.area()));
            }
            Self::Plain(last) if *last != Some(second) => {
                *last = Some(second);
                let letters: String = of
                    .iter()
                    .map(|host| host.map_or(".", |host| HOSTS[host]))
                    .collect();
                say(&format!("{head}{letters}"));
            }
            Self::Plain(_) => {}
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Live(terminal) = self {
            let _ = terminal.show_cursor();
            say("");
        }
    }
}

fn summary(
    aws: &EmbeddedAws,
    hosts: &[Host],
    ran: Duration,
    lifetime: u64,
    calls_while_away: usize,
) -> ExitCode {
    let reports = || hosts.iter().map(|host| *host.report.borrow());
    let (calls, failures): (u64, u64) = (
        reports().map(|report| report.calls).sum(),
        reports().map(|report| report.failures).sum(),
    );
    say("");
    say(&format!(
        "{calls} calls of programs in {:.0} s, {failures} failed",
        ran.as_secs_f64()
    ));
    say(&format!(
        "{} calls to the source for {ROLES} roles whose credentials live {lifetime} s, {calls_while_away} of them \
         while Redis was away",
        aws.calls("AssumeRole")
    ));
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
