//! The command `brs`: sessions for programs in every language.
//!
//! `args` is the grammar, `config` the configuration file, `open` opens sessions, `output` prints
//! credentials, `exit` knows the exit statuses; each command is a module of `commands`. Nothing here
//! reaches into the engine.

#[cfg(not(unix))]
compile_error!(
    "the command `brs` needs a Unix system: signals, terminals and file modes are Unix's"
);

mod args;
mod commands;
mod config;
mod exit;
mod log;
mod open;
mod output;
mod profiles;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

use args::{Cli, Command};
use exit::{Done, Failure};
use open::Context;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, what is wrong to stderr; a closed pipe is nobody's fault.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2).into();
        }
    };
    keep_secrets_out_of_core_files();
    log::start(&cli.global, commands::is_one_shot(&cli.command));
    let cx = Context::new(cli.global);
    let outcome = run(cli.command, &cx);
    // What a program of `exec` does to the terminal is its own affair.
    if !matches!(outcome, Ok(Done::Child(_))) {
        cx.terminal.restore();
    }
    if let Err(failure) = &outcome {
        failure.tell();
    }
    exit::code(&outcome)
}

fn run(command: Command, cx: &Context) -> Result<Done, Failure> {
    // Sessions refresh on threads of brs's own; only a server has work for more than one.
    let mut builder = if commands::is_one_shot(&command) {
        Builder::new_current_thread()
    } else {
        Builder::new_multi_thread()
    };
    let runtime = builder.enable_all().build().map_err(|error| {
        Failure::Machine(format!(
            "the system does not let brs start threads: {error}"
        ))
    })?;
    let outcome = runtime.block_on(commands::run(command, cx));
    // A prompt that is still open, or a file system that does not answer, holds nothing up.
    runtime.shutdown_background();
    outcome
}

/// A core file of this process would hold credentials. A program that `exec` starts has its own
/// setting.
fn keep_secrets_out_of_core_files() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::debug!("core files were not switched off: {error}");
        }
    }
}
