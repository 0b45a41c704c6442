//! A fixture around mosquitto: a broker that shares no code with this workspace, and its two
//! command-line clients.
//!
//! One broker has three doors: MQTT over mutual TLS, where a device's certificate is demanded and
//! its name is the user name; plain MQTT on the loopback address, for the independent clients and
//! for what stands in front of it; and plain WebSocket, for what checks signatures first. Ports,
//! settings and what it persists are in a folder of its own, and it can be stopped and started
//! again on the same ports.

use std::env;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::embedded_iot::EmbeddedIot;

mod client;

pub use client::Subscriber;

/// How long it may take to start, and to end.
const LIMIT: Duration = Duration::from_secs(30);

/// How often other ports are tried when one was taken.
const PORTS_TRIED: usize = 5;

/// What it says of a port that was taken between being found and being bound: of a WebSocket's
/// nothing more.
const TAKEN: [&str; 2] = [
    "Address already in use",
    "Unable to create websockets listener",
];

/// A running mosquitto; it is killed when the handle is dropped.
pub struct Mosquitto {
    process: Option<Child>,
    /// What it says; ends with it.
    lines: Receiver<String>,
    ports: Ports,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    tls: u16,
    plain: u16,
    websocket: u16,
}

impl Mosquitto {
    /// Starts a broker with the certificate of `iot`, whose
    /// [`trust_store`](EmbeddedIot::trust_store) is right for it too, and which lets in the devices
    /// of `iot`.
    ///
    /// # Panics
    ///
    /// If mosquitto is missing or not up within half a minute.
    #[must_use]
    pub fn start(iot: &EmbeddedIot) -> Self {
        Self::start_with(iot, "")
    }

