//! What the settings accept and refuse.

use super::*;
use brs_core::ErrorKind;
use serde_json::{Value, json};

fn read(data: Value) -> Result<StsClient, Error> {
    let client: StsClient = brs_core::Params::from(data).take()?;
    client.validate().map(|()| client)
}

#[test]
fn botocore_names_are_accepted() {
    let client = read(json!({
        "region_name": "eu-west-1", "api_version": "2011-06-15", "use_ssl": true, "verify": true,
        "endpoint_url": "https://vpce-1.sts.eu-west-1.vpce.amazonaws.com", "service_name": "sts",
        "aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "hush", "aws_session_token": "hush-token",
        "aws_account_id": "123456789012",
        "config": {
            "retries": { "total_max_attempts": 5, "mode": "adaptive" }, "connect_timeout": 2, "read_timeout": 7.5,
            "proxies": { "https": "http://me:hush@proxy:3128" }, "user_agent_appid": "reports",
        },
    }))
    .unwrap();
    assert_eq!(client.config.retries.total(), Some(5));
    assert_eq!(client.config.retries.mode, Some(RetryMode::Adaptive));
    assert_eq!(client.config.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(
        client.config.read_timeout,
        Some(Duration::from_millis(7500))
    );
    let shown = format!("{client:?}");
    assert!(
        shown.contains("AKIDEXAMPLE") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn absent_values_are_accepted() {
    for data in [
        json!({}),
        json!({ "region": null, "verify": null, "config": null }),
    ] {
        let _ = read(data).unwrap();
    }
    let _ =
        read(json!({ "config": { "retries": null, "proxies": null, "connect_timeout": null } }))
            .unwrap();
    let _ = read(json!({ "use_ssl": false, "endpoint_url": "http://127.0.0.1:5000/sts" })).unwrap();
    let _ = read(json!({ "service_name": "s3" })).unwrap();
}

#[test]
fn what_is_wrong_names_its_field_and_shows_no_value() {
    for (field, data) in [
        ("region", json!({ "region": "hush west" })),
        ("region", json!({ "region": "" })),
        ("endpoint_url", json!({ "endpoint_url": "hush" })),
        ("endpoint_url", json!({ "endpoint_url": "https://" })),
        (
            "endpoint_url",
            json!({ "endpoint_url": "https://me:hush@host" }),
        ),
        (
            "endpoint_url",
            json!({ "endpoint_url": "https://host/?hush" }),
        ),
        ("verify", json!({ "verify": false })),
        ("verify", json!({ "verify": 4711 })),
        ("api_version", json!({ "api_version": "hush" })),
        (
            "aws_session_token",
            json!({ "aws_access_key_id": "A", "aws_secret_access_key": "B", "aws_session_token": "" }),
        ),
        (
            "aws_account_id",
            json!({ "aws_access_key_id": "A", "aws_secret_access_key": "B", "aws_account_id": "hush" }),
        ),
        (
            "config.retries.total_max_attempts",
            json!({ "config": { "retries": { "total_max_attempts": 0 } } }),
        ),
        (
            "config.retries.total_max_attempts",
            json!({ "config": { "retries": { "total_max_attempts": 101 } } }),
        ),
        (
            "config.retries.max_attempts",
            json!({ "config": { "retries": { "max_attempts": 100 } } }),
        ),
        ("config", json!({ "config": ["hush"] })),
        ("config.retries", json!({ "config": { "retries": [4711] } })),
        (
            "config.retries.mode",
            json!({ "config": { "retries": { "mode": "hush" } } }),
        ),
        (
            "config.connect_timeout",
            json!({ "config": { "connect_timeout": 0 } }),
        ),
        (
            "config.connect_timeout",
            json!({ "config": { "connect_timeout": -1 } }),
        ),
        (
            "config.read_timeout",
            json!({ "config": { "read_timeout": "hush" } }),
        ),
        (
            "config.proxies.https",
            json!({ "config": { "proxies": { "https": "hush" } } }),
        ),
        (
            "config.app_name",
            json!({ "config": { "app_name": "hush hush" } }),
        ),
        (
            "config.max_pool_connections",
            json!({ "config": { "max_pool_connections": 4711 } }),
        ),
        (
            "config.signature_version",
            json!({ "config": { "signature_version": "hush" } }),
        ),
    ] {
        let error = read(data).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation, "{error}");
        assert_eq!(
            error
                .param()
                .map(|param| param.trim_start_matches("client.")),
            Some(field),
            "{error}"
        );
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("4711"),
            "{shown}"
        );
    }
}

#[test]
fn base_credentials_are_whole_or_absent() {
    for (missing, data) in [
        ("aws_secret_access_key", json!({ "aws_access_key_id": "A" })),
        ("aws_access_key_id", json!({ "aws_secret_access_key": "B" })),
        ("aws_access_key_id", json!({ "aws_session_token": "C" })),
        (
            "aws_access_key_id",
            json!({ "aws_account_id": "123456789012" }),
        ),
    ] {
        let error = read(data).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{error}");
        assert_eq!(error.param(), Some(format!("client.{missing}").as_str()));
    }
    let both = StsClient::new()
        .credentials("A", "B", None)
        .credentials_provider(aws_credential_types::Credentials::new(
            "A", "B", None, None, "test",
        ));
    assert_eq!(
        both.validate().unwrap_err().kind(),
        ErrorKind::Configuration
    );
}

#[test]
fn retries_count_as_they_do_in_botocore() {
    let total = |retries: Value| {
        read(json!({ "config": { "retries": retries } }))
            .unwrap()
            .config
            .retries
            .total()
    };
    assert_eq!(total(json!({})), None);
    assert_eq!(
        total(json!({ "max_attempts": 0 })),
        Some(1),
        "no retries are one call"
    );
    assert_eq!(total(json!({ "max_attempts": 4 })), Some(5));
    assert_eq!(total(json!({ "total_max_attempts": 4 })), Some(4));
    assert_eq!(
        total(json!({ "max_attempts": 9, "total_max_attempts": 4 })),
        Some(4),
        "the total wins"
    );
    assert_eq!(
        StsClient::new().max_attempts(4).config.retries.total(),
        Some(4)
    );
    assert!(StsClient::new().max_attempts(0).validate().is_err());
}

#[test]
fn without_tls_is_said_by_the_endpoint_url() {
    let client = read(json!({ "use_ssl": false })).unwrap();
    assert!(client.check_use_ssl(true).is_ok());
    assert_eq!(
        client.check_use_ssl(false).unwrap_err().param(),
        Some("client.use_ssl")
    );
    assert!(
        read(json!({ "use_ssl": true }))
            .unwrap()
            .check_use_ssl(false)
            .is_ok()
    );
}
