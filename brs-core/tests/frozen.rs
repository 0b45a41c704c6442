//! A process that is stopped and goes on past the end of its set: one source call, and its result.
//!
//! The test starts itself as a child and stops it with SIGSTOP, as a paused container or AWS Lambda
//! between invocations is. The source is a server of the test, which is well all the time.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use brs_core::{
    Blocking, Error, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials,
};
use rustix::process::{Pid, Signal, kill_process};

/// Sets live this long: their advisory window begins at 2 s.
const LIFETIME: Duration = Duration::from_secs(4);
/// A child's limit on a refresh.
const LIMIT: Duration = Duration::from_secs(2);
/// Names the source's address to a child.
const SOURCE: &str = "BRS_TEST_FROZEN_SOURCE";
const STRATEGY: &str = "BRS_TEST_FROZEN_STRATEGY";

/// What becomes of the call that is in the air when the process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InTheAir {
    /// Answered while the process is stopped.
    Answered,
    /// Never answered: its connection is dead.
    Dead,
    /// Its connection is closed.
    Closed,
    /// There is none.
    Nothing,
}

#[test]
fn a_process_that_was_stopped_past_the_end_makes_one_source_call_and_gives_its_result() {
    if let Ok(source) = std::env::var(SOURCE) {
        return child(source);
    }
    let calls = [
        InTheAir::Answered,
        InTheAir::Dead,
        InTheAir::Closed,
        InTheAir::Nothing,
    ];
    let cases = calls
        .into_iter()
        .flat_map(|call| ["async", "async-stable", "sync"].map(|strategy| (call, strategy)));
    // A synchronous function whose connection is dead cannot be ended: only limits of its own end
    // it.
    let cases = cases.filter(|case| *case != (InTheAir::Dead, "sync"));
    // One thread a case: most of the time they wait.
    let threads: Vec<_> = cases
        .map(|(call, strategy)| std::thread::spawn(move || case(call, strategy)))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn case(call: InTheAir, strategy: &str) {
    let case = format!("{call:?}, {strategy}");
    let source = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = Stopped::start(&source, strategy);
    let calls = Arc::new(AtomicUsize::new(0));
    let (in_the_air, arrived) = mpsc::channel();
    serve(source, call, Arc::clone(&calls), in_the_air);

    // The first set arrives; then the refresh of the advisory window is in the air, or, where none
    // is wanted, the child is stopped before it.
    assert_eq!(child.line(), "first", "{case}");
    let end = now() + LIFETIME;
    if call != InTheAir::Nothing {
        arrived
            .recv_timeout(Duration::from_secs(20))
            .expect("the child refreshes in the background");
    }
    child.signal(Signal::STOP);
    let before = calls.load(Ordering::SeqCst);
    until(end + Duration::from_secs(2));
    child.signal(Signal::CONT);

    let outcomes: Vec<_> =
        std::iter::from_fn(|| Some(child.line()).filter(|line| line != "done")).collect();
    assert!(outcomes.len() >= 20, "{case}: {outcomes:?}");
    let others: Vec<_> = outcomes.iter().filter(|line| *line != "valid").collect();
    assert!(others.is_empty(), "{case}: {others:?}");
    let after = calls.load(Ordering::SeqCst) - before;
    assert!(after <= 1, "{case}: {after} calls after the stop");
}

/// Waits for an instant, as the process that is stopped does.
fn until(instant: SystemTime) {
    let (_never, wait) = mpsc::channel::<()>();
    while let Ok(left) = instant.duration_since(now()) {
        let _ = wait.recv_timeout(left + Duration::from_millis(1));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the sets of a real process end by the real clock"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The source: the first call and those after the one in the air are answered at once.
fn serve(
    source: TcpListener,
    call: InTheAir,
    calls: Arc<AtomicUsize>,
    in_the_air: mpsc::Sender<()>,
) {
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in source.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1]);
            let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
            if number == 2 && call != InTheAir::Nothing {
                in_the_air.send(()).unwrap();
                match call {
                    // The child is stopped meanwhile: it said so before it is answered.
                    InTheAir::Answered => {
                        std::thread::spawn(move || {
                            until(now() + Duration::from_secs(1));
                            answer(&mut stream, number);
                        });
                    }
                    InTheAir::Dead => open.push(stream),
                    InTheAir::Closed | InTheAir::Nothing => {
                        std::thread::spawn(move || {
                            until(now() + Duration::from_secs(1));
                            drop(stream);
                        });
                    }
                }
                continue;
            }
            answer(&mut stream, number);
        }
    });
}

