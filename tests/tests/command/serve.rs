//! `brs serve`: the configuration's sessions, signals, and what the service manager is told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::*;
use brs_tests::embedded_aws::Failure;

/// A server, and the socket on which it reports.
struct Serving {
    child: Option<Child>,
    address: SocketAddr,
    token_file: PathBuf,
    notified: UnixDatagram,
}

impl Serving {
    /// Serves these sessions to one consumer.
    fn start(world: &World, sessions: &str) -> Self {
        let address = free();
        let token_file = world.path("web.token");
        configure(world, sessions, address);
        let socket = world.path("notify");
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut command = world.direct(&["serve"]);
        command.env("NOTIFY_SOCKET", &socket).stderr(Stdio::piped());
        let serving = Self {
            child: Some(command.spawn().unwrap()),
            address,
            token_file,
            notified,
        };
        serving.until("READY=1");
        serving
    }

    /// Waits for a message of the server to the service manager.
    fn until(&self, text: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let length = self.notified.recv(&mut bytes).unwrap();
            let message = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if message.contains(text) {
                return message;
            }
        }
    }

    fn token(&self) -> String {
        fs::read_to_string(&self.token_file).unwrap()
    }

    fn get(&self, path: &str) -> String {
        get(self.address, path, &self.token()).unwrap()
    }

    /// The access key id of a session.
    fn key(&self, session: &str) -> String {
        let answer = self.get(&format!("/session/{session}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
        key_in(body)
    }

    fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Ends the server, and gives its status and what it reported.
    fn end(mut self) -> (Option<i32>, String) {
        self.kill(Signal::TERM);
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn configure(world: &World, sessions: &str, address: SocketAddr) {
    let token_file = world.path("web.token");
    world.configure(&format!(
        "{sessions}[serve]\nlisten = \"{address}\"\n[serve.consumers.web]\nall = true\ntoken_file = \"{}\"\n",
        token_file.display()
    ));
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn get(address: SocketAddr, path: &str, token: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {token}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn sessions_are_served_until_sigterm() {
    let world = World::new();
    let serving = Serving::start(&world, &world.session("app", ROLE, ""));
    assert!(serving.key("app").starts_with("ASIA"));
    let wrong = get(serving.address, "/session/app", "wrong").unwrap();
    assert!(wrong.starts_with("HTTP/1.1 403 "), "{wrong}");
    let (address, token_file) = (serving.address, serving.token_file.clone());
    let (code, stderr) = serving.end();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(!token_file.exists());
    assert!(get(address, "/", "").is_err());
}

#[test]
fn a_reload_keeps_the_sets_of_unchanged_sessions() {
    let world = World::new();
    // Without a cache, so that only the server can have kept a set.
    fs::remove_dir_all(world.path("run")).unwrap();
    let sessions = |hub: &str, third: &str| {
        format!(
            "{}{}{third}",
            world.session("app", ROLE, ""),
            world.session("hub", hub, "")
        )
    };
    let serving = Serving::start(&world, &sessions(HUB, ""));
    let (app, hub, token) = (serving.key("app"), serving.key("hub"), serving.token());
    configure(
        &world,
        &sessions(
            &format!("{HUB}2"),
            &world.session("third", ROLE, "static_stability = true\n"),
        ),
        serving.address,
    );
    serving.kill(Signal::HUP);
    let reloading = serving.until("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    let ready = serving.until("READY=1");
    assert!(ready.contains("STATUS=serving 3 sessions"), "{ready}");
    assert_eq!(serving.key("app"), app);
    assert_ne!(serving.key("hub"), hub);
    assert!(serving.key("third").starts_with("ASIA"));
    // The token is new, and the old one is good for a while.
    assert_ne!(serving.token(), token);
    let old = get(serving.address, "/session/app", &token).unwrap();
    assert!(old.starts_with("HTTP/1.1 200 "), "{old}");

    // A mistake changes nothing.
    world.configure("[sessions.app]\nmethod = \"stss\"\n");
    serving.kill(Signal::HUP);
    serving.until("RELOADING=1");
    serving.until("READY=1");
    assert_eq!(serving.key("app"), app);
    let (code, stderr) = serving.end();
    assert_eq!(code, Some(0));
    assert!(
        stderr.contains("the sessions stay as they were: ") && stderr.contains("brs.toml:2:"),
        "{stderr}"
    );
}

#[test]
fn a_source_that_fails_at_the_start_is_told_and_fatal_only_if_strict() {
    let world = World::new();
    world.aws.deny_role(HUB);
    let sessions = format!(
        "{}{}",
        world.session("app", ROLE, ""),
        world.session("hub", HUB, "")
    );
    let serving = Serving::start(&world, &sessions);
    assert!(serving.key("app").starts_with("ASIA"));
    let answer = serving.get("/session/hub");
    assert!(
        answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 5"),
        "{answer}"
    );
    let (_, stderr) = serving.end();
    assert!(stderr.contains("hub"), "{stderr}");

    configure(&world, &sessions, free());
    let stderr = world.run(&["serve", "--strict"]).fails(1);
    assert!(stderr.contains("role/hub"), "{stderr}");
}

#[test]
fn a_source_that_hangs_holds_up_neither_start_nor_end() {
    let world = World::new();
    world.aws.fail_always(Some(Failure::Hang));
    let serving = Serving::start(&world, &world.session("app", ROLE, ""));
    assert_eq!(serving.end().0, Some(0));
}

#[test]
fn without_serve_or_consumers_it_is_2() {
    let world = World::new();
    let stderr = world.run(&["serve"]).fails(2);
    assert!(stderr.contains("has no `[serve]`"), "{stderr}");
    world.configure(&format!("{}[serve]\n", world.session("app", ROLE, "")));
    let stderr = world.run(&["serve"]).fails(2);
    assert!(stderr.contains("`[serve.consumers.NAME]`"), "{stderr}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    configure(
        &world,
        &world.session("app", ROLE, ""),
        taken.local_addr().unwrap(),
    );
    let stderr = Ran::of(&mut world.brs(&["serve"])).stderr;
    assert!(
        stderr.contains(&taken.local_addr().unwrap().to_string()),
        "{stderr}"
    );
}
