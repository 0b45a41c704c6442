//! What the environment says about reaching AWS, in processes of their own: settings that are
//! wrong, old or empty, and the CA bundle.

use std::ffi::{OsStr, OsString};
use std::process::Command;

use brs::ErrorKind;
use brs_tests::embedded_aws::Failure;
use serde_json::json;

use super::profiles::Metadata;
use super::settings::Secured;
use super::*;

const USER: &str = "arn:aws:iam::123456789012:user/";

/// Runs the probe with nothing of AWS and no proxy in its environment but `environment`.
fn run<V: AsRef<OsStr>>(arguments: &[&str], environment: &[(&str, V)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settings_probe"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("AWS_") || name.to_ascii_lowercase().ends_with("_proxy") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(arguments)
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .output()
        .unwrap();
    assert!(
        output.status.code().is_some_and(|code| code < 2),
        "a panic or a signal: {output:?}"
    );
    (
        output.status.success(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

fn built(method: &str, environment: &[(&str, &str)]) -> (bool, String) {
    run(
        &["--build", method, "-"],
        &[&[("AWS_REGION", "eu-west-1")], environment].concat(),
    )
}

#[test]
fn no_setting_that_is_old_empty_or_padded_ends_a_program() {
    let defaults = "region=eu-west-1 attempts=3 mode=Standard fips=None app= endpoint=\n";
    for method in ["custom", "sts"] {
        assert_eq!(built(method, &[]), (true, defaults.into()));
        for name in [
            "AWS_RETRY_MODE",
            "AWS_MAX_ATTEMPTS",
            "AWS_NEW_RETRIES_2026",
            "AWS_USE_FIPS_ENDPOINT",
            "AWS_USE_DUALSTACK_ENDPOINT",
            "AWS_SDK_UA_APP_ID",
            "AWS_ENDPOINT_URL",
            "AWS_ENDPOINT_URL_STS",
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
            "AWS_DISABLE_REQUEST_COMPRESSION",
            "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
            "AWS_ACCOUNT_ID_ENDPOINT_MODE",
            "AWS_REQUEST_CHECKSUM_CALCULATION",
            "AWS_RESPONSE_CHECKSUM_VALIDATION",
            "AWS_SIGV4A_SIGNING_REGION_SET",
            "AWS_AUTH_SCHEME_PREFERENCE",
            "AWS_DEFAULT_REGION",
            "AWS_CA_BUNDLE",
            "AWS_PROFILE",
            "AWS_DEFAULT_PROFILE",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "AWS_EC2_METADATA_DISABLED",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ] {
            for empty in ["", "  "] {
                assert_eq!(
                    built(method, &[(name, empty)]),
                    (true, defaults.into()),
                    "{name}"
                );
            }
        }
        for (name, value, shown) in [
            ("AWS_RETRY_MODE", "legacy", "mode=Standard"),
            ("AWS_RETRY_MODE", " adaptive ", "mode=Adaptive"),
            ("AWS_MAX_ATTEMPTS", " 6\n", "attempts=6"),
            ("AWS_USE_FIPS_ENDPOINT", "True ", "fips=Some(true)"),
            ("AWS_SDK_UA_APP_ID", " reports", "app=reports"),
            (
                "AWS_ENDPOINT_URL",
                " http://127.0.0.1:9 ",
                "endpoint=http://127.0.0.1:9\n",
            ),
        ] {
            let (ok, line) = built(method, &[(name, value)]);
            assert!(ok && line.contains(shown), "{name}: {line}");
        }
    }
}

#[test]
fn what_is_wrong_is_an_error_that_names_its_place() {
    for (name, value, allowed) in [
        ("AWS_RETRY_MODE", "hush", "`standard` or `adaptive`"),
        ("AWS_MAX_ATTEMPTS", "five", "1 or more"),
        ("AWS_MAX_ATTEMPTS", "0", "1 or more"),
        ("AWS_USE_FIPS_ENDPOINT", "1", "`true` or `false`"),
        ("AWS_SDK_UA_APP_ID", "hush hush", "letters"),
        ("AWS_ENDPOINT_URL", "hush", "https://host:port"),
        (
            "AWS_ENDPOINT_URL_S3",
            "http://me:hush@host",
            "https://host:port",
        ),
        ("AWS_EC2_METADATA_DISABLED", "yes", "`true` or `false`"),
        ("AWS_CONFIG_FILE", "/", "cannot be read"),
    ] {
        for method in ["custom", "sts"] {
            let (ok, line) = built(method, &[(name, value)]);
            assert!(
                !ok && line.starts_with("configuration unrecoverable error"),
                "{name}: {line}"
            );
            assert!(
                line.contains(&format!("Some(\"{name}\")")) && line.contains(allowed),
                "{name}: {line}"
            );
            assert!(!line.contains("hush"), "{line}");
        }
    }
    let (ok, line) = built("custom", &[("AWS_REGION", "eu west 1")]);
    assert!(
        !ok && line.contains("AWS_REGION") && line.starts_with("configuration unrecoverable"),
        "{line}"
    );
}

#[test]
fn an_endpoint_url_is_found_as_the_sdk_orders_them() {
    let aws = EmbeddedAws::start();
    let url = aws.endpoint_url();
    let (padded, dead) = (format!("  {url}\t"), "http://127.0.0.1:9");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let ask = |config: &str, environment: &[(&str, &str)]| {
        std::fs::write(&path, format!("[default]\n{config}\n")).unwrap();
        let known = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_MAX_ATTEMPTS", "1"),
            ("AWS_ACCESS_KEY_ID", aws.access_key_id()),
            ("AWS_SECRET_ACCESS_KEY", aws.secret_access_key()),
            ("AWS_CONFIG_FILE", path.to_str().unwrap()),
        ];
        run(&["sts", "-"], &[&known, environment].concat())
    };
    let of_service = format!("services = local\n[services local]\nsts =\n  endpoint_url = {url}");
    let of_all = format!("endpoint_url = {url}");
    for (config, environment) in [
        (
            "",
            &[
                ("AWS_ENDPOINT_URL_STS", padded.as_str()),
                ("AWS_ENDPOINT_URL", dead),
            ][..],
        ),
        (
            "endpoint_url = http://127.0.0.1:9",
            &[("AWS_ENDPOINT_URL_STS", ""), ("AWS_ENDPOINT_URL", &url)],
        ),
        (
            "endpoint_url = http://127.0.0.1:9",
            &[("AWS_ENDPOINT_URL_STS", " "), ("AWS_ENDPOINT_URL", &padded)],
        ),
        (
            &of_service,
            &[("AWS_ENDPOINT_URL_STS", ""), ("AWS_ENDPOINT_URL", " ")],
        ),
        (&of_all, &[("AWS_ENDPOINT_URL", "")]),
        (
            &of_all,
            &[
                ("AWS_ENDPOINT_URL_DYNAMODB", dead),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", ""),
            ],
        ),
    ] {
        let (ok, line) = ask(config, environment);
        assert!(
            ok && line.contains(&format!("whoami={WHO} client={WHO}")),
            "{config:?} {environment:?}: {line}"
        );
    }
}

/// Variables of providers that are there, but empty, and one that names the metadata service.
const EMPTY: &[(&str, &str)] = &[
    ("AWS_REGION", "eu-west-1"),
    ("AWS_EC2_METADATA_DISABLED", " "),
    ("AWS_ACCESS_KEY_ID", ""),
    ("AWS_SECRET_ACCESS_KEY", ""),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", ""),
    ("AWS_ROLE_ARN", ""),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ""),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", ""),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", ""),
];

#[test]
fn empty_variables_of_providers_end_no_chain() {
    let metadata = Metadata::start();
    let url = metadata.endpoint_url();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(
        &config,
        format!("[profile dev]\nec2_metadata_service_endpoint = {url}\n"),
    )
    .unwrap();
    let by_profile = [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", ""),
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_PROFILE", "dev"),
    ];
    for further in [
        &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", url.as_str())][..],
        &by_profile,
    ] {
        let (ok, line) = run(&["sts", "http://127.0.0.1:9"], &[EMPTY, further].concat());
        assert!(!ok && metadata.connections() > 0, "{line}");
    }
}

#[test]
fn the_profile_of_pythons_variable_gives_the_credentials_and_no_other() {
    let aws = EmbeddedAws::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    let (id, secret) = (aws.access_key_id(), aws.secret_access_key());
    let keys = format!("aws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let ask = |text: String| {
        std::fs::write(&path, text).unwrap();
        let environment = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap()),
            ("AWS_DEFAULT_PROFILE", "dev"),
        ];
        run(&["sts", &aws.endpoint_url()], &environment)
    };
    let (ok, line) = ask(format!("[dev]\n{keys}"));
    assert!(ok && line.contains(WHO), "{line}");
    let (ok, line) = ask(format!("[default]\n{keys}[dev]\n"));
    assert!(
        !ok && line.contains("no credentials to call STS with"),
        "{line}"
    );
}

