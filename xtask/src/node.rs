//! Packages for Node.js that tests run, each set of them in a folder below the target directory.
//!
//! Owns finding Node.js and installing what a lock file pins, without running the packages' own
//! scripts. What was installed is kept beside it, as for Python's environments (`python`). Does not
//! know what the packages are for.

use std::fs;
use std::path::PathBuf;

use xshell::{Shell, cmd};

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

/// The oldest that the packages accept.
const MINIMUM: u32 = 20;

/// Why there is no Node.js to use; `None` if there is.
pub(crate) fn missing(workspace: &Workspace) -> Result<Option<String>> {
    let shell = workspace.shell()?;
    let has_npm = version(&shell, "npm").is_some();
    Ok(match version(&shell, "node") {
        Some(major) if major >= MINIMUM && has_npm => None,
        Some(major) if has_npm => Some(format!(
            "Node.js {MINIMUM} or newer is missing, version {major} is there"
        )),
        _ => Some(format!("Node.js {MINIMUM} or newer with npm is missing")),
    })
}

/// Makes `target/NAME` hold exactly what the lock file in `source` pins, a folder of the tree.
///
/// # Errors
///
/// Exit code 2 when the packages cannot be had.
pub(crate) fn ensure(workspace: &Workspace, name: &str, source: &str) -> Result<PathBuf> {
    let shell = workspace.shell()?;
    let (folder, source) = (workspace.target(name), workspace.root().join(source));
    let lock = fs::read_to_string(source.join("package-lock.json"))?;
    let stamp = folder.join("installed.json");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    println!("installing {name} into {}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), folder.join(file))?;
    }
    let quiet = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ];
    shell.change_dir(&folder);
    cmd!(shell, "npm ci {quiet...}").run().map_err(|error| {
        Failure::missing(format!(
            "{name} could not be installed ({error}): is the registry of npm reachable?"
        ))
    })?;
    fs::write(&stamp, lock)?;
    Ok(folder)
}

/// The first number of a program's version; `None` without the program.
fn version(shell: &Shell, program: &str) -> Option<u32> {
    let text = cmd!(shell, "{program} --version")
        .quiet()
        .ignore_stderr()
        .read()
        .ok()?;
    major(&text)
}

/// The first number of `v20.1.2` or `10.8.0`.
fn major(version: &str) -> Option<u32> {
    let version = version.strip_prefix('v').unwrap_or(version);
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_node_and_npm_are_read() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("11.19.1"), Some(11));
        assert_eq!(major("node: not found"), None);
    }
}
