//! `cargo xtask bench`: builds the benchmarks and what they are compared with, and starts them.
//!
//! Owns what has to be there: the programs in the wanted profile, the Python peers in a virtual
//! environment, SoftHSM2, Redis. What is measured, and what comes of it, is the package
//! `brs-tests-benches`'s business. A peer that cannot be set up is left out, and the report says
//! so.

use std::process::Command;

use xshell::{Shell, cmd};

use crate::debian;
use crate::failure::Result;
use crate::python::Venv;
use crate::runs::loopback_without_proxy;
use crate::tokens;
use crate::workspace::Workspace;

const PACKAGE: &str = "brs-tests-benches";
const PROGRAMS: &str = "brs-tests-programs";
/// The kept summary.
const SUMMARY: &str = "tests/benches/RESULTS.md";
const REQUIREMENTS: &str = include_str!("../benches.txt");
/// What the report names the versions of.
const VERSIONS: [&str; 8] = [
    "aws-config",
    "aws-sdk-s3",
    "aws-sdk-sts",
    "aws-smithy-runtime",
    "criterion",
    "rumqttc-v5-next",
    "rustls",
    "tokio",
];

/// The same of the Python peers.
const PEERS: [&str; 5] = [
    "awscrt",
    "awsiotsdk",
    "boto3",
    "boto3-refresh-session",
    "botocore",
];

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Few rounds and short measurements: under two minutes once built
    #[arg(long)]
    quick: bool,
    /// Fail where a goal is missed that is a ratio within the run, a count or a number of
    /// instructions
    #[arg(long)]
    check: bool,
    /// Build with this profile; `bench` is soon built and good for trying
    #[arg(long, default_value = "release")]
    profile: String,
    /// Measure only these rows
    rows: Vec<String>,
}

/// Builds, sets up, measures. A full run in release, of all rows or of some, writes
/// `tests/benches/RESULTS.md` from the last measurement of each row.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let shell = workspace.shell()?;
    let profile = &options.profile;
    cmd!(
        shell,
        "cargo build --locked --package {PACKAGE} --profile {profile}"
    )
    .run()?;
    for (program, features) in [
        ("program_sts", "sts"),
        ("program_shared", "shared"),
        ("program_sdk", "sdk-default"),
        ("program_file", "file"),
    ] {
        // One by one: in one build cargo would unite their features.
        let selection = [
            "--no-default-features",
            "--features",
            features,
            "--bin",
            program,
        ];
        cmd!(
            shell,
            "cargo build --locked --package {PROGRAMS} {selection...} --profile {profile}"
        )
        .run()?;
    }
    let cli = ["--features", "cli", "--bin", "brs"];
    cmd!(
        shell,
        "cargo build --locked --package brs-aws {cli...} --profile {profile}"
    )
    .run()?;
    let mut arguments = Vec::new();
    let mut argument =
        |name: &str, value: &dyn std::fmt::Display| arguments.push(format!("--{name}={value}"));
    let folder = workspace.target(if profile == "bench" {
        "release"
    } else {
        profile
    });
    argument("out", &workspace.target("bench").display());
    argument("profile", profile);
    argument("programs", &folder.display());
    argument("root", &workspace.root().display());
    if !options.quick && profile == "release" {
        argument("summary", &workspace.root().join(SUMMARY).display());
    }
    options.rows.iter().for_each(|row| argument("row", row));
    for fact in facts(workspace, &shell)? {
        argument("fact", &fact);
    }
    match Venv::ensure(workspace, "benches", REQUIREMENTS) {
        Ok(venv) => {
            let python = venv.program("python");
            if let Ok(version) = cmd!(shell, "{python} --version").quiet().read() {
                argument("fact", &format!("interpreter={version}"));
            }
            argument("python", &python.display());
        }
        Err(failure) => argument("missing", &format!("the Python peers: {failure}")),
    }
    match debian::aws_cli_v2(&shell) {
        Some(path) => argument("aws-cli", &path.display()),
        None => argument(
            "missing",
            &"the AWS CLI v2: it is not installed (apt-get install awscli)",
        ),
    }
    let mut debian = debian::ensure_token(&shell).unwrap_or_else(|failure| {
        argument("missing", &format!("keys in a token: {failure}"));
        Vec::new()
    });
    match debian::ensure_redis(&shell) {
        Ok(told) => debian.extend(told),
        Err(failure) => argument("missing", &format!("a fleet's store: {failure}")),
    }
    match cmd!(shell, "valgrind --version")
        .quiet()
        .ignore_stderr()
        .read()
    {
        Ok(version) => argument("fact", &format!("instructions counted by={version}")),
        Err(_) => {
            argument(
                "missing",
                &"instruction counts: valgrind is not installed (apt-get install valgrind)",
            );
        }
    }
    let switches = [("--quick", options.quick), ("--check", options.check)];
    arguments.extend(
        switches
            .into_iter()
            .filter(|(_, is_on)| *is_on)
            .map(|(name, _)| name.to_owned()),
    );

    let mut bench = Command::new(folder.join("bench"));
    bench
        .arg("run")
        .args(arguments)
        .current_dir(workspace.root())
        .envs(debian);
    bench.env(
        "SOFTHSM2_CONF",
        tokens::empty_store(workspace, "bench-tokens")?,
    );
    let status = bench.env("NO_PROXY", loopback_without_proxy()).status()?;
    println!(
        "report: {}",
        workspace.target("bench").join("report.md").display()
    );
    Ok(status.success())
}

/// What the report's head tells about the software.
fn facts(workspace: &Workspace, shell: &Shell) -> Result<Vec<String>> {
    let mut facts = vec![format!(
        "compiler={}",
        cmd!(shell, "rustc --version").quiet().read()?
    )];
    // A source archive has no history.
    if let Ok(commit) = cmd!(shell, "git describe --always --dirty")
        .quiet()
        .ignore_stderr()
        .read()
    {
        facts.push(format!("commit={commit}"));
    }
    let locked = workspace.metadata.packages.iter();
    let named = locked.filter(|package| VERSIONS.contains(&package.name.as_str()));
    facts.extend(named.map(|package| format!("{}={}", package.name, package.version)));
    let pinned = REQUIREMENTS
        .lines()
        .filter_map(|line| line.split_once("=="));
    facts.extend(
        pinned
            .filter(|(name, _)| PEERS.contains(name))
            .map(|(name, version)| format!("{name}={version}")),
    );
    Ok(facts)
}
