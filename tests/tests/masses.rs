//! Thousands of sessions in one process that are due together, within its descriptors and threads.
//!
//! Each test starts itself as a child under `ulimit -n 1024`: the limit on flights is a process's
//! own, and the descriptors and threads that are counted must be nobody else's. The child asserts;
//! the parent holds the embedded AWS, whose connections would count otherwise, and passes on what a
//! failed child has written.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use brs::sts::{AssumeExt as _, Params, StsClient};
use brs::{Clock, Error, RefreshableSession, SystemClock, TemporaryCredentials, custom};
use brs_core::test_util::ManualClock;
use brs_tests::EmbeddedAws;
use futures_util::FutureExt as _;

/// Descriptors of the child.
const DESCRIPTORS: usize = 1024;
/// Flights of a method, unless a program says otherwise.
const FLIGHTS: usize = 64;
/// What a process has besides: the harness, the runtimes of test and brs.
const OTHER_THREADS: usize = 20;
/// Tells a child what it is, and where the embedded AWS is.
const ENDPOINT: &str = "BRS_TEST_MASSES_ENDPOINT";
const SECRET: &str = "BRS_TEST_MASSES_SECRET";
const KEY: &str = "BRS_TEST_MASSES_KEY";

/// Runs the test's child, and gives the server that it had; `None` in the child itself.
fn in_a_child(test: &str) -> Option<EmbeddedAws> {
    if std::env::var_os(ENDPOINT).is_some() {
        return None;
    }
    let aws = EmbeddedAws::builder().allowed_skew(Duration::MAX).start();
    aws.set_lifetime(Some(LIFETIME));
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" \"$@\""),
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--quiet"])
        .env(ENDPOINT, aws.endpoint_url())
        .env(KEY, aws.access_key_id())
        .env(SECRET, aws.secret_access_key())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(
        output.status.success(),
        "{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    Some(aws)
}

/// How long sets live by the server's clock, and how far the child's moves: what is new then lives
/// for a quarter of an hour, without the server's clock having to move.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);
const UNTIL_DUE: Duration = Duration::from_secs(12 * 3600 - 900);

#[expect(
    clippy::disallowed_methods,
    reason = "the server goes by the system's clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Parameters of a role; without retries inside the SDK, so that each failure is seen.
fn role(number: usize) -> Params {
    let role = Params::new("arn:aws:iam::123456789012:role/demo")
        .role_session_name(format!("session-{number}"));
    role.client(StsClient::new().max_attempts(1))
}

fn builder(number: usize, endpoint: &str) -> brs::SessionBuilder {
    let variable = |name| std::env::var(name).unwrap();
    RefreshableSession::builder("sts", role(number))
        .region("eu-west-1")
        .endpoint_url(endpoint)
        .base_credentials(Credentials::from_keys(
            variable(KEY),
            variable(SECRET),
            None,
        ))
}

async fn sts_sessions(many: usize, clock: &ManualClock) -> Vec<RefreshableSession> {
    let endpoint = std::env::var(ENDPOINT).unwrap();
    let mut sessions = Vec::new();
    for number in 0..many {
        sessions.push(
            builder(number, &endpoint)
                .clock(clock.clone())
                .build()
                .await
                .unwrap(),
        );
    }
    sessions
}

/// Asks all at once; gives the errors by their text, and how often each.
async fn ask(sessions: &[RefreshableSession]) -> BTreeMap<String, usize> {
    let calls = sessions.iter().map(RefreshableSession::credentials);
    let calls = tokio::time::timeout(
        Duration::from_secs(120),
        futures_util::future::join_all(calls),
    );
    let outcomes = calls.await.expect("nobody waits for ever");
    let mut errors = BTreeMap::new();
    for error in outcomes.into_iter().filter_map(Result::err) {
        *errors.entry(error.to_string()).or_default() += 1;
    }
    errors
}

fn no_errors() -> BTreeMap<String, usize> {
    BTreeMap::new()
}

/// Looks at the process's descriptors and threads all the time.
struct Peak {
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<(usize, usize)>,
}

