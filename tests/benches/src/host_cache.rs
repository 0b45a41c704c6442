//! Processes of a host that all want the credentials of one role: whole programs, started from here.
//!
//! `brs` has its host cache; `botocore` the cache of the AWS CLI; `sdk` has none, and is what the
//! least of such programs takes. *Together*: all begin with an empty cache, get ready, and ask at
//! the same time. *First* and *next*: one program after the other, without and with a set in the
//! cache.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::children::Process;
use crate::pool::source_calls;
use crate::stopwatch::{Stopwatch, median, number_of};
use crate::subject::ROLE;
use crate::{Failure, Figures, figures};

/// Programs of one kind, and their caches.
struct Programs<'a> {
    peer: &'a str,
    folder: TempDir,
}

/// How long the processes of a host take, and how often they call the source.
///
/// # Errors
///
/// If a program is missing or fails.
pub fn host_cache(peer: &str, is_quick: bool) -> Result<Figures, Failure> {
    let (peer, many) = match peer.strip_suffix("_200") {
        Some(peer) => (peer, 200),
        None => (peer, if is_quick { 20 } else { 50 }),
    };
    let folder = tempfile::tempdir()?;
    let programs = Programs { peer, folder };
    let mut found = programs.together(many)?;
    if many != 200 {
        let (firsts, nexts) = if is_quick { (2, 5) } else { (5, 20) };
        found.extend(programs.one_by_one(firsts, nexts)?);
    }
    Ok(found)
}

impl Programs<'_> {
    /// A program with that cache.
    fn command(&self, cache: &Path) -> Result<Command, Failure> {
        let path = |name: &str| {
            let path = env::var_os(name).map(PathBuf::from);
            path.ok_or_else(|| format!("`{name}` is not set"))
        };
        let mut command = match self.peer {
            "brs" => Command::new(path("BENCH_PROGRAMS")?.join("program_shared")),
            "sdk" => Command::new(path("BENCH_PROGRAMS")?.join("program_sdk")),
            "botocore" => {
                let python =
                    path("BENCH_PYTHON").map_err(|_| "the Python peers are not installed")?;
                let mut command = Command::new(python);
                command.arg(path("BENCH_SCRIPTS")?.join("shared.py"));
                command
            }
            peer => return Err(format!("{peer} has no such measurement").into()),
        };
        let config = self.folder.path().join("config");
        let profile = format!(
            "[profile bench]\nrole_arn = {ROLE}\nrole_session_name = bench\n\
             credential_source = Environment\n"
        );
        fs::write(&config, profile)?;
        if self.peer == "botocore" {
            command.env("AWS_CONFIG_FILE", config);
        }
        command
            .env("BRS_CACHE_DIR", cache)
            .env("BENCH_CACHE", cache);
        Ok(command)
    }

    /// A cache of that name, empty.
    fn cache(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// So many processes ask at the same time.
    fn together(&self, many: usize) -> Result<Figures, Failure> {
        let cache = self.cache("together");
        let mut processes = Vec::new();
        for _ in 0..many {
            let mut command = self.command(&cache)?;
            processes.push(Process::start(command.env("BENCH_GATE", "yes"))?);
        }
        for process in &mut processes {
            process.is_ready()?;
        }
        let (calls, stopwatch) = (source_calls()?, Stopwatch::start());
        for process in &mut processes {
            process.say("")?;
        }
        let mut keys = BTreeSet::new();
        for process in &mut processes {
            keys.insert(process.line()?);
        }
        Ok(figures([
            ("processes", many as f64),
            ("together_ms", stopwatch.seconds() * 1e3),
            ("together_keys", keys.len() as f64),
            ("together_source_calls", source_calls()? - calls),
        ]))
    }

    /// One process after the other: with empty caches, then with one of them.
    fn one_by_one(&self, firsts: usize, nexts: usize) -> Result<Figures, Failure> {
        let mut first = Vec::new();
        for number in 0..firsts {
            first.push(self.run(&self.cache(&number.to_string()))?);
        }
        let (filled, mut next) = (self.cache("0"), Vec::new());
        let calls = source_calls()?;
        for _ in 0..nexts {
            next.push(self.run(&filled)?);
        }
        let calls = source_calls()? - calls;
        let output = self.command(&filled)?.env("BENCH_MEMORY", "yes").output()?;
        let peak = number_of(&String::from_utf8_lossy(&output.stdout), "VmHWM:") * 1024.0;
        Ok(figures([
            ("first_ms", median(&mut first)),
            ("next_ms", median(&mut next)),
            ("next_source_calls", calls / nexts as f64),
            ("next_peak_mb", peak / 1e6),
        ]))
    }

    /// From a program's start to its end, in milliseconds.
    fn run(&self, cache: &Path) -> Result<f64, Failure> {
        let mut command = self.command(cache)?;
        let stopwatch = Stopwatch::start();
        let output = command.output()?;
        let took = stopwatch.seconds() * 1e3;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(took)
    }
}
