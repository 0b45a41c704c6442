//! The examples of `brs`, each started as a user starts it, against the embedded AWS and IoT.
//!
//! The test builds them first, with the features of the workspace's tests.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use base64ct::Encoding as _;
use brs_tests::embedded_iot::{Device, EmbeddedIot, KeyKind};
use brs_tests::identity_providers::{GITHUB_TOKEN, IdentityProviders};
use brs_tests::machine_metadata::{MachineMetadata, ROLE_NAME, TASK};
use brs_tests::mosquitto::Mosquitto;
use brs_tests::redis::Redis;
use brs_tests::sign_in::SignIn;
use brs_tests::token::{Kind, Module, PIN};
use brs_tests::{EmbeddedAnywhere, EmbeddedAws};
use serde_json::json;

const ROLE: &str = "arn:aws:iam::123456789012:role/app";
const HUB: &str = "arn:aws:iam::123456789012:role/hub";
const SPOKE: &str = "arn:aws:iam::210987654321:role/spoke";
/// A real server takes as long as it takes; this is when it is given up.
const LIMIT: Duration = Duration::from_secs(30);

/// An account, and a home that is empty at first.
struct World {
    aws: EmbeddedAws,
    home: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            aws: EmbeddedAws::start(),
            home: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The example with a user's keys and the server's address in its environment.
    fn example(&self, name: &str) -> Command {
        let mut command = Command::new(built(name));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
            .env("AWS_ACCESS_KEY_ID", self.aws.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", self.aws.secret_access_key())
            .env("AWS_ENDPOINT_URL", self.aws.endpoint_url())
            .env("AWS_REGION", "eu-west-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("HOME", self.home.path());
        command
    }

    fn run<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        name: &str,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> String {
        said(&self.example(name).envs(variables).output().unwrap())
    }
}

/// The example, up to date: `cargo test` builds examples only if no targets are chosen. It is built
/// with the packages and features of a test of the workspace, so nothing is compiled twice.
fn built(name: &str) -> PathBuf {
    static BUILT: LazyLock<()> = LazyLock::new(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked", "--workspace"])
            .args([
                "--exclude",
                "brs-tests-fuzz",
                "--all-features",
                "--examples",
            ])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .unwrap();
        assert!(status.success(), "the examples are built");
    });
    LazyLock::force(&BUILT);
    let this = std::env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).unwrap();
    profile
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION)
}

fn said(output: &Output) -> String {
    let (said, complaints) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{}: {said}\n{complaints}",
        output.status
    );
    said.into_owned()
}

/// A device of the embedded IoT with its files, as variables of the examples.
fn device(world: &World, iot: &EmbeddedIot) -> (Device, Vec<(&'static str, String)>) {
    iot.add_role_alias("reporting", ROLE, None);
    let device = iot.add_device("lamp", KeyKind::EcP256);
    let path = |name, content: &str| world.file(name, content).display().to_string();
    let variables = vec![
        ("IOT_ENDPOINT", iot.endpoint()),
        ("ROLE_ALIAS", "reporting".into()),
        ("THING_NAME", "lamp".into()),
        (
            "CERTIFICATE",
            path("certificate.pem", &device.certificate_pem),
        ),
        ("PRIVATE_KEY", path("private.key", &device.private_key_pem)),
        ("TRUST_STORE", path("roots.pem", &iot.trust_store())),
    ];
    (device, variables)
}

#[test]
fn list_buckets_by_role() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let said = world.run("list_buckets_by_role", [("ROLE_ARN", ROLE)]);
    assert_eq!(said, "demo\n");
    assert_eq!(world.aws.calls("AssumeRole"), 1);
}

#[test]
fn mfa_chain() {
    let world = World::new();
    let serial_number = "arn:aws:iam::123456789012:mfa/brs";
    let mfa = world.aws.add_mfa_device(serial_number);
    [HUB, SPOKE]
        .into_iter()
        .for_each(|role| world.aws.add_role(role));
    world.aws.require_mfa(HUB);
    let said = world.run(
        "mfa_chain",
        [
            ("MFA_SERIAL", serial_number),
            ("MFA_SECRET", &mfa.secret()),
            ("HUB_ROLE_ARN", HUB),
            ("SPOKE_ROLE_ARN", SPOKE),
        ],
    );
    let lines: Vec<_> = said.lines().collect();
    let expected = ["user/brs", "assumed-role/hub/", "assumed-role/spoke/"];
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, part) in lines.iter().zip(expected) {
        assert!(line.contains(part), "{said}");
    }
    assert_eq!(world.aws.mfa_attempts().len(), 1, "one code for all");
}

