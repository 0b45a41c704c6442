//! Commands as data: which data is accepted, what is said about other data, and what is said about
//! what commands print.

use std::time::Duration;

use crate::support::{LONG, Place, TestClock, is_running};
use brs_core::{
    Error, ErrorKind, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials,
};
use brs_custom::{Custom, Params};
use serde_json::{Value, json};

fn custom(data: Value) -> Result<Custom, Error> {
    Custom::new(brs_core::Params::from(data).take::<Params>()?)
}

async fn printed(text: &str) -> Result<TemporaryCredentials, Error> {
    let place = Place::new();
    std::fs::write(place.file("output"), text).unwrap();
    let cx = RefreshContext::for_test(TestClock::new().shared(), LONG);
    Custom::new(Params::command(place.sh("cat output")))
        .unwrap()
        .refresh(&cx)
        .await
}

#[tokio::test]
async fn a_session_from_data_runs_the_command() {
    let place = Place::new();
    std::fs::write(
        place.file("fetch.sh"),
        r#"printf '{"Version":1,"AccessKeyId":"%s","SecretAccessKey":"%s"}' "$1" "$SECRET""#,
    )
    .unwrap();
    let data = json!({
        "region_name": "eu-west-1",
        "command": "/bin/sh fetch.sh 'ASIA;QUOTED'",
        "timeout": 2.5,
        "env": { "SECRET": "hush" },
        "cwd": place.path(),
    });
    let session = RefreshableSession::from_method("custom", data)
        .await
        .unwrap();
    let set = session.credentials().await.unwrap();
    assert_eq!(
        (set.access_key_id(), set.secret_access_key()),
        ("ASIA;QUOTED", "hush")
    );
    let identity = session.whoami().await.unwrap();
    assert_eq!(
        (identity.method.as_str(), identity.source.as_str()),
        ("custom", "sh")
    );
    assert!(!format!("{session:?} {:?} {identity:?}", session.status()).contains("hush"));
}

#[test]
fn a_command_s_refresh_has_a_margin_beyond_its_own_limit() {
    let strategy = custom(json!({ "command": ["tool"], "timeout": 10 })).unwrap();
    assert_eq!(strategy.refresh_timeout(), Some(Duration::from_secs(15)));
    assert_eq!(
        custom(json!({ "command": "tool" }))
            .unwrap()
            .refresh_timeout(),
        Some(Duration::from_secs(35))
    );
    assert_eq!(
        (
            strategy.source(),
            strategy.name(),
            strategy.static_stability()
        ),
        ("custom-command", "tool", false)
    );
    assert_eq!(
        custom(json!({ "command": "/opt/tool x", "name": "the tool" }))
            .unwrap()
            .name(),
        "the tool"
    );
}

#[test]
fn wrong_data_is_refused_by_the_path_of_the_field_and_without_its_value() {
    for (data, kind, param, part) in [
        (json!({}), ErrorKind::Validation, "command", "missing"),
        (
            json!({ "command": 4711 }),
            ErrorKind::Validation,
            "command",
            "a text or a list of texts",
        ),
        (
            json!({ "command": ["tool", 4711] }),
            ErrorKind::Validation,
            "command",
            "a text or a list of texts",
        ),
        (
            json!({ "command": { "hush": 1 } }),
            ErrorKind::Validation,
            "command",
            "a text or a list of texts",
        ),
        (
            json!({ "command": "" }),
            ErrorKind::Configuration,
            "command",
            "empty",
        ),
        (
            json!({ "command": [] }),
            ErrorKind::Configuration,
            "command",
            "empty",
        ),
        (
            json!({ "command": "tool 'hush" }),
            ErrorKind::Configuration,
            "command",
            "unbalanced quotes",
        ),
        (
            json!({ "command": "tool", "timeout": 0 }),
            ErrorKind::Validation,
            "timeout",
            "above zero",
        ),
        (
            json!({ "command": "tool", "timeout": -4711 }),
            ErrorKind::Validation,
            "timeout",
            "above zero",
        ),
        (
            json!({ "command": "tool", "timeout": 1e300 }),
            ErrorKind::Validation,
            "timeout",
            "at most 12 hours",
        ),
        (
            json!({ "command": "tool", "timeout": 43201 }),
            ErrorKind::Validation,
            "timeout",
            "at most 12 hours",
        ),
        (
            json!({ "command": "tool", "timeout": "hush" }),
            ErrorKind::Validation,
            "timeout",
            "expected f64",
        ),
        (
            json!({ "command": "tool", "env": { "A": 4711 } }),
            ErrorKind::Validation,
            "env.A",
            "must be a text",
        ),
        (
            json!({ "command": "tool", "env": { "A=hush": "hush" } }),
            ErrorKind::Configuration,
            "env",
            "`A`",
        ),
        (
            json!({ "command": "tool", "env": ["hush"] }),
            ErrorKind::Validation,
            "env",
            "expected a map",
        ),
        (
            json!({ "command": "tool", "current_dir": 4711 }),
            ErrorKind::Validation,
            "current_dir",
            "expected",
        ),
        (
            json!({ "command": "tool", "name": "" }),
            ErrorKind::Validation,
            "name",
            "1 to 128",
        ),
        (
            json!({ "command": "tool", "shell": true }),
            ErrorKind::Validation,
            "shell",
            "unknown field",
        ),
    ] {
        let error = custom(data.clone()).unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (kind, Some(param)),
            "{data} {error}"
        );
        let shown = format!("{error} {error:?}");
        assert!(error.to_string().contains(part), "{data} {error}");
        assert!(
            !shown.contains("hush") && !shown.contains("4711"),
            "{data} {shown}"
        );
    }
}

