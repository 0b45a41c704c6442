//! A fixture around Redis or Valkey: a server on a port of its own, with its log in a folder of its
//! own, that can be stopped, killed, started again, made small or a replica, and dumped.
//!
//! [`RedisCluster`] is three of them that share the slots.

#![expect(
    clippy::disallowed_methods,
    reason = "polls a process outside, with a deadline"
)]

use std::env;
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long it may take to start, and to do what it is told.
const LIMIT: Duration = Duration::from_secs(30);

/// How often other ports are tried when one was taken.
const PORTS_TRIED: usize = 5;

/// A running server; it is killed when the handle is dropped.
pub struct Redis {
    process: Option<Child>,
    program: PathBuf,
    port: u16,
    settings: Vec<String>,
    folder: TempDir,
}

impl Redis {
    /// Starts `redis-server`.
    ///
    /// # Panics
    ///
    /// If it is missing or not up within half a minute.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with more settings: `["--maxmemory", "2mb"]`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        Self::of(&program("BRS_REDIS_SERVER", "redis-server"), settings)
    }

    /// Starts `valkey-server`; `None` on a system that has no package of it, which is one that
    /// `BRS_VALKEY_SERVER` is not set on.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_valkey() -> Option<Self> {
        env::var_os("BRS_VALKEY_SERVER").map(|program| Self::of(Path::new(&program), &[]))
    }

    fn of(program: &Path, settings: &[&str]) -> Self {
        let mut said = String::new();
        for _ in 0..PORTS_TRIED {
            let mut server = Self {
                process: None,
                program: program.to_owned(),
                port: free_port(),
                settings: settings.iter().map(|&text| text.to_owned()).collect(),
                folder: tempfile::tempdir().expect("the system has a folder for temporary files"),
            };
            match server.launch() {
                Ok(()) => return server,
                Err(words) => said = words,
            }
            if !said.contains("in use") {
                break;
            }
        }
        panic!("{} did not start; it said: {said}", program.display());
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// `redis://ADDRESS`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// `unix://PATH`.
    #[must_use]
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends it where it stands, as `SIGKILL` does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only for a process that has ended, which is what is wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, on the same port; what it had is gone.
    ///
    /// # Panics
    ///
    /// If it is not up within half a minute.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.launch()
            .unwrap_or_else(|said| panic!("it did not start again; it said: {said}"));
    }

    /// What `redis-cli` prints for a command.
    ///
    /// # Panics
    ///
    /// If the client is missing, or fails.
    pub fn tell(&self, command: &[&str]) -> String {
        let told = self.try_tell(command);
        told.unwrap_or_else(|said| panic!("{command:?}: {said}; its log: {}", self.log()))
    }

    /// Repeats a command until its output says this.
    ///
    /// # Panics
    ///
    /// If that takes more than half a minute.
    pub fn tell_until(&self, command: &[&str], words: &str) {
        let until = Instant::now() + LIMIT;
        loop {
            let said = self.try_tell(command).unwrap_or_else(|said| said);
            if said.contains(words) {
                return;
            }
            assert!(Instant::now() < until, "{command:?}: {said}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that it has, as it would be on a disk, uncompressed.
    ///
    /// # Panics
    ///
    /// If it cannot save.
    #[must_use]
    pub fn dump(&self) -> Vec<u8> {
        self.tell(&["CONFIG", "SET", "rdbcompression", "no"]);
        self.tell(&["SAVE"]);
        fs::read(self.folder.path().join("dump.rdb")).expect("it has saved")
    }

    fn try_tell(&self, command: &[&str]) -> Result<String, String> {
        let client = self.program.with_file_name("redis-cli");
        let client = if client.is_file() {
            client
        } else {
            "redis-cli".into()
        };
        let output = Command::new(&client)
            .args(["-e", "-s"])
            .arg(self.socket())
            .args(command)
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", client.display()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stdout) + &text(&output.stderr)),
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Starts the process; the error is what it said before it ended.
    fn launch(&mut self) -> Result<(), String> {
        let folder = self.folder.path();
        let process = Command::new(&self.program)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .arg("--dir")
            .arg(folder)
            .arg("--unixsocket")
            .arg(folder.join("socket"))
            .arg("--logfile")
            .arg(folder.join("log"))
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(&self.settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}: `cargo xtask test` installs redis-server, BRS_REDIS_SERVER names \
                     another one",
                    self.program.display()
                )
            });
        // From here on a panic kills the process, which the handle owns.
        self.process = Some(process);
        let until = Instant::now() + LIMIT;
        loop {
            if self
                .try_tell(&["PING"])
                .is_ok_and(|said| said.contains("PONG"))
            {
                return Ok(());
            }
            let process = self.process.as_mut().expect("it was just started");
            if process.try_wait().expect("it is ours").is_some() {
                self.process = None;
                return Err(self.log());
            }
            assert!(Instant::now() < until, "it is not up: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

/// Three servers that share the slots of a cluster.
#[derive(Debug)]
pub struct RedisCluster {
    /// The servers.
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts three and joins them.
    ///
    /// # Panics
    ///
    /// If that fails within half a minute.
    #[must_use]
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..3)
            .map(|_| {
                let bus = free_port().to_string();
                Redis::start_with(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "2000",
                ])
            })
            .collect();
        let ports: Vec<u16> = nodes.iter().map(|node| node.port).collect();
        let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
        create.extend(ports.iter().map(|port| format!("127.0.0.1:{port}")));
        create.extend(["--cluster-replicas", "0", "--cluster-yes"].map(str::to_owned));
        let output = Command::new("redis-cli").args(&create).output();
        let output = output.expect("redis-cli comes with redis-server");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
        for node in &nodes {
            node.tell_until(&["CLUSTER", "INFO"], "cluster_state:ok");
        }
        Self { nodes }
    }

    /// Their URLs.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }
}

/// Redis cannot choose a port by itself.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port can be bound");
    let address = listener.local_addr();
    address.expect("a bound socket has an address").port()
}

/// What the variable names, else where Debian has it.
fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(program) = env::var_os(variable) {
        return program.into();
    }
    let debian = Path::new("/usr/bin").join(name);
    if debian.is_file() {
        debian
    } else {
        name.into()
    }
}
