//! Checks of the manifests: what members inherit, where versions stand, and the minimum Rust of the
//! locked crates.
//!
//! Reads the `Cargo.toml` files as they are written, since `cargo metadata` shows only the outcome
//! of inheritance.

use std::fs;
use std::path::Path;

use cargo_metadata::semver::Version;
use cargo_metadata::{Metadata, Package};
use toml::{Table, Value};

use super::Finding;
use crate::failure::{Failure, Result};
use crate::workspace::Workspace;

const ROOT: &str = "Cargo.toml";
/// What every member takes from `[workspace.package]`.
const INHERITED: [&str; 4] = ["version", "edition", "rust-version", "license"];
/// What a member that is published takes, too.
const PUBLISHED: [&str; 3] = ["readme", "keywords", "categories"];
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Checks the manifests of all members and the lock file.
pub(super) fn check(workspace: &Workspace) -> Result<Vec<Finding>> {
    let root = read(&workspace.root().join(ROOT))?;
    let mut findings = root_dependencies(&root);
    for package in workspace.metadata.workspace_packages() {
        let path = package.manifest_path.as_std_path();
        let place = path
            .strip_prefix(workspace.root())
            .unwrap_or(path)
            .to_string_lossy()
            .replace('\\', "/");
        findings.extend(member(&place, &read(path)?));
    }
    findings.extend(minimum_rust(&workspace.metadata, &root)?);
    Ok(findings)
}

fn read(path: &Path) -> Result<Table> {
    let parse = |text: String| toml::from_str(&text).map_err(Failure::from);
    fs::read_to_string(path)
        .map_err(Failure::from)
        .and_then(parse)
        .map_err(|failure| Failure::new(format!("{}: {failure}", path.display())))
}

/// Every version is written once, in the root, and every feature is chosen by the crate that needs it.
fn root_dependencies(root: &Table) -> Vec<Finding> {
    let dependencies = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let mut findings = Vec::new();
    for (name, dependency) in dependencies.into_iter().flatten() {
        if dependency.get("default-features").and_then(Value::as_bool) != Some(false) {
            findings.push(Finding::new(
                ROOT,
                0,
                format!("{name}: write `default-features = false` and name features"),
            ));
        }
        if dependency.get("git").is_some() {
            findings.push(Finding::new(
                ROOT,
                0,
                format!("{name}: take it from crates.io, not from git"),
            ));
        }
    }
    findings
}

fn member(place: &str, manifest: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    let package = manifest.get("package");
    let get = |key| package.and_then(|package| package.get(key));
    let is_published = get("publish").and_then(Value::as_bool) != Some(false);
    if is_published && get("description").is_none() {
        findings.push(Finding::new(place, 0, "write a `description` in [package]"));
    }
    for key in INHERITED
        .into_iter()
        .chain(PUBLISHED.into_iter().filter(|_| is_published))
    {
        if !package
            .and_then(|package| package.get(key))
            .is_some_and(inherits)
        {
            findings.push(Finding::new(
                place,
                0,
                format!("write `{key}.workspace = true` in [package]"),
            ));
        }
    }
    if !manifest.get("lints").is_some_and(inherits) {
        findings.push(Finding::new(
            place,
            0,
            "write `workspace = true` in [lints]",
        ));
    }
    let platforms = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flatten();
    let tables = platforms
        .filter_map(|(_, platform)| platform.as_table())
        .chain([manifest]);
    for table in tables {
        for (name, dependency) in DEPENDENCIES
            .into_iter()
            .filter_map(|kind| table.get(kind)?.as_table())
            .flatten()
        {
            // A crate that depends on itself for its tests cannot inherit that.
            if !inherits(dependency)
                && (dependency.get("path").is_none() || dependency.get("version").is_some())
            {
                let message = format!(
                    "{name}: write `workspace = true`, put the version into the root's manifest"
                );
                findings.push(Finding::new(place, 0, message));
            }
        }
    }
    findings
}

