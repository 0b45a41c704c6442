//! Worker processes: started, told, frozen, killed, and looked at from outside.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::record::{Order, Record, Settings};
use crate::schedule::Millis;

/// glibc keeps large pieces for later, unless these are set.
const ALLOCATOR: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("MALLOC_ARENA_MAX", "2"),
];

/// What a worker uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) at: Millis,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    pub(crate) memory_kib: u64,
}

/// A line of a worker, by its life's name; or one that is none.
pub(crate) type Line = (String, Result<Record, String>);

/// A running worker; it is killed when the handle is dropped.
pub(crate) struct Worker {
    /// `a#2`: the worker's name, and which of its lives this is.
    pub(crate) life: String,
    child: Child,
    orders: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    pub(crate) samples: Vec<Sample>,
}

impl Worker {
    /// Starts this program as a worker, its log in `logs`.
    pub(crate) fn start(
        life: String,
        settings: &Settings,
        logs: &Path,
        lines: Sender<Line>,
    ) -> Result<Self, Failure> {
        let log = File::create(logs.join(format!("{life}.log")))?;
        let mut command = Command::new(std::env::current_exe()?);
        // What a user has set for AWS must not change what happens.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let none = logs.join("none");
        let mut child = command
            .arg("worker")
            .env("AWS_CONFIG_FILE", &none)
            .env("AWS_SHARED_CREDENTIALS_FILE", &none)
            .env("NO_PROXY", "127.0.0.1,localhost")
            // What is freed is given back, or an answer of some megabytes would look like a leak.
            .envs(ALLOCATOR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut orders = child.stdin.take().ok_or("no standard input")?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let name = life.clone();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let record = serde_json::from_str(&line).map_err(|error| error.to_string());
                if lines.send((name.clone(), record)).is_err() {
                    break;
                }
            }
        });
        writeln!(orders, "{}", serde_json::to_string(settings)?)?;
        Ok(Self {
            life,
            child,
            orders: Some(orders),
            reader: Some(reader),
            samples: Vec::new(),
        })
    }

    /// Tells it something; one that has ended hears nothing.
    pub(crate) fn tell(&mut self, order: Order) -> Result<(), Failure> {
        let line = serde_json::to_string(&order)?;
        if let Some(orders) = &mut self.orders {
            let _ = writeln!(orders, "{line}");
        }
        Ok(())
    }

    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it where it stands, and takes in what it has written.
    pub(crate) fn kill(&mut self) {
        // Both fail only for a process that has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<bool>, Failure> {
        Ok(self.child.try_wait()?.map(|status| status.success()))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It is ours and not reaped yet.
            let _ = kill_process(pid, signal);
        }
    }

    /// Looks at what it uses; the command lines are its own and its children's.
    pub(crate) fn look(&mut self, at: Millis) -> Vec<u8> {
        let folder = Path::new("/proc").join(self.child.id().to_string());
        let status = fs::read_to_string(folder.join("status")).unwrap_or_default();
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let descriptors = fs::read_dir(folder.join("fd")).map(Iterator::count);
        if let (Ok(descriptors), Some(threads), Some(memory_kib)) =
            (descriptors, number("Threads:"), number("VmRSS:"))
        {
            self.samples.push(Sample {
                at,
                descriptors: descriptors as u64,
                threads,
                memory_kib,
            });
        }
        let mut shown = fs::read(folder.join("cmdline")).unwrap_or_default();
        for thread in fs::read_dir(folder.join("task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace() {
                let child = Path::new("/proc").join(child).join("cmdline");
                shown.extend(fs::read(child).unwrap_or_default());
            }
        }
        shown
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
