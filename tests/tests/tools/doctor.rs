//! `doctor`: what it finds, for each kind of finding one that fails or warns.

use std::net::TcpListener;
use std::time::SystemTime;

use super::*;
use brs_tests::EmbeddedIot;
use brs_tests::embedded_aws::Failure;
use brs_tests::embedded_iot::{Device, KeyKind};
use brs_tests::tls_door::TlsDoor;
use serde_json::Value;

const DEVICE: &str = "arn:aws:iam::123456789012:mfa/brs";

/// The findings of one run.
#[derive(Debug)]
struct Found {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Found {
    fn of(command: &mut Command) -> Self {
        let ran = Ran::of(command.arg("--json"));
        let value: Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        let checks = value["checks"].as_array().unwrap().clone();
        for (index, check) in checks.iter().enumerate() {
            assert_eq!(check["number"], index + 1);
            // Each that is not well has one remedy.
            let is_ok = check["status"] == "ok";
            assert_eq!(check["remedy"].is_null(), is_ok, "{check}");
        }
        let count = |status: &str| {
            checks
                .iter()
                .filter(|check| check["status"] == status)
                .count()
        };
        assert_eq!(value["ok"], count("ok"));
        assert_eq!(value["warnings"], count("warn"));
        assert_eq!(value["failures"], count("fail"));
        assert_eq!(ran.code == Some(0), count("fail") == 0, "{ran:?}");
        Self {
            code: ran.code,
            checks,
        }
    }

    /// State, text and remedy of a check.
    #[track_caller]
    fn check(&self, name: &str) -> (String, String, String) {
        let check = self.checks.iter().find(|check| check["check"] == name);
        let check = check.unwrap_or_else(|| panic!("no `{name}`: {self:#?}"));
        let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
        (text("status"), text("text"), text("remedy"))
    }

    /// A check is in this state, and text or remedy have these words.
    #[track_caller]
    fn has(&self, name: &str, status: &str, words: &str) -> &Self {
        let (found, text, remedy) = self.check(name);
        assert_eq!(found, status, "{name}: {text} → {remedy}");
        assert!(
            format!("{text} → {remedy}").contains(words),
            "{name}: {text} → {remedy}"
        );
        self
    }

    fn lacks(&self, name: &str) -> &Self {
        assert!(
            !self.checks.iter().any(|check| check["check"] == name),
            "{self:#?}"
        );
        self
    }

    #[track_caller]
    fn ends_with(&self, code: i32) {
        assert_eq!(self.code, Some(code), "{self:#?}");
    }
}

impl World {
    fn doctor(&self, words: &[&str], variables: &[(&str, &str)]) -> Found {
        let mut command = self.brs(&[&["doctor"], words].concat());
        let run = self.path("run");
        fs::create_dir_all(&run).unwrap();
        chmod(&run, 0o700);
        Found::of(
            command
                .env("XDG_RUNTIME_DIR", run)
                .envs(variables.iter().copied()),
        )
    }

