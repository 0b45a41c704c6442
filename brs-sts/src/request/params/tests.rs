//! The spelling as data, and what is shown of it.

use super::*;
use serde_json::{Value, json};

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

fn read(data: Value) -> Result<Params, Error> {
    brs_core::Params::from(data).take()
}

#[test]
fn python_names_are_accepted() {
    let params = read(json!({
        "assume_role_kwargs": {
            "RoleArn": ROLE,
            "RoleSessionName": "unit",
            "PolicyArns": [{ "arn": "arn:aws:iam::aws:policy/ReadOnlyAccess" }, "arn:aws:iam::aws:policy/AWSDenyAll"],
            "Policy": "{}",
            "DurationSeconds": 900,
            "ExternalId": "partner",
            "SerialNumber": "GAHT12345678",
            "TokenCode": "123456",
            "Tags": [{ "Key": "b", "Value": "1" }, { "Key": "a", "Value": "2" }],
            "TransitiveTagKeys": ["a"],
            "SourceIdentity": "alice",
            "ProvidedContexts": [{ "ProviderArn": "arn:aws:iam::aws:contextProvider/x", "ContextAssertion": "signed" }],
        },
        "sts_client_kwargs": { "region_name": "eu-west-1" },
    }))
    .unwrap();
    params.validate().unwrap();
    let role = &params.request;
    assert_eq!(role.policy_arns.len(), 2);
    assert_eq!(role.duration, Some(Duration::from_secs(900)));
    assert_eq!(
        role.tags
            .iter()
            .map(|tag| tag.key.as_str())
            .collect::<Vec<_>>(),
        ["b", "a"]
    );
    assert_eq!(role.token_code.as_ref().unwrap().expose(), "123456");
    assert_eq!(
        role.provided_contexts[0].context_assertion.expose(),
        "signed"
    );
}

#[test]
fn snake_case_names_and_absent_values_are_accepted() {
    let params = read(json!({
        "assume_role": {
            "role_arn": ROLE, "duration": 1800, "tags": [{ "key": "k", "value": "v" }],
            "policy_arns": null, "external_id": null, "provided_contexts": null,
        },
        "client": null,
    }))
    .unwrap();
    params.validate().unwrap();
    assert_eq!(params.request.duration, Some(Duration::from_secs(1800)));
    assert_eq!(params.request.session_name(), DEFAULT_ROLE_SESSION_NAME);
}

#[test]
fn the_role_alone_is_enough() {
    assert_eq!(
        read(json!({ "role_arn": ROLE }))
            .unwrap()
            .request
            .role_arn
            .as_deref(),
        Some(ROLE)
    );
}

#[test]
fn the_role_is_named_once() {
    let error = read(json!({ "role_arn": ROLE, "assume_role": { "role_arn": ROLE } })).unwrap_err();
    assert!(error.to_string().contains("role_arn"), "{error}");
    assert!(read(json!({ "assume_role": { "role_arn": ROLE, "RoleArn": ROLE } })).is_err());
}

#[test]
fn wrong_data_names_the_path_and_not_the_value() {
    for (data, path) in [
        (
            json!({ "assume_role": { "role_arn": 4711 } }),
            "assume_role.role_arn",
        ),
        (
            json!({ "assume_role": { "role_arn": ROLE, "DurationSeconds": "hush" } }),
            "assume_role.DurationSeconds",
        ),
        (
            json!({ "assume_role": { "role_arn": ROLE, "token_code": 4711 } }),
            "assume_role.token_code",
        ),
        (
            json!({ "assume_role": { "role_arn": ROLE, "policy_arns": [{ "arn": 4711 }] } }),
            "policy_arns[0].arn",
        ),
        (
            json!({ "assume_role": { "role_arn": ROLE, "policy_arns": ["x", 4711] } }),
            "policy_arns[1]",
        ),
        (
            json!({ "assume_role": { "role_arn": ROLE, "Tags": [{ "Key": "a" }] } }),
            "assume_role.Tags[0]",
        ),
        (
            json!({ "assume_role_kwargs": { "RoleArn": ROLE, "ExternalID": "hush" } }),
            "assume_role_kwargs.ExternalID",
        ),
        (
            json!({ "assume_role": { "role_arn": ROLE }, "client": { "retries": "hush" } }),
            "client.retries",
        ),
    ] {
        let error = read(data).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            error.param().is_some_and(|param| param.contains(path)),
            "{path}: {shown}"
        );
        assert!(
            !shown.contains("4711") && !shown.contains("hush"),
            "{shown}"
        );
    }
}

#[test]
fn debug_shows_no_secret() {
    let params = Params::new(ROLE)
        .external_id("semi-secret")
        .policy(r#"{"Statement":[]}"#)
        .serial_number("GAHT12345678")
        .token_code("135790")
        .provided_context(
            "arn:aws:iam::aws:contextProvider/IdentityCenter",
            "signed-assertion",
        );
    let shown = format!("{params:?}");
    for secret in ["semi-secret", "Statement", "135790", "signed-assertion"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("11 characters") && shown.contains(ROLE));
}

#[test]
fn the_schema_has_the_documented_names() {
    let schema = serde_json::to_value(schemars::schema_for!(Params)).unwrap();
    let names = schema["properties"].as_object().unwrap();
    for name in ["assume_role", "client", "role_arn"] {
        assert!(names.contains_key(name), "{schema}");
    }
    assert_eq!(
        schema["$defs"]["AssumeRole"]["properties"]
            .as_object()
            .unwrap()
            .len(),
        12
    );
}