impl Peak {
    fn watch() -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let (mut descriptors, mut threads) = (0, 0);
            while stopped.recv_timeout(Duration::from_millis(1))
                == Err(mpsc::RecvTimeoutError::Timeout)
            {
                descriptors = descriptors.max(entries("/proc/self/fd"));
                threads = threads.max(entries("/proc/self/task"));
            }
            (descriptors, threads)
        });
        Self { stop, thread }
    }

    /// The most that there were: descriptors, and threads.
    fn seen(self) -> (usize, usize) {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder)
        .expect("there is a descriptor left to look at them")
        .count()
}

#[test]
fn two_thousand_sessions_that_become_due_together_all_refresh() {
    if let Some(aws) = in_a_child("two_thousand_sessions_that_become_due_together_all_refresh") {
        assert_eq!(
            aws.calls("AssumeRole"),
            4000,
            "one call a session each time"
        );
        return;
    }
    due_together();
}

#[tokio::main(flavor = "current_thread")]
async fn due_together() {
    let clock = ManualClock::new(now());
    let sessions = sts_sessions(2000, &clock).await;
    let peak = Peak::watch();
    assert_eq!(ask(&sessions).await, no_errors(), "at a cold start");
    clock.advance(UNTIL_DUE);
    // In the advisory window: the old sets are served at once, and 2,000 refreshes begin that
    // nobody waits for.
    assert_eq!(ask(&sessions).await, no_errors(), "when they become due");
    while sessions
        .iter()
        .any(|session| session.status().is_refreshing())
    {
        tokio::task::yield_now().await;
    }
    let (descriptors, threads) = peak.seen();
    println!("{descriptors} descriptors, {threads} threads");
    let failed: Vec<_> = sessions
        .iter()
        .filter_map(|one| one.status().last_error().map(Error::to_string))
        .collect();
    assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
    assert!(
        sessions
            .iter()
            .all(|session| session.status().refreshes() == 2),
        "each has its second set"
    );
    assert!(
        (FLIGHTS..DESCRIPTORS / 4).contains(&descriptors),
        "{descriptors} descriptors"
    );
    assert!(threads <= OTHER_THREADS, "{threads} threads");
}

/// Lets nobody through until so many are in, and counts them.
#[derive(Default)]
struct Crowd {
    inside: Mutex<(usize, usize)>,
    came: Condvar,
    is_full: AtomicBool,
}

impl Crowd {
    fn enter(&self) {
        let mut inside = self.inside.lock().unwrap();
        inside.0 += 1;
        inside.1 = inside.1.max(inside.0);
        if inside.0 >= FLIGHTS {
            self.is_full.store(true, Ordering::SeqCst);
            self.came.notify_all();
        }
        while !self.is_full.load(Ordering::SeqCst) {
            inside = self.came.wait(inside).unwrap();
        }
    }

    fn leave(&self) {
        self.inside.lock().unwrap().0 -= 1;
    }

    fn most(&self) -> usize {
        self.inside.lock().unwrap().1
    }
}

