//! `cargo xtask test`: sets up what the tests need, runs the table of runs, and closes with one
//! line that counts.
//!
//! The closing line is exactly `N passed, N failed, N skipped` and also stands, after a full run,
//! in `target/test-summary.txt`, for those who have to repeat it after other output. Skipped are tests
//! that are marked as ignored and were in no run.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;

use xshell::cmd;

use crate::ci::Stopwatch;
use crate::failure::Result;
use crate::libtest::{self, Tally};
use crate::outside::{Outside, Wanted};
use crate::runs::{self, Run};
use crate::stream;
use crate::workspace::Workspace;

/// Where the closing line is kept, below the target directory.
const SUMMARY: &str = "test-summary.txt";

/// Which tests to run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Run only what needs no server from outside the workspace, and list what that leaves out
    #[arg(long)]
    embedded: bool,
    /// Also run the tests with a software TPM, the second PKCS#11 module
    #[arg(long, conflicts_with = "embedded")]
    tpm: bool,
    /// Also run the tests with more clients of AWS: other SDKs, other languages
    #[arg(long, conflicts_with = "embedded")]
    conformance: bool,
    /// Run only tests whose name contains this
    filter: Option<String>,
}

/// Everything that a set of runs has shown.
#[derive(Debug, Default)]
struct Outcome {
    sum: Tally,
    left_out: BTreeSet<(String, String)>,
    /// One sentence for each run that did not end well.
    complaints: Vec<String>,
}

/// Runs the tests and tells whether all went well; the closing line is printed either way.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let summary = workspace.target(SUMMARY);
    // An old one must not speak for a run that ended early.
    let is_full = !options.embedded && options.filter.is_none();
    if is_full {
        fs::remove_file(&summary).ok();
    }

    let outside = if options.embedded {
        None
    } else {
        let wanted = Wanted {
            software_tpm: options.tpm,
            conformance: options.conformance,
        };
        Some(Outside::ensure(workspace, wanted)?)
    };
    let command = command(workspace)?;
    let mut outcome = Outcome::default();
    for (part, reason) in outside.iter().flat_map(|outside| &outside.left_out) {
        let tests = format!("tests with `{part}` in their name");
        outcome.left_out.insert((tests, reason.clone()));
    }
    let filter = options.filter.as_deref();
    for run in runs::table(workspace, &command, outside.as_ref(), filter) {
        outcome.add(&run, workspace)?;
    }
    if outcome.sum.executed() == 0 {
        outcome.complaints.push("no test was executed".to_owned());
    }

    println!();
    if !outcome.left_out.is_empty() {
        println!("left out:");
        for (name, reason) in &outcome.left_out {
            println!(
                "  {name}: {}",
                if reason.is_empty() {
                    "marked as ignored"
                } else {
                    reason
                }
            );
        }
    }
    for complaint in &outcome.complaints {
        println!("error: {complaint}");
    }
    let line = format!(
        "{} passed, {} failed, {} skipped",
        outcome.sum.passed, outcome.sum.failed, outcome.sum.ignored
    );
    if is_full {
        fs::write(&summary, format!("{line}\n"))?;
    }
    println!("{line}");
    Ok(outcome.complaints.is_empty())
}

/// Builds the binary `brs`: cargo names a package's binaries to that package's own tests only.
pub(crate) fn command(workspace: &Workspace) -> Result<PathBuf> {
    let shell = workspace.shell()?;
    cmd!(
        shell,
        "cargo build --locked --package brs-aws --all-features --bin brs"
    )
    .run()?;
    let name = format!("brs{}", std::env::consts::EXE_SUFFIX);
    Ok(workspace.target("debug").join(name))
}

impl Outcome {
    fn add(&mut self, run: &Run, workspace: &Workspace) -> Result<()> {
        println!("\n== {}: {}", run.name, run.typed());
        let stopwatch = Stopwatch::start();
        let mut tally = Tally::default();
        let status = stream::run(run.command(workspace), io::stdout(), |line| {
            if let Some(part) = Tally::parse(line) {
                tally += part;
            } else if let Some((name, reason)) = libtest::ignored(line) {
                self.left_out.insert((name.to_owned(), reason.to_owned()));
            }
        })?;
        println!(
            "== {}: {} passed, {} failed, {:.1} s",
            run.name,
            tally.passed,
            tally.failed,
            stopwatch.seconds()
        );
        self.sum += tally;
        self.complaints.extend(judge(run, tally, status.success()));
        Ok(())
    }
}

/// What is wrong with a run, if anything is.
fn judge(run: &Run, tally: Tally, success: bool) -> Option<String> {
    let name = &run.name;
    match (success, tally.failed) {
        (false, 0) => Some(format!(
            "run `{name}` ended without a failed test: it did not compile or it crashed"
        )),
        (_, failed) if failed > 0 => Some(format!("run `{name}`: {failed} failed")),
        _ if run.must_execute && tally.executed() == 0 => {
            Some(format!("run `{name}` executed no test"))
        }
        _ => None,
    }
}
