//! Row `command`: programs that print credentials, from their start to their end.
//!
//! Owns their homes and command lines. The first run fills what caches there are, and is not
//! counted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use brs_tests::EmbeddedAws;

use crate::conductor::Options;
use crate::stopwatch::Stopwatch;
use crate::subject::REGION;
use crate::{Failure, Figures, figures};

const RUNS: usize = 30;

/// Measures one of the programs.
pub(crate) fn measure(
    peer: &str,
    options: &Options,
    aws: &EmbeddedAws,
) -> Result<Figures, Failure> {
    let home = tempfile::tempdir()?;
    let mut command = match peer {
        "brs" => of_brs(home.path(), options, aws)?,
        "file" => of_file(home.path(), options)?,
        _ => of_aws_cli(home.path(), options)?,
    };
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("XDG_RUNTIME_DIR", home.path())
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    run(&mut command)?;
    let asked_before = aws.calls("AssumeRole");
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let stopwatch = Stopwatch::start();
        run(&mut command)?;
        times.push(stopwatch.seconds() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let asked = aws.calls("AssumeRole") - asked_before;
    let mut found = figures([("wall_ms", times[RUNS / 2]), ("least_ms", times[0])]);
    if peer == "brs" {
        found.insert("source_calls".to_owned(), asked as f64);
    }
    Ok(found)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    let has_key = String::from_utf8_lossy(&output.stdout).contains("AccessKeyId");
    if output.status.success() && has_key {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
}

fn of_brs(home: &Path, options: &Options, aws: &EmbeddedAws) -> Result<Command, Failure> {
    let configuration = format!(
        "[sessions.bench]\nmethod = \"sts\"\nrole_arn = \"arn:aws:iam::123456789012:role/bench\"\n\
         region = \"{REGION}\"\nendpoint_url = \"{}\"\naccess_key_id = \"{}\"\nsecret_access_key = \"{}\"\n",
        aws.endpoint_url(),
        aws.access_key_id(),
        aws.secret_access_key(),
    );
    let path = home.join("brs.toml");
    fs::write(&path, configuration)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let mut command = Command::new(options.programs.join("brs"));
    command
        .arg("--config")
        .arg(path)
        .args(["credential-process", "bench"]);
    Ok(command)
}

fn of_file(home: &Path, options: &Options) -> Result<Command, Failure> {
    let path = home.join("credentials.json");
    let text = serde_json::json!({
        "Version": 1, "AccessKeyId": "bench", "SecretAccessKey": "bench", "SessionToken": "x".repeat(340),
        "Expiration": "2030-01-31T12:00:00Z", "AccountId": "123456789012",
    });
    fs::write(&path, format!("{text}\n"))?;
    let mut command = Command::new(options.programs.join("program_file"));
    command.arg(path);
    Ok(command)
}

fn of_aws_cli(home: &Path, options: &Options) -> Result<Command, Failure> {
    let program = options
        .aws_cli
        .as_ref()
        .ok_or("the AWS CLI v2 is not installed")?;
    fs::create_dir(home.join(".aws"))?;
    let keys =
        "aws_access_key_id = bench\naws_secret_access_key = bench\naws_session_token = bench\n";
    fs::write(home.join(".aws/credentials"), format!("[default]\n{keys}"))?;
    let mut command = Command::new(program);
    command.args(["configure", "export-credentials"]);
    Ok(command)
}
