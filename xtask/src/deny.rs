//! Runs cargo-deny over licences, bans and sources, as `deny.toml` has them.
//!
//! The user's own cargo-deny is taken if there is one, else a prebuilt one, pinned by hash, in the
//! target directory. The advisories are not part of it: their database is on a server that a closed
//! network does not reach, and a new advisory should not fail a change that has nothing to do with
//! it. `cargo deny check` reads them.

use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::failure::{Failure, Result};
use crate::python::Venv;
use crate::workspace::Workspace;

/// Runs the checks; cargo-deny prints what it finds.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let shell = workspace.shell()?;
    let cargo_deny = program(workspace, &shell)?;
    let checks = ["bans", "licenses", "sources"];
    cmd!(
        shell,
        "{cargo_deny} --locked check --hide-inclusion-graph {checks...}"
    )
    .run()
    .map_err(|_| {
        Failure::new("cargo-deny has found something: see above, the rules are in deny.toml")
    })
}

fn program(workspace: &Workspace, shell: &Shell) -> Result<PathBuf> {
    let own = "cargo-deny";
    if cmd!(shell, "{own} --version")
        .quiet()
        .ignore_stdout()
        .ignore_stderr()
        .run()
        .is_ok()
    {
        return Ok(own.into());
    }
    let venv =
        Venv::ensure(workspace, own, include_str!("../cargo-deny.txt")).map_err(|failure| {
            Failure::missing(format!("{failure}, or: cargo install --locked cargo-deny"))
        })?;
    Ok(venv.program(own))
}
