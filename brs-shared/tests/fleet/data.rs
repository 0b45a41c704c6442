//! The kinds `redis` and `dynamodb` of the method `shared`, as data.

use super::*;
use brs_core::{Setup, register_method};
use serde_json::{Value, json};

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct InnerParams {}

async fn inner(_: InnerParams, _: Setup) -> Result<Told, Error> {
    Ok(Told(hourly().shared()))
}

register_method! {
    name: "inner",
    summary: "for the tests",
    params: InnerParams,
    build: inner,
}

/// A file of seal keys.
fn keys(folder: &tempfile::TempDir) -> String {
    let path = folder.path().join("keys");
    std::fs::write(&path, ONE).unwrap();
    path.display().to_string()
}

async fn open(store: Value, region: Option<&str>) -> Result<RefreshableSession, Error> {
    let mut data = json!({ "store": store, "of": { "method": "inner" } });
    if let Some(region) = region {
        data["region"] = region.into();
    }
    RefreshableSession::from_method("shared", data).await
}

#[tokio::test]
async fn the_stores_of_a_fleet_are_opened_from_data() {
    let folder = tempfile::tempdir().unwrap();
    let seal_keys = keys(&folder);
    for store in [
        json!({ "kind": "redis", "url": "redis://localhost", "seal_keys": seal_keys }),
        json!({ "kind": "redis", "cluster": ["redis://a", "redis://b"], "seal_keys": seal_keys }),
        json!({
            "kind": "redis", "url": "rediss://localhost:6380/2", "user": "brs",
            "password_file": "/run/secrets/redis", "trust_store": "/a.pem", "seal_keys": seal_keys,
        }),
        json!({ "kind": "dynamodb", "table": "brs", "seal_keys": seal_keys }),
        json!({
            "kind": "dynamodb", "table": "brs", "region": "eu-west-1", "seal_keys": seal_keys,
            "endpoint_url": "http://localhost:8000",
        }),
    ] {
        let session = open(store, Some("eu-west-2")).await.unwrap();
        assert!(session.strategy::<Shared>().is_some());
    }
}

#[tokio::test]
async fn an_error_names_the_path_and_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let good = keys(&folder);
    let bad = folder.path().join("bad");
    std::fs::write(&bad, "\n\nhush").unwrap();
    let bad = bad.display().to_string();
    for (store, param) in [
        (json!({ "kind": "redis", "url": "redis://a" }), "store"),
        (json!({ "kind": "redis", "seal_keys": good }), "store.url"),
        (
            json!({ "kind": "redis", "url": "redis://a", "cluster": ["redis://a"], "seal_keys": good }),
            "store.url",
        ),
        (
            json!({ "kind": "redis", "url": "http://me:hush@a", "seal_keys": good }),
            "store.url",
        ),
        (
            json!({ "kind": "redis", "cluster": [], "seal_keys": good }),
            "store.cluster",
        ),
        (
            json!({
                "kind": "redis", "url": "redis://a", "password": "hush", "password_env": "x",
                "seal_keys": good,
            }),
            "store.password",
        ),
        (
            json!({ "kind": "redis", "url": "redis://a", "trust_store": "/hush", "seal_keys": good }),
            "store.trust_store",
        ),
        (
            json!({ "kind": "redis", "url": "redis://a", "seal_keys": bad }),
            "store.seal_keys",
        ),
        (
            json!({ "kind": "redis", "url": "redis://a", "seal_keys": "/absent" }),
            "store.seal_keys",
        ),
        (
            json!({ "kind": "redis", "url": "redis://a", "seal_keys": good, "pasword": "hush" }),
            "store.pasword",
        ),
        (
            json!({ "kind": "dynamodb", "table": "hush!", "seal_keys": good }),
            "store.table",
        ),
        (
            json!({ "kind": "dynamodb", "table": "brs", "region": "hush hush", "seal_keys": good }),
            "store.region",
        ),
        (
            json!({ "kind": "dynamodb", "table": "brs", "endpoint_url": "hush", "seal_keys": good }),
            "store.endpoint_url",
        ),
    ] {
        let error = open(store.clone(), Some("eu-west-1")).await.unwrap_err();
        assert_eq!(error.param(), Some(param), "{store}: {error}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hush"), "{store}: {shown}");
    }
    let error = open(
        json!({ "kind": "redis", "url": "redis://a", "seal_keys": bad }),
        None,
    )
    .await
    .unwrap_err();
    assert!(
        error.to_string().contains("line 3: it has no `:`"),
        "{error}"
    );
}