#[test]
fn two_thousand_synchronous_functions_take_as_many_threads_as_the_limit_allows() {
    if in_a_child("two_thousand_synchronous_functions_take_as_many_threads_as_the_limit_allows")
        .is_none()
    {
        synchronous();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn synchronous() {
    let (clock, crowd, calls) = (
        ManualClock::new(now()),
        Arc::new(Crowd::default()),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut sessions = Vec::new();
    for _ in 0..2000 {
        let (crowd, calls, clock) = (Arc::clone(&crowd), Arc::clone(&calls), clock.clone());
        let of_function = clock.clone();
        let function = move || -> Result<TemporaryCredentials, Error> {
            crowd.enter();
            let number = calls.fetch_add(1, Ordering::SeqCst);
            crowd.leave();
            let end = of_function.now() + Duration::from_secs(3600);
            Ok(TemporaryCredentials::new(
                format!("ASIA{number}"),
                "secret",
                None,
                Some(end),
            ))
        };
        let params = custom::Params::blocking_function(function);
        sessions.push(
            RefreshableSession::builder("custom", params)
                .clock(clock)
                .build()
                .await
                .unwrap(),
        );
    }
    let peak = Peak::watch();
    assert_eq!(ask(&sessions).await, no_errors(), "at a cold start");
    crowd.is_full.store(false, Ordering::SeqCst);
    clock.advance(Duration::from_secs(3590));
    assert_eq!(ask(&sessions).await, no_errors(), "when they become due");
    let (_, threads) = peak.seen();
    println!("{threads} threads");
    assert_eq!(calls.load(Ordering::SeqCst), 4000);
    assert_eq!(crowd.most(), FLIGHTS, "functions at the same time");
    assert!(threads <= FLIGHTS + OTHER_THREADS, "{threads} threads");
}

/// A source that takes connections and never answers.
struct Hanging {
    url: String,
    taken: Arc<AtomicUsize>,
}

impl Hanging {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                open.push(stream.unwrap());
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { url, taken }
    }

    /// Sessions whose source this is.
    async fn sessions(&self, many: usize, limit: Duration) -> Vec<RefreshableSession> {
        let mut sessions = Vec::new();
        for number in 0..many {
            sessions.push(
                builder(number, &self.url)
                    .refresh_timeout(limit)
                    .build()
                    .await
                    .unwrap(),
            );
        }
        sessions
    }
}

#[test]
fn a_source_that_hangs_costs_everybody_one_time_limit() {
    if in_a_child("a_source_that_hangs_costs_everybody_one_time_limit").is_none() {
        hangs();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn hangs() {
    let (source, limit, clock) = (Hanging::start(), Duration::from_secs(5), SystemClock::new());
    let sessions = source.sessions(500, limit).await;
    let begin = clock.monotonic();
    let errors = ask(&sessions).await;
    let took = clock.monotonic() - begin;
    println!("{took:?} {errors:#?}");
    assert_eq!(
        source.taken.load(Ordering::SeqCst),
        FLIGHTS,
        "as many have asked the source"
    );
    // It is not the second limit of any of them.
    assert!(took < limit * 2, "{took:?}");
    let counted = |part: &str| {
        errors
            .iter()
            .filter(|(text, _)| text.contains(part))
            .map(|(_, many)| many)
            .sum::<usize>()
    };
    // By the strategy's limit or the engine's, whichever is first.
    assert_eq!(counted("did not answer"), FLIGHTS, "{errors:#?}");
    let others =
        "for 5s none of the 64 refreshes of its method that run at a time has been answered";
    assert_eq!(counted(others), 500 - FLIGHTS, "{errors:#?}");
    // The line is free again: those who ask a source that is well get an answer at once.
    assert_eq!(
        ask(&sts_sessions(200, &ManualClock::new(now())).await).await,
        no_errors()
    );
}

#[test]
fn two_hundred_sessions_and_the_one_they_stand_on_become_due_together() {
    if let Some(aws) =
        in_a_child("two_hundred_sessions_and_the_one_they_stand_on_become_due_together")
    {
        assert_eq!(
            aws.calls("AssumeRole"),
            402,
            "the hub is refreshed once for all"
        );
        return;
    }
    hub();
}

#[tokio::main(flavor = "current_thread")]
async fn hub() {
    let clock = ManualClock::new(now());
    let hub = sts_sessions(1, &clock).await.remove(0);
    let mut sessions = Vec::new();
    for number in 1..=200 {
        sessions.push(hub.assume(role(number)).await.unwrap());
    }
    // The hub last: it stands in line behind all that stand on it.
    sessions.push(hub);
    assert_eq!(ask(&sessions).await, no_errors(), "at a cold start");
    clock.advance(UNTIL_DUE + Duration::from_secs(890));
    assert_eq!(ask(&sessions).await, no_errors(), "when they become due");
}

#[test]
fn a_method_that_hangs_keeps_no_other_waiting() {
    if in_a_child("a_method_that_hangs_keeps_no_other_waiting").is_none() {
        two_methods();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn two_methods() {
    let source = Hanging::start();
    let hang = source.sessions(200, Duration::from_secs(60)).await;
    let mut all = Box::pin(ask(&hang));
    assert!((&mut all).now_or_never().is_none());
    while source.taken.load(Ordering::SeqCst) < FLIGHTS {
        tokio::task::yield_now().await;
    }
    let mut sessions = Vec::new();
    for number in 0..200 {
        let function = move || {
            Ok::<_, Error>(TemporaryCredentials::new(
                format!("ASIA{number}"),
                "secret",
                None,
                None,
            ))
        };
        let params = custom::Params::blocking_function(function);
        sessions.push(
            RefreshableSession::builder("custom", params)
                .build()
                .await
                .unwrap(),
        );
    }
    assert_eq!(ask(&sessions).await, no_errors());
    assert!(
        hang.iter().all(|session| session.status().is_refreshing()),
        "those that hang still do"
    );
}