#[cfg(unix)]
#[test]
fn what_is_not_utf_8_is_an_error() {
    use std::os::unix::ffi::OsStringExt as _;
    let broken = OsString::from_vec(b"hus\xffh".to_vec());
    for name in [
        "AWS_RETRY_MODE",
        "AWS_REGION",
        "AWS_PROFILE",
        "AWS_CA_BUNDLE",
        "AWS_ACCESS_KEY_ID",
    ] {
        let (ok, line) = run(&["--build", "custom", "-"], &[(name, &broken)]);
        assert!(
            !ok && line.starts_with("configuration unrecoverable error"),
            "{name}: {line}"
        );
        assert!(
            line.contains(name) && line.contains("is not UTF-8"),
            "{line}"
        );
    }
}

#[test]
fn keys_of_a_profile_count_like_variables() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config").display().to_string();
    let with = |text: &str, environment: &[(&str, &str)]| {
        std::fs::write(
            &config,
            format!("[default]\nregion = eu-north-1\n[profile dev]\n{text}\n"),
        )
        .unwrap();
        built(
            "sts",
            &[
                &[("AWS_CONFIG_FILE", config.as_str()), ("AWS_REGION", "")],
                environment,
            ]
            .concat(),
        )
    };
    let (ok, line) = with(
        "region = eu-west-3\nretry_mode = legacy\nmax_attempts =",
        &[("AWS_PROFILE", " dev")],
    );
    assert_eq!(
        (ok, line.as_str()),
        (
            true,
            "region=eu-west-3 attempts=3 mode=Standard fips=None app= endpoint=\n"
        )
    );
    // Python's own variable, after the SDK's.
    let (ok, line) = with("region = eu-west-3", &[("AWS_DEFAULT_PROFILE", "dev")]);
    assert!(ok && line.contains("region=eu-west-3"), "{line}");
    let (ok, line) = with(
        "region = eu-west-3",
        &[("AWS_DEFAULT_PROFILE", "dev"), ("AWS_PROFILE", "default")],
    );
    assert!(ok && line.contains("region=eu-north-1"), "{line}");
    // The usual file counts where a variable is empty.
    let home = folder.path().join("home");
    std::fs::create_dir_all(home.join(".aws")).unwrap();
    std::fs::write(home.join(".aws/config"), "[default]\nregion = eu-south-1\n").unwrap();
    for empty in ["", " "] {
        let (ok, line) = with(
            "",
            &[("AWS_CONFIG_FILE", empty), ("HOME", home.to_str().unwrap())],
        );
        assert!(ok && line.contains("region=eu-south-1"), "{line}");
    }
    let (ok, line) = with("", &[("AWS_DEFAULT_PROFILE", "dve")]);
    assert!(
        !ok && line.contains("`dve`, which `AWS_DEFAULT_PROFILE` names"),
        "{line}"
    );

    for (key, value) in [
        ("retry_mode", "hush"),
        ("max_attempts", "five"),
        ("max_attempts", "0"),
        ("ca_bundle", "/nonexistent/ca.pem"),
    ] {
        let text = format!("region = eu-west-3\n{key} = {value}");
        let (ok, line) = with(&text, &[("AWS_DEFAULT_PROFILE", "dev")]);
        assert!(
            !ok && line.starts_with("configuration unrecoverable error"),
            "{line}"
        );
        assert!(
            line.contains(&format!("`{key}` of the profile `dev`")) && !line.contains("hush"),
            "{line}"
        );
        let (ok, line) = with(&text, &[]);
        assert!(ok, "another profile's settings are its own: {line}");
    }
}