fn answer(stream: &mut TcpStream, number: usize) {
    // A set that was answered while the process was stopped is good for long after.
    let lifetime = if number == 1 {
        LIFETIME
    } else {
        Duration::from_secs(3600)
    };
    let end = (now() + lifetime).duration_since(UNIX_EPOCH).unwrap();
    let _ = writeln!(stream, "ASIA{number} {}", end.as_millis());
}

struct Stopped {
    process: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Stopped {
    fn start(source: &TcpListener, strategy: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_was_stopped_past_the_end_makes_one_source_call_and_gives_its_result"])
            .args(["--nocapture", "--quiet"])
            .env(SOURCE, source.local_addr().unwrap().to_string())
            .env(STRATEGY, strategy)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Self { process, lines }
    }

    /// The next line that the child has for the test.
    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.lines.read_line(&mut line).unwrap() > 0,
                "the child exited"
            );
            if let Some(word) = line.trim().strip_prefix("frozen: ") {
                return word.to_owned();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asks the test's server, with a future or a synchronous function.
#[derive(Debug)]
struct Asks {
    source: String,
    strategy: String,
    thread: Blocking,
}

#[async_trait]
impl RefreshStrategy for Asks {
    fn method(&self) -> &'static str {
        "asks"
    }

    fn source(&self) -> &'static str {
        "asks"
    }

    fn static_stability(&self) -> bool {
        self.strategy == "async-stable"
    }

    async fn refresh(&self, _: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let source = self.source.clone();
        let answer = if self.strategy == "sync" {
            self.thread.run(move || ask(&source)).await?
        } else {
            ask_async(&source).await
        };
        let answer = answer.map_err(|error| Error::connection("no answer").with_source(error))?;
        let (key, end) = answer
            .trim()
            .split_once(' ')
            .ok_or_else(|| Error::connection("an empty answer"))?;
        let end = UNIX_EPOCH
            + Duration::from_millis(end.parse().map_err(|_| Error::connection("no time"))?);
        Ok(TemporaryCredentials::new(key, "secret", None, Some(end)))
    }
}

fn ask(source: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(source)?;
    stream.write_all(b"?")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

async fn ask_async(source: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(source).await?;
    stream.write_all(b"?").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The child: calls all the time, and tells what calls got once it notices that it was away.
#[tokio::main(flavor = "current_thread")]
async fn child(source: String) {
    let strategy = Asks {
        source,
        strategy: std::env::var(STRATEGY).unwrap(),
        thread: Blocking::new(),
    };
    let session = RefreshableSession::with_strategy(Arc::new(strategy))
        .refresh_timeout(LIMIT)
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap();
    // Before the line on which the test may stop this process.
    let mut last = now();
    println!("frozen: first");
    let mut told = 0;
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while told < 100 {
        // A set is judged by when it was asked for: the stop may come between its getting and the
        // next look.
        let asked = now();
        let outcome = session.credentials().await;
        let this = now();
        // The call that comes back late, and those after it.
        if told > 0 || this.duration_since(last).unwrap_or_default() > Duration::from_secs(1) {
            told += 1;
            let valid = outcome.map(|set| set.expiration().is_none_or(|end| end > asked));
            println!(
                "frozen: {}",
                match valid {
                    Ok(true) => "valid".to_owned(),
                    Ok(false) => "expired".to_owned(),
                    Err(error) => error.to_string(),
                }
            );
        }
        last = this;
        pace.tick().await;
    }
    println!("frozen: done");
}
