//! Processes that a measured process starts itself, and speaks with by lines.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Failure;

/// A process that ends with its handle.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        Ok(Self {
            stdin: stdin.ok_or("no standard input")?,
            stdout: BufReader::new(stdout.ok_or("no standard output")?),
            child,
        })
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.stdin, "{line}")?)
    }

    /// The next line that it says.
    pub(crate) fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line)? {
            0 => Err("a process ended too soon".into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    /// Waits until it says that it is ready.
    pub(crate) fn is_ready(&mut self) -> Result<(), Failure> {
        match self.line()?.as_str() {
            "ready" => Ok(()),
            line => Err(format!("`{line}` in place of `ready`").into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