#[test]
fn many_accounts() {
    let world = World::new();
    world.aws.add_role(HUB);
    let accounts: Vec<_> = (0..200_u64)
        .map(|number| (100_000_000_000 + number).to_string())
        .collect();
    for account in &accounts {
        world
            .aws
            .add_role(&format!("arn:aws:iam::{account}:role/audit"));
    }
    let denied = format!("arn:aws:iam::{}:role/audit", accounts[7]);
    world.aws.deny_role(&denied);
    let list = world.file("accounts", accounts.join("\n"));
    let output = world
        .example("many_accounts")
        .env("HUB_ROLE_ARN", HUB)
        .env("ROLE_NAME", "audit")
        .env("ACCOUNTS_FILE", list)
        .output()
        .unwrap();
    let text = said(&output);
    assert!(text.contains("199 accounts reached, 1 refused"), "{text}");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.contains(&denied), "{complaints}");
    assert_eq!(world.aws.calls("ListBuckets"), 199);
}

#[test]
fn fleet() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let redis = Redis::start();
    let keys = [b'7'; 32];
    let keys = format!("k1:{}", base64ct::Base64::encode_string(&keys));
    let keys = world.file("seal-keys", keys);
    let host = || {
        world.run(
            "fleet",
            [
                ("ROLE_ARN", OsStr::new(ROLE)),
                ("REDIS_URL", OsStr::new(&redis.url())),
                ("SEAL_KEYS", keys.as_os_str()),
            ],
        )
    };
    assert!(host().contains("credentials from STS"));
    let second = host();
    assert!(second.contains("credentials from the store"), "{second}");
    assert_eq!(world.aws.calls("AssumeRole"), 1);
}

#[test]
fn custom_function() {
    let world = World::new();
    let data = json!({
        "access_key": world.aws.access_key_id(), "secret_key": world.aws.secret_access_key(),
        "token": null, "expiry_time": "2096-10-02T07:06:40Z",
    });
    let path = world.file("credentials.json", data.to_string());
    let said = world.run("custom_function", [("CREDENTIALS_FILE", path)]);
    assert_eq!(said, "1 buckets\ncredentials of read_credentials\n");
}

#[test]
fn github_job() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let providers = IdentityProviders::start(&world.aws);
    let url = providers.github_url();
    let variables = [
        ("ROLE_ARN", ROLE),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", &url),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", GITHUB_TOKEN),
    ];
    assert_eq!(world.run("github_job", variables), "1 buckets\n");
    assert_eq!(world.aws.calls("AssumeRoleWithWebIdentity"), 1);
}

#[test]
fn saml_login() {
    let world = World::new();
    let provider = "arn:aws:iam::123456789012:saml-provider/company";
    world.aws.add_role(ROLE);
    world.aws.add_saml_provider(provider);
    let assertion = world.aws.issue_saml_assertion(ROLE, provider, "ann");
    let file = world.file("assertion", assertion);
    let command = format!("cat {}", file.display());
    let variables = [
        ("ROLE_ARN", ROLE),
        ("PROVIDER_ARN", provider),
        ("LOGIN_COMMAND", &command),
    ];
    let said = world.run("saml_login", variables);
    assert_eq!(said, "arn:aws:sts::123456789012:assumed-role/app/ann\n");
}

#[test]
fn root_task() {
    let world = World::new();
    world.aws.add_member_account("210987654321");
    let said = world.run("root_task", [("ACCOUNT_ID", "210987654321")]);
    assert_eq!(
        said,
        "arn:aws:sts::210987654321:assumed-root in account 210987654321\n"
    );
    assert_eq!(world.aws.calls("AssumeRoot"), 1);
}

#[test]
fn machine_role() {
    let world = World::new();
    let machine = MachineMetadata::start(&world.aws);
    let run = |name, value| {
        let mut example = world.example("machine_role");
        example.env_remove("AWS_EC2_METADATA_DISABLED");
        said(&example.env(name, value).output().unwrap())
    };
    assert_eq!(
        run("AWS_CONTAINER_CREDENTIALS_FULL_URI", machine.task_url()),
        format!("arn:aws:sts::123456789012:assumed-role/task/{TASK} by container\n")
    );
    let session = "i-0123456789abcdef0 by imds";
    assert_eq!(
        run("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.url()),
        format!("arn:aws:sts::123456789012:assumed-role/{ROLE_NAME}/{session}\n")
    );
}

#[test]
fn console_login() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let sign_in = SignIn::start(&world.aws, Duration::ZERO);
    let arn = "arn:aws:iam::123456789012:user/alice";
    let profile = format!("[profile dev]\nregion = eu-west-1\nlogin_session = {arn}\n");
    world.file(".aws/config", profile);
    let cache = world.home.path().join("logins");
    let example = || {
        let mut command = world.example("console_login");
        command
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("AWS_PROFILE", "dev")
            .env("ROLE_ARN", ROLE)
            .env("AWS_LOGIN_CACHE_DIRECTORY", &cache)
            .env("AWS_ENDPOINT_URL_SIGNIN", sign_in.url());
        said(&command.output().unwrap())
    };
    sign_in.log_in(&cache, arn, Duration::ZERO);
    assert_eq!(
        example(),
        "arn:aws:sts::123456789012:assumed-role/app/brs-session\n"
    );
    sign_in.log_in(&cache, arn, Duration::ZERO);
    sign_in.log_out();
    assert!(example().contains("run `aws login --profile dev`"));
}

