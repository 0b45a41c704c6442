//! Base credentials and regions from environment and profile files, in a process of their own.

use std::process::Command;

use brs_tests::EmbeddedAws;

use super::*;

/// Runs the probe with nothing of AWS in its environment but `environment`.
fn probe(aws: &EmbeddedAws, profile: Option<&str>, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let output = command
        .args([ROLE, &aws.endpoint_url()])
        .args(profile)
        // Off EC2 an instance's metadata is seconds of waiting; and nothing here may ask for it.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// Profile files with a `default` and a `dev` profile.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(aws: &EmbeddedAws) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (id, secret) = (aws.access_key_id(), aws.secret_access_key());
        let keys = format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
        std::fs::write(folder.path().join("credentials"), format!("[dev]\n{keys}")).unwrap();
        std::fs::write(folder.path().join("config"), "[profile dev]\nregion = eu-central-1\n").unwrap();
        Self { folder }
    }

    fn environment(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [("AWS_CONFIG_FILE", path("config")), ("AWS_SHARED_CREDENTIALS_FILE", path("credentials"))]
    }
}

const WHO: &str = "arn:aws:sts::123456789012:assumed-role/demo/brs-session";

#[test]
fn a_named_profile_gives_base_credentials_and_region() {
    let aws = EmbeddedAws::start();
    let folder = Files::new(&aws);
    let files = folder.environment();
    let files: Vec<_> = files.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(probe(&aws, Some("dev"), &files), (true, format!("eu-central-1 {WHO}\n")));
    let by_environment = [&files[..], &[("AWS_PROFILE", "dev"), ("AWS_REGION", "eu-north-1")]].concat();
    assert_eq!(probe(&aws, None, &by_environment), (true, format!("eu-north-1 {WHO}\n")), "AWS_REGION comes first");
}

#[test]
fn keys_in_the_environment_are_base_credentials() {
    let aws = EmbeddedAws::start();
    let environment = [
        ("AWS_ACCESS_KEY_ID", aws.access_key_id()),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key()),
        ("AWS_DEFAULT_REGION", "eu-west-3"),
    ];
    assert_eq!(probe(&aws, None, &environment), (true, format!("eu-west-3 {WHO}\n")));
}

#[test]
fn a_profile_that_does_not_exist_is_named() {
    let aws = EmbeddedAws::start();
    let folder = Files::new(&aws);
    let files = folder.environment();
    let files: Vec<_> = files.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (ok, line) = probe(&aws, Some("dve"), &files);
    assert!(!ok && line.starts_with("configuration error") && line.contains("`dve`"), "{line}");
    assert!(aws.requests().is_empty());
}

#[test]
fn no_region_and_no_credentials_each_say_what_to_do() {
    let aws = EmbeddedAws::start();
    let (ok, line) = probe(&aws, None, &[]);
    assert!(!ok && line.starts_with("configuration error") && line.contains("AWS_REGION"), "{line}");
    let (ok, line) = probe(&aws, None, &[("AWS_REGION", "eu-west-1")]);
    assert!(!ok && line.contains("no credentials to call STS with"), "{line}");
    assert!(aws.requests().is_empty());
}
