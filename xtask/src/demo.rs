//! `cargo xtask demo`: builds and starts the demo program, which parses its own arguments.
//!
//! Owns the hand-over, and what a demo needs: with a token SoftHSM2 and a store of its own, with
//! MQTT mosquitto, with a fleet Redis, with `--serve` the command and its clients. Called by `main`
//! only.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use crate::failure::Result;
use crate::workspace::Workspace;
use crate::{debian, outside, test, tokens};

/// Replaces this process with the demo, so that signals, terminal and exit code are the demo's own.
///
/// Does not come back on Unix unless cargo cannot be started; elsewhere it waits and returns the
/// exit code.
pub(crate) fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<ExitCode> {
    let mut cargo = Command::new("cargo");
    cargo
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "brs-tests",
            "--bin",
            "demo",
            "--",
        ])
        .args(arguments);
    cargo.env("NO_PROXY", crate::runs::loopback_without_proxy());
    if arguments.iter().any(|argument| argument == "--mqtt") {
        cargo.envs(debian::ensure_broker(&workspace.shell()?)?);
    }
    if arguments.iter().any(|argument| argument == "--fleet") {
        cargo.envs(debian::ensure_redis(&workspace.shell()?)?);
    }
    if arguments.iter().any(|argument| argument == "--serve") {
        cargo.envs(outside::ensure_clients(workspace)?);
        cargo.env("BRS_COMMAND", test::command(workspace)?);
    }
    if arguments.iter().any(|argument| argument == "--pkcs11") {
        cargo.envs(debian::ensure_token(&workspace.shell()?)?);
        cargo.env(
            "SOFTHSM2_CONF",
            tokens::empty_store(workspace, "softhsm2-demo")?,
        );
    }
    hand_over(cargo)
}

#[cfg(unix)]
fn hand_over(mut cargo: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;
    // A parent that merely waits would die of Ctrl-C before the demo has given the terminal back.
    Err(cargo.exec().into())
}

#[cfg(not(unix))]
fn hand_over(mut cargo: Command) -> Result<ExitCode> {
    let code = cargo
        .status()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}
