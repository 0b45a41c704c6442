//! Profiles of `aws login`: renewed by one process at a time, and what is said once it has ended.

use std::process::{Command as Process, Stdio};

use brs_tests::sign_in::SignIn;

use super::*;

const SESSION: &str = "arn:aws:iam::123456789012:user/alice";

/// A home with a profile of a console login.
struct Home {
    folder: tempfile::TempDir,
    sign_in: SignIn,
    aws: EmbeddedAws,
}

impl Home {
    fn new(latency: Duration) -> Self {
        let aws = EmbeddedAws::start();
        let out = Self {
            folder: tempfile::tempdir().unwrap(),
            sign_in: SignIn::start(&aws, latency),
            aws,
        };
        let config = format!("[profile console]\nregion = eu-west-1\nlogin_session = {SESSION}\n");
        std::fs::write(out.folder.path().join("config"), config).unwrap();
        out
    }

    fn cache(&self) -> std::path::PathBuf {
        self.folder.path().join("cache")
    }

    /// A probe that assumes a role with the login, twice.
    fn probe(&self) -> Process {
        let mut command = Process::new(env!("CARGO_BIN_EXE_probe"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command
            .args(["--fetch", ROLE, &self.aws.endpoint_url(), "console"])
            .env("AWS_CONFIG_FILE", self.folder.path().join("config"))
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
            .env("AWS_LOGIN_CACHE_DIRECTORY", self.cache())
            .env("AWS_ENDPOINT_URL_SIGNIN", self.sign_in.url())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdout(Stdio::piped());
        command
    }

    fn run(&self) -> (bool, String) {
        let output = self.probe().output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), line)
    }
}

#[test]
fn processes_renew_a_login_one_at_a_time() {
    // Long enough that all of them want to renew before the first has.
    let home = Home::new(Duration::from_millis(700));
    home.sign_in.log_in(&home.cache(), SESSION, seconds(60));
    let running: Vec<_> = (0..6).map(|_| home.probe().spawn().unwrap()).collect();
    for process in running {
        let output = process.wait_with_output().unwrap();
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}");
    }
    assert_eq!(home.sign_in.calls(), (1, 0), "the others found it renewed");
    assert_eq!(home.aws.calls("AssumeRole"), 12);
}

#[test]
fn a_login_that_is_good_is_not_renewed_and_a_used_token_is_not_used_again() {
    let home = Home::new(Duration::ZERO);
    home.sign_in.log_in(&home.cache(), SESSION, seconds(600));
    assert!(home.run().0);
    assert_eq!(home.sign_in.calls(), (0, 0));
    home.sign_in.log_in(&home.cache(), SESSION, seconds(0));
    let (ok, line) = home.run();
    assert!(ok, "{line}");
    assert_eq!(home.sign_in.calls(), (1, 0));
    assert!(home.run().0);
    assert_eq!(home.sign_in.calls(), (1, 0));
}

#[test]
fn a_login_that_has_ended_or_never_was_names_the_command() {
    let home = Home::new(Duration::ZERO);
    let says = |(ok, line): (bool, String)| {
        assert!(!ok && line.contains("unrecoverable"), "{line}");
        assert!(line.contains("run `aws login --profile console`"), "{line}");
        assert!(!line.contains("hush"), "{line}");
    };
    says(home.run());
    home.sign_in.log_in(&home.cache(), SESSION, seconds(0));
    home.sign_in.log_out();
    says(home.run());
    assert_eq!(home.sign_in.calls().1, home.sign_in.calls().0);
}
