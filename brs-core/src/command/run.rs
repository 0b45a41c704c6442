//! Running a command: its group, its pipes, its end.
//!
//! One future does everything: it reads both pipes and waits for the command at the same time, so
//! that neither a full pipe nor a silent command stalls it. The processes are owned by [`Group`]:
//!
//! 1. A group is either let go after its leader has exited and both pipes were closed, or killed;
//!    dropping it kills it.
//! 2. A killed group is reaped by a task on brs's own runtime, which never ends: no zombies, and
//!    no caller has to wait.
//! 3. The leader is waited for alone ([`Group::leader_exited`]): a descendant that lives on must
//!    not look like a command that does.
//! 4. The leader is not reaped before its group has been let go or killed. Until then the system
//!    cannot give its number, which is the group's, to another process, so that the signal reaches
//!    no other process even if all other members have left. (A process that ignores SIGCHLD or reaps
//!    children that are not its own takes this away.)
//!
//! - The time limit is reached: `a_hanging_command_is_ended_with_its_grandchild`.
//! - The future is dropped: `dropping_the_future_ends_the_group`.
//! - A descendant keeps the pipe: `output_counts_though_a_descendant_keeps_it_open`.
//! - All others have left the group: `the_leader_is_not_reaped_while_its_group_may_be_killed`.

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
#[cfg(unix)]
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::{Command, LEFTOVER_GRACE, Output, STDOUT_LIMIT, report, shown};
use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::kit::runtime;

/// How much of the end of standard error is kept, in bytes.
const STDERR_KEPT: usize = 8 * 1024;

/// How much standard error is read and dropped before the command counts as running wild, in bytes.
const STDERR_LIMIT: u64 = 16 * 1024 * 1024;

/// The default of Linux, in bytes.
const PIPE_CAPACITY: usize = 64 * 1024;

/// How long a killed group is waited for; one that the system cannot end by then is left to its
/// reaper.
const REAPING: Duration = Duration::from_secs(2);

pub(super) async fn run(
    command: &Command,
    clock: &Arc<dyn Clock>,
    limit: Duration,
) -> Result<Output, Error> {
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
            group.let_go().await;
            break Ok(status);
        }
        // In this order so that a command that finishes at the very limit has finished; what it can
        // print meanwhile is bounded.
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
            () = &mut time_is_up => break match status {
                Some(status) => take_rest(command, &mut stdout, &mut stderr).map(|()| status),
                None => Err(report::timed_out(command, limit)),
            },
        }
    };
    group.end(clock).await;
    let status: ExitStatus = ended?;
    let stderr = shown::stderr(command, &stderr.kept, stderr.is_cut());
    if status.success() {
        Ok(Output {
            stdout: stdout.finish(),
            stderr,
        })
    } else {
        Err(report::failed(command, status, &stderr))
    }
}

/// Reads what is in the pipes once the command has exited: the runtime may not have noticed it yet.
fn take_rest(command: &Command, stdout: &mut Stdout, stderr: &mut Stderr) -> Result<(), Error> {
    stdout
        .read_now()
        .and_then(|()| stderr.read_now())
        .map_err(|error| report::unwatched(command, error))?;
    if stdout.filled > STDOUT_LIMIT {
        Err(report::output_too_long(command))
    } else {
        Ok(())
    }
}

fn spawn(command: &Command) -> Result<(Group, Stdout, Stderr), Error> {
    let runtime = runtime::own().map_err(|error| {
        Error::connection("no thread could be started to watch a command").with_source(error)
    })?;
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
        native
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    });
    wrap.wrap(KillOnDrop);
    #[cfg(unix)]
    wrap.wrap(ProcessGroup::leader());
    #[cfg(windows)]
    wrap.wrap(JobObject);
    let mut child = wrap
        .spawn()
        .map_err(|error| report::not_started(command, error))?;
    let (stdout, stderr) = (
        Stdout::new(child.stdout().take()),
        Stderr::new(child.stderr().take()),
    );
    let mut group = Group {
        #[cfg(unix)]
        exit: None,
        child: Some(child),
        runtime: runtime.clone(),
    };
    #[cfg(unix)]
    group
        .watch()
        .map_err(|error| report::unwatched(command, error))?;
    Ok((group, stdout, stderr))
}

/// The command and its descendants.
struct Group {
    /// Tells that the leader has exited, while it can still be reaped.
    #[cfg(unix)]
    exit: Option<oneshot::Receiver<io::Result<ExitStatus>>>,
    /// `None` once let go or killed.
    child: Option<Box<dyn ChildWrapper>>,
    runtime: Handle,
}

