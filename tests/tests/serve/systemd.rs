//! A service that systemd starts: its sockets, and what it tells.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// The service, and the socket that it tells systemd by.
struct Service {
    child: Child,
    told: UnixDatagram,
    address: SocketAddr,
    token: String,
}

/// Starts the service as systemd does, with a socket that is bound already.
fn start_service(listener: std::net::TcpListener, folder: &std::path::Path) -> Service {
    let path = folder.join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(LIMIT)).unwrap();
    let mut child = Command::new("sh")
        .args([
            "-c",
            "exec \"$0\" 3<&0 </dev/null",
            env!("CARGO_BIN_EXE_serve_probe"),
        ])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::piped())
        .env("LISTEN_FDS", "1")
        .env_remove("LISTEN_PID")
        .env("LISTEN_FDNAMES", "brs")
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "100000")
        .env_remove("WATCHDOG_PID")
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let (address, token) = line.trim_end().split_once(' ').expect("it has started");
    Service {
        address: address.parse().unwrap(),
        token: token.to_owned(),
        told,
        child,
    }
}

impl Service {
    /// What is told next, without beats and what only the status page would need.
    fn next_told(&self) -> String {
        loop {
            let mut bytes = [0; 4096];
            let length = self.told.recv(&mut bytes).expect("systemd is told");
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text != "WATCHDOG=1\n" && !text.starts_with("STATUS=") {
                return text;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }
}

#[tokio::test]
async fn a_service_takes_its_socket_and_tells_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bound = listener.local_addr().unwrap();
    let mut service = start_service(listener, folder.path());
    assert_eq!(service.address, bound);
    assert_eq!(service.next_told(), "READY=1\nSTATUS=serving 1 sessions\n");
    let token = [("Authorization", service.token.as_str())];
    assert_eq!(request(bound, "GET", "/", &token).await.status, 200);
    let mut beat = [0; 4096];
    let told = |service: &Service, bytes: &mut [u8]| {
        let length = service.told.recv(bytes).expect("the watchdog is told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    while told(&service, &mut beat) != "WATCHDOG=1\n" {}
    service.signal(Signal::HUP);
    let reloading = service.next_told();
    assert!(
        reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="),
        "{reloading}"
    );
    assert_eq!(service.next_told(), "READY=1\nSTATUS=serving 1 sessions\n");
    assert_eq!(
        request(bound, "GET", "/", &token).await.status,
        200,
        "the token before"
    );
    service.signal(Signal::TERM);
    assert!(service.next_told().starts_with("STOPPING=1\n"));
    assert!(service.child.wait().unwrap().success());
}
