//! Every row of what the Python package does for IoT, by name, through data with the Python names.

use brs::ErrorKind;
use serde_json::{Value, json};

use super::*;

/// What comes of a row.
enum Expected {
    Credentials,
    /// An error of this kind at this parameter that says this.
    Refused(ErrorKind, &'static str, &'static str),
}

use ErrorKind::{Configuration, Validation};
use Expected::{Credentials, Refused};

#[tokio::test]
async fn every_row_of_the_python_package() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let device = &bench.device;
    let (certificate, key, ca) = (
        file("device.pem", &device.certificate_pem),
        file("device.key", &device.private_key_pem),
        file("ca.pem", &bench.iot.trust_store()),
    );
    let good = json!({
        "endpoint": bench.iot.endpoint(), "role_alias": ALIAS, "thing_name": THING, "duration_seconds": 3600,
        "certificate": certificate, "private_key": key, "ca": ca, "verify_peer": true, "timeout": 10,
        "allow_any_endpoint": true,
    });
    let with = |change: Value| {
        let mut data = good.clone();
        data.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        // A row says `null` for what is left out.
        data.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        data
    };
    let bytes = |text: &str| Value::from(text.as_bytes().to_vec());
    let token = json!({ "pkcs11_lib": "/nonexistent.so", "user_pin": "hush", "token_label": "t",
        "private_key_label": "k" });
    for (name, data, expected) in [
        ("paths", good.clone(), Credentials),
        (
            "texts",
            with(
                json!({ "certificate": device.certificate_pem, "private_key": device.private_key_pem }),
            ),
            Credentials,
        ),
        (
            "bytes",
            with(
                json!({ "certificate": bytes(&device.certificate_pem), "private_key": bytes(&device.private_key_pem) }),
            ),
            Credentials,
        ),
        (
            "no thing, no duration",
            with(json!({ "thing_name": null, "duration_seconds": null })),
            Credentials,
        ),
        (
            "a data endpoint",
            with(json!({ "endpoint": "c2abc-ats.iot.eu-west-1.amazonaws.com" })),
            Refused(
                Validation,
                "endpoint",
                "aws iot describe-endpoint --endpoint-type iot:CredentialProvider",
            ),
        ),
        (
            "another host",
            with(json!({ "endpoint": "example.com", "allow_any_endpoint": false })),
            Refused(Validation, "endpoint", "allow_any_endpoint"),
        ),
        (
            "an alias with a slash",
            with(json!({ "role_alias": "a/b" })),
            Refused(Validation, "role_alias", "role_alias"),
        ),
        (
            "key and token",
            with(json!({ "pkcs11": token })),
            Refused(Configuration, "private_key", "pkcs11"),
        ),
        (
            "neither",
            with(json!({ "private_key": null })),
            Refused(Configuration, "private_key", "exactly one"),
        ),
        (
            "a library that is no file",
            with(json!({ "private_key": null, "pkcs11": token })),
            Refused(Configuration, "module_path", "/nonexistent.so"),
        ),
        (
            "a certificate that is no file",
            with(json!({ "certificate": "/nonexistent.pem" })),
            Refused(Configuration, "certificate", "/nonexistent.pem"),
        ),
        (
            "no verification",
            with(json!({ "verify_peer": false })),
            Refused(Validation, "", "danger_accept_invalid"),
        ),
        (
            "a duration of a minute",
            with(json!({ "duration_seconds": 60 })),
            Refused(Validation, "duration", "900"),
        ),
        (
            "an unknown name",
            with(json!({ "colour": "red" })),
            Refused(Validation, "colour", "colour"),
        ),
    ] {
        let session = RefreshableSession::builder("iot", data)
            .clock(Brisk(bench.clock.clone()))
            .region("eu-west-1");
        let outcome = match session.build().await {
            Ok(session) => session.credentials().await.map(drop),
            Err(error) => Err(error),
        };
        match (outcome, expected) {
            (Ok(()), Credentials) => {}
            (Err(error), Refused(kind, param, says)) => {
                assert_eq!(error.kind(), kind, "{name}: {error}");
                assert_eq!(error.param().unwrap_or_default(), param, "{name}: {error}");
                assert!(error.to_string().contains(says), "{name}: {error}");
                assert!(!show(&error).contains("hush"), "{name}");
            }
            (outcome, _) => panic!("{name}: {outcome:?}"),
        }
    }
    let request = bench.iot.requests().remove(0);
    assert_eq!(
        (
            request.thing_name.as_deref(),
            request.duration_seconds.as_deref()
        ),
        (Some(THING), Some("3600"))
    );
}
