//! What functions return and commands print, made into a set of credentials.
//!
//! Owns the errors about it. They name what is missing, the kinds that are accepted and the place
//! in the text, and never repeat any of it.

use aws_credential_types::Credentials;
use brs_core::command::Output;
use brs_core::kit;
use brs_core::{DataOrigin, Error, TemporaryCredentials, UnusableData};
use serde_json::Value;
use serde_json::error::Category;

/// What your function may return.
///
/// Implemented for [`TemporaryCredentials`], for the AWS SDK's [`Credentials`], and for a
/// [`serde_json::Value`], which is a map in one of two spellings:
///
/// - that of the Python package, with all four of `access_key`, `secret_key`, `token` and
///   `expiry_time`; of these only `token` may be null;
/// - that of `credential_process`: `AccessKeyId`, `SecretAccessKey`, and where there are any
///   `SessionToken`, `Expiration`, `AccountId`, `Version` (1). Without `Expiration` the set does
///   not end.
///
/// An expiration is an ISO 8601 text with an offset (`Z`, `+02:00`, `+0200` or `+02`), with or
/// without seconds. Keys, token and account id are taken as they are: white space around them is an
/// error. The texts of the value are wiped after they have been read.
///
/// Implement it for a type of your own to return that:
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_custom as custom; }
/// use brs::{Error, TemporaryCredentials};
/// use brs::custom::IntoCredentials;
///
/// struct Lease { id: String, secret: String }
///
/// impl IntoCredentials for Lease {
///     fn into_credentials(self) -> Result<TemporaryCredentials, Error> {
///         Ok(TemporaryCredentials::new(self.id, self.secret, None, None))
///     }
/// }
/// ```
pub trait IntoCredentials {
    /// Makes the set.
    ///
    /// # Errors
    ///
    /// A credential error that says what is missing or of the wrong kind, without a value.
    fn into_credentials(self) -> Result<TemporaryCredentials, Error>;
}

impl IntoCredentials for TemporaryCredentials {
    fn into_credentials(self) -> Result<TemporaryCredentials, Error> {
        Ok(self)
    }
}

impl IntoCredentials for Credentials {
    fn into_credentials(self) -> Result<TemporaryCredentials, Error> {
        Ok(TemporaryCredentials::from(&self))
    }
}

impl IntoCredentials for Value {
    fn into_credentials(mut self) -> Result<TemporaryCredentials, Error> {
        let read = TemporaryCredentials::from_data(&self, DataOrigin::Function);
        kit::zeroize_value(&mut self);
        let what = "what the function returned";
        match read {
            Ok(read) => read.map_err(|problem| of_data(what, &problem)),
            Err(_) => Err(unusable(what, "unusable", "cannot be read")),
        }
    }
}

/// Reads what a command printed: the JSON of `credential_process`.
pub(crate) fn read_printed(command: &str, output: &Output) -> Result<TemporaryCredentials, Error> {
    read_process_json(
        &format!("what command `{command}` printed"),
        output.stdout(),
    )
    .map_err(|error| {
        let error = error.with_detail("command", command);
        if output.stderr().is_empty() {
            error
        } else {
            error.with_detail("stderr", output.stderr())
        }
    })
}