impl Group {
    /// Watches the leader from a thread of its own: there is no other way to wait without reaping
    /// that all systems know.
    #[cfg(unix)]
    fn watch(&mut self) -> io::Result<()> {
        let leader = self
            .child
            .as_ref()
            .and_then(|child| unreaped::pid(child.id()?));
        let leader = leader.ok_or_else(|| io::Error::other("the command has no process id"))?;
        let (tell, exit) = oneshot::channel();
        std::thread::Builder::new()
            .name("brs-command".into())
            .spawn(move || {
                // The caller may have left.
                let _ = tell.send(unreaped::exited(leader));
            })?;
        self.exit = Some(exit);
        Ok(())
    }

    /// Waits for the command itself, not for its descendants. May be dropped and called again,
    /// until it is ready.
    #[cfg(unix)]
    async fn leader_exited(&mut self) -> io::Result<ExitStatus> {
        match &mut self.exit {
            Some(exit) => exit.await.map_err(io::Error::other)?,
            None => std::future::pending().await,
        }
    }

    /// Waits for the command itself. The system keeps what is known of it as long as there is a
    /// handle.
    #[cfg(not(unix))]
    async fn leader_exited(&mut self) -> io::Result<ExitStatus> {
        match &mut self.child {
            // The wrapper's own wait is for the whole group; its inner child is the leader.
            Some(child) => child.inner_mut().wait().await,
            None => std::future::pending().await,
        }
    }

    /// Leaves descendants that hold no pipe alone. The leader, which has exited, is reaped.
    async fn let_go(&mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.inner_mut().wait().await
        {
            tracing::debug!(%error, "a command could not be reaped");
        }
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
            // Usually no process is left to kill.
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

/// Waiting for a process without reaping it.
#[cfg(unix)]
mod unreaped {
    use std::io;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    pub(super) fn pid(id: u32) -> Option<Pid> {
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    /// Blocks until the process has exited.
    pub(super) fn exited(process: Pid) -> io::Result<ExitStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(process), options))?;
        // The two forms of a wait status: the code in the second byte, or the signal in the first.
        let code = status
            .as_ref()
            .and_then(|status| status.exit_status())
            .map(|code| (code & 0xff) << 8);
        let raw = code.or_else(|| status.as_ref()?.terminating_signal());
        raw.map(ExitStatus::from_raw)
            .ok_or_else(|| io::Error::other("the system did not tell how it ended"))
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
        Self {
            pipe,
            buffer: Zeroizing::new(vec![0; STDOUT_LIMIT + 1]),
            filled: 0,
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        self.filled += read(&mut self.pipe, &mut self.buffer[self.filled..]).await?;
        Ok(())
    }

    fn read_now(&mut self) -> io::Result<()> {
        loop {
            match read_now(&self.pipe, &mut self.buffer[self.filled..])? {
                0 => return Ok(()),
                count => self.filled += count,
            }
        }
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
        Self {
            pipe,
            chunk: Zeroizing::new(vec![0; STDERR_KEPT]),
            kept,
            total: 0,
        }
    }

    /// Whether the beginning of what was written is not kept.
    fn is_cut(&self) -> bool {
        self.total > self.kept.len() as u64
    }

    async fn read(&mut self) -> io::Result<()> {
        let count = read(&mut self.pipe, &mut self.chunk).await?;
        self.keep(count);
        Ok(())
    }

    /// As much as a pipe can hold: a descendant may be writing without end.
    fn read_now(&mut self) -> io::Result<()> {
        let mut left = PIPE_CAPACITY;
        while left > 0 {
            match read_now(&self.pipe, &mut self.chunk)? {
                0 => break,
                count => {
                    self.keep(count);
                    left = left.saturating_sub(count);
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, count: usize) {
        let surplus = (self.kept.len() + count).saturating_sub(STDERR_KEPT);
        self.kept.drain(..surplus);
        self.kept.extend_from_slice(&self.chunk[..count]);
        self.total += count as u64;
    }
}

/// One read; the end of the pipe closes it. May be dropped: then nothing was read.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(open) = pipe else {
        return std::future::pending().await;
    };
    let count = open.read(buffer).await?;
    if count == 0 {
        *pipe = None;
    }
    Ok(count)
}

/// What can be read without waiting; 0 where that is nothing.
#[cfg(unix)]
fn read_now(pipe: &Option<impl std::os::fd::AsFd>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(open) = pipe else { return Ok(0) };
    // The runtime has set its pipes to not block.
    match rustix::io::retry_on_intr(|| rustix::io::read(open, &mut *buffer)) {
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        read => Ok(read?),
    }
}

#[cfg(not(unix))]
fn read_now<P>(_: &Option<P>, _: &mut [u8]) -> io::Result<usize> {
    Ok(0)
}
