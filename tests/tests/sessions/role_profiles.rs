//! Profiles with roles, MFA devices, processes, identity tokens and SSO logins, in a process of
//! their own.

use brs_tests::EmbeddedAws;
use serde_json::json;

use super::profiles::run_for;
use super::*;

/// Profile files, and what they refer to, below a home of their own.
pub(super) struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// `{id}` and `{secret}` in the text are the user's keys, `{home}` the home.
    pub(super) fn new(aws: &EmbeddedAws, config: &str) -> Self {
        let out = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let text = config
            .replace("{id}", aws.access_key_id())
            .replace("{secret}", aws.secret_access_key())
            .replace("{home}", &out.path("").display().to_string());
        std::fs::write(out.path("config"), text).unwrap();
        out
    }

    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes what `aws sso login` leaves behind.
    pub(super) fn log_in(&self, session_name: &str, token: &str, expires_at: &str) {
        self.keep_login(
            session_name,
            &json!({
                "accessToken": token, "expiresAt": expires_at, "region": "eu-west-1",
                "startUrl": "https://brs.awsapps.com/start",
            }),
        );
    }

    /// Writes the file that `aws sso login` leaves for a session.
    pub(super) fn keep_login(&self, session_name: &str, login: &serde_json::Value) {
        let folder = self.path(".aws/sso/cache");
        std::fs::create_dir_all(&folder).unwrap();
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
            session_name.as_bytes(),
        );
        let name: String = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        std::fs::write(folder.join(format!("{name}.json")), login.to_string()).unwrap();
    }

    fn run(
        &self,
        aws: &EmbeddedAws,
        role: &str,
        profile: &str,
        further: &[(&str, &str)],
    ) -> (bool, String) {
        let (config, home) = (
            self.path("config").display().to_string(),
            self.path("").display().to_string(),
        );
        let endpoint = aws.endpoint_url();
        let environment = [
            ("AWS_CONFIG_FILE", config.as_str()),
            ("HOME", &home),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ENDPOINT_URL", &endpoint),
        ];
        run_for(
            role,
            &endpoint,
            [profile],
            &[&environment[..], further].concat(),
        )
    }
}

const ROLES: &str = "\
[profile base]
region = eu-west-1
aws_access_key_id = {id}
aws_secret_access_key = {secret}

[profile admin]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/admin
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/alice
duration_seconds = 1800
external_id = partner-17
role_session_name = alice

[profile on-admin]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/deep
source_profile = admin

[profile plain]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/plain
source_profile = base

[profile itself]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/itself
source_profile = itself
aws_access_key_id = {id}
aws_secret_access_key = {secret}

[profile environment]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/environment
credential_source = Environment

[profile process]
region = eu-west-1
credential_process = cat {home}/process.json

[profile web]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/web
web_identity_token_file = {home}/token
role_session_name = pod

[profile both]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/both
source_profile = both
aws_access_key_id = {id}
aws_secret_access_key = {secret}

[profile both-with-mfa]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/both
source_profile = both-with-mfa
mfa_serial = arn:aws:iam::123456789012:mfa/alice
duration_seconds = 1800
aws_access_key_id = {id}
aws_secret_access_key = {secret}

[profile on-both]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/on-both
source_profile = both

[profile on-both-with-mfa]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/on-both
source_profile = both-with-mfa

[profile long-on-both]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/on-both
source_profile = both-with-mfa
duration_seconds = 1800

[profile wrong-duration]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/admin
source_profile = base
duration_seconds = long

[profile short-duration]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/admin
source_profile = base
duration_seconds = 60

[profile no-source]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/admin

[profile two-sources]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/admin
source_profile = base
credential_source = Environment

[profile odd-source]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/admin
credential_source = Cloud
";

/// The usual role on top of that one.
fn on(beneath: &str) -> String {
    format!("{} < {beneath}", arn("demo", "brs-session"))
}

pub(super) fn arn(role: &str, session: &str) -> String {
    format!("arn:aws:sts::123456789012:assumed-role/{role}/{session}")
}

