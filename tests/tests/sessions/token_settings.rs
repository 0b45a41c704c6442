//! Settings of token sources: those of another source and wrong ones are refused before anything is
//! asked.

use brs::ErrorKind;
use brs::sts::web_identity::{Params, TokenSource};

use super::*;

#[tokio::test]
async fn settings_that_are_wrong_or_another_sources_are_refused_by_name() {
    let file = || TokenSource::file("/t");
    let http = || TokenSource::http("https://ci.example.com/token");
    for (source, kind, param) in [
        (
            file().audience("a"),
            ErrorKind::Configuration,
            "token_source.audience",
        ),
        (
            http().audience("a"),
            ErrorKind::Configuration,
            "token_source.audience",
        ),
        (
            TokenSource::github().service_account("a"),
            ErrorKind::Configuration,
            "token_source.service_account",
        ),
        (
            TokenSource::gcp().client_id("a"),
            ErrorKind::Configuration,
            "token_source.client_id",
        ),
        (
            TokenSource::github().endpoint("http://a"),
            ErrorKind::Configuration,
            "token_source.endpoint",
        ),
        (
            TokenSource::gcp().header("a", "b"),
            ErrorKind::Configuration,
            "token_source.headers",
        ),
        (
            file().pointer("/a"),
            ErrorKind::Configuration,
            "token_source.pointer",
        ),
        (
            TokenSource::azure(""),
            ErrorKind::Validation,
            "token_source.audience",
        ),
        (
            TokenSource::github().audience("x".repeat(1001)),
            ErrorKind::Validation,
            "token_source.audience",
        ),
        (
            TokenSource::gcp().endpoint("a"),
            ErrorKind::Validation,
            "token_source.endpoint",
        ),
        (
            http().pointer("a"),
            ErrorKind::Validation,
            "token_source.pointer",
        ),
        (
            http().header("a b", "c"),
            ErrorKind::Validation,
            "token_source.headers",
        ),
        (
            http().header("a", "hush\n"),
            ErrorKind::Validation,
            "token_source.headers",
        ),
        (
            TokenSource::http("ftp://a/hush"),
            ErrorKind::Validation,
            "token_source.http",
        ),
        (
            TokenSource::http("https://me:hush@a/"),
            ErrorKind::Validation,
            "token_source.http",
        ),
        (
            file().timeout(Duration::ZERO),
            ErrorKind::Validation,
            "token_source.timeout",
        ),
        (
            file().timeout(seconds(43_201)),
            ErrorKind::Validation,
            "token_source.timeout",
        ),
    ] {
        let params = Params::new().role_arn(ROLE).token_source(source);
        let error = params.validate().unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (kind, Some(param)),
            "{error}"
        );
        assert!(
            !format!("{error:?} {params:?}").contains("hush"),
            "{error:?}"
        );
    }
    let both = Params::new().token_file("/t").token_source(file());
    assert!(
        both.validate()
            .unwrap_err()
            .to_string()
            .contains("contradict")
    );
    for (data, words) in [
        (serde_json::json!({}), "exactly one of"),
        (serde_json::json!({ "github": false }), "exactly one of"),
        (
            serde_json::json!({ "github": true, "gcp": true }),
            "exactly one of",
        ),
        (
            serde_json::json!({ "github": true, "env": { "A": "hush" } }),
            "settings of `command` only",
        ),
        (serde_json::json!({ "token": "hush" }), "unknown field"),
        (serde_json::json!({ "command": "tool 'hush" }), "quote"),
    ] {
        let data = serde_json::json!({ "role_arn": ROLE, "token_source": data });
        let error = brs::Params::from(data).take::<Params>().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
    let azure = serde_json::json!({ "token_source": { "azure": true } });
    let params: Params = brs::Params::from(azure).take().unwrap();
    assert_eq!(
        params.validate().unwrap_err().param(),
        Some("token_source.audience")
    );
}
