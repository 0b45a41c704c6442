//! The time limits at their edges, and providers as data.

use super::*;
use brs_core::ErrorKind;
use serde_json::{Value, json};

fn read(data: Value) -> Result<MfaTokenProvider, Error> {
    brs_core::Params::from(data)
        .take::<MfaTokenProvider>()?
        .checked()
}

#[test]
fn a_time_limit_is_above_zero_and_at_most_twelve_hours() {
    for (limit, good) in [
        (Duration::ZERO, false),
        (Duration::from_millis(1), true),
        (MAX_TIMEOUT, true),
        (MAX_TIMEOUT + Duration::from_millis(1), false),
    ] {
        let provider =
            MfaTokenProvider::blocking_function(|| Ok::<_, std::io::Error>("")).timeout(limit);
        assert_eq!(provider.checked().is_ok(), good, "{limit:?}");
        let data = json!({ "command": "true", "timeout": limit.as_secs_f64() });
        assert_eq!(read(data).is_ok(), good, "{limit:?}");
    }
    let of_command =
        MfaTokenProvider::command(Command::parse("true").unwrap()).timeout(Duration::from_secs(5));
    assert_eq!(of_command.limit(), Duration::from_secs(5));
    assert_eq!(MfaTokenProvider::totp("x").limit(), Duration::ZERO);
    assert_eq!(MfaTokenProvider::prompt().limit(), PROMPT_TIMEOUT);
}

#[test]
fn data_says_which_kind_it_is() {
    for (data, shown) in [
        (json!("tool --code"), "Command"),
        (json!(["tool", "--code"]), "Command"),
        (
            json!({ "command": ["tool"], "env": { "A": "b" }, "cwd": "/", "timeout": 1.5 }),
            "timeout: 1.5s",
        ),
        (
            json!({ "totp": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" }),
            "(totp, ",
        ),
        (
            json!({ "totp_file": "/run/secret" }),
            "totp, file `/run/secret`",
        ),
        (
            json!({ "totp_env": "SECRET" }),
            "totp, environment `SECRET`",
        ),
        (json!({ "prompt": true, "timeout": 60 }), "prompt"),
    ] {
        let provider = format!("{:?}", read(data.clone()).unwrap());
        assert!(
            provider.contains(shown) && !provider.contains("GEZD"),
            "{data}: {provider}"
        );
    }
}

#[test]
fn data_that_is_no_provider_is_refused_without_its_secrets() {
    for (data, kind, problem) in [
        (json!({}), ErrorKind::Configuration, "exactly one"),
        (
            json!({ "prompt": false }),
            ErrorKind::Configuration,
            "exactly one",
        ),
        (
            json!({ "command": "tool", "totp": "HUSH" }),
            ErrorKind::Configuration,
            "exactly one",
        ),
        (
            json!({ "totp": "HUSH", "env": {} }),
            ErrorKind::Configuration,
            "`env`",
        ),
        (
            json!({ "command": "tool 'HUSH" }),
            ErrorKind::Configuration,
            "quotes",
        ),
        (
            json!({ "command": "tool", "timeout": 0 }),
            ErrorKind::Validation,
            "above zero",
        ),
        (
            json!({ "command": "tool", "env": { "A=B": "HUSH" } }),
            ErrorKind::Configuration,
            "=",
        ),
        (
            json!({ "secret": "HUSH" }),
            ErrorKind::Validation,
            "unknown field",
        ),
        (json!(4711), ErrorKind::Validation, "a command"),
        (
            json!({ "totp": 4711 }),
            ErrorKind::Validation,
            "must be a text",
        ),
        (
            json!({ "command": { "HUSH": 1 } }),
            ErrorKind::Validation,
            "must be a text or a list of texts",
        ),
    ] {
        let error = read(data.clone()).unwrap_err();
        assert_eq!(error.kind(), kind, "{data}: {error}");
        assert!(error.to_string().contains(problem), "{data}: {error}");
        assert!(
            !format!("{error} {error:?}").contains("HUSH") && !error.to_string().contains("4711"),
            "{error:?}"
        );
    }
}
