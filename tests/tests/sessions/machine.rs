//! The methods `container` and `imds`: whose credentials, over which expiries and outages, and what
//! each refusal says.

use std::process::Command as Process;

use brs::sts::{container, imds};
use brs::{ErrorKind, MethodParams, RefreshableSession};
use brs_tests::machine_metadata::{MachineMetadata, ROLE_NAME, TASK};

use super::*;

const LIFE: Duration = Duration::from_secs(6 * 3600);

fn started() -> (EmbeddedAws, ManualClock, MachineMetadata) {
    let (aws, clock) = aws();
    let machine = MachineMetadata::start(&aws);
    (aws, clock, machine)
}

async fn session<P: MethodParams>(
    aws: &EmbeddedAws,
    clock: &ManualClock,
    params: P,
) -> RefreshableSession {
    RefreshableSession::with(params)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .clock(clock.clone())
        .build()
        .await
        .unwrap()
}

fn imds(machine: &MachineMetadata) -> imds::Params {
    imds::Params::new().endpoint(machine.url())
}

fn task(machine: &MachineMetadata) -> container::Params {
    container::Params::new().full_uri(machine.task_url())
}

/// Runs the probe with a method that takes everything from `environment`.
fn probe(aws: &EmbeddedAws, method: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Process::new(env!("CARGO_BIN_EXE_probe"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let output = command
        .args(["data", &aws.endpoint_url()])
        .env("PROBE_METHOD", method)
        .env("PROBE_DATA", "{}")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .env("PROBE_LOG", "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("TRACE"), "everything is logged");
    for secret in aws.issued_secrets().into_iter().chain(["hush".to_owned()]) {
        let line = log.lines().find(|line| line.contains(&secret));
        let line = line.unwrap_or_default().replace(&secret, "***");
        assert!(line.is_empty(), "a secret is logged: {line}");
    }
    let line = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), line)
}

/// Three lives, an outage at the end of the fourth, and what follows.
async fn goes_on(session: &RefreshableSession, clock: &ManualClock, machine: &MachineMetadata) {
    let first = session.credentials().await.unwrap();
    assert_eq!(first.expiration(), Some(start() + LIFE));
    for _ in 0..3 {
        clock.advance(LIFE);
        session.credentials().await.unwrap();
    }
    machine.fail_next([503; 100]);
    clock.advance(LIFE);
    let served = session.credentials().await.unwrap();
    assert!(
        served.expiration().unwrap() <= brs::Clock::now(clock),
        "static stability"
    );
    machine.recover();
    clock.advance(HOUR);
    let renewed = session.credentials().await.unwrap();
    assert_ne!(renewed.access_key_id(), served.access_key_id());
}

#[tokio::test]
async fn an_instances_role_is_renewed_over_expiries_and_an_outage() {
    let (aws, clock, machine) = started();
    let session = session(&aws, &clock, imds(&machine)).await;
    goes_on(&session, &clock, &machine).await;
    let asked = machine.asked();
    assert_eq!(
        asked[..3],
        [
            "PUT /latest/api/token".to_owned(),
            "GET /latest/meta-data/iam/security-credentials/".to_owned(),
            format!("GET /latest/meta-data/iam/security-credentials/{ROLE_NAME}"),
        ]
    );
    let caller = session.whoami().await.unwrap().caller.unwrap();
    assert_eq!(
        caller.arn,
        "arn:aws:sts::123456789012:assumed-role/web-server/i-0123456789abcdef0"
    );
    // Another role is seen, and so is that the service has forgotten its tokens.
    machine.set_role(Some("other"));
    machine.end_sessions();
    session.refresh().await.unwrap();
    let caller = session.whoami().await.unwrap().caller.unwrap();
    assert!(caller.arn.contains("assumed-role/other/"), "{caller:?}");
}

#[tokio::test]
async fn each_trouble_with_an_instances_role_says_what_to_do() {
    let (aws, clock, machine) = started();
    let session = session(&aws, &clock, imds(&machine)).await;
    let named = self::session(&aws, &clock, imds(&machine).role_name("absent")).await;
    let fails = async |session: &RefreshableSession, status, code: Option<&str>, words: &str| {
        let error = session.refresh().await.unwrap_err();
        assert_eq!((error.status(), error.code()), (status, code), "{error:?}");
        assert!(
            error.to_string().contains(words) && !error.is_unrecoverable(),
            "{error}"
        );
    };
    fails(&named, Some(404), None, "check `role_name`").await;
    machine.set_role(None);
    fails(&session, Some(404), None, "attach an instance profile").await;
    machine.set_role(Some(ROLE_NAME));
    let code = "AssumeRoleUnauthorizedAccess";
    machine.set_code(Some((code, "EC2 cannot assume the role web-server.")));
    fails(&session, None, Some(code), "ec2.amazonaws.com").await;
    machine.set_code(None);
    // What has expired there is not given out as good, unlike by the SDK's provider.
    machine.set_lifetime(Duration::ZERO);
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.to_string().contains("expired") && !error.is_unrecoverable(),
        "{error}"
    );
    machine.set_lifetime(LIFE);
    let off = self::session(&aws, &clock, imds(&machine)).await;
    machine.set_enabled(false);
    fails(&off, Some(403), None, "--http-endpoint enabled").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = imds::Params::new().endpoint(format!("http://{nobody}"));
    let error = self::session(&aws, &clock, nobody)
        .await
        .refresh()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("hop limit"), "{error}");
}

