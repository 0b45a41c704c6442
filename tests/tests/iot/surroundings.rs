//! What a session takes from its process's surroundings and leaves there, each tried in a process
//! of its own.

use std::path::Path;
use std::process::Command;

use brs::iot::SecretSource;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

/// Set in such a process.
const CHILD: &str = "BRS_TEST_IN_A_PROCESS_OF_ITS_OWN";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one of this file's tests again, alone, with these variables; its folders are all below
/// `directory`.
fn run_alone(test: &str, directory: &Path, variables: &[(&str, String)]) {
    let folder = |name: &str| {
        let path = directory.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("surroundings::{test}"), "--exact", "--nocapture"])
        .env_clear()
        .env(CHILD, "1")
        .env("TMPDIR", folder("temporary"))
        .env("HOME", folder("home"))
        .current_dir(folder("work"))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[tokio::test]
async fn a_session_writes_no_file() {
    if is_child() {
        let bench = Bench::new();
        let session = bench.session().await;
        session.refresh().await.unwrap();
        bench.iot.deny(&bench.device);
        session.refresh().await.unwrap_err();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    run_alone("a_session_writes_no_file", directory.path(), &[]);
    for folder in ["temporary", "home", "work"] {
        let found: Vec<_> = std::fs::read_dir(directory.path().join(folder))
            .unwrap()
            .collect();
        assert!(found.is_empty(), "{folder}: {found:?}");
    }
}

#[tokio::test]
async fn a_pass_phrase_may_be_in_the_environment() {
    const VARIABLE: &str = "DEVICE_PASS_PHRASE";
    if is_child() {
        let bench = Bench::new();
        let params = passphrases::params(&bench, SecretSource::env(VARIABLE));
        bench
            .builder(params)
            .build()
            .await
            .unwrap()
            .refresh()
            .await
            .unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let variables = [(VARIABLE, "hush-hush".to_owned())];
    run_alone(
        "a_pass_phrase_may_be_in_the_environment",
        directory.path(),
        &variables,
    );
}

#[tokio::test]
async fn a_proxy_of_the_environment_that_would_see_the_certificate_opens_no_session() {
    if is_child() {
        let bench = Bench::new();
        let error = bench.builder(bench.params()).build().await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("environment variable `ALL_PROXY`"),
            "{error}"
        );
        assert!(
            error.is_unrecoverable() && !show(&error).contains("hush"),
            "{error:?}"
        );
        assert_eq!(bench.iot.connections(), 0);
        // One that is given comes first.
        bench
            .builder(bench.params().proxy("http://127.0.0.1:1"))
            .build()
            .await
            .unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let variables = [("ALL_PROXY", "https://me:hush@127.0.0.1:1".to_owned())];
    let test = "a_proxy_of_the_environment_that_would_see_the_certificate_opens_no_session";
    run_alone(test, directory.path(), &variables);
}

#[tokio::test]
async fn a_plain_proxy_of_the_environment_is_asked_with_its_password() {
    if is_child() {
        let bench = Bench::new();
        let error = bench.fails(bench.params().max_attempts(1)).await;
        assert!(
            error
                .to_string()
                .contains("the proxy opened no tunnel to it"),
            "{error}"
        );
        assert_eq!(bench.iot.connections(), 0);
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let variables = [(
        "https_proxy",
        format!("http://me:hush@{}", listener.local_addr().unwrap()),
    )];
    let asked = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        client
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    });
    let test = "a_plain_proxy_of_the_environment_is_asked_with_its_password";
    let child = tokio::task::spawn_blocking(move || {
        let directory = tempfile::tempdir().unwrap();
        run_alone(test, directory.path(), &variables);
    });
    child.await.unwrap();
    let head = asked.await.unwrap();
    assert!(
        head.starts_with("connect localhost:") && head.contains("basic bwu6ahvzaa=="),
        "{head}"
    );
}

#[tokio::test]
async fn the_systems_authorities_are_read_anew_when_the_endpoints_is_unknown() {
    if is_child() {
        let bench = Bench::new();
        let roots = std::env::var("SSL_CERT_FILE").unwrap();
        std::fs::write(&roots, bench.iot.device_trust_store()).unwrap();
        let (endpoint, device) = (bench.iot.endpoint(), &bench.device);
        let params = Params::new(endpoint, ALIAS)
            .allow_any_endpoint(true)
            .certificate(device.certificate_pem.as_str())
            .private_key(device.private_key_pem.as_str());
        let session = bench.builder(params).build().await.unwrap();
        for _ in 0..2 {
            let error = session.refresh().await.unwrap_err();
            assert!(
                error
                    .to_string()
                    .contains("an authority that this system trusts"),
                "{error}"
            );
            assert!(
                !error.is_retryable() && !error.is_unrecoverable(),
                "{error:?}"
            );
        }
        std::fs::write(&roots, bench.iot.trust_store()).unwrap();
        session.refresh().await.unwrap();
        session.refresh().await.unwrap();
        assert_eq!(bench.iot.full_handshakes(), 1);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let roots = directory.path().join("roots.pem").display().to_string();
    let test = "the_systems_authorities_are_read_anew_when_the_endpoints_is_unknown";
    run_alone(test, directory.path(), &[("SSL_CERT_FILE", roots)]);
}

#[tokio::test]
async fn a_system_without_authorities_says_which_file_is_missing() {
    if is_child() {
        let bench = Bench::new();
        let device = &bench.device;
        let params = Params::new(bench.iot.endpoint(), ALIAS).allow_any_endpoint(true);
        let params = params
            .certificate(device.certificate_pem.as_str())
            .private_key(device.private_key_pem.as_str());
        let error = bench.builder(params).build().await.unwrap_err();
        let missing = std::env::var("SSL_CERT_FILE").unwrap();
        let text = format!(
            "this system has no trusted authorities (`{missing}` does not exist: check the path)"
        );
        assert!(error.to_string().starts_with(&text), "{error}");
        assert_eq!(error.param(), Some("trust_store"));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("absent.pem").display().to_string();
    let test = "a_system_without_authorities_says_which_file_is_missing";
    run_alone(test, directory.path(), &[("SSL_CERT_FILE", missing)]);
}
