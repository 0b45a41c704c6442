//! `cargo xtask fuzz`: what reads input from outside, fed by libFuzzer.
//!
//! The targets are the programs of `tests/fuzz`. They are built with the compiler's own coverage,
//! which any stable toolchain has, and without a sanitizer, which would look for what safe code has
//! not. What a target finds interesting is kept below the target directory and used again; the
//! seeds beside the targets are what it starts from.

use std::fs;
use std::path::{Path, PathBuf};

use xshell::{Shell, cmd};

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

const PACKAGE: &str = "brs-tests-fuzz";
/// What the programs' names begin with; the rest is the target's.
const PREFIX: &str = "fuzz_";

/// What cargo-fuzz uses, too: counters for each edge, and the operands of comparisons.
const COVERAGE: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

/// The longest input; the longest that the product reads at once is 64 KiB.
const MAX_LENGTH: usize = 70_000;

/// What to run and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Run only the targets whose name contains this
    filter: Option<String>,
}

impl Options {
    /// As `ci` runs it.
    pub(crate) fn brief() -> Self {
        Self {
            seconds: 10,
            filter: None,
        }
    }
}

/// Builds all targets and runs each; the first input that one fails at ends it, and is named.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let targets = targets(workspace, options.filter.as_deref());
    if targets.is_empty() {
        return Err(Failure::new("no fuzz target has such a name"));
    }
    let shell = workspace.shell()?;
    let programs = build(workspace, &shell)?;
    let mut failed = Vec::new();
    for target in &targets {
        println!("\n== {target}");
        if fuzz(workspace, &shell, &programs, target, options.seconds).is_err() {
            failed.push(target.as_str());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(format!("{} failed", failed.join(", "))))
    }
}

fn targets(workspace: &Workspace, filter: Option<&str>) -> Vec<String> {
    let packages = workspace.metadata.workspace_packages();
    let package = packages
        .into_iter()
        .find(|package| package.name.as_str() == PACKAGE);
    let names = package
        .into_iter()
        .flat_map(|package| &package.targets)
        .filter(|target| target.is_bin());
    names
        .filter_map(|target| target.name.strip_prefix(PREFIX))
        .filter(|name| filter.is_none_or(|filter| name.contains(filter)))
        .map(str::to_owned)
        .collect()
}

/// Returns the folder with the programs. With a target triple, cargo leaves build scripts
/// uninstrumented.
fn build(workspace: &Workspace, shell: &Shell) -> Result<PathBuf> {
    let version = cmd!(shell, "rustc --version --verbose").quiet().read()?;
    let triple = version.lines().find_map(|line| line.strip_prefix("host: "));
    let triple = triple
        .ok_or_else(|| Failure::new("rustc does not tell its host"))?
        .to_owned();
    let folder = workspace.target("fuzz");
    let _flags = shell.push_env("RUSTFLAGS", COVERAGE.join(" "));
    cmd!(shell, "cargo build --locked --package {PACKAGE} --profile fuzz --target {triple} --target-dir {folder}")
        .run()?;
    Ok(folder.join(triple).join("fuzz"))
}

fn fuzz(
    workspace: &Workspace,
    shell: &Shell,
    programs: &Path,
    target: &str,
    seconds: u32,
) -> Result<()> {
    let program = programs.join(format!("{PREFIX}{target}"));
    let corpus = workspace.target("fuzz").join("corpus").join(target);
    let seeds = workspace.root().join("tests/fuzz/seeds").join(target);
    let artifacts = workspace.target("fuzz").join("failed").join(target);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder)?;
    }
    let mut folders = vec![corpus];
    folders.extend(Some(seeds).filter(|seeds| seeds.is_dir()));
    let limits = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={MAX_LENGTH}"),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
        format!("-artifact_prefix={}/", artifacts.display()),
    ];
    let output = cmd!(shell, "{program} {limits...} {folders...}")
        .ignore_status()
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Of a good run the figures are of interest, and not all that it learned; of a bad one, how it
    // ended.
    let shown = said
        .lines()
        .filter(|line| !output.status.success() || line.starts_with("stat::"));
    shown.for_each(|line| println!("{line}"));
    if output.status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("{target} failed")))
    }
}
