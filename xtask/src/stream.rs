//! Runs a program, passes its output on as it comes, and lets the caller read each line.
//!
//! Standard output and standard error go through one pipe: cargo names a test binary on one and the
//! binary prints its results on the other, and only their order tells which belongs to which.

use std::io::{self, BufRead as _, BufReader, PipeReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// How long the output stays open after the program's end before the rest is given up.
///
/// A server that a crashed test left behind inherits the pipe; without a limit it would hang the
/// run for ever.
const LINGER: Duration = Duration::from_secs(2);

/// Runs `command` without standard input to its end; what it prints goes to `terminal`.
pub(crate) fn run(
    mut command: Command,
    mut terminal: impl Write,
    mut each_line: impl FnMut(&str),
) -> io::Result<ExitStatus> {
    let (reader, writer) = io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn()?;
    // The command owns our ends of the pipe: while they are open the reader sees no end of file.
    drop(command);

    let (sender, lines) = mpsc::channel();
    thread::spawn(move || read(reader, &sender));
    loop {
        match lines.recv_timeout(LINGER) {
            Ok(line) => {
                terminal.write_all(&line)?;
                terminal.flush()?;
                each_line(String::from_utf8_lossy(&line).trim_end());
            }
            Err(RecvTimeoutError::Disconnected) => return child.wait(),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = child.try_wait()? {
                    eprintln!("note: a process that outlived the run still holds its output open");
                    return Ok(status);
                }
            }
        }
    }
}

/// Sends line by line; ends with the pipe or with the receiver.
fn read(pipe: PipeReader, lines: &Sender<Vec<u8>>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe
        .read_until(b'\n', &mut line)
        .is_ok_and(|length| length > 0)
    {
        if lines.send(std::mem::take(&mut line)).is_err() {
            return;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_streams_are_read_in_order() {
        let mut lines = Vec::new();
        let status = run(
            shell("echo a; echo b >&2; echo c; exit 3"),
            io::sink(),
            |line| lines.push(line.to_owned()),
        )
        .unwrap();
        assert_eq!(status.code(), Some(3));
        assert_eq!(lines, ["a", "b", "c"]);
    }

    #[test]
    fn a_process_left_behind_does_not_hang_the_run() {
        let mut lines = Vec::new();
        let status = run(shell("sleep 30 & echo $!"), io::sink(), |line| {
            lines.push(line.to_owned())
        })
        .unwrap();
        assert!(status.success());
        let left_behind = &lines[0];
        assert!(
            shell(&format!("kill {left_behind}"))
                .status()
                .unwrap()
                .success()
        );
    }
}
