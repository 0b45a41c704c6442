//! The exact list of methods for each feature set; run once per feature set.

use brs::{ErrorKind, RefreshableSession};

const EXPECTED: &[&str] = &[
    #[cfg(feature = "sts")]
    "container",
    #[cfg(feature = "custom")]
    "custom",
    #[cfg(feature = "sts")]
    "imds",
    #[cfg(feature = "iot")]
    "iot",
    #[cfg(feature = "roles-anywhere")]
    "roles-anywhere",
    #[cfg(feature = "shared")]
    "shared",
    #[cfg(feature = "sts")]
    "sts",
    #[cfg(feature = "sts")]
    "sts-root",
    #[cfg(feature = "sts")]
    "sts-saml",
    #[cfg(feature = "sts")]
    "sts-session-token",
    #[cfg(feature = "sts")]
    "sts-web-identity",
];

#[test]
fn the_methods_are_those_of_the_features() {
    let methods = RefreshableSession::available_methods().unwrap();
    assert_eq!(
        methods
            .iter()
            .map(|method| method.name())
            .collect::<Vec<_>>(),
        EXPECTED
    );
}

#[test]
fn every_method_tells_about_itself() {
    for method in RefreshableSession::available_methods().unwrap() {
        assert!(
            !method.summary().is_empty() && !method.summary().contains('\n'),
            "{method:?}"
        );
        assert_eq!(method.crate_version(), env!("CARGO_PKG_VERSION"));
        let schema = method.schema();
        assert!(
            schema
                .as_object()
                .is_some_and(|schema| schema.contains_key("properties")),
            "{method:?}"
        );
    }
}

#[tokio::test]
async fn a_method_of_an_absent_feature_names_the_feature() {
    for (name, feature) in [
        ("container", "sts"),
        ("imds", "sts"),
        ("sts", "sts"),
        ("sts-root", "sts"),
        ("sts-saml", "sts"),
        ("sts-session-token", "sts"),
        ("sts-web-identity", "sts"),
        ("custom", "custom"),
        ("iot", "iot"),
        ("roles-anywhere", "roles-anywhere"),
        ("shared", "shared"),
    ] {
        if EXPECTED.contains(&name) {
            continue;
        }
        let error = RefreshableSession::new(name, serde_json::json!({}))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation);
        assert!(
            error
                .to_string()
                .contains(&format!("enable the feature `{feature}` of `brs`")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_unknown_method_lists_the_registered_ones() {
    let error = RefreshableSession::new("stss", serde_json::json!({}))
        .await
        .unwrap_err();
    for name in EXPECTED {
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
    assert_eq!(error.param(), Some("method"));
}

#[cfg(feature = "sts")]
#[tokio::test]
async fn the_default_method_is_sts() {
    let role = brs::sts::Params::new("arn:aws:iam::123456789012:role/app");
    let error = brs::open(role).await.map(|session| session.method());
    // Whether a region is set is this machine's affair; the method is not.
    match error {
        Ok(method) => assert_eq!(method, "sts"),
        Err(error) => assert_eq!(error.method(), Some("sts"), "{error}"),
    }
}
