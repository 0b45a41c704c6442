//! The program, while it runs: signals are passed on, and its end is waited for.
//!
//! It is in this process's group and on its terminal. So the terminal itself tells it of Ctrl-C,
//! Ctrl-\ and Ctrl-Z: the first two do nothing to this process, the third stops both, as if there
//! were one. What is sent to this process alone is passed on. A signal that this process was
//! started to ignore, as by `nohup`, stays ignored by both.

use std::io;
use std::process::{Command, ExitStatus};

use futures_util::stream::{SelectAll, StreamExt as _};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, getpgid, getpgrp, kill_process, waitid};
use tokio::signal::unix::{SignalKind, signal};

/// Passed on to the program.
const FORWARDED: [Signal; 6] = [
    Signal::TERM,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::CONT,
    Signal::WINCH,
];

/// Of no effect here: the terminal sends them to the program, too.
const PASSED_OVER: [Signal; 2] = [Signal::INT, Signal::QUIT];

/// Runs the program to its end.
pub(super) async fn run(command: Command) -> io::Result<ExitStatus> {
    // From before the program is there, so that none is lost.
    let mut signals = Signals::listen()?;
    let mut child = tokio::process::Command::from(command).spawn()?;
    let id = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    loop {
        let caught = tokio::select! {
            biased;
            ended = child.wait() => return ended,
            caught = signals.next() => caught,
        };
        match (caught, id) {
            (Some(Signal::CHILD), Some(id)) => stop_with(id),
            // One that has just ended is no longer there.
            (Some(signal), Some(id)) if FORWARDED.contains(&signal) => {
                let _ = kill_process(id, signal);
            }
            _ => {}
        }
    }
}

/// The signals that arrive.
struct Signals(SelectAll<futures_util::stream::BoxStream<'static, Signal>>);

impl Signals {
    fn listen() -> io::Result<Self> {
        let ignored = ignored();
        let mut all = SelectAll::new();
        for kind in FORWARDED
            .into_iter()
            .chain(PASSED_OVER)
            .chain([Signal::CHILD])
        {
            let number = kind.as_raw();
            if ignored & (1 << (number - 1)) != 0 && kind != Signal::CHILD {
                continue;
            }
            let arrivals = signal(SignalKind::from_raw(number))?;
            let stream = futures_util::stream::unfold(arrivals, move |mut arrivals| async move {
                arrivals.recv().await.map(|()| (kind, arrivals))
            });
            all.push(stream.boxed());
        }
        Ok(Self(all))
    }

    async fn next(&mut self) -> Option<Signal> {
        self.0.next().await
    }
}

/// The signals that this process was started to ignore, as bits.
fn ignored() -> u64 {
    // Elsewhere it cannot be told without the system's own calls.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

/// If the program has stopped by itself in the foreground of the terminal, this process stops, too:
/// the shell is waiting for it.
fn stop_with(child: Pid) {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let is_stopped =
        matches!(waitid(WaitId::Pid(child), options), Ok(Some(status)) if status.stopped());
    if is_stopped && has_terminal(child) {
        let _ = kill_process(rustix::process::getpid(), Signal::STOP);
    }
}

/// Whether the terminal's foreground is this process's, or the program's.
fn has_terminal(child: Pid) -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else {
        return false;
    };
    let foreground = rustix::termios::tcgetpgrp(&terminal).ok();
    foreground.is_some_and(|group| group == getpgrp() || getpgid(Some(child)) == Ok(group))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[tokio::test]
    async fn the_program_s_own_end_is_told() {
        let shell = |script: &str| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]);
            command
        };
        assert_eq!(run(shell("exit 7")).await.unwrap().code(), Some(7));
        assert_eq!(run(shell("kill -KILL $$")).await.unwrap().signal(), Some(9));
        let error = run(Command::new("/does/not/exist")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
