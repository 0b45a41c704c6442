//! A fixture around nginx: a TLS peer that shares no code with this workspace, in front of an
//! [`EmbeddedIot`].
//!
//! nginx shakes hands with devices by OpenSSL, demands and checks their certificates, and hands the
//! requests to the embedded server's back door. So a device's handshakes are also tried with an
//! implementation that is not rustls. What it does differently is its own: a client without a good
//! certificate finishes its handshake and gets a page of status 400, and validity is judged by the
//! system's clock.
//!
//! Owns one process and the folder with its settings. Tests that use it are `#[ignore = "needs
//! nginx"]`.

use std::env;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::embedded_iot::{EmbeddedIot, TlsVersions};

/// How long it may take to start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How many requests a connection is kept for: later ones are to resume its TLS session.
pub const REQUESTS: usize = 10;

/// How often another port is tried when one was taken between being found and being bound.
const PORTS_TRIED: usize = 5;

/// A running nginx; it is killed when the handle is dropped. It ends no later than what is behind
/// it: keep the [`EmbeddedIot`] for as long.
pub struct Nginx {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx in front of `iot`, whose [`trust_store`](EmbeddedIot::trust_store) is right for
    /// it too.
    ///
    /// # Panics
    ///
    /// If nginx is missing or not up within half a minute.
    #[must_use]
    pub fn start(iot: &EmbeddedIot, versions: TlsVersions) -> Self {
        let mut said = String::new();
        for _ in 0..PORTS_TRIED {
            match Self::launch(iot, versions) {
                Ok(nginx) => return nginx,
                Err(words) => said = words,
            }
            if !said.contains("Address already in use") {
                break;
            }
        }
        panic!("nginx did not start; it said: {said}");
    }

    /// What to give to a client as its endpoint: `localhost:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Starts the process; the error is what it said before it ended.
    fn launch(iot: &EmbeddedIot, versions: TlsVersions) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("the system has a folder for temporary files");
        let port = free_port();
        let (certificate, key) = iot.server_identity();
        let files = [
            ("server.pem", certificate),
            ("server.key", key),
            ("devices.pem", iot.device_trust_store()),
            (
                "nginx.conf",
                settings(folder.path(), port, &iot.back_door().to_string(), versions),
            ),
        ];
        for (name, text) in files {
            fs::write(folder.path().join(name), text)
                .expect("the folder for temporary files can be written to");
        }
        let program = program();
        let mut process = Command::new(&program)
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}: `cargo xtask test` installs nginx, BRS_NGINX names another one",
                    program.display()
                )
            });
        let stderr = process.stderr.take().expect("stderr is piped");
        let (lines, received) = mpsc::channel();
        thread::spawn(move || drain(stderr, &lines));
        // From here on a panic kills the process, which the handle owns.
        let nginx = Self {
            process,
            port,
            _folder: folder,
        };
        let mut said = String::new();
        loop {
            match received.recv_timeout(START_LIMIT) {
                // It tells its version once its port is bound.
                Ok(line) if line.contains("[notice]") && line.contains(": nginx/") => {
                    return Ok(nginx);
                }
                Ok(line) => said.push_str(&line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("nginx was not up within {START_LIMIT:?}; it said: {said}")
                }
                Err(RecvTimeoutError::Disconnected) => return Err(said),
            }
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl fmt::Debug for Nginx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nginx")
            .field("process", &self.process.id())
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

/// nginx cannot choose a port by itself.
fn free_port() -> u16 {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of 127.0.0.1 can be bound");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

/// `BRS_NGINX`, else where Debian has it, which is in no ordinary user's path.
fn program() -> PathBuf {
    if let Some(program) = env::var_os("BRS_NGINX") {
        return program.into();
    }
    let debian = Path::new("/usr/sbin/nginx");
    if debian.is_file() {
        debian.into()
    } else {
        "nginx".into()
    }
}

/// One process and no files outside its folder. `Date` is passed on, which nginx would replace by
/// its own.
fn settings(folder: &Path, port: u16, behind: &str, versions: TlsVersions) -> String {
    let folder = folder.display();
    let protocols = match versions {
        TlsVersions::Tls12 => "TLSv1.2",
        TlsVersions::Tls13 => "TLSv1.3",
        TlsVersions::Both => "TLSv1.2 TLSv1.3",
    };
    format!(
        "daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        server_name localhost;
        ssl_certificate {folder}/server.pem;
        ssl_certificate_key {folder}/server.key;
        ssl_protocols {protocols};
        ssl_session_cache shared:tls:1m;
        keepalive_requests {REQUESTS};
        ssl_client_certificate {folder}/devices.pem;
        ssl_verify_client on;
        ssl_verify_depth 3;
        location / {{
            proxy_pass http://{behind};
            proxy_http_version 1.1;
            proxy_max_temp_file_size 0;
            proxy_pass_header Date;
            proxy_set_header Host $http_host;
            proxy_set_header X-Client-Cert-Pem $ssl_client_escaped_cert;
            proxy_set_header X-Client-Cert-TLS-Version $ssl_protocol;
            proxy_set_header X-Client-Cert-Session-Reused $ssl_session_reused;
            proxy_set_header X-Client-Cert-Server-Name $ssl_server_name;
            proxy_set_header X-Client-Cert-Connection $connection;
        }}
    }}
}}
"
    )
}

/// Passes nginx's lines on for as long as somebody listens, and keeps reading so that it never
/// blocks.
fn drain(stderr: ChildStderr, lines: &Sender<String>) {
    let mut stderr = BufReader::new(stderr);
    let mut line = String::new();
    while matches!(stderr.read_line(&mut line), Ok(1..)) {
        let _ = lines.send(std::mem::take(&mut line));
    }
}
