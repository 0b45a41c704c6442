//! A worker process: opens sessions, lets callers use them, writes down what happens, and obeys.
//!
//! The settings come as the first line of the standard input, since they hold a key; orders follow,
//! a line each. Records go to the standard output. The standard error takes what a program would
//! show or log about its sessions: all of brs's log, and each session's `Debug`, status, events and
//! errors, so that the ledger can look for secrets in them. The end of the standard input ends the
//! worker: it never outlives its conductor.

mod callers;
mod clock;
mod messages;
mod observe;
mod sessions;

use std::io::{BufRead as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::watch;
use tokio::time::interval;

use crate::Failure;
use crate::record::{Order, Record, Settings, What};
use clock::Stepped;
use messages::Messages;
pub(crate) use sessions::ALIAS;
use sessions::Sessions;

/// How long all sessions may take to be ready once there are no more faults: longer than any
/// backoff that the schedule's longest outage leaves, twice over for shared sessions.
const RECOVERY: Duration = Duration::from_secs(45);

/// Writes records, from any task.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    start: crate::record::Start,
    lines: mpsc::Sender<Record>,
}

impl Recorder {
    pub(crate) fn now(&self) -> crate::schedule::Millis {
        self.start.elapsed()
    }

    pub(crate) fn start(&self) -> crate::record::Start {
        self.start
    }

    pub(crate) fn write(&self, of: &str, what: What) {
        self.write_at(of, self.now(), what);
    }

    pub(crate) fn write_at(&self, of: &str, at: crate::schedule::Millis, what: What) {
        // The writer lives as long as the process.
        let _ = self.lines.send(Record {
            of: of.to_owned(),
            at,
            what,
        });
    }
}

/// Runs the worker to its end.
///
/// # Errors
///
/// If its settings cannot be read, or a session cannot be opened.
pub fn run() -> Result<(), Failure> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let settings: Settings = serde_json::from_str(&line)?;
    log();
    let (lines, records) = mpsc::channel::<Record>();
    let writer = std::thread::spawn(move || -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        for record in records {
            serde_json::to_writer(&mut stdout, &record)?;
            stdout.write_all(b"\n")?;
            stdout.flush()?;
        }
        Ok(())
    });
    let recorder = Recorder {
        start: settings.start,
        lines,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let worked = runtime.block_on(work(&settings, recorder));
    // Whatever is left must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    worked?;
    writer.join().map_err(|_| "the writer panicked")?
}

/// All that brs logs, and of other crates what is worth a warning.
fn log() {
    let crates = [
        "brs_core",
        "brs_sts",
        "brs_custom",
        "brs_iot",
        "brs_mqtt",
        "brs_roles_anywhere",
        "brs_shared",
        "brs",
    ];
    let filter = crates.iter().fold(String::from("warn"), |filter, name| {
        format!("{filter},{name}=trace")
    });
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}

async fn work(settings: &Settings, recorder: Recorder) -> Result<(), Failure> {
    let clock = Stepped::default();
    let sessions = Sessions::open(settings, &clock, &recorder).await?;
    let (stop, stopped) = watch::channel(false);
    let callers = callers::start(&sessions, &recorder, &stopped);
    let messages = match &settings.broker {
        Some(broker) => Some(Messages::start(settings, broker, &sessions, &recorder).await?),
        None => None,
    };
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    loop {
        let Some(line) = orders.next_line().await? else {
            // The conductor is gone.
            return Ok(());
        };
        match serde_json::from_str(&line)? {
            Order::Step { seconds } => {
                clock.step(seconds);
                recorder.write("", What::Stepped { seconds });
            }
            Order::Finish => break,
        }
    }
    until_all_are_ready(&sessions).await;
    for (role, session) in sessions.all() {
        let is_ready = session.ready();
        recorder.write(role.name, What::Ready { is_ready });
    }
    if let Some(messages) = messages {
        messages.stop().await;
    }
    stop.send_replace(true);
    callers.join_all().await;
    recorder.write("", What::Ended);
    Ok(())
}

async fn until_all_are_ready(sessions: &Sessions) {
    let all = async {
        let mut looks = interval(Duration::from_millis(50));
        while !sessions.all().iter().all(|(_, session)| session.ready()) {
            looks.tick().await;
        }
    };
    // Those that are not are told by their last record.
    let _ = tokio::time::timeout(RECOVERY, all).await;
}
