//! Profiles of `aws login`: renewed by one process at a time, over expiries and an outage, and what
//! is said once it has ended.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command as Process, Stdio};
use std::sync::mpsc;

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
        self.probe_with("--fetch")
    }

    fn probe_with(&self, flag: &str) -> Process {
        let mut command = Process::new(env!("CARGO_BIN_EXE_probe"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command
            .args([flag, ROLE, &self.aws.endpoint_url(), "console"])
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

#[test]
fn every_refusal_of_a_renewal_says_what_to_do() {
    let home = Home::new(Duration::ZERO);
    let again = "run `aws login --profile console`";
    for (status, code, error, unrecoverable, words) in [
        (400, "AccessDeniedException", "TOKEN_EXPIRED", true, again),
        (
            400,
            "AccessDeniedException",
            "USER_CREDENTIALS_CHANGED",
            true,
            again,
        ),
        (
            400,
            "AccessDeniedException",
            "AUTHCODE_EXPIRED",
            true,
            again,
        ),
        (400, "ValidationException", "invalid_grant", true, again),
        (
            403,
            "AccessDeniedException",
            "INSUFFICIENT_PERMISSIONS",
            true,
            "`SignInLocalDevelopmentAccess`",
        ),
        (
            400,
            "ValidationException",
            "INVALID_REQUEST",
            false,
            "did not renew the console login",
        ),
        (
            400,
            "NewException",
            "NEW",
            false,
            "did not renew the console login",
        ),
    ] {
        home.sign_in.log_in(&home.cache(), SESSION, seconds(0));
        home.sign_in.refuse_next(status, code, error);
        let (ok, line) = home.run();
        assert!(!ok && line.contains(words), "{error}: {line}");
        assert_eq!(
            line.contains("unrecoverable"),
            unrecoverable,
            "{error}: {line}"
        );
        assert!(!line.contains("hush"), "{line}");
        assert!(
            line.trim_end().ends_with(code) || code == "NewException",
            "{line}"
        );
    }
}

/// The one that renews is kept waiting in the middle of it. The other either says that it waits, or
/// it renews, too, and ends: what it is told to log tells which.
#[tokio::test]
async fn a_process_waits_while_another_one_renews() {
    let home = Home::new(Duration::ZERO);
    home.sign_in.log_in(&home.cache(), SESSION, seconds(60));
    home.sign_in.hold_next();
    let first = home.probe().spawn().unwrap();
    home.sign_in.wait_for_calls(1).await;
    let mut second = home.probe();
    let second = second.env("PROBE_LOG", "1").stderr(Stdio::piped());
    let mut second = second.spawn().unwrap();
    let log = BufReader::new(second.stderr.take().unwrap());
    let (waits, waited) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in log.lines() {
            if line
                .unwrap()
                .contains("another process has the console login")
            {
                let _ = waits.send(());
            }
        }
    });
    // An error once the log has ended.
    let waited = waited.recv().is_ok();
    home.sign_in.release();
    for process in [first, second] {
        let output = process.wait_with_output().unwrap();
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}");
    }
    reader.join().unwrap();
    assert!(waited, "it did not wait for the other one's renewal");
    assert_eq!(home.sign_in.calls(), (1, 0), "and found it renewed");
}

/// A probe that does what it is told, line by line.
struct Steps(Child);

impl Steps {
    fn ask(&mut self, step: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{step}").unwrap();
        let mut line = String::new();
        let out = self.0.stdout.as_mut().unwrap();
        // The probe writes one line for each, so nothing is left in the reader.
        BufReader::with_capacity(1, out)
            .read_line(&mut line)
            .unwrap();
        line
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.stdin.take();
        let _ = self.0.wait();
    }
}

#[test]
fn refreshes_go_on_over_the_logins_expiries_and_an_outage_of_sign_in() {
    let home = Home::new(Duration::ZERO);
    let log_in = |lifetime| home.sign_in.log_in(&home.cache(), SESSION, lifetime);
    log_in(seconds(600));
    let mut probe = home.probe_with("--steps");
    let mut steps = Steps(probe.stdin(Stdio::piped()).spawn().unwrap());
    let mut last = steps.ask("refresh");
    assert!(last.starts_with("ok "), "{last}");
    for renewals in 1..=3 {
        log_in(Duration::ZERO);
        let next = steps.ask("refresh");
        assert!(next.starts_with("ok ") && next != last, "{next}");
        assert_eq!(home.sign_in.calls(), (renewals, 0));
        last = next;
    }
    home.sign_in.fail(true);
    log_in(Duration::ZERO);
    let failed = steps.ask("refresh");
    assert!(
        failed.contains("error: ") && !failed.contains("unrecoverable"),
        "{failed}"
    );
    assert!(!failed.contains("hush"), "{failed}");
    assert_eq!(steps.ask("credentials"), last, "what there is is good");
    home.sign_in.fail(false);
    let next = steps.ask("refresh");
    assert!(next.starts_with("ok ") && next != last, "{next}");
}

#[test]
fn a_renewal_logs_no_secret() {
    let home = Home::new(Duration::ZERO);
    home.sign_in.log_in(&home.cache(), SESSION, seconds(0));
    let file = SignIn::cache_file(&home.cache(), SESSION);
    let login = std::fs::read_to_string(file).unwrap();
    let login: serde_json::Value = serde_json::from_str(&login).unwrap();
    let output = home.probe().env("PROBE_LOG", "1").output().unwrap();
    assert!(output.status.success());
    assert_eq!(home.sign_in.calls(), (1, 0));
    home.sign_in.log_out();
    home.sign_in.log_in(&home.cache(), SESSION, seconds(0));
    home.sign_in.log_out();
    let refused = home.probe().env("PROBE_LOG", "1").output().unwrap();
    assert!(!refused.status.success());
    let log = [output.stderr, refused.stderr, refused.stdout].concat();
    let log = String::from_utf8(log).unwrap();
    assert!(log.contains("TRACE"), "everything is logged");
    let key = login["dpopKey"].as_str().unwrap().lines();
    let mut secrets: Vec<String> = key
        .filter(|line| !line.starts_with('-'))
        .map(str::to_owned)
        .collect();
    secrets.extend(home.aws.issued_secrets());
    secrets.extend(["refresh-hush", "eyJ.id.hush"].map(str::to_owned));
    for secret in secrets {
        // The secret itself is not repeated here: this is a log, too.
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(
            line.is_none(),
            "a secret is logged: {}",
            line.unwrap_or_default().replace(&secret, "***")
        );
    }
}
