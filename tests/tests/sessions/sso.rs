//! Logins of IAM Identity Center that the SDK renews: an outage of the token service is not the end
//! of a login.

use std::process::Command;

use aws_smithy_types::date_time::{DateTime, Format};
use brs::{Clock as _, SystemClock};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use serde_json::{Value, json};

use super::profile_chain::{CHAIN, line, run};
use super::profiles::run_for;
use super::role_profiles::Home;
use super::*;

const CONFIG: &str = "\
[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://brs.awsapps.com/start

[profile dev]
region = eu-west-1
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer

[profile on-dev]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/on-dev
source_profile = dev
";

/// The limits of brs's clients, so that silence ends soon.
const LIMITS: &str = r#"{"config": {"read_timeout": 1, "retries": {"max_attempts": 1}}}"#;

/// A login at a portal: its access token ends `seconds` from now, its registration never.
struct Case {
    aws: EmbeddedAws,
    login: Value,
}

impl Case {
    fn new(seconds: i64) -> Self {
        let aws = EmbeddedAws::start();
        let end = DateTime::from_secs(DateTime::from(SystemClock::new().now()).secs() + seconds);
        let login = json!({
            "accessToken": "old", "expiresAt": end.fmt(Format::DateTime).unwrap(), "refreshToken": "once",
            "clientId": "client", "clientSecret": "hush", "registrationExpiresAt": "2099-01-01T00:00:00Z",
            "region": "eu-west-1", "startUrl": "https://brs.awsapps.com/start",
        });
        Self { aws, login }
    }

    fn run(&self) -> (bool, String) {
        let home = Home::new(&self.aws, CONFIG);
        home.keep_login("corp", &self.login);
        self.run_in(&home, LIMITS)
    }

    fn run_in(&self, home: &Home, limits: &str) -> (bool, String) {
        let (config, folder) = (
            home.path("config").display().to_string(),
            home.path("").display().to_string(),
        );
        let environment = [
            ("AWS_CONFIG_FILE", config.as_str()),
            ("HOME", &folder),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("PROBE_CLIENT", limits),
        ];
        run_for(
            "-",
            &self.aws.endpoint_url(),
            ["--fetch", "on-dev"],
            &environment,
        )
    }
}

fn error(code: &'static str) -> Failure {
    Failure::Error {
        status: 400,
        code,
        message: "of the token service".into(),
    }
}

fn body(status: u16, body: &str) -> Failure {
    Failure::Body {
        status,
        body: body.into(),
    }
}

#[test]
fn a_login_is_renewed() {
    let case = Case::new(-60);
    case.aws.add_sso_renewal("once", "new");
    let home = Home::new(&case.aws, CONFIG);
    home.keep_login("corp", &case.login);
    assert_eq!(case.run_in(&home, "{}"), (true, "eu-west-1\n".into()));
    // The second refresh took the new token from its file, and so does another process.
    assert_eq!(case.run_in(&home, "{}"), (true, "eu-west-1\n".into()));
    assert_eq!(case.aws.calls("CreateToken"), 1);
}

#[test]
fn an_outage_of_the_token_service_is_not_the_end_of_a_login() {
    for failure in [
        Failure::Status(503),
        Failure::Status(500),
        Failure::Throttled,
        Failure::Hang,
        Failure::DropConnection,
        Failure::EmptyBody,
        Failure::MalformedXml,
        Failure::Page(200),
        Failure::Page(403),
        Failure::Page(407),
        Failure::Page(502),
        body(200, "{}"),
        body(400, "{}"),
        error("SlowDownException"),
        error("InternalServerException"),
        error("AuthorizationPendingException"),
    ] {
        let case = Case::new(-60);
        case.aws
            .fail_always_of("CreateToken", Some(failure.clone()));
        let (ok, said) = case.run();
        assert!(
            !ok && said.starts_with("connection error"),
            "{failure:?}: {said}"
        );
        assert!(
            said.contains("`dev`") && said.contains("token service"),
            "{failure:?}: {said}"
        );
        assert!(!said.contains("hush") && !said.contains("once"), "{said}");
        // An expired token is not shown to the portal.
        assert_eq!(case.aws.calls("GetRoleCredentials"), 0, "{failure:?}");
        case.aws.fail_always_of("CreateToken", None);
        case.aws.add_sso_renewal("once", "new");
        assert_eq!(case.run(), (true, "eu-west-1\n".into()), "{failure:?}");
    }
}

