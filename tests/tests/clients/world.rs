//! A user's home with the command's configuration, an AWS, and the ways from one to the other.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use brs_tests::EmbeddedAws;
use brs_tests::clients::{Client, brs_command};

/// Whom a client is to be.
pub(crate) const SESSION: &str = "arn:aws:sts::123456789012:assumed-role/app/clients";
const ROLE: &str = "arn:aws:iam::123456789012:role/app";
pub(crate) const REGION: &str = "eu-west-1";

/// How a client gets the session's credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    CredentialProcess,
    Exec,
    Serve,
}

pub(crate) struct World {
    home: tempfile::TempDir,
    pub(crate) aws: EmbeddedAws,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) is_success: bool,
    /// What it printed, for messages of failed tests.
    #[expect(dead_code, reason = "shown by `Debug`")]
    said: String,
}

impl World {
    /// With a session `app`, whose role is assumed with the keys of the AWS's user.
    pub(crate) fn new() -> Self {
        let world = Self {
            home: tempfile::tempdir().unwrap(),
            aws: EmbeddedAws::start(),
        };
        world.write(".aws/config", &config(""));
        fs::create_dir(world.path("run")).unwrap();
        fs::set_permissions(world.path("run"), Permissions::from_mode(0o700)).unwrap();
        let configuration = format!(
            "[sessions.app]\nmethod = \"sts\"\n\
             assume_role = {{ role_arn = \"{ROLE}\", role_session_name = \"clients\" }}\n\
             region = \"{REGION}\"\nendpoint_url = \"{}\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n\
             [serve]\nlisten = \"127.0.0.1:0\"\n\
             [serve.consumers.test]\nsessions = [\"app\"]\ntoken_file = \"{}\"\n",
            world.aws.endpoint_url(),
            world.aws.access_key_id(),
            world.aws.secret_access_key(),
            world.path("token").display(),
        );
        let path = world.write(".config/brs/brs.toml", &configuration);
        for path in [path.parent().unwrap(), &path] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            fs::set_permissions(path, Permissions::from_mode(mode & !0o022)).unwrap();
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A client that makes so many calls, with nothing that leads it to credentials.
    pub(crate) fn alone(&self, client: Client, calls: usize) -> Command {
        let mut command = self.command(self.words(client, calls));
        if client == Client::JavaScriptV2 {
            // Or it does not read the config file.
            command.env("AWS_SDK_LOAD_CONFIG", "1");
        }
        command
    }

    /// The same through the session, by that way; a server runs as long as what is given beside it.
    pub(crate) fn by(&self, way: Way, client: Client, calls: usize) -> (Command, Option<Serving>) {
        match way {
            Way::CredentialProcess => {
                // Short-lived sets are good enough while they are valid for a second.
                let line = format!(
                    "{} credential-process app --min-validity 1s",
                    brs_command().display()
                );
                self.write(
                    ".aws/config",
                    &config(&format!("credential_process = {line}\n")),
                );
                (self.alone(client, calls), None)
            }
            Way::Exec => (self.exec(&[], &[], client, calls), None),
            Way::Serve => {
                let serving = Serving::start(self);
                let mut command = self.alone(client, calls);
                command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &serving.url);
                if matches!(client, Client::GoV1 | Client::AwsCliV2) {
                    // SDKs from before 2024 do not read the file.
                    let token = fs::read_to_string(self.path("token")).unwrap();
                    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN", token);
                } else {
                    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", self.path("token"));
                }
                (command, Some(serving))
            }
        }
    }

    /// A client as the program of `exec`, with words before it, such as `env NAME=VALUE`.
    pub(crate) fn exec(
        &self,
        options: &[&str],
        before: &[&str],
        client: Client,
        calls: usize,
    ) -> Command {
        let mut words = vec![brs_command().into_os_string(), "exec".into()];
        words.extend(options.iter().map(OsString::from));
        words.extend(["app", "--"].map(OsString::from));
        words.extend(before.iter().map(OsString::from));
        words.extend(self.words(client, calls));
        self.command(words)
    }

    fn words(&self, client: Client, calls: usize) -> Vec<OsString> {
        let url = self.aws.endpoint_url();
        client.command_line(calls, &url, self.home.path())
    }

    fn command(&self, words: Vec<OsString>) -> Command {
        // A client that hangs is a failure, and not a test that hangs.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "240"]).args(words);
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.path("run"))
            .env("AWS_ENDPOINT_URL", self.aws.endpoint_url())
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            // One that answers for a machine would hold everything up.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .stdin(Stdio::null());
        command
    }

    /// Those who called the AWS, but for the calls that the command made for the session: keys and
    /// ARNs. A call that nobody signed has no key.
    pub(crate) fn callers(&self) -> Vec<(String, Option<String>)> {
        let requests = self.aws.requests().into_iter();
        let others = requests.filter(|request| {
            request.action != "AssumeRole"
                || request.access_key_id.as_deref() != Some(self.aws.access_key_id())
        });
        let signed = others.map(|request| {
            let key = request.access_key_id.unwrap_or_default();
            let arn = self.aws.arn_of(&key);
            (key, arn)
        });
        signed.collect()
    }

    /// The different keys that the session's calls were signed with.
    ///
    /// # Panics
    ///
    /// If anybody else called.
    #[track_caller]
    pub(crate) fn keys_of_session(&self) -> Vec<String> {
        let callers = self.callers();
        let is_session = |arn: &Option<String>| arn.as_deref() == Some(SESSION);
        assert!(
            callers.iter().all(|(_, arn)| is_session(arn)),
            "{callers:?}"
        );
        let mut keys: Vec<_> = callers.into_iter().map(|(key, _)| key).collect();
        keys.sort();
        keys.dedup();
        keys
    }
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            is_success: output.status.success(),
            said: format!(
                "{}: {} {}",
                output.status,
                text(&output.stdout),
                text(&output.stderr)
            ),
        }
    }
}

/// A running `brs serve`.
pub(crate) struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn start(world: &World) -> Self {
        let words = ["-v", "--log-format", "json", "serve"].map(OsString::from);
        let mut command = Command::new(brs_command());
        command
            .args(words)
            .env_clear()
            .env("HOME", world.home.path())
            .env("XDG_RUNTIME_DIR", world.path("run"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // To its end: the server would stand still once the pipe is full.
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut said = String::new();
        let url = loop {
            let Ok(line) = lines.recv_timeout(START_LIMIT) else {
                let _ = child.kill();
                panic!("`brs serve` does not say where it listens: {said}");
            };
            let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(url) = value["url"].as_str() {
                break url.to_owned();
            }
            said.push_str(&line);
        };
        Self { child, url }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A config file whose default profile has these further lines. The AWS CLI would copy ten files at
/// once, and be through before anything expires.
pub(crate) fn config(lines: &str) -> String {
    format!("[default]\nregion = {REGION}\n{lines}s3 =\n  max_concurrent_requests = 1\n")
}

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long sets of credentials live that are to expire within a test.
pub(crate) const SHORT: Duration = Duration::from_secs(5);
