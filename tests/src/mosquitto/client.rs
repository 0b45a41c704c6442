//! mosquitto's command-line clients: the independent ends of what goes through the broker.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// A running `mosquitto_sub`; it is killed when the handle is dropped.
pub struct Subscriber {
    process: Child,
    lines: Receiver<String>,
}

impl Subscriber {
    pub(super) fn start(port: u16, filter: &str, arguments: &[&str]) -> Self {
        // Lines are to come at once, though they go into a pipe.
        let mut process = Command::new("stdbuf")
            .args(["-oL", "mosquitto_sub"])
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &port.to_string(),
                "-q",
                "1",
                "-t",
                filter,
                "-F",
                "%t %p",
                "-d",
            ])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("mosquitto_sub: {error}: `cargo xtask test` installs mosquitto-clients")
            });
        let stdout = process.stdout.take().expect("stdout is piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let subscriber = Self { process, lines };
        while !subscriber
            .line(LIMIT)
            .expect("mosquitto_sub subscribes")
            .starts_with("Subscribed")
        {}
        subscriber
    }

    /// The next message, topic and payload; `None` if none comes within the limit.
    #[must_use]
    pub fn next(&self, limit: Duration) -> Option<(String, String)> {
        loop {
            let line = self.line(limit)?;
            // The rest is what it says about its packets.
            if !line.starts_with("Client ")
                && !line.starts_with("Subscribed")
                && !line.starts_with("Warning")
            {
                let (topic, payload) = line.split_once(' ').unwrap_or((&line, ""));
                return Some((topic.to_owned(), payload.to_owned()));
            }
        }
    }

    fn line(&self, limit: Duration) -> Option<String> {
        self.lines.recv_timeout(limit).ok()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("process", &self.process.id())
            .finish_non_exhaustive()
    }
}

pub(super) fn publish(port: u16, topic: &str, payload: &str, arguments: &[&str]) {
    let status = Command::new("mosquitto_pub")
        .args([
            "-h",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-t",
            topic,
            "-m",
            payload,
        ])
        .args(arguments)
        .status()
        .unwrap_or_else(|error| {
            panic!("mosquitto_pub: {error}: `cargo xtask test` installs mosquitto-clients")
        });
    assert!(status.success(), "mosquitto_pub: {status}");
}
