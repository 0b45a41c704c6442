//! `soak`: the conductor, and the processes that it starts from this same program.

use std::process::ExitCode;

use brs_tests_soak::{conductor, issue, worker};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the soak and print the ledger; started by `cargo xtask soak`
    Run(conductor::Options),
    /// Hold sessions; started by `run`, with its settings on the standard input
    Worker,
    /// Print credentials that an endpoint gives; started by the method `custom`
    Issue {
        /// The endpoint
        url: String,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(options) => conductor::run(&options),
        Command::Worker => worker::run().map(|()| true),
        Command::Issue { url } => issue::run(&url).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(2)
        }
    }
}
