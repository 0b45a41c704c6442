//! The project's own commands: `cargo xtask demo | test | bench | soak | ci | fuzz | tidy | deps |
//! api`.
//!
//! This file owns the command line and turns results into exit codes: 0 is fine, 1 is a finding or
//! a failed test, 2 is something missing on this machine. The work is done by one module per
//! command. The program stays light on purpose: it starts cargo and the other packages' programs
//! and links none of them, so that it builds in seconds and still runs while the rest of the
//! workspace does not compile.

mod api;
mod bench;
mod ci;
mod debian;
mod demo;
mod deny;
mod deps;
mod failure;
mod fuzz;
mod libtest;
mod node;
mod outside;
mod python;
mod runs;
mod soak;
mod stream;
mod test;
mod tidy;
mod tokens;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Result;
use crate::workspace::Workspace;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the demo; everything after `demo` is passed on, `--help` too
    #[command(disable_help_flag = true)]
    Demo {
        /// The demo's own arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Set up what the tests need and run them all: every crate, every feature, doc tests
    Test(test::Options),
    /// Measure brs beside its peers and write `target/bench/report.md` and `report.json`
    Bench(bench::Options),
    /// Use sessions of every method while a seeded schedule of faults runs, and check what was
    /// promised
    Soak(soak::Options),
    /// Run every stage of CI, each named and timed
    Ci(ci::Options),
    /// Check texts and manifests against the house rules, without compiling
    Tidy,
    /// Feed what reads input from outside with libFuzzer
    Fuzz(fuzz::Options),
    /// Check what each feature set builds, and the licences, bans and sources of deny.toml
    Deps,
    /// Compare the public API of the published crates with the kept text in tests/api
    Api(api::Options),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let good = match command {
        Command::Demo { arguments } => return demo::run(&Workspace::load()?, &arguments),
        Command::Test(options) => test::run(&Workspace::load()?, &options)?,
        Command::Bench(options) => bench::run(&Workspace::load()?, &options)?,
        Command::Soak(options) => soak::run(&Workspace::load()?, &options)?,
        Command::Ci(options) => ci::run(&Workspace::load()?, &options)?,
        Command::Tidy => tidy::run(&Workspace::load()?).map(|()| true)?,
        Command::Fuzz(options) => fuzz::run(&Workspace::load()?, &options).map(|()| true)?,
        Command::Api(options) => api::run(&Workspace::load()?, &options).map(|()| true)?,
        Command::Deps => deps::run(&Workspace::load()?).map(|()| true)?,
    };
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