#[test]
fn the_services_own_word_ends_a_login() {
    for failure in [
        error("InvalidGrantException"),
        error("ExpiredTokenException"),
        error("UnauthorizedClientException"),
        error("InvalidClientException"),
        body(
            400,
            r#"{"error": "invalid_grant", "error_description": "Invalid refresh token"}"#,
        ),
    ] {
        let case = Case::new(-60);
        case.aws
            .fail_always_of("CreateToken", Some(failure.clone()));
        let (ok, said) = case.run();
        assert!(
            !ok && said.starts_with("configuration unrecoverable error"),
            "{failure:?}: {said}"
        );
        assert!(
            said.contains("run `aws sso login --profile dev`"),
            "{failure:?}: {said}"
        );
    }
    for (field, value) in [
        ("refreshToken", None),
        ("registrationExpiresAt", Some("2020-01-01T00:00:00Z")),
    ] {
        let mut case = Case::new(-60);
        match value {
            Some(value) => case.login[field] = value.into(),
            None => drop(case.login.as_object_mut().unwrap().remove(field)),
        }
        let (ok, said) = case.run();
        assert!(
            !ok && said.contains("run `aws sso login --profile dev`"),
            "{field}: {said}"
        );
        assert_eq!(case.aws.calls("CreateToken"), 0);
    }
}

#[test]
fn a_token_that_is_still_good_is_used_while_its_renewal_fails() {
    for failure in [Failure::Status(503), error("InvalidGrantException")] {
        let case = Case::new(200);
        case.aws.add_sso_login("old");
        case.aws
            .fail_always_of("CreateToken", Some(failure.clone()));
        assert_eq!(case.run(), (true, "eu-west-1\n".into()), "{failure:?}");
    }
    // The portal refuses it, since its clock is ahead, say; a renewal may still help.
    let case = Case::new(200);
    case.aws
        .fail_always_of("CreateToken", Some(Failure::Status(503)));
    let (ok, said) = case.run();
    assert!(
        !ok && said.starts_with("connection error") && said.contains("token service"),
        "{said}"
    );
    // Nothing was renewed and nothing failed.
    let case = Case::new(3600);
    let (ok, said) = case.run();
    assert!(
        !ok && said.contains("run `aws sso login --profile dev`"),
        "{said}"
    );
}

/// A file system that is full or read-only, for root as well: this process may write no byte into a
/// file.
#[test]
fn a_renewed_login_that_cannot_be_kept_is_no_ended_login() {
    let case = Case::new(-60);
    case.aws.add_sso_renewal("once", "new");
    let home = Home::new(&case.aws, CONFIG);
    home.keep_login("corp", &case.login);
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args([
            "-c",
            script,
            env!("CARGO_BIN_EXE_probe"),
            "-",
            &case.aws.endpoint_url(),
            "--fetch",
            "on-dev",
        ])
        .env_clear()
        .env("AWS_CONFIG_FILE", home.path("config"))
        .env("HOME", home.path(""))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("`dev` was renewed") && said.contains(".aws/sso/cache"),
        "{said}"
    );
    assert!(
        !said.contains("aws sso login") && !said.contains("unrecoverable"),
        "{said}"
    );
}