#[test]
fn a_profiles_role_is_assumed_with_all_that_the_profile_says() {
    let aws = EmbeddedAws::start();
    let device = aws.add_mfa_device("arn:aws:iam::123456789012:mfa/alice");
    let role = "arn:aws:iam::123456789012:role/admin";
    aws.require_mfa(role);
    aws.require_external_id(role, "partner-17");
    let home = Home::new(&aws, ROLES);
    let secret = device.secret();
    let (ok, line) = home.run(&aws, "-", "admin", &[("PROBE_MFA", &secret)]);
    assert!(ok, "{line}");
    assert_eq!(line, format!("eu-west-1 {}\n", arn("admin", "alice")));
    let sent = &aws.requests()[0].parameters;
    for (name, value) in [
        ("RoleArn", role),
        ("RoleSessionName", "alice"),
        ("ExternalId", "partner-17"),
        ("DurationSeconds", "1800"),
        ("SerialNumber", "arn:aws:iam::123456789012:mfa/alice"),
    ] {
        assert_eq!(sent[name], value);
    }
    let (ok, line) = home.run(&aws, "-", "admin", &[]);
    assert!(!ok && line.contains("mfa_token_provider"), "{line}");
}

#[test]
fn a_profile_that_wants_a_code_is_a_hop_of_its_own_beneath() {
    let aws = EmbeddedAws::start();
    let device = aws.add_mfa_device("arn:aws:iam::123456789012:mfa/alice");
    aws.require_mfa("arn:aws:iam::123456789012:role/admin");
    let home = Home::new(&aws, ROLES);
    let secret = device.secret();
    let (ok, line) = home.run(&aws, ROLE, "admin", &[("PROBE_MFA", &secret)]);
    assert!(ok, "{line}");
    assert_eq!(
        line,
        format!(
            "eu-west-1 {} < {}\n",
            arn("demo", "brs-session"),
            arn("admin", "alice")
        )
    );
    // Its role again beneath another profile's; the code of this step is used, and the probe is
    // another process.
    let other = aws.add_mfa_device("arn:aws:iam::123456789012:mfa/alice");
    let (ok, line) = home.run(&aws, "-", "on-admin", &[("PROBE_MFA", &other.secret())]);
    assert!(ok, "{line}");
    assert_eq!(
        line,
        format!(
            "eu-west-1 {} < {}\n",
            arn("deep", "brs-session"),
            arn("admin", "alice")
        )
    );
    let (ok, line) = home.run(&aws, ROLE, "admin", &[]);
    assert!(
        !ok && line.contains("`admin`") && line.contains("mfa_serial"),
        "{line}"
    );
}

#[test]
fn every_source_of_a_profile_works() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, ROLES);
    let keys = [
        ("AWS_ACCESS_KEY_ID", aws.access_key_id()),
        ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key()),
    ];
    let (id, secret) = (aws.access_key_id(), aws.secret_access_key());
    let process = format!(r#"{{"Version":1,"AccessKeyId":"{id}","SecretAccessKey":"{secret}"}}"#);
    std::fs::write(home.path("process.json"), process).unwrap();
    std::fs::write(home.path("token"), "eyJ.a.token").unwrap();
    aws.add_web_identity("eyJ.a.token", "pod");
    for (role, profile, environment, who) in [
        ("-", "plain", &[][..], arn("plain", "brs-session")),
        (ROLE, "plain", &[], on(&arn("plain", "brs-session"))),
        ("-", "itself", &[], arn("itself", "brs-session")),
        (ROLE, "itself", &[], on(&arn("itself", "brs-session"))),
        ("-", "environment", &keys, arn("environment", "brs-session")),
        (
            ROLE,
            "environment",
            &keys,
            on(&arn("environment", "brs-session")),
        ),
        (ROLE, "process", &[], arn("demo", "brs-session")),
        (ROLE, "web", &[], on(&arn("web", "pod"))),
    ] {
        let (ok, line) = home.run(&aws, role, profile, environment);
        assert!(ok, "{role} {profile}: {line}");
        assert_eq!(line, format!("eu-west-1 {who}\n"), "{role} {profile}");
    }
}

