//! `cargo xtask ci`: every check of the project as named and timed stages.
//!
//! The file that a CI service reads only calls this, so that a developer runs the same. All stages
//! run, whatever fails before them: one round shows everything there is to fix.

use std::time::Instant;

use xshell::cmd;

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;
use crate::{api, deps, fuzz, test, tidy};

/// Which stages to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave out the tests, because `cargo xtask test` was run before
    #[arg(long)]
    after_test: bool,
}

type Stage = (&'static str, fn(&Workspace) -> Result<()>);

/// In this order: what answers in seconds comes first.
const STAGES: [Stage; 9] = [
    ("fmt", fmt),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("features", features),
    ("tests", tests),
    ("rustdoc", rustdoc),
    ("api", |workspace| {
        api::run(workspace, &api::Options::default())
    }),
    ("fuzz", |workspace| {
        fuzz::run(workspace, &fuzz::Options::brief())
    }),
    ("deps", deps::run),
];

/// Runs the stages, prints their table and tells whether all went well.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut table = Vec::new();
    for (name, stage) in STAGES {
        if name == "tests" && options.after_test {
            continue;
        }
        println!("\n=== {name}");
        let stopwatch = Stopwatch::start();
        let result = stage(workspace);
        if let Err(failure) = &result {
            println!("error: {failure}");
        }
        table.push((name, result.is_ok(), stopwatch.seconds()));
    }

    println!("\n{:<10}{:<8}{:>8}", "stage", "result", "seconds");
    for (name, good, seconds) in &table {
        println!(
            "{name:<10}{:<8}{seconds:>8.1}",
            if *good { "ok" } else { "FAILED" }
        );
    }
    Ok(table.iter().all(|&(_, good, _)| good))
}

fn fmt(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    Ok(cmd!(shell, "cargo fmt --all --check").run()?)
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    Ok(cmd!(
        shell,
        "cargo clippy --locked --workspace --all-targets --all-features -- -D warnings"
    )
    .run()?)
}

/// Each published crate without features and with each of them alone.
///
/// Clippy instead of `check`: it compiles the same and turns warnings, such as an import that only
/// one feature uses, into errors without compiling the dependencies again.
fn features(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let mut failed = Vec::new();
    for package in workspace.published() {
        let name = package.name.as_str();
        for feature in std::iter::once("").chain(package.features.keys().map(String::as_str)) {
            let alone = ["--no-default-features", "--features", feature];
            if cmd!(
                shell,
                "cargo clippy --locked --quiet --package {name} {alone...} -- -D warnings"
            )
            .run()
            .is_err()
            {
                failed.push(format!(
                    "{name} with {}",
                    if feature.is_empty() {
                        "no feature"
                    } else {
                        feature
                    }
                ));
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failed.join(", ")))
    }
}

fn tests(workspace: &Workspace) -> Result<()> {
    match test::run(workspace, &test::Options::default())? {
        true => Ok(()),
        false => Err(Failure::new("see the closing lines of the tests above")),
    }
}

/// Private items first, so that the pages left in the target directory are the public ones.
fn rustdoc(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let _flags = shell.push_env("RUSTDOCFLAGS", "-D warnings");
    for private in [Some("--document-private-items"), None] {
        cmd!(
            shell,
            "cargo doc --locked --workspace --no-deps --all-features {private...}"
        )
        .run()?;
    }
    Ok(())
}

/// Measures a stage.
#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(
        clippy::disallowed_methods,
        reason = "a stage is real work in real time: there is no clock to inject"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}