#[test]
fn the_portals_refusals_keep_their_class_and_do_not_blame_the_login() {
    for (failure, begins, says) in [
        (
            Failure::AccessDenied,
            "request unrecoverable error",
            "sso_role_name",
        ),
        (Failure::Throttled, "request error", "throttles"),
        (Failure::Status(503), "request error", "on its side (503)"),
        (
            Failure::DropConnection,
            "connection error",
            "was not reached",
        ),
        (Failure::EmptyBody, "credential error", "cannot be used"),
    ] {
        let case = Case::new(3600);
        case.aws.add_sso_login("old");
        case.aws
            .fail_always_of("GetRoleCredentials", Some(failure.clone()));
        let (ok, said) = case.run();
        assert!(
            !ok && said.contains(begins) && said.contains(says),
            "{failure:?}: {said}"
        );
        assert!(
            said.contains("`dev`") && !said.contains("log in"),
            "{failure:?}: {said}"
        );
        assert!(!said.contains("aws sso login"), "{failure:?}: {said}");
    }
}

#[test]
fn a_login_that_cannot_be_read_is_no_ended_one() {
    let case = Case::new(3600);
    let home = Home::new(&case.aws, CONFIG);
    home.keep_login("corp", &case.login);
    let folder = home.path(".aws/sso/cache");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap();
    std::fs::remove_file(file.path()).unwrap();
    let (ok, said) = case.run_in(&home, LIMITS);
    assert!(
        !ok && said.contains("run `aws sso login --profile dev`"),
        "{said}"
    );
    // What cannot be read, by root either.
    std::fs::create_dir(file.path()).unwrap();
    let (ok, said) = case.run_in(&home, LIMITS);
    assert!(
        !ok && said.contains("cannot be read from `.aws/sso/cache`"),
        "{said}"
    );
    assert!(!said.contains("aws sso login"), "{said}");
}

#[test]
fn an_sso_login_is_reached_at_the_sessions_endpoint() {
    let aws = EmbeddedAws::start();
    aws.add_sso_login("sso-token");
    let home = Home::new(&aws, CHAIN);
    home.log_in("corp", "sso-token", "2099-01-01T00:00:00Z");
    assert_eq!(
        run(&aws, &home, "-", &["on-dev"], &[]),
        (true, line(&[("on-dev", "brs-session")]))
    );
    let (ok, said) = run(&aws, &home, ROLE, &["dev"], &[("AWS_REGION", "eu-west-1")]);
    assert_eq!((ok, said), (true, line(&[("demo", "brs-session")])));
    assert_eq!(
        run(&aws, &home, "base", &["--fetch", "on-dev"], &[]),
        (true, "eu-west-1\n".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_login_is_the_base_of_a_role() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, CHAIN);
    let (ok, said) = run(&aws, &home, ROLE, &["console"], &[]);
    assert!(
        !ok && said.starts_with("configuration unrecoverable error"),
        "{said}"
    );
    assert!(said.contains("run `aws login --profile console`"), "{said}");

    let user =
        RefreshableSession::builder("sts-session-token", brs::sts::session_token::Params::new())
            .region("eu-west-1")
            .endpoint_url(aws.endpoint_url())
            .base_credentials(aws.credentials());
    let set = user.build().await.unwrap().credentials().await.unwrap();
    let folder = home.path(".aws/login/cache");
    std::fs::create_dir_all(&folder).unwrap();
    // What `aws login` leaves behind; the key is only for renewing it.
    let login = serde_json::json!({
        "accessToken": {
            "accessKeyId": set.access_key_id(), "secretAccessKey": set.secret_access_key(),
            "sessionToken": set.session_token().unwrap(), "accountId": "123456789012",
            "expiresAt": "2099-01-01T00:00:00Z",
        },
        "tokenType": "aws_sigv4", "refreshToken": "opaque", "clientId": "arn:aws:signin:::devtools/same-device",
        "dpopKey": "not needed",
    });
    let arn = b"arn:aws:iam::123456789012:user/alice";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, arn);
    let name: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    std::fs::write(folder.join(format!("{name}.json")), login.to_string()).unwrap();
    let (ok, said) = run(&aws, &home, ROLE, &["console"], &[]);
    assert_eq!((ok, said), (true, line(&[("demo", "brs-session")])));
}
