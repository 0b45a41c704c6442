//! The command `brs`, as people and SDKs start it: the real binary against the embedded AWS.
//!
//! `configuration` is what is wrong with files and command lines, `credential_process` the cache,
//! failures and formats, `prompt` asking a person, `exec` what a program gets, `job_control` signals
//! and terminals, `secrets` where no secret may be, `serve` the server's signals, `clients` the
//! trap that `exec` keeps other tools' programs from, with boto3 and the AWS CLI.
//!
//! `cargo xtask test` builds the binary and names it in `BRS_COMMAND`; without the variable it is
//! looked for beside the tests: `cargo build --package brs-aws --all-features --bin brs`.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod clients;
mod configuration;
mod credential_process;
mod exec;
mod job_control;
mod prompt;
mod pseudo_terminal;
mod secrets;
mod serve;
mod small;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use brs_tests::EmbeddedAws;

const ROLE: &str = "arn:aws:iam::123456789012:role/app";
const HUB: &str = "arn:aws:iam::123456789012:role/hub";
const DEVICE: &str = "arn:aws:iam::123456789012:mfa/brs";

/// The binary.
fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("BRS_COMMAND") {
        return named.into();
    }
    let tests = std::env::current_exe().unwrap();
    let beside = tests.ancestors().nth(2).unwrap().join("brs");
    assert!(
        beside.is_file(),
        "`{}` is missing: run `cargo build --package brs-aws --features cli --bin brs`, or name the \
         binary in `BRS_COMMAND`",
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
        let world = Self {
            home: tempfile::tempdir().unwrap(),
            aws: EmbeddedAws::start(),
        };
        fs::create_dir_all(world.path(".aws")).unwrap();
        fs::create_dir(world.path("run")).unwrap();
        fs::set_permissions(world.path("run"), Permissions::from_mode(0o700)).unwrap();
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

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes the configuration.
    fn configure(&self, toml: &str) {
        let path = self.write(".config/brs/brs.toml", toml);
        for path in [path.parent().unwrap(), &path] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            fs::set_permissions(path, Permissions::from_mode(mode & !0o022)).unwrap();
        }
    }

    /// The command in this home, with an environment of its own and no terminal.
    fn brs(&self, words: &[&str]) -> Command {
        // A session of its own has no terminal, wherever the tests are run.
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(binary()).args(words);
        self.in_here(&mut command);
        command
    }

    /// The command as a direct child: its process id is known. Signals that whoever started the
    /// tests ignores are not ignored by it.
    fn direct(&self, words: &[&str]) -> Command {
        let mut command = Command::new("env");
        command.arg("--default-signal").arg(binary()).args(words);
        self.in_here(&mut command);
        command
    }

    fn in_here(&self, command: &mut Command) {
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .stdin(Stdio::null());
    }

    /// Runs the command.
    fn run(&self, words: &[&str]) -> Ran {
        Ran::of(&mut self.brs(words))
    }

    fn calls(&self) -> usize {
        self.aws.calls("AssumeRole")
    }
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

    /// What it reported, if it ended with this status and printed nothing.
    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(code), ""),
            "{self:?}"
        );
        self.stderr
    }

    /// The access key id of what `credential-process` printed.
    #[track_caller]
    fn key(self) -> String {
        key_in(&self.ok())
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

fn key_in(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    value["AccessKeyId"].as_str().unwrap().to_owned()
}

/// Runs a future of a test's own.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
