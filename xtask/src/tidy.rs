//! `cargo xtask tidy`: what can be checked without compiling, in a second.
//!
//! Collects findings from four places and prints them sorted: `text` looks at single files,
//! `layers` at what modules use, `manifest` at the `Cargo.toml` files, this file at the tree as a
//! whole. A finding says where and what to do.

mod layers;
mod manifest;
mod text;

use std::fs;

use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

/// The README is a landing page; put more into the manual.
const README_LINES: usize = 150;

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// A file, or a file and a line.
    place: String,
    /// 0 where the whole file is meant.
    line: usize,
    message: String,
}

impl Finding {
    fn new(place: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            place: place.to_owned(),
            line,
            message: message.into(),
        }
    }
}

/// Prints the findings; any makes it fail.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let files = workspace.files()?;
    let mut findings = Vec::new();
    for file in &files {
        // Anything that is not text has no lines to check.
        if let Ok(content) = fs::read_to_string(workspace.root().join(file)) {
            findings.extend(text::check(file, &content));
            findings.extend(layers::check(file, &content));
        }
    }
    findings.extend(top_level(&files, |file| {
        fs::read_to_string(workspace.root().join(file)).ok()
    }));
    findings.extend(manifest::check(workspace)?);
    findings.sort();

    for Finding {
        place,
        line,
        message,
    } in &findings
    {
        if *line == 0 {
            println!("{place}: {message}");
        } else {
            println!("{place}:{line}: {message}");
        }
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    if findings.is_empty() {
        Ok(())
    } else {
        Err(Failure::new("the tree is not tidy"))
    }
}

/// What holds for the top level of the tree.
fn top_level(files: &[String], read: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for toolchain in ["rust-toolchain", "rust-toolchain.toml"] {
        if files.iter().any(|file| file == toolchain) {
            findings.push(Finding::new(
                toolchain,
                0,
                "remove it: any stable toolchain from `rust-version` on will do",
            ));
        }
    }
    let readme = read("README.md").map_or(0, |text| text.lines().count());
    if readme > README_LINES {
        let message =
            format!("{readme} lines, at most {README_LINES}: move details into the manual");
        findings.push(Finding::new("README.md", 0, message));
    }
    let changelog = read("CHANGELOG.md").unwrap_or_default();
    if !changelog
        .lines()
        .any(|line| line.starts_with("## ") && line.contains("Unreleased"))
    {
        findings.push(Finding::new(
            "CHANGELOG.md",
            0,
            "add the heading `## [Unreleased]` and what changes for users",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n";

    fn places(files: &[&str], readme: &str, changelog: &str) -> Vec<String> {
        let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
        let read = |file: &str| {
            Some(if file == "README.md" {
                readme.to_owned()
            } else {
                changelog.to_owned()
            })
        };
        top_level(&files, read)
            .into_iter()
            .map(|finding| finding.place)
            .collect()
    }

    #[test]
    fn an_ordinary_top_level_is_tidy() {
        assert_eq!(
            places(
                &["Cargo.toml", "brs/rust-toolchain"],
                &"line\n".repeat(150),
                CHANGELOG
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_toolchain_file_is_found() {
        assert_eq!(
            places(&["rust-toolchain.toml"], "", CHANGELOG),
            ["rust-toolchain.toml"]
        );
    }

    #[test]
    fn a_long_readme_is_found() {
        assert_eq!(places(&[], &"line\n".repeat(151), CHANGELOG), ["README.md"]);
    }

    #[test]
    fn a_changelog_without_unreleased_is_found() {
        assert_eq!(
            places(&[], "", "# Changelog\n\nUnreleased\n"),
            ["CHANGELOG.md"]
        );
    }
}