#[tokio::test]
async fn a_tasks_role_is_renewed_over_expiries_and_an_outage() {
    let (aws, clock, machine) = started();
    let session = session(&aws, &clock, task(&machine)).await;
    goes_on(&session, &clock, &machine).await;
    assert!(
        machine
            .asked()
            .iter()
            .all(|asked| *asked == format!("GET /v2/credentials/{TASK}"))
    );
    let caller = session.whoami().await.unwrap().caller.unwrap();
    assert_eq!(
        caller.arn,
        format!("arn:aws:sts::123456789012:assumed-role/task/{TASK}")
    );
    machine.set_role(None);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.status(), Some(400));
    assert!(
        error
            .to_string()
            .contains("(CredentialsV2Request: Credentials not found)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_pods_token_is_read_again_at_each_refresh_and_never_shown() {
    let (aws, clock, machine) = started();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let params = container::Params::new()
        .full_uri(machine.pod_url())
        .authorization_token_file(&file);
    let session = session(&aws, &clock, params).await;
    std::fs::write(&file, "pod-token-hush\n").unwrap();
    let set = session.credentials().await.unwrap();
    assert_eq!(set.account_id(), Some(EmbeddedAws::ACCOUNT_ID));
    machine.set_pod_token("next-hush");
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.status(), Some(400));
    std::fs::write(&file, "next-hush").unwrap();
    session.refresh().await.unwrap();
    for (content, words) in [(&b"a\nb-hush"[..], "a line break"), (b"", "0 characters")] {
        std::fs::write(&file, content).unwrap();
        let error = session.refresh().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.param(), Some("authorization_token_file"));
        let shown = format!(
            "{error:?} {session:?} {:?}",
            session.strategy::<container::Container>()
        );
        assert!(!shown.contains("hush"), "{shown}");
    }
    std::fs::remove_file(&file).unwrap();
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.to_string().contains("cannot be read") && !error.is_unrecoverable(),
        "{error}"
    );
    let without = container::Params::new().full_uri(machine.pod_url());
    let error = self::session(&aws, &clock, without)
        .await
        .refresh()
        .await
        .unwrap_err();
    assert_eq!(error.status(), Some(400));
    let fixed = container::Params::new()
        .full_uri(machine.pod_url())
        .authorization_token("next-hush");
    self::session(&aws, &clock, fixed)
        .await
        .refresh()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_host_name_is_asked_only_if_it_leads_to_this_machine() {
    let (aws, clock, machine) = started();
    let by_name = machine.task_url().replace("127.0.0.1", "localhost");
    let session = session(&aws, &clock, container::Params::new().full_uri(by_name)).await;
    session.refresh().await.unwrap();
    let unknown = container::Params::new().full_uri("http://no-such-host.invalid/v1?hush");
    let error = self::session(&aws, &clock, unknown)
        .await
        .refresh()
        .await
        .unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("is not known"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("hush"), "{error:?}");
}

#[tokio::test]
async fn tasks_pods_and_instances_find_everything_in_their_environment() {
    let aws = EmbeddedAws::start();
    let machine = MachineMetadata::start(&aws);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "pod-token-hush").unwrap();
    let (task, pod, url) = (machine.task_url(), machine.pod_url(), machine.url());
    let file = file.to_str().unwrap();
    for (method, environment, arn) in [
        (
            "container",
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", task.as_str())][..],
            "assumed-role/task/",
        ),
        (
            "container",
            &[
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", pod.as_str()),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file),
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "not-this-hush"),
            ],
            "assumed-role/pod/",
        ),
        (
            "imds",
            &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())],
            "assumed-role/web-server/",
        ),
    ] {
        let (ok, line) = probe(&aws, method, environment);
        assert!(ok && line.contains(arn), "{line}");
    }
    for (method, environment, words) in [
        (
            "container",
            &[][..],
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        ),
        (
            "container",
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.1.2.3/x")],
            "must be asked by `https`",
        ),
        (
            "imds",
            &[("AWS_EC2_METADATA_DISABLED", "true")],
            "AWS_EC2_METADATA_DISABLED",
        ),
    ] {
        let (ok, line) = probe(&aws, method, environment);
        assert!(
            !ok && line.starts_with("configuration unrecoverable"),
            "{line}"
        );
        assert!(line.contains(words), "{line}");
    }
}