/// As in `aws-config` and botocore: keys of a source go before its role, and only the first
/// profile's role before keys.
#[test]
fn a_source_with_keys_and_a_role_is_used_for_its_keys() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, ROLES);
    let on_both = arn("on-both", "brs-session");
    for (role, profile, who) in [
        ("-", "both", arn("both", "brs-session")),
        ("-", "on-both", on_both.clone()),
        ("-", "on-both-with-mfa", on_both.clone()),
        ("-", "long-on-both", on_both.clone()),
        (ROLE, "on-both", on(&on_both)),
        (ROLE, "on-both-with-mfa", on(&on_both)),
        (ROLE, "long-on-both", on(&on_both)),
    ] {
        let before = aws.requests().len();
        let (ok, line) = home.run(&aws, role, profile, &[]);
        assert!(ok, "{role} {profile}: {line}");
        assert_eq!(line, format!("eu-west-1 {who}\n"), "{role} {profile}");
        let assumed: Vec<_> = aws.requests()[before..]
            .iter()
            .filter_map(|request| {
                Some(
                    request
                        .parameters
                        .get("RoleArn")?
                        .rsplit('/')
                        .next()?
                        .to_owned(),
                )
            })
            .collect();
        assert!(
            profile == "both" || !assumed.contains(&"both".to_owned()),
            "{role} {profile}: {assumed:?}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_role_profile_is_said_with_its_name() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, ROLES);
    for (profile, problem) in [
        ("wrong-duration", "duration_seconds"),
        ("short-duration", "must be 900 to 43200 seconds, not 60"),
        ("no-source", "source_profile"),
        ("two-sources", "both"),
        ("odd-source", "Ec2InstanceMetadata"),
        ("base", "no role to assume"),
        ("web", "sts-web-identity"),
    ] {
        let (ok, line) = home.run(&aws, "-", profile, &[]);
        assert!(
            !ok && line.contains("unrecoverable error") && line.contains(problem),
            "{profile}: {line}"
        );
    }
    assert!(aws.requests().is_empty());
}

#[test]
fn a_web_identity_comes_from_the_environment() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, ROLES);
    std::fs::write(home.path("token"), "eyJ.a.token").unwrap();
    aws.add_web_identity("eyJ.a.token", "pod");
    let token = home.path("token").display().to_string();
    let mut environment = vec![
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.as_str()),
        ("AWS_REGION", "eu-west-1"),
    ];
    let (ok, line) = home.run(&aws, "web-identity", "base", &environment);
    assert_eq!(
        (ok, line.as_str()),
        (
            true,
            format!("eu-west-1 {}\n", arn("demo", "brs-session")).as_str()
        )
    );
    environment.push(("AWS_ROLE_SESSION_NAME", "pod-7"));
    let (ok, line) = home.run(&aws, "web-identity", "base", &environment);
    assert!(ok && line.contains("/demo/pod-7"), "{line}");
}

const SSO: &str = "\
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

[profile old-style]
region = eu-west-1
sso_region = eu-west-1
sso_start_url = https://old.awsapps.com/start
sso_account_id = 123456789012
sso_role_name = Developer
";

#[test]
fn an_sso_login_is_the_base_of_a_role() {
    let aws = EmbeddedAws::start();
    aws.add_sso_login("sso-token");
    let home = Home::new(&aws, SSO);
    home.log_in("corp", "sso-token", "2099-01-01T00:00:00Z");
    home.log_in(
        "https://old.awsapps.com/start",
        "sso-token",
        "2099-01-01T00:00:00Z",
    );
    let (demo, on_dev) = (arn("demo", "brs-session"), arn("on-dev", "brs-session"));
    for (role, profile, who) in [
        (ROLE, "dev", &demo),
        ("-", "on-dev", &on_dev),
        (ROLE, "on-dev", &on(&on_dev)),
        (ROLE, "old-style", &demo),
    ] {
        let (ok, line) = home.run(&aws, role, profile, &[]);
        assert!(ok, "{profile}: {line}");
        assert_eq!(line, format!("eu-west-1 {who}\n"));
    }
    assert!(aws.calls("GetRoleCredentials") >= 4);
}

#[test]
fn an_ended_sso_login_names_the_profile_and_the_command() {
    let aws = EmbeddedAws::start();
    let home = Home::new(&aws, SSO);
    let expect = |profile: &str, command: &str| {
        for role in [ROLE, "-"] {
            if role == "-" && profile != "on-dev" {
                continue;
            }
            let (ok, line) = home.run(&aws, role, profile, &[]);
            assert!(
                !ok && line.starts_with("configuration unrecoverable error"),
                "{profile}: {line}"
            );
            assert!(line.contains(command), "{profile}: {line}");
            assert!(!line.contains("sso-token"), "{line}");
        }
    };
    let all = || {
        expect("dev", "run `aws sso login --profile dev`");
        expect("on-dev", "run `aws sso login --profile dev`");
        expect("old-style", "run `aws sso login --profile old-style`");
    };
    // Never logged in; expired; ended by somebody else.
    all();
    for expires_at in ["2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        home.log_in("corp", "sso-token", expires_at);
        home.log_in("https://old.awsapps.com/start", "sso-token", expires_at);
        all();
    }
    assert_eq!(aws.calls("AssumeRole"), 0);
}
