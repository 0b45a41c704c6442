//! The command `brs`, as far as it keeps files, logs in and looks: the real binary against the
//! embedded AWS.
//!
//! `write` is the credentials file of other programs, `login` IAM Identity Center, `doctor` each
//! kind of finding, `watch` the table. `tests/tests/command` says how the binary is found.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod doctor;
mod login;
mod watch;
mod write;

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use brs::{Clock as _, SystemClock};
use brs_tests::EmbeddedAws;

const ROLE: &str = "arn:aws:iam::123456789012:role/app";
const HUB: &str = "arn:aws:iam::123456789012:role/hub";

/// How long anything may take on a machine that has much to do.
const DEADLINE: Duration = Duration::from_secs(60);

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("BRS_COMMAND") {
        return named.into();
    }
    let tests = std::env::current_exe().unwrap();
    let beside = tests.ancestors().nth(2).unwrap().join("brs");
    assert!(
        beside.is_file(),
        "`{}` is missing: run `cargo build --package brs-aws --features cli --bin brs`, or name the binary in \
         `BRS_COMMAND`",
        beside.display()
    );
    beside
}

/// A user's home with a configuration, and an AWS.
struct World {
    home: tempfile::TempDir,
    aws: EmbeddedAws,
}

impl World {
    /// With a session `app` on the keys of the AWS's user.
    fn new() -> Self {
        Self::at(EmbeddedAws::start())
    }

    fn at(aws: EmbeddedAws) -> Self {
        let world = Self {
            home: tempfile::tempdir().unwrap(),
            aws,
        };
        world.configure(&world.session("app", ROLE, ""));
        world
    }

    /// A table of a session; `more` is what else it has.
    fn session(&self, name: &str, role: &str, more: &str) -> String {
        format!(
            "[sessions.{name}]\nmethod = \"sts\"\nrole_arn = \"{role}\"\n{}{more}\n",
            self.keys()
        )
    }

    /// The base configuration of a session.
    fn keys(&self) -> String {
        format!(
            "region = \"eu-west-1\"\nendpoint_url = \"{}\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
            self.aws.endpoint_url(),
            self.aws.access_key_id(),
            self.aws.secret_access_key(),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes the configuration.
    fn configure(&self, toml: &str) {
        let path = self.write(".config/brs/brs.toml", toml);
        for path in [path.parent().unwrap(), &path] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            chmod(path, mode & !0o022);
        }
    }

    /// The command in this home, with an environment of its own and no terminal. Each process makes
    /// its own calls: there is no directory for a cache.
    fn brs(&self, words: &[&str]) -> Command {
        // A session of its own has no terminal, wherever the tests are run.
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(binary()).args(words);
        self.in_here(&mut command);
        command
    }

    fn in_here(&self, command: &mut Command) {
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
    }

    /// Runs the command.
    fn run(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.brs(words))
    }

    /// Starts the command as a direct child; its stdout is read line by line.
    fn start(&self, words: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = Command::new(binary());
        command.args(words);
        self.in_here(&mut command);
        command.envs(variables.iter().copied());
        Running::of(&mut command)
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A command that has ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// What it printed, if it succeeded.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// What it reported, if it ended with this status.
    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// A command that runs; it is killed when this is dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Running {
    fn of(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let errors = lines_of(child.stderr.take().unwrap());
        Self {
            child,
            lines,
            errors,
        }
    }

    /// The first line of stdout from now on that has this text.
    #[track_caller]
    fn line(&self, text: &str) -> String {
        find(&self.lines, text)
    }

    /// The same of stderr.
    #[track_caller]
    fn error(&self, text: &str) -> String {
        find(&self.errors, text)
    }

    /// Waits for the end; gives the status and what was not read yet of stdout and stderr.
    fn end(mut self) -> (Option<i32>, String, String) {
        let status = self.child.wait().unwrap();
        let rest =
            |lines: &Receiver<String>| lines.iter().map(|line| line + "\n").collect::<String>();
        (status.code(), rest(&self.lines), rest(&self.errors))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal)
            .unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
            if sender.send(line.trim_end().to_owned()).is_err() {
                // Nobody reads on; the command must not wait for a reader.
                let _ = stream.read_to_end(&mut Vec::new());
                return;
            }
            line.clear();
        }
    });
    receiver
}

#[track_caller]
fn find(lines: &Receiver<String>, text: &str) -> String {
    let mut seen = Vec::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) if line.contains(text) => return line,
            Ok(line) => seen.push(line),
            Err(error) => panic!("no line with `{text}` ({error}): {seen:?}"),
        }
    }
}

/// Waits until something holds.
#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let clock = SystemClock::new();
    let begun = clock.monotonic();
    while !holds() {
        assert!(clock.monotonic() - begun < DEADLINE, "{what}");
        std::thread::yield_now();
    }
}
