//! `login`: a person enters a code, and every SDK of the user has the login.

use std::os::unix::fs::MetadataExt as _;

use super::*;
use brs_tests::embedded_aws::{Decision, Failure};
use serde_json::Value;

const CONFIG: &str = "\
[sso-session corp]
sso_region = eu-west-1
sso_start_url = https://brs.awsapps.com/start
sso_registration_scopes = sso:account:access

[profile dev]
region = eu-west-1
sso_session = corp
sso_account_id = 123456789012
sso_role_name = Developer

[profile bare]
sso_session = corp

[profile legacy]
sso_start_url = https://brs.awsapps.com/start
sso_region = eu-west-1

[profile keys]
region = eu-west-1

[profile lost]
sso_session = nowhere

[sso-session half]
sso_region = eu-west-1

[profile half]
sso_session = half

[sso-session elsewhere]
sso_region = eu-west-1
sso_start_url = https://example.com/start

[profile elsewhere]
sso_session = elsewhere
";

fn world() -> World {
    let world = World::new();
    world.write(".aws/config", CONFIG);
    world
}

impl World {
    fn login(&self, words: &[&str]) -> Running {
        let url = self.aws.endpoint_url();
        self.start(&[&["login"], words].concat(), &[("AWS_ENDPOINT_URL", &url)])
    }

    /// The one login in the cache.
    fn kept(&self) -> (PathBuf, Value) {
        let files = fs::read_dir(self.path(".aws/sso/cache"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let path = files.remove(0);
        let value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        (path, value)
    }

    fn with_aws(&self, command: &mut Command) -> Ran {
        self.in_here(command);
        Ran::of(command.env("AWS_ENDPOINT_URL", self.aws.endpoint_url()))
    }
}

/// The code that a login asks for.
fn code(running: &Running) -> String {
    let line = running.line("code ");
    line.split("code ")
        .nth(1)
        .unwrap()
        .trim_end_matches(':')
        .to_owned()
}

fn allow(world: &World, running: Running) -> String {
    let code = code(&running);
    world.aws.decide_sso_code(&code, Decision::Allowed);
    let (status, rest, errors) = running.end();
    assert_eq!(status, Some(0), "{errors}");
    rest
}

#[test]
fn a_login_is_kept_as_the_aws_cli_keeps_it() {
    let world = world();
    let rest = allow(&world, world.login(&["dev"]));
    assert!(
        rest.contains("https://brs.awsapps.com/start/#/device?user_code="),
        "{rest}"
    );
    assert!(
        rest.contains("logged in to `corp` until 2") && !rest.contains("hush"),
        "{rest}"
    );
    let (path, login) = world.kept();
    let text = |name: &str| login[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("startUrl"), "https://brs.awsapps.com/start");
    assert_eq!(text("region"), "eu-west-1");
    for name in ["accessToken", "clientId", "clientSecret", "refreshToken"] {
        assert!(!text(name).is_empty(), "{name}");
    }
    for name in ["expiresAt", "registrationExpiresAt"] {
        assert!(
            text(name).len() == 20 && text(name).ends_with('Z'),
            "{login}"
        );
    }
    assert_eq!(path.file_stem().unwrap(), &*sha1_of_corp());
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(
        path.parent().unwrap().metadata().unwrap().mode() & 0o7777,
        0o700
    );

    // The session of the profile has credentials by it, without a person.
    let mut command = world.brs(&["credential-process", "--profile", "dev"]);
    let json: Value = serde_json::from_str(&world.with_aws(&mut command).ok()).unwrap();
    assert!(json["AccessKeyId"].as_str().unwrap().starts_with("ASIA"));
    assert_eq!(world.aws.calls("GetRoleCredentials"), 1);
    // A profile without a role has the same login; a login is one whenever it is asked for.
    allow(&world, world.login(&["bare"]));
    assert_eq!(world.aws.calls("StartDeviceAuthorization"), 2);
    assert_ne!(world.kept().1["accessToken"], login["accessToken"]);
}

/// As the AWS CLI's documentation has it: the file is named after the session.
fn sha1_of_corp() -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, b"corp");
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn refusal_and_silence_need_a_person() {
    let world = world();
    for (decision, words) in [
        (Decision::Refused, "refused"),
        (Decision::Ignored, "the code was not entered within 600 s"),
    ] {
        let running = world.login(&["dev"]);
        world.aws.decide_sso_code(&code(&running), decision);
        let (status, _, errors) = running.end();
        assert_eq!(status, Some(3), "{errors}");
        assert!(
            errors.contains(words) && errors.contains("run the command again"),
            "{errors}"
        );
    }
    assert!(
        fs::read_dir(world.path(".aws/sso/cache"))
            .unwrap()
            .all(|entry| {
                let name = entry.unwrap().file_name();
                !name.to_string_lossy().ends_with(".json")
            })
    );
}

#[test]
fn the_service_sets_the_pace() {
    let world = world();
    let slow_down = Failure::Error {
        status: 400,
        code: "SlowDownException",
        message: "too often".into(),
    };
    world.aws.fail_next_of("CreateToken", [slow_down]);
    allow(&world, world.login(&["dev"]));
    let asked: Vec<_> = world
        .aws
        .requests()
        .into_iter()
        .filter(|request| request.action == "CreateToken")
        .collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let pause = asked[1].time.duration_since(asked[0].time).unwrap();
    assert!(
        pause >= Duration::from_secs(6),
        "one second and five: {pause:?}"
    );
}

#[test]
fn an_outage_between_two_questions_ends_no_login() {
    let world = world();
    let failures = [
        Failure::Status(503),
        Failure::DropConnection,
        Failure::Page(502),
    ];
    world.aws.fail_next_of("CreateToken", failures);
    let running = world.login(&["dev"]);
    let code = code(&running);
    world.aws.decide_sso_code(&code, Decision::Allowed);
    running.error("is asked again");
    let (status, rest, errors) = running.end();
    assert_eq!(status, Some(0), "{errors}");
    assert!(rest.contains("logged in"), "{rest}");
    assert_eq!(world.aws.calls("CreateToken"), 4);
}

#[test]
fn a_second_login_waits_for_the_first_and_uses_it() {
    let world = world();
    let first = world.login(&["dev"]);
    let code = code(&first);
    let second = world.login(&["bare"]);
    second.error("another login of `corp` is under way");
    world.aws.decide_sso_code(&code, Decision::Allowed);
    assert_eq!(first.end().0, Some(0));
    let (status, rest, errors) = second.end();
    assert_eq!(status, Some(0), "{errors}");
    assert!(rest.contains("logged in to `corp`"), "{rest}");
    assert_eq!(world.aws.calls("RegisterClient"), 1);
}

#[test]
fn what_is_wrong_with_a_profile_is_named() {
    let world = world();
    for (profile, words) in [
        ("none", "there is no profile `none`"),
        ("keys", "`keys` has no `sso_session`"),
        ("legacy", "move its `sso_start_url`"),
        ("lost", "`[sso-session nowhere]`"),
        ("half", "`sso_start_url`"),
        (
            "elsewhere",
            "refuses `[sso-session elsewhere]`: InvalidRequestException",
        ),
    ] {
        let (status, _, errors) = world.login(&[profile]).end();
        assert_eq!(status, Some(2), "{profile}: {errors}");
        assert!(errors.contains(words), "{profile}: {errors}");
    }
    world
        .aws
        .fail_always_of("RegisterClient", Some(Failure::DropConnection));
    let (status, _, errors) = world.login(&["dev"]).end();
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.contains("was not reached"), "{errors}");
}