fn read_process_json(what: &str, text: &[u8]) -> Result<TemporaryCredentials, Error> {
    // The byte order mark that PowerShell and .NET put before UTF-8.
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    if text.iter().all(u8::is_ascii_whitespace) {
        let problem = "is nothing: it must print JSON with `Version` (1), `AccessKeyId`, \
                       `SecretAccessKey`, `SessionToken` and `Expiration` to its standard output";
        return Err(unusable(what, "nothing", problem));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    TemporaryCredentials::from_data(&mut json, DataOrigin::Command)
        .and_then(|read| json.end().map(|()| read))
        .map_err(|error| unusable(what, "no_json", &no_json(&error)))?
        .map_err(|problem| of_data(what, &problem))
}

fn of_data(what: &str, problem: &UnusableData) -> Error {
    let error = unusable(what, problem.name, &problem.to_string());
    if problem.missing.is_empty() {
        error
    } else {
        error.with_detail("missing", problem.missing.join(", "))
    }
}

fn unusable(what: &str, name: &str, problem: &str) -> Error {
    Error::credential(format!("{what} {problem}")).with_detail("problem", name)
}

fn no_json(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    match error.classify() {
        Category::Eof => format!("is half a JSON text: it ends at line {line}, column {column}"),
        Category::Syntax | Category::Io => format!("is not JSON: see line {line}, column {column}"),
        // The reader's own words: a field that stands there twice.
        Category::Data => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brs_core::ErrorKind;
    use serde_json::json;

    fn problem(value: Value) -> String {
        let error = value.into_credentials().unwrap_err();
        assert_eq!(
            (error.kind(), error.is_unrecoverable()),
            (ErrorKind::Credential, false),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        error
            .to_string()
            .strip_prefix("what the function returned ")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn both_spellings_give_the_same_set() {
        let python = json!({
            "access_key": "ASIAEXAMPLE", "secret_key": "hush", "token": "hush-token",
            "expiry_time": "2030-01-31T12:00:00Z",
        });
        let process = json!({
            "AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": "hush", "SessionToken": "hush-token",
            "Expiration": "2030-01-31T12:00:00Z",
        });
        let set = python.into_credentials().unwrap();
        assert_eq!(set, process.into_credentials().unwrap());
        assert_eq!(
            (set.secret_access_key(), set.session_token()),
            ("hush", Some("hush-token"))
        );
    }

    #[test]
    fn the_sdk_s_type_and_brs_s_own_are_taken_as_they_are() {
        let sdk = Credentials::new(
            "ASIAEXAMPLE",
            "hush",
            Some("hush-token".into()),
            None,
            "test",
        );
        let set = sdk.into_credentials().unwrap();
        assert_eq!(
            (set.access_key_id(), set.session_token()),
            ("ASIAEXAMPLE", Some("hush-token"))
        );
        assert_eq!(set.clone().into_credentials().unwrap(), set);
    }

    #[test]
    fn in_the_python_spelling_the_token_may_be_null_and_the_expiry_is_a_text() {
        let set = |token: Value, expiry_time: Value| {
            let mut set = json!({ "access_key": "A", "secret_key": "hush", "token": token });
            set["expiry_time"] = expiry_time;
            set
        };
        let no_token = set(json!(null), json!("2030-01-31T12:00:00Z"))
            .into_credentials()
            .unwrap();
        assert!(no_token.session_token().is_none() && no_token.expiration().is_some());
        for token in [json!("hush"), json!(null)] {
            let problem = problem(set(token, json!(null)));
            assert!(
                problem.starts_with("has null as `expiry_time`, which must be an ISO 8601 text"),
                "{problem}"
            );
            assert!(
                problem.contains("temporary credentials expire"),
                "{problem}"
            );
        }
        let only_keys = json!({ "access_key": "A", "secret_key": "hush" });
        assert_eq!(problem(only_keys), "lacks `token`, `expiry_time`");
        let process = json!({ "AccessKeyId": "A", "SecretAccessKey": "hush" });
        assert!(process.into_credentials().is_ok());
    }

    #[test]
    fn without_an_expiration_the_process_spelling_is_a_set_that_does_not_end() {
        let mut set =
            json!({ "AccessKeyId": "A", "SecretAccessKey": "hush", "SessionToken": "hush-token" });
        assert_eq!(set.clone().into_credentials().unwrap().expiration(), None);
        set["expiry_time"] = json!(null);
        assert!(problem(set).starts_with("has null as `expiry_time`"));
        let own =
            json!({ "access_key_id": "A", "secret_access_key": "hush", "session_token": "hush" });
        assert!(problem(own).contains("missing `expiry_time` (`Expiration`)"));
    }

    #[test]
    fn what_no_key_can_hold_is_refused_and_not_trimmed() {
        let python = |name: &str, value: &str| {
            let mut set = json!({ "access_key": "A", "secret_key": "hush", "token": "hush" });
            set["expiry_time"] = json!("2030-01-31T12:00:00Z");
            set[name] = json!(value);
            problem(set)
        };
        assert!(
            python("secret_key", "hush\n")
                .contains("`secret_key` (`SecretAccessKey`) ends in a line break")
        );
        assert!(
            python("access_key", " ")
                .contains("`access_key` (`AccessKeyId`) is nothing but white space")
        );
        assert!(
            python("token", "hush\u{1b}")
                .contains("`token` (`SessionToken`) holds white space or control")
        );
        assert!(python("aws_account_id", "hush").contains("must be 12 digits"));
    }

    #[test]
    fn everything_missing_is_listed_at_once() {
        for (value, expected) in [
            (
                json!({}),
                "lacks `access_key`, `secret_key`, `token`, `expiry_time`",
            ),
            (
                json!({ "unknown": "hush" }),
                "lacks `access_key`, `secret_key`, `token`, `expiry_time`",
            ),
            (
                json!({ "secret_key": "", "token": "hush", "expiry_time": null }),
                "lacks `access_key`, `secret_key`",
            ),
            (
                json!({ "access_key": null, "secret_key": "hush", "token": "hush" }),
                "lacks `access_key`, `expiry_time`",
            ),
            (
                json!({ "SessionToken": "hush" }),
                "lacks `AccessKeyId`, `SecretAccessKey`",
            ),
            (
                json!({ "AccessKeyId": "A", "Expiration": null }),
                "lacks `SecretAccessKey`",
            ),
        ] {
            assert_eq!(problem(value.clone()), expected, "{value}");
        }
        let own = problem(json!({ "access_key_id": "A" }));
        assert!(
            own.contains("missing") && own.contains("secret_key"),
            "{own}"
        );
    }

    /// What `aws sts assume-role` prints, and what its SDK for Python returns.
    #[test]
    fn a_whole_answer_of_sts_is_refused_with_the_map_to_give() {
        let answer = json!({
            "Credentials": { "AccessKeyId": "A", "SecretAccessKey": "hush", "SessionToken": "hush" },
            "AssumedRoleUser": { "Arn": "hush" },
        });
        assert_eq!(
            problem(answer.clone()),
            "has the credentials one level too deep, in `Credentials`: give that map alone"
        );
        let error = read_process_json("it", answer.to_string().as_bytes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has the credentials one level too deep, in `Credentials`: print that map with `Version` 1 in it (the \
             AWS CLI does so with --query 'merge(`{\"Version\":1}`,Credentials)')"
        );
        assert_eq!(error.details()["problem"], "nested");
    }

    #[test]
    fn what_is_no_map_is_said_to_be_what_it_is() {
        for (value, expected) in [
            (json!(null), "is null"),
            (json!("hush"), "is a text"),
            (json!(["hush"]), "is a list"),
            (json!(4711), "is a number"),
            (json!(true), "is a boolean"),
        ] {
            let problem = problem(value);
            assert!(
                problem.starts_with(expected) && problem.contains("`access_key`"),
                "{problem}"
            );
        }
    }

    #[test]
    fn wrong_kinds_are_named_with_those_that_are_accepted() {
        let python = |name: &str, value: Value| {
            let mut set = json!({ "access_key": "A", "secret_key": "hush", "token": "hush" });
            set["expiry_time"] = json!("2030-01-31T12:00:00Z");
            set[name] = value;
            problem(set)
        };
        for wrong in [
            json!(1_893_456_000),
            json!(1.5),
            json!(["hush"]),
            json!({ "hush": 1 }),
            json!(true),
            json!(""),
        ] {
            let problem = python("expiry_time", wrong);
            assert!(
                problem.contains("`expiry_time`")
                    && problem.contains("ISO 8601 text with an offset"),
                "{problem}"
            );
            assert!(!problem.contains("1893456000"), "{problem}");
        }
        for wrong in ["hush", "2030-01-31", "2030-01-31T12:00:00"] {
            let problem = python("expiry_time", json!(wrong));
            assert!(
                problem.contains("`expiry_time`") && problem.contains("offset"),
                "{problem}"
            );
        }
        assert_eq!(
            python("secret_key", json!(4711)),
            "has a number as `secret_key`, which must be a text"
        );
        assert_eq!(
            python("token", json!(["hush"])),
            "has a list as `token`, which must be a text"
        );
        for version in [json!(2), json!("hush"), json!("1")] {
            for name in ["Version", "version"] {
                let problem = problem(
                    json!({ name: version, "AccessKeyId": "A", "SecretAccessKey": "hush" }),
                );
                assert!(
                    problem.contains("`Version`") || problem.contains("`version`"),
                    "{problem}"
                );
            }
        }
    }
}