#[test]
fn python_s_names_for_a_function_say_where_a_function_goes() {
    for name in [
        "custom_credentials_method",
        "custom_credentials_method_args",
    ] {
        for value in [json!("hush"), json!({ "hush": 1 }), json!(null)] {
            let error = custom(json!({ name: value })).unwrap_err();
            assert_eq!(
                (error.kind(), error.param()),
                (ErrorKind::Validation, Some(name))
            );
            assert!(
                error.to_string().contains("`Params::function`")
                    && error.to_string().contains("`command`"),
                "{error}"
            );
            assert!(!format!("{error:?}").contains("hush"), "{error:?}");
        }
    }
}

#[test]
fn debug_shows_neither_arguments_nor_values() {
    let data = json!({ "command": ["tool", "hush"], "env": { "TOKEN": "hush" } });
    let params = brs_core::Params::from(data.clone())
        .take::<Params>()
        .unwrap();
    let shown = format!("{params:?} {:?}", custom(data).unwrap());
    assert!(
        shown.contains("TOKEN") && !shown.contains("hush"),
        "{shown}"
    );
}

#[test]
fn the_schema_names_what_data_may_hold() {
    let methods = RefreshableSession::available_methods().unwrap();
    let method = methods
        .iter()
        .find(|method| method.name() == "custom")
        .unwrap();
    assert_eq!(method.crate_name(), "brs-custom");
    let schema = method.schema().to_value();
    let names: Vec<_> = schema["properties"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["command", "current_dir", "env", "name", "timeout"]);
    assert_eq!(schema["required"], json!(["command"]));
    assert_eq!(schema["additionalProperties"], json!(false));
}

#[tokio::test]
async fn credential_process_json_is_read() {
    let set = printed(
        r#" { "Version": 1, "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "hush", "SessionToken": "hush-token",
              "Expiration": "2030-01-31T12:00:00Z", "AccountId": "123456789012", "Extra": [1, { "a": null }] }
        "#,
    )
    .await
    .unwrap();
    assert_eq!(
        (set.access_key_id(), set.session_token()),
        ("ASIAEXAMPLE", Some("hush-token"))
    );
    assert_eq!(set.account_id(), Some("123456789012"));
    assert!(set.expiration().is_some());
    let basic = r#"{"Version":1.0,"AccessKeyId":"A","SecretAccessKey":"hush","Expiration":"20300131T1200+0000"}"#;
    assert_eq!(
        printed(&format!("\u{feff}{basic}"))
            .await
            .unwrap()
            .expiration(),
        set.expiration()
    );
    let short = printed(r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"hush"}"#)
        .await
        .unwrap();
    assert_eq!((short.session_token(), short.expiration()), (None, None));
}