#[test]
fn the_browser_of_the_user_is_opened_on_request() {
    let world = world();
    let browser = world.write(
        "browser",
        format!(
            "#!/bin/sh\necho \"$1\" > {}\n",
            world.path("opened").display()
        ),
    );
    chmod(&browser, 0o700);
    let url = world.aws.endpoint_url();
    let variables = [
        ("AWS_ENDPOINT_URL", url.as_str()),
        ("BROWSER", browser.to_str().unwrap()),
    ];
    world.aws.decide_sso_codes(Decision::Allowed);
    assert_eq!(world.start(&["login", "dev"], &variables).end().0, Some(0));
    assert!(!world.path("opened").exists());
    assert_eq!(
        world
            .start(&["login", "dev", "--browser"], &variables)
            .end()
            .0,
        Some(0)
    );
    until("the browser was opened", || {
        world.path("opened").exists() && !world.read("opened").is_empty()
    });
    assert!(
        world
            .read("opened")
            .starts_with("https://brs.awsapps.com/start/#/device?user_code=BRSX-")
    );
}

#[test]
#[ignore = "needs boto3 and the AWS CLI"]
fn boto3_and_the_aws_cli_use_and_renew_the_login() {
    let Some(venv) = std::env::var_os("BRS_CLIENTS_VENV").map(PathBuf::from) else {
        panic!(
            "needs boto3 and the AWS CLI: `cargo xtask test` installs them and sets BRS_CLIENTS_VENV"
        )
    };
    let world = world();
    allow(&world, world.login(&["dev"]));
    let script = "import boto3; print(boto3.Session(profile_name='dev').client('sts').get_caller_identity()['Arn'])";
    let mut python = Command::new(venv.join("bin/python"));
    let arn = world.with_aws(python.args(["-c", script])).ok();
    assert!(arn.contains("AWSReservedSSO_Developer"), "{arn}");
    let cli = [
        "sts",
        "get-caller-identity",
        "--profile",
        "dev",
        "--query",
        "Arn",
        "--output",
        "text",
    ];
    let mut aws = Command::new(venv.join("bin/aws"));
    assert_eq!(world.with_aws(aws.args(cli)).ok(), arn);
    // Nearly over: botocore renews it with client and refresh token, and keeps it in the same form.
    let (path, mut login) = world.kept();
    let earlier = login["accessToken"].clone();
    login["expiresAt"] = "2020-01-01T00:00:00Z".into();
    fs::write(&path, login.to_string()).unwrap();
    let mut python = Command::new(venv.join("bin/python"));
    world.with_aws(python.args(["-c", script])).ok();
    assert_ne!(world.kept().1["accessToken"], earlier);
}
