//! Scripts, processes and a clock for the tests of commands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use brs_core::test_util::ManualClock;
use brs_core::{Clock, Error, Sleep, SystemClock};
use brs_custom::Command;
use tokio::sync::watch;

/// A time limit that no test reaches unless it moves the clock.
pub(crate) const LONG: Duration = Duration::from_secs(1000);

/// How long a process may take to do something, in real time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A manual clock that tells which sleeps were asked for.
#[derive(Clone, Debug)]
pub(crate) struct TestClock {
    manual: ManualClock,
    asked: watch::Sender<Vec<Duration>>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        Self {
            manual: ManualClock::new(UNIX_EPOCH),
            asked: watch::Sender::new(Vec::new()),
        }
    }

    pub(crate) fn shared(&self) -> Arc<dyn Clock> {
        Arc::new(self.clone())
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.manual.advance(duration);
    }

    /// Is ready once somebody sleeps for exactly this long.
    pub(crate) async fn asked_for(&self, duration: Duration) {
        self.asked
            .subscribe()
            .wait_for(|asked| asked.contains(&duration))
            .await
            .unwrap();
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        self.manual.now()
    }

    fn monotonic(&self) -> Duration {
        self.manual.monotonic()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.asked.send_modify(|asked| asked.push(duration));
        self.manual.sleep(duration)
    }
}

/// A directory for scripts and what they leave behind.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A command that runs `script` with `/bin/sh`, in this directory.
    pub(crate) fn sh(&self, script: &str) -> Command {
        self.sh_with(script, &[])
    }

    /// The same with arguments.
    pub(crate) fn sh_with(&self, script: &str, args: &[&str]) -> Command {
        let path = self.file("script.sh");
        std::fs::write(&path, script).unwrap();
        let words = ["/bin/sh", path.to_str().unwrap()]
            .into_iter()
            .chain(args.iter().copied());
        Command::new(words).unwrap().current_dir(self.path())
    }

    /// The number that a script writes to a file of that name, once it is there.
    pub(crate) async fn pid(&self, name: &str) -> u32 {
        let read = || {
            std::fs::read_to_string(self.file(name))
                .ok()?
                .strip_suffix('\n')?
                .parse()
                .ok()
        };
        eventually(read).await
    }
}

/// Whether a process runs: a zombie does not.
pub(crate) fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(") ")
            .next()
            .unwrap_or_default()
            .starts_with(['Z', 'X'])
    })
}

/// Whether a process is known to the system at all: false once it has been reaped.
pub(crate) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Whether the command line of any process holds this text.
pub(crate) fn mentioned(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().any(|process| {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
}

/// Looks again and again until there is something to see; other processes' doings cannot be
/// awaited.
pub(crate) async fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let clock = SystemClock::new();
    let deadline = clock.monotonic() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(
            clock.monotonic() < deadline,
            "nothing happened for {PATIENCE:?}"
        );
        clock.sleep(Duration::from_millis(5)).await;
    }
}

/// What the error's details say the problem is; nothing that is shown may hold the word `hush`.
pub(crate) fn problem(error: &Error) -> &str {
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    &error.details()["problem"]
}
