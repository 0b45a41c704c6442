//! The table of test runs: every way in which the tests of this workspace are built and run.
//!
//! Each run is one cargo command with a name. Adding a feature set, a configuration or a tool means
//! one more entry here and nothing elsewhere; `test` runs the table and counts.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::outside::Outside;
use crate::workspace::Workspace;

/// Feature sets of the facade whose method list is pinned by `tests/features`.
///
/// A build of its own each: within one build cargo unites the features of all packages.
const METHOD_SETS: [&str; 7] = [
    "",
    "sts",
    "custom",
    "iot",
    "roles-anywhere",
    "shared",
    "full",
];

/// The package with that test, whose features are the facade's.
const FEATURES: &str = "brs-tests-features";

/// One cargo command that runs tests.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    /// Between `cargo test` and `--`.
    cargo: Vec<String>,
    /// After `--`.
    harness: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// Whether it is a mistake when no test matches, as long as the user has not asked for some
    /// tests only.
    pub(crate) must_execute: bool,
}

impl Run {
    fn new(name: impl Into<String>, cargo: &[&str]) -> Self {
        Self {
            name: name.into(),
            cargo: cargo.iter().map(|&argument| argument.to_owned()).collect(),
            harness: Vec::new(),
            environment: Vec::new(),
            must_execute: true,
        }
    }

    /// The command, ready to start from the workspace's root.
    pub(crate) fn command(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(["test", "--locked"])
            .args(&self.cargo)
            .arg("--")
            .args(&self.harness);
        command.env("NO_PROXY", loopback_without_proxy());
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(workspace.root());
        command
    }

    /// The command as one would type it.
    pub(crate) fn typed(&self) -> String {
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}='{value}'"));
        let cargo = ["cargo".to_owned(), "test".to_owned(), "--locked".to_owned()]
            .into_iter()
            .chain(self.cargo.iter().cloned());
        let harness = if self.harness.is_empty() {
            None
        } else {
            Some(format!("-- {}", self.harness.join(" ")))
        };
        let quoted = cargo.map(|word| {
            if word.is_empty() {
                "''".to_owned()
            } else {
                word
            }
        });
        environment
            .chain(quoted)
            .chain(harness)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// `NO_PROXY` with this machine in it: the servers of tests and demo are here, whatever proxy the
/// user has to go through.
pub(crate) fn loopback_without_proxy() -> String {
    let given = ["NO_PROXY", "no_proxy"]
        .iter()
        .find_map(|name| env::var(name).ok())
        .filter(|value| !value.is_empty());
    given
        .into_iter()
        .chain(["127.0.0.1".to_owned(), "localhost".to_owned()])
        .collect::<Vec<_>>()
        .join(",")
}

/// The runs in order; with `outside` the tests that need something from there are among them,
/// `filter` is a part of tests' names.
///
/// `command` is the binary `brs`, which tests start.
pub(crate) fn table(
    workspace: &Workspace,
    command: &Path,
    outside: Option<&Outside>,
    filter: Option<&str>,
) -> Vec<Run> {
    let mut runs = Vec::new();

    // A fuzz target brings a main function of its own, which knows nothing of tests.
    let everything = [
        "--workspace",
        "--exclude",
        "brs-tests-fuzz",
        "--all-features",
        "--no-fail-fast",
    ];
    let mut tests = Run::new(
        "tests",
        &[
            &everything[..],
            &["--lib", "--bins", "--tests", "--examples"],
        ]
        .concat(),
    );
    tests
        .environment
        .push(("BRS_COMMAND", command.display().to_string()));
    if let Some(outside) = outside {
        tests.harness.push("--include-ignored".to_owned());
        for (part, _) in &outside.left_out {
            let skip = ["--skip", part].map(str::to_owned);
            tests.harness.extend(skip);
        }
        tests
            .environment
            .extend(outside.environment.iter().cloned());
    }
    runs.push(tests);

    // On their own: `--include-ignored` would also run the examples that are marked as not
    // runnable.
    let mut examples = Run::new("doc tests", &[&everything[..], &["--doc"]].concat());
    examples.must_execute = false;
    runs.push(examples);

    if has_test_target(workspace, FEATURES, "methods") {
        for features in METHOD_SETS {
            let name = if features.is_empty() {
                "none"
            } else {
                features
            };
            let cargo = [
                "--package",
                FEATURES,
                "--no-default-features",
                "--features",
                features,
                "--test",
                "methods",
            ];
            runs.push(Run::new(format!("methods of {name}"), &cargo));
        }
    }

    // Other flags for the compiler rebuild every dependency: a target directory of its own keeps
    // both warm.
    let target = workspace.target("model").display().to_string();
    let mut model = Run::new(
        "model",
        &["--package", "brs-core", "--lib", "--target-dir", &target],
    );
    let flags = [
        env::var("RUSTFLAGS").unwrap_or_default(),
        "--cfg brs_model".to_owned(),
    ];
    model
        .environment
        .push(("RUSTFLAGS", flags.join(" ").trim_start().to_owned()));

    match filter {
        Some(filter) => {
            // Names are joined by "or": a filter beside `model` would not narrow it.
            if filter.contains("model") {
                runs.push(model);
            }
            for run in &mut runs {
                run.harness.push(filter.to_owned());
                run.must_execute = false;
            }
        }
        None => {
            model.harness.push("model".to_owned());
            runs.push(model);
        }
    }
    runs
}

fn has_test_target(workspace: &Workspace, package: &str, target: &str) -> bool {
    let packages = workspace.metadata.workspace_packages();
    let package = packages
        .iter()
        .find(|candidate| candidate.name.as_str() == package);
    package.is_some_and(|package| {
        package
            .targets
            .iter()
            .any(|candidate| candidate.is_test() && candidate.name == target)
    })
}