    /// With `more` in place of the session's endpoint.
    fn session_at(&self, url: &str) {
        let session = self.session("app", ROLE, "");
        self.configure(&session.replace(&self.aws.endpoint_url(), url));
    }
}

#[test]
fn a_session_that_is_well_has_no_failure() {
    let world = World::new();
    let hub = world.session("hub", HUB, "");
    world.configure(&format!(
        "{hub}[sessions.app]\nmethod = \"sts\"\nrole_arn = \"{ROLE}\"\nbase = \"hub\"\n"
    ));
    let found = world.doctor(&["app"], &[]);
    found
        .has("configuration", "ok", "brs.toml` (mode 0644)")
        .has("parameters", "ok", "method `sts`")
        .has("region", "ok", "`eu-west-1`")
        .has("dns", "ok", "127.0.0.1")
        .has("tcp", "ok", "accepts connections")
        .has("tls", "warn", "`https://`")
        .has("clock", "ok", "s off")
        .has("base credentials", "ok", "`hub`: access key id `ASIA")
        .has("call", "ok", "access key id `ASIA")
        .has("caller identity", "ok", ":assumed-role/app/")
        .has("lifetime", "ok", "60 min")
        .has("cache", "ok", "usable")
        .has("programs", "ok", "")
        .has("profiles", "ok", "`default`");
    found.ends_with(0);
    // The same for people, without secrets.
    let ran = world.run(&["doctor", "app"]);
    assert!(
        ran.stdout.starts_with(" 1. ok    configuration: `"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("tls: ") && ran.stdout.contains("          → "),
        "{}",
        ran.stdout
    );
    for secret in world.aws.issued_secrets() {
        assert!(!ran.stdout.contains(&secret) && !ran.stderr.contains(&secret));
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_the_first_finding() {
    let world = World::new();
    chmod(&world.path(".config/brs/brs.toml"), 0o666);
    let found = world.doctor(&["app"], &[]);
    found
        .has("configuration", "fail", "run `chmod go-w")
        .lacks("call")
        .has("programs", "ok", "")
        .ends_with(2);
    world.configure("[sessions.app]\nmethod = \"nothing\"\n");
    world
        .doctor(&["app"], &[])
        .has("configuration", "fail", "give one of")
        .ends_with(2);
    world.configure("");
    world
        .doctor(&["app"], &[])
        .has("configuration", "ok", "")
        .has("parameters", "fail", "no session `app`")
        .ends_with(2);
}

#[test]
fn a_wrong_parameter_is_named() {
    let world = World::new();
    world.configure(&world.session("app", "arn:aws:iam::1:role/x", ""));
    world
        .doctor(&["app"], &[])
        .has("configuration", "ok", "")
        .has("parameters", "fail", "must be a role's ARN")
        .ends_with(2);
}

#[test]
fn each_step_of_the_way_to_the_endpoint_is_looked_at() {
    let world = World::new();
    world.session_at("http://nowhere.invalid:80");
    let found = world.doctor(&["app"], &[]);
    found
        .has("dns", "fail", "`nowhere.invalid` has no address")
        .lacks("tcp")
        .has("call", "fail", "")
        .ends_with(1);

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    world.session_at(&format!("http://{closed}"));
    world
        .doctor(&["app"], &[])
        .has("dns", "ok", "")
        .has("tcp", "fail", "does not accept")
        .lacks("tls")
        .ends_with(1);

    // Plain HTTP behind https.
    world.session_at(&world.aws.endpoint_url().replace("http://", "https://"));
    world
        .doctor(&["app"], &[])
        .has("tcp", "ok", "")
        .has("tls", "fail", "")
        .lacks("clock")
        .ends_with(1);

    // A proxy that is not there, and one that leads nowhere.
    world.session_at("https://sts.eu-west-1.amazonaws.com");
    let proxy = format!("http://{closed}");
    let found = world.doctor(&["app"], &[("HTTPS_PROXY", &proxy)]);
    found
        .has("tcp", "fail", "the proxy `http://127.0.0.1")
        .ends_with(1);
    let no_proxy = world.aws.endpoint_url();
    let found = world.doctor(&["app"], &[("HTTPS_PROXY", &no_proxy)]);
    found
        .has("tcp", "ok", "")
        .has("proxy", "fail", "`NO_PROXY`")
        .lacks("tls")
        .ends_with(1);
}

#[test]
fn tls_is_checked_with_the_authorities_in_use() {
    let world = World::new();
    let iot = EmbeddedIot::start(&world.aws);
    let target = world
        .aws
        .endpoint_url()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap();
    let door = TlsDoor::start_without_certificates(&iot, &[], target);
    world.session_at(&format!("https://{}", door.endpoint()));
    let found = world.doctor(&["app"], &[]);
    found.has("tls", "fail", "").ends_with(1);
    let bundle = world.write("bundle.pem", iot.trust_store());
    let found = world.doctor(&["app"], &[("AWS_CA_BUNDLE", bundle.to_str().unwrap())]);
    found
        .has("tls", "ok", "`AWS_CA_BUNDLE`")
        .has("clock", "ok", "")
        .has("call", "ok", "")
        .ends_with(0);
    let none = world.write("none.pem", "nothing");
    let found = world.doctor(&["app"], &[("AWS_CA_BUNDLE", none.to_str().unwrap())]);
    // The session itself refuses such a bundle.
    found
        .has("parameters", "fail", "AWS_CA_BUNDLE")
        .ends_with(2);
}

#[test]
fn a_clock_that_is_off_is_found_before_aws_refuses_it() {
    for (seconds, status, code) in [(0, "ok", 0), (100, "warn", 0), (400, "fail", 1)] {
        let ahead = Duration::from_secs(seconds);
        let world = World::at(EmbeddedAws::builder().clock(move || now() + ahead).start());
        world
            .doctor(&["app"], &[])
            .has("clock", status, "s off")
            .ends_with(code);
    }
}

fn now() -> SystemTime {
    SystemClock::new().now()
}

#[test]
fn what_the_source_refuses_fails_the_call_or_its_base() {
    let world = World::new();
    let hub = world.session("hub", HUB, "");
    let app = format!("[sessions.app]\nmethod = \"sts\"\nrole_arn = \"{ROLE}\"\nbase = \"hub\"\n");
    world.configure(&format!("{hub}{app}"));
    world.aws.deny_role(ROLE);
    let found = world.doctor(&["app"], &[]);
    found
        .has("base credentials", "ok", "")
        .has("call", "fail", "")
        .lacks("caller identity")
        .ends_with(1);
    world.aws.add_role(ROLE);
    world.aws.deny_role(HUB);
    let found = world.doctor(&["app"], &[]);
    found
        .has("base credentials", "fail", "`hub`: ")
        .lacks("call")
        .ends_with(1);
    world.aws.add_role(HUB);
    world
        .aws
        .fail_always_of("GetCallerIdentity", Some(Failure::Status(403)));
    world
        .doctor(&["app"], &[])
        .has("call", "ok", "")
        .has("caller identity", "fail", "")
        .ends_with(1);
}

#[test]
fn a_code_that_only_a_person_has_is_a_finding_of_its_own() {
    let world = World::new();
    let asks = "mfa_token_provider = { prompt = true }\n";
    let role = format!("{{ role_arn = \"{ROLE}\", serial_number = \"{DEVICE}\" }}");
    world.configure(&format!(
        "[sessions.app]\nmethod = \"sts\"\n{}{asks}assume_role = {role}\n",
        world.keys()
    ));
    world
        .doctor(&["app"], &[])
        .has("call", "fail", "brs whoami app")
        .ends_with(3);
}

#[test]
fn short_lives_and_unusable_caches_are_warned_of() {
    let world = World::new();
    world.aws.set_lifetime(Some(Duration::from_secs(600)));
    world
        .doctor(&["app"], &[])
        .has("lifetime", "warn", "`duration`")
        .ends_with(0);
    fs::create_dir_all(world.path("run/brs")).unwrap();
    chmod(&world.path("run/brs"), 0o755);
    world
        .doctor(&["app"], &[])
        .has("cache", "fail", "0700")
        .ends_with(2);
    let mut command = world.brs(&["doctor", "app"]);
    Found::of(&mut command)
        .has("cache", "warn", "`XDG_RUNTIME_DIR`")
        .ends_with(0);
}

#[test]
fn what_programs_would_use_instead_is_named() {
    let world = World::new();
    let key = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
    ];
    world
        .doctor(&["app"], &key)
        .has(
            "programs",
            "warn",
            "`AWS_ROLE_ARN`, `AWS_WEB_IDENTITY_TOKEN_FILE`",
        )
        .ends_with(0);
    world.write(
        ".aws/credentials",
        "[default]\naws_access_key_id = AKIAX\naws_secret_access_key = x\n",
    );
    world
        .doctor(&["app"], &[])
        .has("profiles", "warn", "`default` has `aws_access_key_id`")
        .ends_with(0);
    world.write(".aws/config", "[profile other]\nregion = x\n");
    world
        .doctor(&["app"], &[("AWS_PROFILE", "other")])
        .has("programs", "warn", "`AWS_PROFILE`")
        .has("profiles", "ok", "`other`");
}

/// A device at an embedded AWS IoT.
struct Thing {
    world: World,
    iot: EmbeddedIot,
    device: Device,
}

impl Thing {
    fn new(life: Duration) -> Self {
        let world = World::new();
        let iot = EmbeddedIot::start(&world.aws);
        let device = iot.add_device_valid(
            "thing",
            KeyKind::EcP256,
            now() - Duration::from_secs(3600)..now() + life,
        );
        iot.add_role_alias("alias", ROLE, Duration::from_secs(3600));
        Self { world, iot, device }
    }

    fn configure(&self, certificate: &str, key: &str) {
        let file =
            |name: &str, content: &str| self.world.write(name, content).display().to_string();
        self.world.configure(&format!(
            "[sessions.app]\nmethod = \"iot\"\nendpoint = \"{}\"\nallow_any_endpoint = true\nrole_alias = \"alias\"\n\
             region = \"eu-west-1\"\nendpoint_url = \"{}\"\ncertificate = \"{}\"\nprivate_key = \"{}\"\n\
             trust_store = \"{}\"\n",
            self.iot.endpoint(),
            self.world.aws.endpoint_url(),
            file("certificate.pem", certificate),
            file("key.pem", key),
            file("trust.pem", &self.iot.trust_store()),
        ));
    }
}

const DAYS: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_device_s_certificate_is_described() {
    let thing = Thing::new(90 * DAYS);
    let Device {
        certificate_pem,
        private_key_pem,
        ..
    } = &thing.device;
    thing.configure(certificate_pem, private_key_pem);
    let found = thing.world.doctor(&["app"], &[]);
    found
        .has("tls", "ok", "the device's authorities")
        .has("certificate", "ok", "serial ")
        .has("certificate", "ok", "the key fits")
        .has("certificate validity", "ok", "89 days left")
        .has("certificate chain", "ok", "2 certificates in order")
        .has("call", "ok", "ASIA");
    found.ends_with(0);

    // Another device's key; the device's own certificate last.
    let other = thing.iot.add_device("other", KeyKind::EcP256);
    thing.configure(certificate_pem, &other.private_key_pem);
    thing
        .world
        .doctor(&["app"], &[])
        .has("parameters", "fail", "do not belong together")
        .ends_with(2);
    let leaf = thing.device.leaf_pem();
    let turned = format!("{}{leaf}", certificate_pem.strip_prefix(leaf).unwrap());
    thing.configure(&turned, private_key_pem);
    thing
        .world
        .doctor(&["app"], &[])
        .has("parameters", "fail", "put it first")
        .ends_with(2);
    let twice = format!("{leaf}{leaf}");
    thing.configure(&twice, private_key_pem);
    thing.world.doctor(&["app"], &[]).has(
        "certificate chain",
        "warn",
        "certificate 2 did not issue",
    );

    let thing = Thing::new(10 * DAYS);
    thing.configure(&thing.device.certificate_pem, &thing.device.private_key_pem);
    thing
        .world
        .doctor(&["app"], &[])
        .has("certificate validity", "warn", "renew the certificate")
        .ends_with(0);
}