    /// As [`start`](Self::start), with more settings: access lists, limits.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(iot: &EmbeddedIot, settings: &str) -> Self {
        let mut said = String::new();
        for _ in 0..PORTS_TRIED {
            let mut broker = Self::prepare(iot, settings);
            match broker.launch() {
                Ok(()) => return broker,
                Err(words) => said = words,
            }
            if !TAKEN.into_iter().any(|words| said.contains(words)) {
                break;
            }
        }
        panic!("mosquitto did not start; it said: {said}");
    }

    /// What to give to a device as its endpoint: `localhost:PORT`, mutual TLS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.ports.tls)
    }

    /// The address behind [`endpoint`](Self::endpoint), for what stands in front of it.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.tls).into()
    }

    /// Plain MQTT.
    #[must_use]
    pub fn plain_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.plain).into()
    }

    /// Plain WebSocket.
    #[must_use]
    pub fn websocket_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.websocket).into()
    }

    /// `mosquitto_sub` on the plain door, up and subscribed.
    #[must_use]
    pub fn subscriber(&self, filter: &str) -> Subscriber {
        Subscriber::start(self.ports.plain, filter, &[])
    }

    /// As [`subscriber`](Self::subscriber), with a session that outlives restarts of the broker.
    #[must_use]
    pub fn lasting_subscriber(&self, filter: &str, client_id: &str) -> Subscriber {
        Subscriber::start(self.ports.plain, filter, &["-c", "-i", client_id])
    }

    /// Publishes with `mosquitto_pub`, QoS 1, over the plain door.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn publish(&self, topic: &str, payload: &str) {
        client::publish(self.ports.plain, topic, payload, &["-q", "1"]);
    }

    /// As [`publish`](Self::publish), with more arguments for `mosquitto_pub`.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn publish_with(&self, topic: &str, payload: &str, arguments: &[&str]) {
        client::publish(self.ports.plain, topic, payload, arguments);
    }

    /// Ends the broker in good order, as `SIGTERM` does, with what it has persisted.
    ///
    /// # Panics
    ///
    /// If it does not end.
    #[cfg(unix)]
    pub fn stop(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let id = i32::try_from(process.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        let id = id.expect("a process has an id");
        // A signal that comes while it starts is forgotten, so it is repeated.
        for _ in 0..300 {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)
                .expect("the broker is ours");
            while self.lines.recv_timeout(Duration::from_millis(100)).is_ok() {}
            if process.try_wait().expect("the broker is ours").is_some() {
                break;
            }
        }
        process.wait().expect("the broker is ours");
        self.process = None;
    }

    /// Ends the broker where it stands, as `SIGKILL` does.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.kill().expect("the broker is ours");
        process.wait().expect("the broker is ours");
    }

    /// Starts it again, on the same ports.
    ///
    /// # Panics
    ///
    /// If it is not up within half a minute.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.launch()
            .unwrap_or_else(|said| panic!("mosquitto did not start again; it said: {said}"));
    }

    fn prepare(iot: &EmbeddedIot, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
        let ports = free_ports();
        let (certificate, key) = iot.server_identity();
        let files = [
            ("server.pem", certificate),
            ("server.key", key),
            ("devices.pem", iot.device_trust_store()),
            (
                "mosquitto.conf",
                configuration(folder.path(), ports, settings),
            ),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text)
                .expect("the folder for temporary files can be written to");
        }
        Self {
            process: None,
            lines: mpsc::channel().1,
            ports,
            folder,
        }
    }

    /// Starts the process; the error is what it said before it ended.
    fn launch(&mut self) -> Result<(), String> {
        let program = program();
        let mut process = Command::new(&program)
            .arg("-c")
            .arg(self.folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}: `cargo xtask test` installs mosquitto, BRS_MOSQUITTO names another one",
                    program.display()
                )
            });
        let stderr = process.stderr.take().expect("stderr is piped");
        // From here on a panic kills the process, which the handle owns.
        self.process = Some(process);
        let (lines, received) = mpsc::channel();
        thread::spawn(move || drain(stderr, &lines));
        let mut said = String::new();
        loop {
            match received.recv_timeout(LIMIT) {
                Ok(line) if line.contains(" running") => {
                    self.lines = received;
                    return Ok(());
                }
                Ok(line) => said.push_str(&line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("mosquitto was not up within {LIMIT:?}; it said: {said}")
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.kill();
                    return Err(said);
                }
            }
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Both fail only for a process that has ended, which is what is wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl fmt::Debug for Mosquitto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mosquitto")
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// mosquitto cannot choose a port by itself.
fn free_ports() -> Ports {
    let bound =
        [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be bound"));
    let [tls, plain, websocket] = bound.map(|listener| {
        listener
            .local_addr()
            .expect("a bound socket has an address")
            .port()
    });
    Ports {
        tls,
        plain,
        websocket,
    }
}

fn configuration(folder: &Path, ports: Ports, settings: &str) -> String {
    let Ports {
        tls,
        plain,
        websocket,
    } = ports;
    let folder = folder.display();
    // As root it would become another user, who may not read the folder.
    format!(
        "\
user root
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
persistence true
persistence_location {folder}/
persistent_client_expiration 1d
max_queued_messages 0
max_queued_bytes 0
set_tcp_nodelay true
{settings}

listener {tls} 127.0.0.1
certfile {folder}/server.pem
keyfile {folder}/server.key
cafile {folder}/devices.pem
require_certificate true
use_identity_as_username true

listener {plain} 127.0.0.1

listener {websocket} 127.0.0.1
protocol websockets

allow_anonymous true
"
    )
}

/// Passes its lines on for as long as somebody listens, and keeps reading so that it never blocks.
fn drain(stderr: ChildStderr, lines: &Sender<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = String::new();
    while matches!(stderr.read_line(&mut line), Ok(1..)) {
        let _ = lines.send(std::mem::take(&mut line));
    }
}

/// `BRS_MOSQUITTO`, else where Debian has it, which is in no ordinary user's path.
fn program() -> PathBuf {
    if let Some(program) = env::var_os("BRS_MOSQUITTO") {
        return program.into();
    }
    let debian = Path::new("/usr/sbin/mosquitto");
    if debian.is_file() {
        debian.into()
    } else {
        "mosquitto".into()
    }
}
