//! Running a command: its group, its pipes, its end.
//!
//! One future does everything: it reads both pipes and waits for the command at the same time, so that neither a full
//! pipe nor a silent command stalls it. The processes are owned by [`Group`]:
//!
//! 1. A group is either let go after its leader has exited and both pipes were closed, or killed; dropping it kills it.
//! 2. Whoever kills a group has it reaped by a task on brs's own runtime, which never ends: no zombies, and nobody has
//!    to wait.
//! 3. The leader is waited for alone ([`Group::leader_exited`]): a descendant that lives on must not look like a
//!    command that does.
//!
//! - The time limit is reached: `a_hanging_command_is_ended_with_its_grandchild`.
//! - The future is dropped: `dropping_the_future_ends_the_group`.
//! - A descendant keeps the pipe: `output_counts_though_a_descendant_keeps_it_open`.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

#[cfg(windows)]
use process_wrap::tokio::JobObject;
#[cfg(unix)]
use process_wrap::tokio::ProcessGroup;
use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{ChildStderr, ChildStdout};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::{Command, LEFTOVER_GRACE, Output, STDOUT_LIMIT, report};
use crate::clock::Clock;
use crate::error::Error;
use crate::runtime;

/// How much of the end of standard error is kept, in bytes.
const STDERR_KEPT: usize = 8 * 1024;

/// How much standard error is read and dropped before the command counts as running wild, in bytes.
const STDERR_LIMIT: u64 = 16 * 1024 * 1024;

/// How long a killed group is waited for; one that the system cannot end by then is left to its reaper.
const REAPING: Duration = Duration::from_secs(2);

pub(super) async fn run(command: &Command, clock: &Arc<dyn Clock>, limit: Duration) -> Result<Output, Error> {
    let limit = command.timeout.min(limit);
    if limit.is_zero() {
        return Err(report::timed_out(command, limit));
    }
    let started = clock.monotonic();
    let mut time_is_up = clock.sleep(limit);
    let (mut group, mut stdout, mut stderr) = spawn(command)?;
    let mut status = None;
    let ended = loop {
        if let Some(status) = status
            && stdout.pipe.is_none()
            && stderr.pipe.is_none()
        {
            group.let_go();
            break Ok(status);
        }
        // In this order so that a command that finishes at the very limit has finished; what it can print meanwhile is
        // bounded.
        tokio::select! {
            biased;
            exited = group.leader_exited(), if status.is_none() => match exited {
                Ok(exited) => {
                    status = Some(exited);
                    let left = limit.saturating_sub(clock.monotonic().saturating_sub(started));
                    time_is_up = clock.sleep(left.min(LEFTOVER_GRACE));
                }
                Err(error) => break Err(report::unwatched(command, error)),
            },
            read = stdout.read(), if stdout.pipe.is_some() => match read {
                Ok(()) if stdout.filled > STDOUT_LIMIT => break Err(report::output_too_long(command)),
                Ok(()) => {}
                Err(error) => break Err(report::unwatched(command, error)),
            },
            read = stderr.read(), if stderr.pipe.is_some() => match read {
                Ok(()) if stderr.total > STDERR_LIMIT => break Err(report::stderr_too_long(command, STDERR_LIMIT)),
                Ok(()) => {}
                Err(error) => break Err(report::unwatched(command, error)),
            },
            () = &mut time_is_up => break status.ok_or_else(|| report::timed_out(command, limit)),
        }
    };
    group.end(clock).await;
    let status: ExitStatus = ended?;
    let stderr = report::stderr_shown(&stderr.kept);
    if status.success() {
        Ok(Output { stdout: stdout.finish(), stderr })
    } else {
        Err(report::failed(command, status, &stderr))
    }
}

