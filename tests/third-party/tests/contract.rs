//! A third-party method registers itself, runs through `RefreshableSession::new`, and keeps the
//! contract.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use brs_core::test_util::contract::{self, Source, Subject};
use brs_core::{ErrorKind, RefreshStrategy, RefreshableSession};
use brs_tests_third_party::{File, Params};
use serde_json::json;

struct Subjected(tempfile::TempDir);

impl Subjected {
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// The strategy as the registry builds it.
async fn strategy(path: PathBuf) -> Arc<dyn RefreshStrategy> {
    let session = RefreshableSession::new("file", Params::new(path))
        .await
        .unwrap();
    Arc::new(Shared(session))
}

/// The registered strategy, out of its session.
#[derive(Debug)]
struct Shared(RefreshableSession);

#[async_trait]
impl RefreshStrategy for Shared {
    fn method(&self) -> &'static str {
        self.file().method()
    }

    fn source(&self) -> &'static str {
        self.file().source()
    }

    async fn refresh(
        &self,
        cx: &brs_core::RefreshContext,
    ) -> Result<brs_core::TemporaryCredentials, brs_core::Error> {
        self.file().refresh(cx).await
    }
}

impl Shared {
    fn file(&self) -> &File {
        self.0
            .strategy::<File>()
            .expect("the session was opened with this method")
    }
}

#[async_trait]
impl Subject for Subjected {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let file = |expiration| {
            let set = json!({
                "access_key": "ASIAFILE", "secret_key": "hush-key", "token": "hush-token", "expiry_time": expiration,
            });
            self.write("credentials.json", &set.to_string())
        };
        match source {
            Source::Healthy => Some(strategy(file("2033-05-18T12:00:00Z")).await),
            Source::Expired => Some(strategy(file("2001-01-01T00:00:00Z")).await),
            Source::Failing => {
                Some(strategy(self.write("half.json", r#"{"secret_key":"hush-key","acc"#)).await)
            }
            // A file neither hangs, panics nor blocks for long.
            _ => None,
        }
    }

    fn secrets(&self) -> Vec<String> {
        vec!["hush-key".into(), "hush-token".into()]
    }
}

#[tokio::test]
async fn the_method_keeps_the_contract() {
    let report = contract::check(&Subjected(tempfile::tempdir().unwrap())).await;
    assert_eq!(report.checked(), ["healthy", "expired", "failing"]);
    assert_eq!(report.left_out(), ["hanging", "panicking", "blocking"]);
}

#[tokio::test]
async fn the_method_is_registered_and_opened_by_name() {
    let names: Vec<_> = RefreshableSession::available_methods()
        .unwrap()
        .iter()
        .map(|method| method.name())
        .collect();
    assert_eq!(names, ["file"]);
    let subject = Subjected(tempfile::tempdir().unwrap());
    let set =
        json!({ "access_key": "ASIAFILE", "secret_key": "s", "token": null, "expiry_time": null });
    let path = subject.write("credentials.json", &set.to_string());
    let session = RefreshableSession::from_method(
        "file",
        json!({ "path": path, "region_name": "eu-west-1" }),
    )
    .await;
    let session = session.unwrap();
    assert_eq!(
        session.credentials().await.unwrap().access_key_id(),
        "ASIAFILE"
    );
    assert_eq!(session.sdk_config().region().unwrap().as_ref(), "eu-west-1");
}

#[tokio::test]
async fn wrong_parameters_are_refused_by_path() {
    for (data, message) in [
        (
            json!({ "path": 4711 }),
            "parameter `path`: invalid type: integer",
        ),
        (json!({ "paht": "x" }), "unknown field `paht`"),
        (json!({}), "missing field `path`"),
        (json!({ "path": "" }), "the path is empty"),
    ] {
        let error = RefreshableSession::from_method("file", data)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation);
        assert!(error.to_string().contains(message), "{error}");
        assert!(!error.to_string().contains("4711"), "{error}");
    }
}
