//! The commands, each in a module of its own.

use crate::args::Command;
use crate::exit::{Done, Failure};
use crate::open::Context;

mod cache;
mod completions;
mod credential_process;
mod doctor;
mod exec;
mod login;
mod methods;
mod serve;
mod watch;
mod whoami;
mod write;

/// Runs a command.
pub(crate) async fn run(command: Command, cx: &Context) -> Result<Done, Failure> {
    match command {
        Command::CredentialProcess(args) => Box::pin(credential_process::run(args, cx)).await,
        Command::Exec(args) => Box::pin(exec::run(args, cx)).await,
        Command::Serve(args) => Box::pin(serve::run(args, cx)).await,
        Command::Write(args) => Box::pin(write::run(args, cx)).await,
        Command::Login(args) => Box::pin(login::run(args, cx)).await,
        Command::Doctor(args) => Box::pin(doctor::run(args, cx)).await,
        Command::Whoami(args) => Box::pin(whoami::run(args, cx)).await,
        Command::Methods(args) => methods::run(&args),
        Command::Cache(args) => cache::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Watch(args) => Box::pin(watch::run(args, cx)).await,
    }
}

/// Whether the command fetches once and ends.
pub(crate) fn is_one_shot(command: &Command) -> bool {
    match command {
        Command::Exec(_) | Command::Serve(_) => false,
        Command::Write(args) => args.once,
        // `watch` shows failures itself.
        _ => true,
    }
}