#[tokio::test]
async fn what_is_wrong_with_the_output_is_said_without_showing_it() {
    for (text, expected) in [
        ("", "is nothing"),
        (" \n\n", "is nothing"),
        ("\u{feff}\n", "is nothing"),
        ("\u{feff}hush", "is not JSON: see line 1, column 1"),
        ("hush", "is not JSON: see line 1, column 1"),
        ("export KEY=hush", "is not JSON: see line 1"),
        (
            "{\"Version\": 1,\n \"AccessKeyId\": \"A\", \"SecretAccessKey\": \"hush",
            "is half a JSON text: it ends at line 2",
        ),
        (
            "{\"Version\": 1, \"AccessKeyId\": \"A\",",
            "is half a JSON text: it ends at line 1",
        ),
        (
            "{\"Version\": 1} hush",
            "is not JSON: see line 1, column 16",
        ),
        ("{'hush': 1}", "is not JSON: see line 1, column 2"),
        ("\"hush\"", "is a text, not a map"),
        ("[\"hush\"]", "is a list, not a map"),
        ("4711", "is a number, not a map"),
        ("null", "is null, not a map"),
        ("{}", "lacks `Version`, `AccessKeyId`, `SecretAccessKey`"),
        (
            r#"{"Credentials": {"SecretAccessKey": "hush"}}"#,
            "one level too deep, in `Credentials`: print that map with `Version` 1",
        ),
        (
            r#"{"AccessKeyId": "A", "SecretAccessKey": "hush"}"#,
            "lacks `Version`",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": ""}"#,
            "lacks `SecretAccessKey`",
        ),
        (
            r#"{"Version": 1, "access_key": "A", "secret_key": "hush"}"#,
            "lacks `AccessKeyId`, `SecretAccessKey`",
        ),
        (
            r#"{"Version": 2, "AccessKeyId": "A", "SecretAccessKey": "hush"}"#,
            "has another `Version` than 1",
        ),
        (
            r#"{"Version": "hush", "AccessKeyId": "A", "SecretAccessKey": "hush"}"#,
            "has a text as `Version`",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": 4711}"#,
            "has a number as `SecretAccessKey`",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hush", "Expiration": 4711}"#,
            "ISO 8601",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hush", "Expiration": "hush"}"#,
            "ISO 8601",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hush\n"}"#,
            "ends in a line break",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": " ", "SecretAccessKey": "hush"}"#,
            "is nothing but white space",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "hush", "AccountId": "4711"}"#,
            "must be 12 digits",
        ),
        (
            r#"{"Version": 1.5, "AccessKeyId": "A", "SecretAccessKey": "hush"}"#,
            "has another `Version` than 1",
        ),
        (
            r#"{"Version": 1, "AccessKeyId": "hush", "AccessKeyId": "hush"}"#,
            "has `AccessKeyId` twice",
        ),
    ] {
        let error = printed(text).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (ErrorKind::Credential, false),
            "{text} {error}"
        );
        assert!(
            error.to_string().starts_with("what command `sh` printed "),
            "{error}"
        );
        assert!(error.to_string().contains(expected), "{text} {error}");
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("4711"),
            "{text} {shown}"
        );
    }
}

#[test]
fn parameters_are_a_map() {
    for text in [
        r#"["hush"]"#,
        r#"["hush", 10, null, null, "hush"]"#,
        r#""hush""#,
        "4711",
        "true",
    ] {
        let error = serde_json::from_str::<Params>(text)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("must be a map") && !error.contains("hush") && !error.contains("4711"),
            "{error}"
        );
    }
    let error = custom(json!(["hush"])).unwrap_err();
    assert!(
        error.to_string().contains("must be a map") && !format!("{error:?}").contains("hush"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_session_s_command_shows_no_value_that_it_was_given() {
    let cx = RefreshContext::for_test(TestClock::new().shared(), LONG);
    for data in [
        json!({ "command": ["/bin/sh -c 'echo hush'"] }),
        json!({ "command": "TOKEN=hush /opt/tool" }),
        json!({ "command": ["ls", "--password=hush"] }),
        json!({ "command": ["/bin/sh", "-xc", "echo $PIN"], "env": { "PIN": "hush" } }),
    ] {
        let strategy = custom(data.clone()).unwrap();
        let error = strategy.refresh(&cx).await.unwrap_err();
        let shown = format!("{strategy:?} {} {error} {error:?}", strategy.name());
        assert!(!shown.contains("hush"), "{data} {shown}");
    }
}

#[tokio::test]
async fn of_unusable_output_the_standard_error_is_a_detail() {
    let cx = RefreshContext::for_test(TestClock::new().shared(), LONG);
    let place = Place::new();
    let params = Params::command(place.sh("echo 'please log in' >&2"));
    let error = Custom::new(params).unwrap().refresh(&cx).await.unwrap_err();
    assert_eq!(error.details()["stderr"], "please log in");
}

#[tokio::test]
async fn a_command_ends_shortly_before_the_engine_gives_up_on_it() {
    let (place, clock) = (Place::new(), TestClock::new());
    let strategy = Custom::new(Params::command(
        place.sh("echo $$ > leader; exec sleep 1000"),
    ))
    .unwrap();
    let cx = RefreshContext::for_test(clock.shared(), Duration::from_secs(4));
    let (result, pid) = tokio::join!(strategy.refresh(&cx), async {
        let pid = place.pid("leader").await;
        clock.advance(Duration::from_millis(3600));
        pid
    });
    assert_eq!(result.unwrap_err().details()["limit"], "3.6s");
    assert!(!is_running(pid));
}
