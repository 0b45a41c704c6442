//! The table of limits, and the spelling as data.

use serde_json::{Value, json};

use super::*;

const ANCHOR: &str = "arn:aws:rolesanywhere:us-east-1:123456789012:trust-anchor/a-1";
const PROFILE: &str = "arn:aws:rolesanywhere:us-east-1:123456789012:profile/p-1";
const ROLE: &str = "arn:aws:iam::123456789012:role/backup";

fn params() -> Params {
    Params::new(ANCHOR, PROFILE, ROLE)
        .certificate("/etc/pki/server.pem")
        .private_key("/etc/pki/server.key")
}

fn properties(many: usize, name: usize, value: usize) -> Params {
    (0..many).fold(params(), |params, number| {
        let name = format!("{number:0name$}");
        params.instance_property(name, "x".repeat(value))
    })
}

#[test]
fn limits_are_checked_first_and_named() {
    let second = Duration::from_secs(1);
    for (params, param) in [
        (params().duration(899 * second), Some("duration")),
        (params().duration(900 * second), None),
        (params().duration(43_200 * second), None),
        (params().duration(43_201 * second), Some("duration")),
        (
            params().duration(1000 * second + second / 2),
            Some("duration"),
        ),
        (params().role_session_name("x"), Some("role_session_name")),
        (params().role_session_name("_="), None),
        (params().role_session_name("x".repeat(64)), None),
        (
            params().role_session_name("x".repeat(65)),
            Some("role_session_name"),
        ),
        (params().role_session_name("a b"), Some("role_session_name")),
        (params().role_session_name("a/b"), Some("role_session_name")),
        (properties(50, 200, 200), None),
        (properties(51, 200, 200), Some("instance_properties")),
        (properties(1, 201, 1), Some("instance_properties")),
        (properties(1, 1, 201), Some("instance_properties")),
        (properties(1, 1, 0), Some("instance_properties")),
        (
            params().instance_property("", "x"),
            Some("instance_properties"),
        ),
        (params().region("us-east-1"), None),
        (params().region("us-west-2"), Some("region")),
        (
            params().endpoint_url("http://localhost"),
            Some("endpoint_url"),
        ),
        (params().endpoint_url("https://localhost:8443"), None),
        (
            params().endpoint_url("localhost").use_fips(true),
            Some("endpoint_url"),
        ),
        (
            params().endpoint_url("localhost").use_dual_stack(true),
            Some("endpoint_url"),
        ),
        (params().endpoint_url("localhost").use_fips(false), None),
        (params().use_fips(true).use_dual_stack(true), None),
        (params().timeout(Duration::ZERO), Some("timeout")),
        (params().timeout(301 * second), Some("timeout")),
        (params().timeout(300 * second), None),
        (params().max_attempts(0), Some("max_attempts")),
        (params().max_attempts(11), Some("max_attempts")),
        (params().proxy("https://proxy"), Some("proxy")),
        (params().proxy("http://user:hush@proxy:3128"), None),
        (
            params().trust_store("file:///etc/roots.pem"),
            Some("trust_store"),
        ),
        (params().intermediates(""), Some("intermediates")),
        (Params::new(ANCHOR, PROFILE, ROLE), Some("private_key")),
        (Params::new(ROLE, PROFILE, ROLE), Some("trust_anchor_arn")),
    ] {
        match (params.validate(), param) {
            (Ok(()), None) => {}
            (Err(error), Some(param)) => {
                assert_eq!(error.param(), Some(param), "{error}");
                assert!(
                    error.is_unrecoverable() && error.to_string().contains(&format!("`{param}`"))
                        || param == "trust_store"
                        || param == "intermediates",
                    "{error}"
                );
                assert!(!error.to_string().contains("hush"), "{error}");
            }
            (outcome, param) => panic!("{param:?}: {outcome:?}: {params:?}"),
        }
    }
}

#[test]
fn fips_is_where_the_service_has_it() {
    let anchor = ANCHOR.replace("us-east-1", "eu-west-1");
    let profile = PROFILE.replace("us-east-1", "eu-west-1");
    let params = Params::new(anchor, profile, ROLE)
        .certificate("/a.pem")
        .private_key("/a.key");
    let error = params.clone().use_fips(true).validate().unwrap_err();
    assert!(error.to_string().contains("us-gov-east-1"), "{error}");
    params.validate().unwrap();
}

fn read(data: Value) -> Result<Params, Error> {
    brs_core::Params::from(data).take()
}

fn with(more: &Value) -> Value {
    let mut data = json!({
        "trust_anchor_arn": ANCHOR, "profile_arn": PROFILE, "role_arn": ROLE,
        "certificate": "/etc/pki/server.pem", "private_key": "/etc/pki/server.key",
    });
    let fields = data.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    data
}

#[test]
fn both_spellings_are_read() {
    for data in [
        json!({ "duration": 1000, "endpoint_url": "https://localhost" }),
        json!({ "session_duration": 1000, "endpoint": "https://localhost" }),
        json!({ "duration_seconds": 1000, "endpoint": "localhost" }),
    ] {
        let params = read(with(&data)).unwrap();
        assert_eq!(params.duration, Some(Duration::from_secs(1000)));
        params.validate().unwrap();
        let body: Value = serde_json::from_slice(&params.body()).unwrap();
        assert_eq!(body["durationSeconds"], 1000);
    }
    let params = read(with(&json!({
        "intermediates": "/etc/pki/chain.pem", "role_session_name": "night", "region": "us-east-1",
        "instance_properties": { "rack": "7" }, "use_fips": true, "timeout": 2.5, "max_attempts": 1,
    })))
    .unwrap();
    params.validate().unwrap();
    assert_eq!(params.timeout, Duration::from_millis(2500));
}

#[test]
fn wrong_data_names_its_field_and_not_its_value() {
    for (data, param) in [
        (json!({ "duration": "hush" }), "duration"),
        (
            json!({ "instance_properties": { "a": ["hush"] } }),
            "instance_properties.a",
        ),
        (json!({ "use_fips": "hush" }), "use_fips"),
        (json!({ "private_key": 4711 }), "private_key"),
        (json!({ "trust_anchor": "hush" }), "trust_anchor"),
    ] {
        let error = read(with(&data)).unwrap_err();
        assert_eq!(error.param(), Some(param), "{error}");
        assert!(!error.to_string().contains("hush") && !error.to_string().contains("4711"));
    }
    let twice = json!({ "private_key_passphrase": "hush", "private_key_passphrase_env": "X" });
    let error = read(with(&twice)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("give one of `private_key_passphrase`"),
        "{error}"
    );
}

#[cfg(not(feature = "pkcs11"))]
#[test]
fn a_token_needs_its_feature() {
    let error = read(with(&json!({ "pkcs11": {} }))).unwrap_err();
    assert!(
        error.to_string().contains("enable the feature `pkcs11`"),
        "{error}"
    );
}

#[test]
fn nothing_secret_is_shown() {
    let key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n";
    let params = params()
        .private_key(key)
        .private_key_passphrase("hush")
        .proxy("http://user:hush@proxy.example:3128");
    let shown = format!("{params:?}");
    assert!(!shown.contains("hush") && shown.contains(ANCHOR), "{shown}");
}
