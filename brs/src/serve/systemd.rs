//! systemd: sockets that it has bound, and what it is told.
//!
//! Nothing happens in a process that systemd did not start. Reading the sockets takes their
//! variables out of the environment, so that no child takes them for its own.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use brs_core::Error;
use listenfd::ListenFd;
use sd_notify::NotifyState;

use super::guard::Door;
use super::shared::{Shared, listed};

/// How long the start waits for the first credentials.
const FIRST: Duration = Duration::from_secs(10);

/// The sockets of `LISTEN_FDS`, and what each is for: `admin` and `imds` by `FileDescriptorName=`,
/// any other is the endpoint.
pub(super) fn sockets() -> Result<Vec<(Door, TcpListener)>, Error> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for at in 0..given.len() {
        let door = match names.next() {
            Some("admin") => Door::Admin,
            Some("imds") => Door::Metadata,
            _ => Door::Endpoint,
        };
        let socket = given.take_tcp_listener(at).map_err(|error| {
            Error::configuration(format!(
                "socket {at} of `LISTEN_FDS` is not a TCP socket: use `ListenStream=` with an address and a port"
            ))
            .with_source(error)
            .unrecoverable()
        })?;
        sockets.extend(socket.map(|socket| (door, socket)));
    }
    Ok(sockets)
}

/// Tells systemd when the server is ready, how it is, and that it lives, until the server ends.
pub(super) async fn tell(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = telling(&shared) => {}
    }
}

async fn telling(shared: &Shared) {
    let mut changes = shared.changes.subscribe();
    let has_begun = || {
        shared
            .offer()
            .sessions
            .values()
            .all(|kept| kept.has_begun())
    };
    let begun = async { while !has_begun() && changes.changed().await.is_ok() {} };
    let beat = sd_notify::watchdog_enabled().map(|limit| limit / 2);
    // The first credentials may take longer than the watchdog allows.
    tokio::select! {
        _ = tokio::time::timeout(FIRST, begun) => {}
        () = beating(beat) => {}
    }
    ready(shared);
    loop {
        tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => send(&[NotifyState::Status(&status(shared))]),
                Err(_) => return,
            },
            () = beating(beat) => {}
        }
    }
}

/// Beats for ever, if there is a watchdog.
async fn beating(beat: Option<Duration>) {
    let Some(beat) = beat else {
        return std::future::pending().await;
    };
    loop {
        send(&[NotifyState::Watchdog]);
        tokio::time::sleep(beat).await;
    }
}

pub(super) fn ready(shared: &Shared) {
    send(&[NotifyState::Ready, NotifyState::Status(&status(shared))]);
}

pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(_) => send(&[NotifyState::Reloading]),
    }
}

pub(super) fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("ending")]);
}

fn status(shared: &Shared) -> String {
    let (sessions, not_ready) = (shared.offer().sessions.len(), shared.not_ready());
    match not_ready.len() {
        0 => format!("serving {sessions} sessions"),
        _ => format!(
            "serving {sessions} sessions, without credentials: {}",
            listed(&not_ready)
        ),
    }
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