#[test]
fn sso_profile() {
    let world = World::new();
    world.aws.add_role(ROLE);
    world.aws.add_role(
        "arn:aws:iam::123456789012:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Developer",
    );
    world.aws.add_sso_login("access token");
    world.file(
        ".aws/config",
        "[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://brs.awsapps.com/start\n\n\
         [profile dev]\nregion = eu-west-1\nsso_session = corp\nsso_account_id = 123456789012\n\
         sso_role_name = Developer\n",
    );
    let variables = [("PROFILE", "dev"), ("ROLE_ARN", ROLE)];

    // Nobody has logged in.
    let output = world
        .example("sso_profile")
        .envs(variables)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && complaints.contains("aws sso login --profile dev"),
        "{complaints}"
    );

    // What `aws sso login` leaves behind.
    let login = json!({
        "accessToken": "access token", "expiresAt": "2096-10-02T07:06:40Z", "region": "eu-west-1",
        "startUrl": "https://brs.awsapps.com/start",
    });
    world.file(
        &format!(".aws/sso/cache/{}.json", sha1("corp")),
        login.to_string(),
    );
    assert_eq!(world.run("sso_profile", variables), "1 buckets\n");
}

fn sha1(text: &str) -> String {
    let algorithm = &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;
    let digest = aws_lc_rs::digest::digest(algorithm, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn device_files() {
    let world = World::new();
    let iot = EmbeddedIot::start(&world.aws);
    let (_, variables) = device(&world, &iot);
    let said = world.run("device_files", variables);
    assert_eq!(said, "1 buckets\nthing lamp\n");
    assert_eq!(iot.calls(), 1);
}

#[test]
fn roles_anywhere() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let iot = EmbeddedIot::start(&world.aws);
    let anywhere = EmbeddedAnywhere::start(&world.aws, &iot);
    anywhere.add_role(ROLE);
    let server = iot.add_device("backup-7", KeyKind::Rsa2048);
    let path = |name, content: &str| world.file(name, content).display().to_string();
    let variables = [
        ("TRUST_ANCHOR_ARN", anywhere.trust_anchor_arn().to_owned()),
        ("PROFILE_ARN", anywhere.profile_arn().to_owned()),
        ("ROLE_ARN", ROLE.to_owned()),
        (
            "CERTIFICATE",
            path("certificate.pem", &server.certificate_pem),
        ),
        ("PRIVATE_KEY", path("private.key", &server.private_key_pem)),
        ("ENDPOINT_URL", anywhere.endpoint()),
        ("TRUST_STORE", path("roots.pem", &iot.trust_store())),
    ];
    let said = world.run("roles_anywhere", variables);
    assert_eq!(said, "1 buckets\ncertificate of CN=backup-7\n");
    assert_eq!(anywhere.calls(), 1);
}

#[test]
#[ignore = "needs SoftHSM2"]
fn device_token() {
    let world = World::new();
    let iot = EmbeddedIot::start(&world.aws);
    iot.add_role_alias("reporting", ROLE, None);
    let Some(module) = std::env::var_os("BRS_SOFTHSM2_MODULE") else {
        panic!("BRS_SOFTHSM2_MODULE must be the path of the PKCS#11 module")
    };
    let module = PathBuf::from(module);
    // In the store of `SOFTHSM2_CONF`, which the example shares.
    let label = format!("example-{}", std::process::id());
    let token = Module::load(&module).token(&label);
    let certificate = iot.certify("lamp", &token.key(Kind::P256, "key", &[1]));
    let pin = world.file("pin", PIN);
    let uri = format!(
        "pkcs11:token={label};object=key?module-path={}&pin-source=file:{}",
        module.display(),
        pin.display()
    );
    let certificate = world.file("certificate.pem", certificate);
    let trust_store = world.file("roots.pem", iot.trust_store());
    let said = world.run(
        "device_token",
        [
            ("PKCS11_URI", uri),
            ("IOT_ENDPOINT", iot.endpoint()),
            ("ROLE_ALIAS", "reporting".into()),
            ("CERTIFICATE", certificate.display().to_string()),
            ("TRUST_STORE", trust_store.display().to_string()),
        ],
    );
    assert!(said.starts_with("credentials ASIA"), "{said}");
    assert!(!said.contains(PIN));
    assert_eq!(iot.calls(), 1);
}

#[test]
#[ignore = "needs mosquitto"]
fn mqtt_state() {
    let world = World::new();
    let iot = EmbeddedIot::start(&world.aws);
    let (_, variables) = device(&world, &iot);
    let broker = Mosquitto::start(&iot);
    let states = broker.subscriber("devices/lamp/state");
    let state = || states.next(LIMIT).map(|(_, payload)| payload);
    let child = world
        .example("mqtt_state")
        .envs(variables)
        .env("MQTT_ENDPOINT", broker.endpoint())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert_eq!(state().as_deref(), Some("up"));
    broker.publish("devices/lamp/commands", "brighter");
    broker.publish("devices/lamp/commands", "stop");
    assert_eq!(state().as_deref(), Some("down"));
    assert_eq!(said(&child.wait_with_output().unwrap()), "brighter\nstop\n");
}

#[tokio::test]
async fn object_store() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let session = brs::RefreshableSession::with(brs::sts::Params::new(ROLE))
        .region("eu-west-1")
        .endpoint_url(world.aws.endpoint_url())
        .base_credentials(world.aws.credentials())
        .await
        .unwrap();
    let s3 = session.client(aws_sdk_s3::Client::new);
    let put = s3.put_object().bucket("demo").key("reports/1.txt");
    put.body(b"a report".to_vec().into()).send().await.unwrap();

    let variables = [
        ("ROLE_ARN", ROLE),
        ("BUCKET", "demo"),
        ("KEY", "reports/1.txt"),
        // The embedded AWS has no TLS.
        ("AWS_ALLOW_HTTP", "true"),
    ];
    assert_eq!(world.run("object_store", variables), "a report\n");
}

