//! Reading a set from data: the Python names, those of `credential_process`, and brs's own.
//!
//! Everything that is missing is listed in one error, and no error repeats a value: a secret in the wrong place must
//! not end up in a message. Empty strings count as missing. An expiration is an ISO 8601 text with an offset, or `null`
//! where the credentials do not end; a number or a time without an offset is refused, because its meaning is a guess.

use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::de::{Deserialize, Deserializer, Error as _};

use super::TemporaryCredentials;
use crate::secret::SecretString;

#[derive(serde::Deserialize)]
struct Wire {
    #[serde(default, alias = "Version")]
    version: Option<u32>,
    #[serde(default, alias = "AccessKeyId", alias = "access_key", alias = "aws_access_key_id")]
    access_key_id: Option<SecretString>,
    #[serde(default, alias = "SecretAccessKey", alias = "secret_key", alias = "aws_secret_access_key")]
    secret_access_key: Option<SecretString>,
    #[serde(default, alias = "SessionToken", alias = "token", alias = "aws_session_token")]
    session_token: Option<SecretString>,
    #[serde(default, alias = "Expiration", alias = "expiry_time")]
    expiration: Option<SecretString>,
    #[serde(default, alias = "AccountId", alias = "aws_account_id")]
    account_id: Option<SecretString>,
}

impl<'de> Deserialize<'de> for TemporaryCredentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        wire.into_set().map_err(D::Error::custom)
    }
}

impl Wire {
    fn into_set(self) -> Result<TemporaryCredentials, String> {
        if let Some(version) = self.version.filter(|version| *version != 1) {
            return Err(format!("`Version` is {version}, only 1 is known"));
        }
        let given = |value: Option<SecretString>| value.filter(|value| !value.expose().is_empty());
        let (access_key_id, secret_access_key) = (given(self.access_key_id), given(self.secret_access_key));
        let mut missing = Vec::new();
        if access_key_id.is_none() {
            missing.push("`access_key` (`AccessKeyId`)");
        }
        if secret_access_key.is_none() {
            missing.push("`secret_key` (`SecretAccessKey`)");
        }
        let (Some(access_key_id), Some(secret_access_key)) = (access_key_id, secret_access_key) else {
            return Err(format!("missing {}", missing.join(", ")));
        };
        let expiration = self.expiration.map(|text| parse_iso8601(text.expose())).transpose()?;
        let set = TemporaryCredentials::new(
            access_key_id.expose(),
            secret_access_key.expose(),
            given(self.session_token).map(|token| token.expose().to_owned()),
            expiration,
        );
        Ok(match given(self.account_id) {
            Some(account_id) => set.with_account_id(account_id.expose()),
            None => set,
        })
    }
}

fn parse_iso8601(text: &str) -> Result<SystemTime, String> {
    let wrong = || {
        "`expiry_time` (`Expiration`) must be an ISO 8601 time with an offset, such as `2030-01-31T12:00:00Z`"
            .to_owned()
    };
    // Python's `str(datetime)` puts a blank where ISO 8601 has a `T`.
    let text = text.trim().replacen(' ', "T", 1);
    let parsed = DateTime::from_str(&text, Format::DateTimeWithOffset).map_err(|_| wrong())?;
    SystemTime::try_from(parsed).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TemporaryCredentials, String> {
        serde_json::from_str(text).map_err(|error: serde_json::Error| error.to_string())
    }

    #[test]
    fn python_and_process_spellings_are_read() {
        let python =
            read(r#"{"access_key":"A","secret_key":"S","token":"T","expiry_time":"2030-01-31T14:00:00+02:00"}"#)
                .unwrap();
        let process = read(
            r#"{"Version":1,"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T",
                "Expiration":"2030-01-31T12:00:00Z"}"#,
        )
        .unwrap();
        assert_eq!(python, process);
    }

    #[test]
    fn a_python_datetime_with_a_blank_is_read() {
        assert!(read(r#"{"access_key":"A","secret_key":"S","expiry_time":"2030-01-31 12:00:00+00:00"}"#).is_ok());
    }

    #[test]
    fn everything_missing_is_listed_at_once() {
        let error = read(r#"{"token":"T","secret_key":""}"#).unwrap_err();
        assert!(error.contains("access_key") && error.contains("secret_key"), "{error}");
    }

    #[test]
    fn wrong_values_are_refused_without_being_shown() {
        for (text, hidden) in [
            (r#"{"access_key":"A","secret_key":4711}"#, "4711"),
            (r#"{"access_key":"A","secret_key":"S","token":["hush"]}"#, "hush"),
            (r#"{"access_key":"A","secret_key":"S","expiry_time":"tomorrow-ish"}"#, "tomorrow"),
            (r#"{"access_key":"A","secret_key":"S","expiry_time":1893456000}"#, "1893456000"),
            (r#"{"access_key":"A","secret_key":"S","expiry_time":"2030-01-31T12:00:00"}"#, "2030-01-31T12:00:00\""),
        ] {
            let error = read(text).unwrap_err();
            assert!(!error.contains(hidden), "{error}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        let error = read(r#"{"Version":2,"AccessKeyId":"A","SecretAccessKey":"S"}"#).unwrap_err();
        assert!(error.contains("only 1 is known"), "{error}");
    }
}