// What is behind TLS runs beside the probes.
#[tokio::test(flavor = "multi_thread")]
async fn the_environments_ca_bundle_is_whom_every_client_trusts() {
    let secured = Secured::start().await;
    let folder = secured.bundle.parent().unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let (bundle, strange) = (secured.bundle.display().to_string(), path("strange.pem"));
    std::fs::write(&strange, super::settings::authority().0).unwrap();
    std::fs::write(path("config"), format!("[default]\nca_bundle = {bundle}\n")).unwrap();
    std::fs::write(path("other"), format!("[default]\nca_bundle = {strange}\n")).unwrap();
    let (id, secret) = (
        secured.aws.access_key_id().to_owned(),
        secured.aws.secret_access_key().to_owned(),
    );
    let ask = |method: &str, environment: &[(&str, &str)]| {
        let known = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", id.as_str()),
            ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
            ("AWS_MAX_ATTEMPTS", "1"),
        ];
        run(
            &[method, &secured.endpoint_url],
            &[&known, environment].concat(),
        )
    };
    for method in ["sts", "custom", "base"] {
        let (ok, line) = ask(method, &[]);
        assert!(
            !ok && line.starts_with("connection") && line.contains("is not trusted"),
            "{method}: {line}"
        );
        let who = if method == "sts" { WHO } else { USER };
        let mut trusting = vec![vec![("AWS_CA_BUNDLE", bundle.as_str())]];
        if method != "base" {
            let (config, other) = (path("config"), path("other"));
            let (config, other): (&'static str, &'static str) = (config.leak(), other.leak());
            trusting.push(vec![("AWS_CONFIG_FILE", config)]);
            // The variable takes precedence.
            trusting.push(vec![
                ("AWS_CONFIG_FILE", other),
                ("AWS_CA_BUNDLE", bundle.as_str()),
            ]);
        }
        for environment in trusting {
            let (ok, line) = ask(method, &environment);
            assert!(
                ok && line.contains(&format!("whoami={who}")),
                "{method} {environment:?}: {line}"
            );
            assert!(
                line.contains(&format!("client={who}")),
                "the caller's own client: {method}: {line}"
            );
        }
        let (ok, line) = ask(method, &[("AWS_CA_BUNDLE", &strange)]);
        assert!(!ok && line.contains("is not trusted"), "{method}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sts_client_is_told_takes_precedence_over_the_environments_ca_bundle() {
    let secured = Secured::start().await;
    let strange = secured.bundle.with_file_name("strange.pem");
    std::fs::write(&strange, super::settings::authority().0).unwrap();
    let (bundle, strange) = (secured.bundle.to_str().unwrap(), strange.to_str().unwrap());
    let (id, secret) = (
        secured.aws.access_key_id().to_owned(),
        secured.aws.secret_access_key().to_owned(),
    );
    let ask = |of_environment: &str, client: serde_json::Value| {
        let environment = [
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", &id),
            ("AWS_SECRET_ACCESS_KEY", &secret),
            ("AWS_CA_BUNDLE", of_environment),
            ("AWS_MAX_ATTEMPTS", "1"),
            ("PROBE_CLIENT", &client.to_string()),
        ];
        run(&["sts", &secured.endpoint_url], &environment)
    };
    for (client, trusted) in [
        (json!({}), true),
        (json!({ "verify": strange }), false),
        // The system's certificates.
        (json!({ "verify": true }), false),
        // A client of its own, because of proxies that are not for this endpoint.
        (
            json!({ "config": { "proxies": { "http": "http://127.0.0.1:9" } } }),
            true,
        ),
        (
            json!({ "config": { "proxies": { "http": "http://127.0.0.1:9" } }, "verify": true }),
            false,
        ),
    ] {
        let (ok, line) = ask(bundle, client.clone());
        assert_eq!(
            (ok, line.contains("is not trusted")),
            (trusted, !trusted),
            "{client}: {line}"
        );
    }
    let (ok, line) = ask(strange, json!({ "verify": bundle }));
    assert!(
        !ok && line.contains("the session's client failed"),
        "STS was reached, by whoami() too: {line}"
    );
}

#[tokio::test]
async fn a_ca_bundle_that_cannot_be_used_is_named() {
    let secured = Secured::start().await;
    let folder = secured.bundle.parent().unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(path("empty.pem"), "").unwrap();
    std::fs::write(
        path("broken.pem"),
        "-----BEGIN CERTIFICATE-----\nMAYwADAAAwA=\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    std::fs::write(path("binary.pem"), b"0\x82\x01\x00").unwrap();
    for (name, problem) in [
        ("absent.pem", "cannot be read"),
        ("empty.pem", "holds no certificate"),
        ("broken.pem", "number 1"),
        ("binary.pem", "is DER"),
        ("", "is not a file"),
    ] {
        for method in ["sts", "custom", "base"] {
            let (ok, line) = built(method, &[("AWS_CA_BUNDLE", &path(name))]);
            assert!(
                !ok && line.starts_with("configuration unrecoverable error"),
                "{line}"
            );
            assert!(
                line.contains("`AWS_CA_BUNDLE`") && line.contains(name) && line.contains(problem),
                "{line}"
            );
            assert!(line.contains("Some(\"AWS_CA_BUNDLE\")"), "{line}");
        }
    }
}

const WHO: &str = "arn:aws:sts::123456789012:assumed-role/demo/brs-session";

#[tokio::test]
async fn whoami_asks_as_the_sts_client_does() {
    let secured = Secured::start().await;
    let session = secured
        .session(Some(&secured.bundle))
        .build()
        .await
        .unwrap();
    assert_eq!(session.whoami().await.unwrap().caller.unwrap().arn, WHO);

    // Region, endpoint, name and time-outs are the client's, not the session's; so they are for the
    // hop beneath.
    let aws = EmbeddedAws::start();
    let settings = StsClient::new()
        .region("ap-south-1")
        .endpoint_url(aws.endpoint_url())
        .app_name("reports");
    let settings = settings
        .read_timeout(Duration::from_millis(200))
        .max_attempts(1);
    let params = Params::new(ROLE).client(settings);
    let base = hand_made(&aws).endpoint_url("http://127.0.0.1:9").build();
    let session = RefreshableSession::builder("sts", params)
        .base(base)
        .build()
        .await
        .unwrap();
    let on_top = RefreshableSession::builder("sts", role())
        .base_session(&session)
        .build()
        .await
        .unwrap();
    let identity = on_top.whoami().await.unwrap();
    assert!(
        identity.caller.is_some() && identity.chain[0].caller.is_some(),
        "{identity:?}"
    );
    let asked: Vec<_> = aws
        .requests()
        .into_iter()
        .filter(|request| request.action == "GetCallerIdentity")
        .collect();
    assert_eq!(asked.len(), 2);
    for request in asked {
        assert_eq!(request.region.as_deref(), Some("ap-south-1"));
        assert!(
            request
                .user_agent
                .as_deref()
                .unwrap()
                .contains("app/reports"),
            "{request:?}"
        );
    }
    aws.fail_next_of("GetCallerIdentity", [Failure::Hang]);
    let error = tokio::time::timeout(seconds(10), session.whoami())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(
        error.to_string().contains("did not answer in time"),
        "{error}"
    );
}

#[tokio::test]
async fn whoami_needs_no_region_but_the_sts_clients() {
    let aws = EmbeddedAws::start();
    let settings = StsClient::new()
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url());
    let base = aws_types::SdkConfig::builder()
        .credentials_provider(aws_types::sdk_config::SharedCredentialsProvider::new(
            aws.credentials(),
        ))
        .build();
    let params = Params::new(ROLE).client(settings);
    let session = RefreshableSession::builder("sts", params)
        .base(base)
        .build()
        .await
        .unwrap();
    assert_eq!(session.whoami().await.unwrap().caller.unwrap().arn, WHO);
}