#[test]
fn default_session() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let said = world.run("default_session", [("ROLE_ARN", ROLE)]);
    assert_eq!(said, "1 buckets\n");
}

#[test]
fn presigned_urls() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let variables = [("ROLE_ARN", ROLE), ("BUCKET", "demo"), ("KEY", "a.txt")];
    let said = world.run("presigned_urls", variables);
    let (url, signer) = said.trim().split_once("\nsigned by ").unwrap();
    for part in ["/demo/a.txt?", "X-Amz-Expires=1800", signer] {
        assert!(url.contains(part), "{said}");
    }
}

#[test]
fn sdk_errors() {
    let world = World::new();
    world.aws.deny_role(ROLE);
    let text = world.run("sdk_errors", [("ROLE_ARN", ROLE)]);
    assert!(
        text.starts_with("somebody has to act: ") && text.contains("Some(\"AccessDenied\")"),
        "{text}"
    );
}

#[test]
fn lambda() {
    let world = World::new();
    world.aws.add_role(ROLE);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = world
        .example("lambda")
        .env("ROLE_ARN", ROLE)
        .env(
            "AWS_LAMBDA_RUNTIME_API",
            listener.local_addr().unwrap().to_string(),
        )
        .spawn()
        .unwrap();
    for (id, event) in [("one", "1"), ("two", "2")] {
        let (asked, _) = answer(&listener, id, event);
        assert_eq!(asked, "GET /2018-06-01/runtime/invocation/next HTTP/1.1");
        let (asked, body) = answer(&listener, "", "");
        let expected = format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1");
        assert_eq!(asked, expected);
        assert_eq!(body, format!(r#"{{"event": {event}, "buckets": 1}}"#));
    }
    assert_eq!(world.aws.calls("AssumeRole"), 1, "one set for both");

    child.kill().unwrap();
    child.wait().unwrap();
}

/// Lambda's side of one request; gives its first line and its body.
fn answer(listener: &TcpListener, id: &str, body: &str) -> (String, String) {
    let mut reader = BufReader::new(listener.accept().unwrap().0);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut asked = String::new();
    reader
        .by_ref()
        .take(length)
        .read_to_string(&mut asked)
        .unwrap();
    write!(
        reader.get_mut(),
        "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    (head.remove(0), asked)
}