fn spawn(command: &Command) -> Result<(Group, Stdout, Stderr), Error> {
    let runtime = runtime::own()
        .map_err(|error| Error::connection("no thread could be started to watch a command").with_source(error))?;
    // Pipes and children belong to the runtime that is entered here, wherever they are awaited.
    let _entered = runtime.enter();
    let mut wrap = CommandWrap::with_new(&command.program, |native| {
        native.args(command.args.iter().map(|arg| &arg.0));
        if command.clear_env {
            native.env_clear();
        }
        for (key, value) in &command.env {
            match value {
                Some(value) => native.env(key, &value.0),
                None => native.env_remove(key),
            };
        }
        if let Some(path) = &command.current_dir {
            native.current_dir(path);
        }
        native.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    });
    wrap.wrap(KillOnDrop);
    #[cfg(unix)]
    wrap.wrap(ProcessGroup::leader());
    #[cfg(windows)]
    wrap.wrap(JobObject);
    let mut child = wrap.spawn().map_err(|error| report::not_started(command, error))?;
    let (stdout, stderr) = (Stdout::new(child.stdout().take()), Stderr::new(child.stderr().take()));
    Ok((Group { child: Some(child), runtime: runtime.clone() }, stdout, stderr))
}

/// The command and its descendants.
struct Group {
    /// `None` once let go or killed.
    child: Option<Box<dyn ChildWrapper>>,
    runtime: Handle,
}

impl Group {
    /// Waits for the command itself, not for its descendants. May be dropped and called again.
    async fn leader_exited(&mut self) -> io::Result<ExitStatus> {
        match &mut self.child {
            // The wrapper's own wait is for the whole group; its inner child is the leader.
            Some(child) => child.inner_mut().wait().await,
            None => std::future::pending().await,
        }
    }

    /// Leaves descendants that hold no pipe alone.
    fn let_go(&mut self) {
        self.child = None;
    }

    /// Kills the group, if it has not been let go, and waits until it is reaped, but not for ever.
    async fn end(&mut self, clock: &Arc<dyn Clock>) {
        if let Some(reaped) = self.kill() {
            let patience = clock.sleep(REAPING);
            tokio::select! {
                _ = reaped => {}
                () = patience => tracing::warn!("a killed command has not ended yet"),
            }
        }
    }

    fn kill(&mut self) -> Option<JoinHandle<()>> {
        let mut child = self.child.take()?;
        if let Err(error) = child.start_kill() {
            // Most often there is nobody left to kill.
            tracing::debug!(%error, "a command's group could not be killed");
        }
        Some(self.runtime.spawn(async move {
            if let Err(error) = child.wait().await {
                tracing::debug!(%error, "a killed command could not be reaped");
            }
        }))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(self.kill());
    }
}

/// Standard output, up to its limit, in one buffer that is never moved and wiped as a whole.
struct Stdout {
    pipe: Option<ChildStdout>,
    buffer: Zeroizing<Vec<u8>>,
    filled: usize,
}

impl Stdout {
    fn new(pipe: Option<ChildStdout>) -> Self {
        // One byte more than allowed, so that too much can be told from just enough.
        Self { pipe, buffer: Zeroizing::new(vec![0; STDOUT_LIMIT + 1]), filled: 0 }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.filled += read(&mut self.pipe, &mut self.buffer[self.filled..]).await?;
        Ok(())
    }

    fn finish(mut self) -> Zeroizing<Vec<u8>> {
        self.buffer.truncate(self.filled);
        self.buffer
    }
}

/// The end of standard error.
struct Stderr {
    pipe: Option<ChildStderr>,
    chunk: Zeroizing<Vec<u8>>,
    kept: Zeroizing<Vec<u8>>,
    total: u64,
}

impl Stderr {
    fn new(pipe: Option<ChildStderr>) -> Self {
        let kept = Zeroizing::new(Vec::with_capacity(STDERR_KEPT));
        Self { pipe, chunk: Zeroizing::new(vec![0; STDERR_KEPT]), kept, total: 0 }
    }

    async fn read(&mut self) -> io::Result<()> {
        let count = read(&mut self.pipe, &mut self.chunk).await?;
        let surplus = (self.kept.len() + count).saturating_sub(STDERR_KEPT);
        self.kept.drain(..surplus);
        self.kept.extend_from_slice(&self.chunk[..count]);
        self.total += count as u64;
        Ok(())
    }
}

/// One read; the end of the pipe closes it. May be dropped: then nothing was read.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(open) = pipe else { return std::future::pending().await };
    let count = open.read(buffer).await?;
    if count == 0 {
        *pipe = None;
    }
    Ok(count)
}
