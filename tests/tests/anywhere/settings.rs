//! What a session is opened with: as data, by name, with the session's own endpoint.

use brs::Params as Data;
use serde_json::json;

use super::*;

#[tokio::test]
async fn the_names_of_awss_helper_open_a_session() {
    let bench = Bench::new();
    let leaf = bench.device.leaf_pem();
    let chain = bench.device.certificate_pem.strip_prefix(leaf).unwrap();
    bench.anywhere.accept_role_session_name(true);
    let data = json!({
        "trust_anchor_arn": bench.anywhere.trust_anchor_arn(), "profile_arn": bench.anywhere.profile_arn(),
        "role_arn": ROLE, "certificate": leaf, "intermediates": chain,
        "private_key": bench.device.private_key_pem, "session_duration": 900, "role_session_name": "night",
        "region": "eu-west-1", "endpoint": format!("https://{}", bench.anywhere.endpoint()),
        "trust_store": bench.iot.trust_store(),
    });
    let params: Params = Data::data(data).unwrap().take().unwrap();
    let set = bench.session(params).await.credentials().await.unwrap();
    assert_eq!(set.expiration(), Some(bench.clock.now() + HOUR / 4));
}

#[tokio::test]
async fn the_sessions_endpoint_is_called_if_the_parameters_have_none() {
    let bench = Bench::new();
    let params = Params::new(
        bench.anywhere.trust_anchor_arn(),
        bench.anywhere.profile_arn(),
        ROLE,
    )
    .trust_store(bench.iot.trust_store())
    .certificate(bench.device.certificate_pem.as_str())
    .private_key(bench.device.private_key_pem.as_str());
    let session = bench
        .builder(params)
        .endpoint_url(format!("https://{}", bench.anywhere.endpoint()))
        .region("us-east-1")
        .build()
        .await
        .unwrap();
    session.refresh().await.unwrap();
    // The session's region is that of its clients; the call goes to the trust anchor's.
    assert_eq!(session.sdk_config().region().unwrap().as_ref(), "us-east-1");
}

#[tokio::test]
async fn an_endpoint_without_tls_is_refused() {
    let bench = Bench::new();
    let params = Params::new(
        bench.anywhere.trust_anchor_arn(),
        bench.anywhere.profile_arn(),
        ROLE,
    )
    .certificate(bench.device.certificate_pem.as_str())
    .private_key(bench.device.private_key_pem.as_str());
    let builder = bench.builder(params).endpoint_url(bench.aws.endpoint_url());
    let error = builder.build().await.unwrap_err();
    assert!(
        error.to_string().contains("must begin with `https://`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_not_trusted_gets_no_request() {
    let bench = Bench::new();
    let other = EmbeddedIot::start(&bench.aws);
    let error = bench
        .fails(bench.params().trust_store(other.trust_store()))
        .await;
    assert!(
        error.to_string().contains("was not issued by an authority"),
        "{error}"
    );
    assert_eq!(error.param(), Some("trust_store"));
    assert_eq!(bench.anywhere.calls(), 0);
}

/// Runs the probe, which refreshes twice, with a certificate that is good today and no endpoint but
/// what the environment and the profile say.
fn probe(data: &serde_json::Value, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_probe"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let output = command
        .args(["--fetch", "data", "-"])
        .env("PROBE_METHOD", "roles-anywhere")
        .env("PROBE_DATA", data.to_string())
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), line)
}

#[tokio::test]
async fn the_endpoint_is_where_sdk_clients_find_theirs() {
    let aws = EmbeddedAws::start();
    let iot = EmbeddedIot::start(&aws);
    let anywhere = brs_tests::EmbeddedAnywhere::start(&aws, &iot);
    anywhere.add_role(ROLE);
    let device = iot.add_device(SERVER, KeyKind::EcP256);
    let data = json!({
        "trust_anchor_arn": anywhere.trust_anchor_arn(), "profile_arn": anywhere.profile_arn(), "role_arn": ROLE,
        "certificate": device.certificate_pem, "private_key": device.private_key_pem,
        "trust_store": iot.trust_store(),
    });
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let url = format!("https://{}", anywhere.endpoint());
    let url = url.as_str();
    let services = "[services local]\nrolesanywhere =\n  endpoint_url = ";
    let section = format!(
        "[default]\nservices = local\nendpoint_url = http://127.0.0.1:9\n{services}{url}\n"
    );
    let (section, own) = (
        file("section", section),
        file("own", format!("[default]\nendpoint_url = {url}\n")),
    );
    let elsewhere = ("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    for (calls, environment) in [
        &[("AWS_ENDPOINT_URL_ROLESANYWHERE", url), elsewhere][..],
        &[("AWS_ENDPOINT_URL", url)],
        &[("AWS_CONFIG_FILE", section.as_str())],
        &[("AWS_CONFIG_FILE", own.as_str())],
        &[
            ("AWS_CONFIG_FILE", section.as_str()),
            ("AWS_ENDPOINT_URL", url),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let (ok, line) = probe(&data, environment);
        assert!(ok, "{environment:?}: {line}");
        assert_eq!(anywhere.calls(), 2 * (calls + 1));
    }
    for (environment, named) in [
        (
            &[elsewhere][..],
            "`AWS_ENDPOINT_URL` must begin with `https://`",
        ),
        (
            &[("AWS_ENDPOINT_URL", url), ("AWS_USE_FIPS_ENDPOINT", "true")],
            "`AWS_ENDPOINT_URL` contradicts `use_fips`",
        ),
    ] {
        let (ok, line) = probe(&data, environment);
        assert!(
            !ok && line.contains(named) && line.contains("unrecoverable"),
            "{line}"
        );
    }
}
