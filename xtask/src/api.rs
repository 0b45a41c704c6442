//! `cargo xtask api`: the public API of the published crates, as text that is kept.
//!
//! Owns `tests/api`: a file a crate, a line an item, from rustdoc's JSON. A change of the API is
//! thereby seen in review, and CI fails where the text was not written again. What only
//! `#[doc(hidden)]` shows is no API.

use std::fs;
use std::path::{Path, PathBuf};

use public_api::Builder;
use xshell::{Shell, cmd};

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

/// Rustdoc's JSON is not stable; only rustdoc is told to give it, or else build scripts would find
/// another compiler, too, and everything would be built again.
const RUSTDOC: &str = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";

/// What to do.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Write the kept text instead of comparing
    #[arg(long)]
    write: bool,
}

/// Compares the API with the kept text, or writes that.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let shell = workspace.shell()?;
    let _rustdoc = shell.push_env("RUSTDOC", rustdoc(workspace)?);
    let mut changed = Vec::new();
    for package in workspace.published() {
        let library = package
            .targets
            .iter()
            .find(|target| target.is_lib())
            .ok_or_else(|| Failure::new(format!("{} has no library", package.name)))?;
        let now = api(workspace, &shell, &package.name, &library.name)?;
        let kept = workspace
            .root()
            .join(format!("tests/api/{}.txt", package.name));
        if options.write {
            fs::write(&kept, now)?;
        } else if !is_same(&kept, &now)? {
            changed.push(package.name.as_str());
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the public API of {} is not the one in tests/api: if that is meant, run `cargo xtask api \
         --write`, look at the difference, and tell users in CHANGELOG.md",
        changed.join(", ")
    )))
}

fn rustdoc(workspace: &Workspace) -> Result<PathBuf> {
    let script = workspace.target("rustdoc-json");
    fs::write(&script, RUSTDOC)?;
    #[cfg(unix)]
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(script)
}

fn api(workspace: &Workspace, shell: &Shell, package: &str, library: &str) -> Result<String> {
    let json = ["-Z", "unstable-options", "--output-format", "json"];
    cmd!(
        shell,
        "cargo rustdoc --locked --quiet --package {package} --lib --all-features -- {json...}"
    )
    .run()?;
    let api = Builder::from_rustdoc_json(workspace.target(&format!("doc/{library}.json")))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|error| Failure::new(format!("the API of {package}: {error}")))?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

/// Prints what differs.
fn is_same(kept: &Path, now: &str) -> Result<bool> {
    let before = fs::read_to_string(kept)
        .map_err(|error| Failure::new(format!("{}: {error}", kept.display())))?;
    let (gone, new) = differences(&before, now);
    gone.iter().for_each(|line| println!("- {line}"));
    new.iter().for_each(|line| println!("+ {line}"));
    Ok(before == now)
}

/// Lines that only one of the two has.
fn differences<'a>(before: &'a str, now: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let only = |of: &'a str, other: &str| {
        of.lines()
            .filter(|line| !other.lines().any(|found| found == *line))
            .collect()
    };
    (only(before, now), only(now, before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_and_what_came_is_told() {
        let (before, now) = ("a\nb\nc\n", "a\nc\nd\n");
        assert_eq!(differences(before, now), (vec!["b"], vec!["d"]));
        assert_eq!(differences(now, now), (vec![], vec![]));
    }

    #[test]
    fn a_text_that_is_not_kept_is_an_error_and_another_one_is_not_the_same() {
        let folder = std::env::temp_dir().join(format!("xtask-api-{}", std::process::id()));
        assert!(is_same(&folder, "a\n").is_err());
        fs::write(&folder, "a\nb\n").unwrap();
        assert!(is_same(&folder, "a\nb\n").unwrap());
        assert!(!is_same(&folder, "b\na\n").unwrap());
        fs::remove_file(&folder).unwrap();
    }
}
