//! A fixture around moto, an AWS imitation that shares no code with this workspace.
//!
//! Owns one `moto_server` process: starting it from the virtual environment that the test command
//! prepares, its address, the first user and role when it checks signatures, and its end. Tests
//! that use it are `#[ignore = "needs moto"]`. Calls to set it up are blocking and few.
//!
//! moto checks neither durations nor MFA codes and never lets credentials expire; those belong to
//! [`EmbeddedAws`](crate::EmbeddedAws).

use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use aws_credential_types::Credentials;

/// How long the server may take to start; Python imports slowly on a cold cache.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long a set-up call may take.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// A scope names the service, which is how moto routes a request that it does not check.
const IAM_SCOPE: &str = "AWS4-HMAC-SHA256 Credential=setup/20200101/us-east-1/iam/aws4_request, SignedHeaders=host, \
                         Signature=0";

/// What the user of a checking server may do.
const USER_POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}"#;

/// What the role may do.
const ROLE_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["sts:*","s3:*","dynamodb:*"],"Resource":"*"}]}"#;

/// Who may assume the role of a checking server. moto compares the ARN and does not take `root` for
/// the account.
const TRUST_POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"AWS":"arn:aws:iam::123456789012:user/brs"},"Action":"sts:AssumeRole"}]}"#;

/// A running `moto_server`; it is killed when the handle is dropped.
pub struct Moto {
    process: Child,
    address: SocketAddr,
}

/// A user that may assume a role, on a server that checks both.
pub struct MotoUser {
    /// The user's access key.
    pub credentials: Credentials,
    /// The role that the user may assume.
    pub role_arn: String,
}

impl Moto {
    /// Starts a server that accepts any signature.
    ///
    /// # Panics
    ///
    /// If the virtual environment is missing or the server is not up within a minute.
    #[must_use]
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// Starts a server that checks signatures and policies, with one user who may call STS and one
    /// role.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start), and if the user or the role cannot be created.
    #[must_use]
    pub fn start_with_auth() -> (Self, MotoUser) {
        let requests: [&[(&str, &str)]; 5] = [
            &[("Action", "CreateUser"), ("UserName", "brs")],
            &[
                ("Action", "PutUserPolicy"),
                ("UserName", "brs"),
                ("PolicyName", "sts"),
                ("PolicyDocument", USER_POLICY),
            ],
            &[("Action", "CreateAccessKey"), ("UserName", "brs")],
            &[
                ("Action", "CreateRole"),
                ("RoleName", "demo"),
                ("AssumeRolePolicyDocument", TRUST_POLICY),
            ],
            &[
                ("Action", "PutRolePolicy"),
                ("RoleName", "demo"),
                ("PolicyName", "all"),
                ("PolicyDocument", ROLE_POLICY),
            ],
        ];
        let moto = Self::launch(Some(requests.len()));
        let [_, _, key, role, _] = requests.map(|parameters| moto.iam(parameters));
        let credentials = Credentials::new(
            text_of(&key, "AccessKeyId"),
            text_of(&key, "SecretAccessKey"),
            None,
            None,
            "moto",
        );
        (
            moto,
            MotoUser {
                credentials,
                role_arn: text_of(&role, "Arn").to_owned(),
            },
        )
    }

    /// The URL to give to a client as its endpoint.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts the process; `unchecked_requests` is the number of requests after which moto checks
    /// signatures.
    fn launch(unchecked_requests: Option<usize>) -> Self {
        let program = program();
        assert!(
            program.is_file(),
            "{} is missing: `cargo xtask test` prepares moto's virtual environment, BRS_MOTO_VENV names another one",
            program.display()
        );
        let mut command = Command::new(&program);
        // With port 0 the server binds first and tells the port afterwards, so no other process can
        // take it.
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .env_remove("INITIAL_NO_AUTH_ACTION_COUNT");
        if let Some(count) = unchecked_requests {
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", count.to_string());
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = command
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stderr = process.stderr.take().expect("stderr is piped");
        let (lines, received) = mpsc::channel();
        thread::spawn(move || drain(stderr, &lines));
        // From here on a panic kills the process, which the handle owns.
        let mut moto = Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let mut said = String::new();
        moto.address = loop {
            match received.recv_timeout(START_LIMIT) {
                Ok(line) => match address_in(&line) {
                    Some(address) => break address,
                    None => said.push_str(&line),
                },
                Err(RecvTimeoutError::Timeout) => {
                    panic!("moto was not up within {START_LIMIT:?}; it said: {said}")
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("moto ended while starting; it said: {said}")
                }
            }
        };
        let health = moto.exchange("GET /moto-api/ HTTP/1.1", &[], "");
        assert!(
            health.starts_with("HTTP/1.1 200"),
            "moto is up but not well: {health}"
        );
        moto
    }

    /// Sends one unchecked request to IAM and returns the document.
    fn iam(&self, parameters: &[(&str, &str)]) -> String {
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("Version", "2010-05-08")
            .extend_pairs(parameters)
            .finish();
        let headers = [
            ("Authorization", IAM_SCOPE),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let answer = self.exchange("POST / HTTP/1.1", &headers, &form);
        assert!(
            answer.starts_with("HTTP/1.1 200"),
            "moto refused {:?}: {answer}",
            parameters[0].1
        );
        answer
    }

    fn exchange(&self, request_line: &str, headers: &[(&str, &str)], body: &str) -> String {
        let (address, length) = (self.address, body.len());
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request = format!(
            "{request_line}\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        let mut answer = Vec::new();
        let mut stream = TcpStream::connect(address).expect("moto accepts connections");
        stream
            .set_read_timeout(Some(CALL_LIMIT))
            .and_then(|()| stream.write_all(request.as_bytes()))
            .and_then(|()| stream.read_to_end(&mut answer))
            .unwrap_or_else(|error| panic!("moto did not answer {request_line}: {error}"));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl fmt::Debug for Moto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moto")
            .field("process", &self.process.id())
            .field("address", &self.address)
            .finish()
    }
}

impl fmt::Debug for MotoUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MotoUser")
            .field("access_key_id", &self.credentials.access_key_id())
            .field("role_arn", &self.role_arn)
            .finish_non_exhaustive()
    }
}

/// `moto_server` in `BRS_MOTO_VENV`, else in `moto` under the target directory.
fn program() -> PathBuf {
    let environment = env::var_os("BRS_MOTO_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| {
            let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
            // `join` keeps an absolute CARGO_TARGET_DIR as it is.
            workspace
                .join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
                .join("moto")
        });
    environment.join(if cfg!(windows) {
        "Scripts/moto_server.exe"
    } else {
        "bin/moto_server"
    })
}

/// Passes the server's lines on for as long as somebody listens, and keeps reading so that it never
/// blocks.
fn drain(stderr: ChildStderr, lines: &Sender<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = String::new();
    while matches!(stderr.read_line(&mut line), Ok(1..)) {
        let _ = lines.send(std::mem::take(&mut line));
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    line.split_once("Running on http://")?.1.trim().parse().ok()
}

/// The text of the first element of this name.
fn text_of<'a>(document: &'a str, element: &str) -> &'a str {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    document
        .split_once(&open)
        .and_then(|(_, rest)| rest.split_once(&close))
        .map(|(text, _)| text)
        .unwrap_or_else(|| panic!("moto's answer has no {element}"))
}
