//! The host cache between processes: one call for all of them, and no harm by one that is killed.
//!
//! `many` is what they share, `killed` what holders leave behind when they end, `disks` what the
//! file system does to them. Each process is a `shared_probe`; they start together by lines that
//! are written to them.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod disks;
mod killed;
mod many;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use brs_tests::EmbeddedAws;

/// A cache for processes.
struct Cache(tempfile::TempDir);

impl Cache {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    /// The only file with this ending.
    fn file(&self, ending: &str) -> PathBuf {
        let mut files = self.files(ending);
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let read = std::fs::read_dir(self.path()).unwrap();
        read.map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == ending))
            .collect()
    }

    fn entry(&self) -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(self.file("json")).unwrap()).unwrap()
    }

    /// A process whose source is this AWS.
    fn of_aws(&self, aws: &EmbeddedAws) -> Probe {
        Probe::start(&mut of_aws(&self.path(), aws))
    }

    /// A process whose source is within it: `local` or `person`.
    fn within(&self, source: &str) -> Probe {
        let mut command = probe(&self.path());
        Probe::start(command.arg(source))
    }
}

fn probe(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shared_probe"));
    command.env_clear().arg(directory);
    command
}

fn of_aws(directory: &Path, aws: &EmbeddedAws) -> Command {
    let mut command = probe(directory);
    command
        .arg(aws.endpoint_url())
        .env("PROBE_KEY", aws.access_key_id())
        .env("PROBE_SECRET", aws.secret_access_key());
    command
}

/// A process that is killed with the test.
struct Probe {
    child: Child,
    commands: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    /// All that it has printed.
    printed: String,
}

impl Probe {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let commands = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut probe = Self {
            child,
            commands,
            lines,
            printed: String::new(),
        };
        probe.until("ready");
        probe
    }

    fn say(&mut self, command: &str) {
        let commands = self.commands.as_mut().unwrap();
        commands
            .write_all(format!("{command}\n").as_bytes())
            .unwrap();
    }

    /// The next line; `None`: the process has ended.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).unwrap();
        self.printed.push_str(&line);
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// The next line that begins like this.
    fn until(&mut self, start: &str) -> String {
        loop {
            match self.line() {
                Some(line) if line.starts_with(start) => return line,
                Some(_) => {}
                None => panic!("no `{start}` in {:?}", self.printed),
            }
        }
    }

    /// The key that it gets.
    fn key(&mut self, command: &str) -> String {
        self.say(command);
        self.until("key ")
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it, and gives the rest of its lines.
    fn end(mut self) -> String {
        drop(self.commands.take());
        while self.line().is_some() {}
        assert!(self.child.wait().unwrap().success(), "{}", self.printed);
        std::mem::take(&mut self.printed)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
