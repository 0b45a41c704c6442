//! `cargo xtask soak`: builds the soak, sets up its servers and starts it.
//!
//! Owns what has to be there: the program, Redis and mosquitto. What happens in a soak, and what is
//! promised, is the package `brs-tests-soak`'s business. A server that cannot be set up is left
//! out, with what depends on it, and that is said before and after.

use std::process::Command;

use xshell::cmd;

use crate::debian;
use crate::failure::{Failure, Result};
use crate::runs::loopback_without_proxy;
use crate::workspace::Workspace;

const PACKAGE: &str = "brs-tests-soak";

/// How long, and which faults.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long faults happen; the end takes up to a minute more
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Repeat the faults of an earlier run, which has printed its seed first
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds, sets up, runs; tells whether every promise was kept.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let shell = workspace.shell()?;
    cmd!(shell, "cargo build --locked --package {PACKAGE}").run()?;
    let mut soak = Command::new(workspace.target("debug").join("soak"));
    soak.arg("run")
        .arg(format!("--minutes={}", options.minutes))
        .args(options.seed.map(|seed| format!("--seed={seed}")))
        .arg("--out")
        .arg(workspace.target("soak"))
        .current_dir(workspace.root())
        .env("NO_PROXY", loopback_without_proxy());
    let mut left_out = Vec::new();
    for (server, without, brings) in [
        (
            debian::ensure_redis(&shell),
            "--no-store",
            "the fleet's store",
        ),
        (debian::ensure_broker(&shell), "--no-broker", "MQTT"),
    ] {
        match server {
            Ok(variables) => {
                soak.envs(variables);
            }
            Err(failure) => {
                soak.arg(without);
                left_out.push(format!("left out: {brings}: {failure}"));
            }
        }
    }
    left_out.iter().for_each(|line| println!("{line}"));
    let status = soak.status()?;
    left_out.iter().for_each(|line| println!("{line}"));
    println!("ledger and logs: {}", workspace.target("soak").display());
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => Err(Failure::new(format!(
            "the soak itself did not work: {status}"
        ))),
    }
}
