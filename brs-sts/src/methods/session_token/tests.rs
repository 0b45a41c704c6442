//! The limits at, below and above their edges, and the spelling as data.

use super::*;
use serde_json::{Value, json};

fn read(data: Value) -> Result<Params, Error> {
    brs_core::Params::from(data).take()
}

fn with(serial_number: &str) -> Params {
    Params::new().mfa(serial_number, MfaTokenProvider::prompt())
}

#[test]
fn limits_hold_at_their_edges() {
    let seconds = |seconds| Params::new().duration(Duration::from_secs(seconds));
    for (params, field) in [
        (seconds(899), Some("duration")),
        (seconds(900), None),
        (seconds(129_600), None),
        (seconds(129_601), Some("duration")),
        (
            Params::new().duration(Duration::from_millis(900_500)),
            Some("duration"),
        ),
        (with("12345678"), Some("serial_number")),
        (with("123456789"), None),
        (with(&"x".repeat(256)), None),
        (with(&"x".repeat(257)), Some("serial_number")),
        (with("with blank"), Some("serial_number")),
    ] {
        let error = params.validate().err();
        assert_eq!(
            error.as_ref().and_then(Error::param),
            field,
            "{params:?}: {error:?}"
        );
    }
}

#[test]
fn what_belongs_together_is_given_together() {
    for (data, param) in [
        (
            json!({ "SerialNumber": "GAHT12345678" }),
            "mfa_token_provider",
        ),
        (json!({ "TokenCode": "271828" }), "serial_number"),
        (json!({ "mfa_token_provider": "true" }), "serial_number"),
        (
            json!({ "SerialNumber": "GAHT12345678", "TokenCode": "27182" }),
            "token_code",
        ),
        (
            json!({ "SerialNumber": "GAHT12345678", "mfa_token_provider": "" }),
            "mfa_token_provider",
        ),
    ] {
        let error = read(data.clone()).unwrap().validate().unwrap_err();
        assert_eq!(error.param(), Some(param), "{data}: {error}");
    }
    for data in [
        json!({}),
        json!({ "client": null, "duration": 3600 }),
        json!({ "SerialNumber": "GAHT12345678", "TokenCode": "271828", "DurationSeconds": 900 }),
        json!({ "serial_number": "GAHT12345678", "mfa_token_provider": { "prompt": true } }),
        json!({ "serial_number": "GAHT12345678", "mfa_token_provider": ["true"],
                "mfa_token_provider_kwargs": { "timeout": 3 } }),
    ] {
        read(data.clone())
            .unwrap()
            .validate()
            .unwrap_or_else(|error| panic!("{data}: {error}"));
    }
    assert!(
        read(json!({ "RoleArn": "x" }))
            .unwrap_err()
            .to_string()
            .contains("unknown field")
    );
}
