//! The spelling as data, the checks, and what is shown.

use serde_json::{Value, json};

use super::*;

const ENDPOINT: &str = "c2abc.credentials.iot.eu-west-1.amazonaws.com";

fn read(data: Value) -> Result<Params, Error> {
    brs_core::Params::from(data).take::<Params>()
}

fn with(more: Value) -> Value {
    let mut data = json!({
        "endpoint": ENDPOINT, "role_alias": "reporting", "certificate": "/c.pem", "private_key": "/k.pem",
    });
    let Value::Object(more) = more else {
        panic!("not a map: {more}")
    };
    data.as_object_mut().unwrap().extend(more);
    data
}

#[test]
fn the_python_names_are_read() {
    let params = read(with(json!({
        "thing_name": "device-7", "duration_seconds": 3600, "ca": "~/ca.pem", "verify_peer": true, "timeout": 2.5,
    })))
    .unwrap();
    assert_eq!(params.thing_name.as_deref(), Some("device-7"));
    assert_eq!(params.duration, Some(Duration::from_secs(3600)));
    assert_eq!(params.trust_store, Some(Pem::file("~/ca.pem")));
    assert_eq!(params.timeout, Duration::from_millis(2500));
    params.validate().unwrap();
}

#[test]
fn what_is_left_out_or_null_has_its_default() {
    let params = read(with(
        json!({ "timeout": null, "duration": null, "verify_peer": null, "ca": null }),
    ))
    .unwrap();
    assert_eq!(
        (params.timeout, params.max_attempts, params.duration),
        (TIMEOUT, None, None)
    );
    assert!(params.trust_store.is_none() && !params.danger_accept_invalid_certificates);
}

#[test]
fn pem_may_stand_where_a_path_does() {
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let params = read(with(json!({ "certificate": pem }))).unwrap();
    assert_eq!(params.device.certificate, Some(Pem::content(pem)));
}

#[test]
fn verification_is_switched_off_only_by_its_dangerous_name() {
    let error = read(with(json!({ "verify_peer": false }))).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("danger_accept_invalid_certificates: true"),
        "{error}"
    );
    for data in [
        json!({ "danger_accept_invalid_certificates": true }),
        json!({ "danger_accept_invalid_certificates": true, "verify_peer": false }),
    ] {
        assert!(read(with(data)).unwrap().danger_accept_invalid_certificates);
    }
    assert!(
        read(with(
            json!({ "danger_accept_invalid_certificates": true, "verify_peer": true })
        ))
        .is_err()
    );
}

#[test]
fn a_pass_phrase_comes_from_one_place() {
    for name in [
        "private_key_passphrase",
        "private_key_passphrase_file",
        "private_key_passphrase_env",
    ] {
        let params = read(with(json!({ name: "hush" }))).unwrap();
        assert!(params.device.passphrase.is_some());
    }
    let both = json!({ "private_key_passphrase": "hush", "private_key_passphrase_env": "hush" });
    let error = read(with(both)).unwrap_err();
    assert!(
        error.to_string().contains("give one of") && !error.to_string().contains("hush"),
        "{error}"
    );
}

#[test]
fn wrong_data_names_the_field_and_not_the_value() {
    for (data, param) in [
        (json!({ "private_key": ["hush"] }), "private_key"),
        (
            json!({ "private_key_passphrase": 4711 }),
            "private_key_passphrase",
        ),
        (json!({ "timeout": "hush" }), "timeout"),
        (json!({ "timeout": -4711 }), "timeout"),
        (json!({ "duration_seconds": 4711.5 }), "duration_seconds"),
        (json!({ "private_kei": "hush" }), "private_kei"),
    ] {
        let error = read(with(data)).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains(param) && !shown.contains("hush") && !shown.contains("4711"),
            "{shown}"
        );
    }
}

#[test]
fn every_value_is_checked() {
    let good = || {
        Params::new(ENDPOINT, "reporting")
            .certificate("/c.pem")
            .private_key("/k.pem")
    };
    good().validate().unwrap();
    for (params, param) in [
        (
            Params {
                endpoint: "a1-ats.iot.eu-west-1.amazonaws.com".into(),
                ..good()
            },
            "endpoint",
        ),
        (
            Params {
                role_alias: "a/b".into(),
                ..good()
            },
            "role_alias",
        ),
        (good().thing_name(""), "thing_name"),
        (good().duration(Duration::from_secs(899)), "duration"),
        (good().timeout(Duration::ZERO), "timeout"),
        (good().timeout(Duration::from_secs(301)), "timeout"),
        (good().connect_timeout(Duration::ZERO), "connect_timeout"),
        (
            good()
                .timeout(Duration::from_secs(2))
                .connect_timeout(Duration::from_secs(3)),
            "connect_timeout",
        ),
        (good().max_attempts(0), "max_attempts"),
        (good().max_attempts(11), "max_attempts"),
        (good().proxy("https://user:hush@host"), "proxy"),
        (good().proxy("http://"), "proxy"),
        (good().proxy("hush"), "proxy"),
        (
            good()
                .trust_store("/ca")
                .danger_accept_invalid_certificates(true),
            "danger_accept_invalid_certificates",
        ),
        (
            Params {
                device: DeviceParams::new(),
                ..good()
            },
            "private_key",
        ),
    ] {
        let error = params.validate().unwrap_err();
        assert_eq!(error.param(), Some(param), "{error}");
        assert!(
            error.is_unrecoverable() && !format!("{error:?}").contains("hush"),
            "{error:?}"
        );
    }
    good()
        .proxy("http://user:hush@proxy.example:3128")
        .validate()
        .unwrap();
}

#[test]
fn a_connection_has_half_of_a_calls_time_unless_that_is_said() {
    let params = Params::new(ENDPOINT, "reporting").timeout(Duration::from_secs(8));
    let seconds = |params: &Params| params.connection_limits().map(|limit| limit.as_secs());
    assert_eq!(seconds(&params), [4, 8]);
    assert_eq!(
        seconds(&params.clone().connect_timeout(Duration::from_secs(7))),
        [7, 7]
    );
    // A token signs while TLS is being set up.
    #[cfg(feature = "pkcs11")]
    {
        let token = Pkcs11::new("/m.so").signature_timeout(Duration::from_secs(60));
        assert_eq!(seconds(&params.pkcs11(token)), [64, 68]);
    }
}

#[cfg(not(feature = "pkcs11"))]
#[test]
fn a_build_without_pkcs11_names_the_feature() {
    let error = read(with(json!({ "pkcs11": { "token_label": "hush" } }))).unwrap_err();
    assert!(
        error.to_string().contains("enable the feature `pkcs11`"),
        "{error}"
    );
    assert!(read(with(json!({ "pkcs11": null }))).is_ok());
}

#[test]
fn nothing_secret_is_shown() {
    let key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n";
    let params = Params::new(ENDPOINT, "reporting")
        .private_key(key)
        .private_key_passphrase("hush")
        .proxy("http://user:hush@proxy.example:3128");
    let shown = format!("{params:?}");
    assert!(
        !shown.contains("hush") && shown.contains(ENDPOINT),
        "{shown}"
    );
}

#[test]
fn the_schema_lists_brss_own_names() {
    let schema = schemars::schema_for!(Params);
    let properties = schema.get("properties").and_then(Value::as_object).unwrap();
    for name in [
        "endpoint",
        "role_alias",
        "certificate",
        "private_key",
        "trust_store",
        "duration",
        "timeout",
    ] {
        assert!(properties.contains_key(name), "{name}");
    }
    assert_eq!(
        schema.get("required"),
        Some(&json!(["endpoint", "role_alias"]))
    );
}