fn inherits(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// No locked crate asks for a newer Rust than the workspace promises.
fn minimum_rust(metadata: &Metadata, root: &Table) -> Result<Vec<Finding>> {
    let package = root
        .get("workspace")
        .and_then(|workspace| workspace.get("package"));
    let promised = package
        .and_then(|package| package.get("rust-version"))
        .and_then(Value::as_str);
    let promised = promised
        .and_then(version)
        .ok_or_else(|| Failure::new("Cargo.toml: no rust-version"))?;
    let newer = |package: &&Package| {
        package
            .rust_version
            .as_ref()
            .is_some_and(|needed| *needed > promised)
    };
    let finding = |package: &Package| {
        let needed = package
            .rust_version
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = format!(
            "{} {} needs Rust {needed}, above {promised}: lock an older one",
            package.name, package.version
        );
        Finding::new("Cargo.lock", 0, message)
    };
    Ok(metadata
        .packages
        .iter()
        .filter(newer)
        .map(finding)
        .collect())
}

/// A Rust version of two or three numbers.
fn version(text: &str) -> Option<Version> {
    Version::parse(text)
        .or_else(|_| Version::parse(&format!("{text}.0")))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: &str = r#"
        [package]
        name = "brs-core"
        version.workspace = true
        edition.workspace = true
        rust-version.workspace = true
        license.workspace = true
        readme.workspace = true
        keywords.workspace = true
        categories.workspace = true
        description = "x"
        [dependencies]
        serde.workspace = true
        tokio = { workspace = true, features = ["time"] }
        [dev-dependencies]
        brs-core = { path = ".", features = ["test-util"] }
        [lints]
        workspace = true
    "#;

    fn messages(manifest: &str) -> Vec<String> {
        member("x", &toml::from_str(manifest).unwrap())
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn a_member_that_inherits_everything_is_tidy() {
        assert_eq!(messages(MEMBER), [""; 0]);
    }

    #[test]
    fn each_missing_inheritance_is_found() {
        for key in INHERITED.into_iter().chain(PUBLISHED) {
            let broken = MEMBER.replace(&format!("        {key}.workspace = true\n"), "");
            assert_eq!(
                messages(&broken),
                [format!("write `{key}.workspace = true` in [package]")]
            );
        }
        let private = MEMBER.replace("description = \"x\"", "publish = false");
        let private = private.replace("        readme.workspace = true\n", "");
        assert_eq!(messages(&private), [""; 0]);
        assert_eq!(
            messages(&MEMBER.replace("[lints]", "[other]")),
            ["write `workspace = true` in [lints]"]
        );
    }

    #[test]
    fn versions_in_members_are_found_in_every_table() {
        for table in [
            "dependencies.a",
            "build-dependencies.a",
            "target.'cfg(unix)'.dependencies.a",
        ] {
            assert_eq!(
                messages(&format!("{MEMBER}\n[{table}]\nversion = \"1\"")).len(),
                1,
                "{table}"
            );
        }
        assert_eq!(
            messages(&MEMBER.replace("serde.workspace = true", "serde = \"1\"")).len(),
            1
        );
        assert_eq!(
            messages(&MEMBER.replace("path = \".\",", "path = \".\", version = \"1\",")).len(),
            1
        );
    }

    #[test]
    fn default_features_and_git_are_found_in_the_root() {
        let root = r#"
            [workspace.dependencies]
            good = { version = "1", default-features = false }
            plain = "1"
            silent = { version = "1", default-features = true }
            fetched = { git = "https://example.com/x", default-features = false }
        "#;
        let findings = root_dependencies(&toml::from_str(root).unwrap());
        let names: Vec<_> = findings
            .iter()
            .filter_map(|finding| finding.message.split(':').next())
            .collect();
        assert_eq!(names, ["fetched", "plain", "silent"]);
    }

    #[test]
    fn rust_versions_have_two_or_three_numbers() {
        assert_eq!(version("1.94"), Some(Version::new(1, 94, 0)));
        assert_eq!(version("1.94.1"), Some(Version::new(1, 94, 1)));
        assert_eq!(version("new"), None);
    }
}
