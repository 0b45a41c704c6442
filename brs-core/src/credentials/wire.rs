//! Reading a set from data: the Python names, those of `credential_process`, and brs's own.
//!
//! Everything that is missing is listed in one error, and no error repeats a value: a secret in the
//! wrong place must not end up in a message. Empty strings count as missing; white space and
//! control characters are refused, not trimmed. Data is a map: the order of a list means nothing.
//! An expiration is an ISO 8601 text with an offset; a number or a time without an offset is
//! refused, because its meaning is a guess. Credentials with a session token end, so a set with one
//! and no expiration is refused too, but in the spelling of `credential_process`, where that means
//! that they do not.

use std::fmt;
use std::time::SystemTime;

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::TemporaryCredentials;
use crate::kit::check::is_account_id;
use crate::kit::secret::SecretString;

const ACCESS_KEY_ID: &str = "`access_key` (`AccessKeyId`)";
const SECRET_ACCESS_KEY: &str = "`secret_key` (`SecretAccessKey`)";
const SESSION_TOKEN: &str = "`token` (`SessionToken`)";
const EXPIRATION: &str = "`expiry_time` (`Expiration`)";

#[derive(serde::Deserialize)]
struct Wire {
    #[serde(default, rename = "version", alias = "Version")]
    _version: Option<Version>,
    #[serde(
        default,
        alias = "AccessKeyId",
        alias = "access_key",
        alias = "aws_access_key_id"
    )]
    access_key_id: Option<SecretString>,
    #[serde(
        default,
        alias = "SecretAccessKey",
        alias = "secret_key",
        alias = "aws_secret_access_key"
    )]
    secret_access_key: Option<SecretString>,
    #[serde(default, alias = "token", alias = "aws_session_token")]
    session_token: Option<SecretString>,
    #[serde(default, rename = "SessionToken")]
    process_session_token: Option<SecretString>,
    #[serde(default, alias = "Expiration")]
    expiration: Option<SecretString>,
    /// The outer `Some` tells that the field is there, be it null.
    #[serde(default, deserialize_with = "even_null")]
    expiry_time: Option<Option<SecretString>>,
    #[serde(default, alias = "AccountId", alias = "aws_account_id")]
    account_id: Option<SecretString>,
}

fn even_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<SecretString>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for TemporaryCredentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = deserializer.deserialize_any(MapOnly)?;
        wire.into_set().map_err(D::Error::custom)
    }
}

impl Wire {
    fn into_set(self) -> Result<TemporaryCredentials, String> {
        let (process_token, other_token) =
            (given(self.process_session_token), given(self.session_token));
        if process_token.is_some() && other_token.is_some() {
            return Err(format!("{SESSION_TOKEN} is given twice"));
        }
        if self.expiry_time.is_some() && self.expiration.is_some() {
            return Err(format!("{EXPIRATION} is given twice"));
        }
        let may_be_endless =
            other_token.is_none() && (process_token.is_none() || self.expiry_time.is_none());
        let expiration = self.expiry_time.flatten().or(self.expiration);
        let (access_key_id, secret_access_key) =
            (given(self.access_key_id), given(self.secret_access_key));
        let mut missing = Vec::new();
        if access_key_id.is_none() {
            missing.push(ACCESS_KEY_ID);
        }
        if secret_access_key.is_none() {
            missing.push(SECRET_ACCESS_KEY);
        }
        if expiration.is_none() && !may_be_endless {
            missing.push(EXPIRATION);
        }
        let (Some(access_key_id), Some(secret_access_key), true) =
            (access_key_id, secret_access_key, missing.is_empty())
        else {
            let hint = if missing.contains(&EXPIRATION) {
                ": credentials with a session token end"
            } else {
                ""
            };
            return Err(format!("missing {}{hint}", missing.join(", ")));
        };
        let (session_token, account_id) = (process_token.or(other_token), given(self.account_id));
        check_texts([
            (ACCESS_KEY_ID, Some(&access_key_id)),
            (SECRET_ACCESS_KEY, Some(&secret_access_key)),
            (SESSION_TOKEN, session_token.as_ref()),
        ])?;
        let expiration = expiration
            .map(|text| parse_iso8601(text.expose()))
            .transpose()?;
        let set = TemporaryCredentials::new(
            access_key_id.expose(),
            secret_access_key.expose(),
            session_token.map(|token| token.expose().to_owned()),
            expiration,
        );
        Ok(match account_id {
            Some(id) if !is_account_id(id.expose()) => {
                return Err("`aws_account_id` (`AccountId`) must be 12 digits".to_owned());
            }
            Some(id) => set.with_account_id(id.expose()),
            None => set,
        })
    }
}

fn given(value: Option<SecretString>) -> Option<SecretString> {
    value.filter(|value| !value.expose().is_empty())
}

/// Keys and tokens go into headers and signatures: what was read with them from a file or a
/// terminal makes them useless.
fn check_texts<'a>(
    texts: impl IntoIterator<Item = (&'static str, Option<&'a SecretString>)>,
) -> Result<(), String> {
    let problems: Vec<String> = texts
        .into_iter()
        .filter_map(|(name, text)| Some(format!("{name} {}", problem_of_text(text?.expose())?)))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join(", and "))
    }
}

fn problem_of_text(text: &str) -> Option<&'static str> {
    if text.chars().all(char::is_whitespace) {
        Some("is nothing but white space")
    } else if text.ends_with(['\n', '\r']) {
        Some("ends in a line break: remove it where the text is read")
    } else {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        text.contains(odd)
            .then_some("holds white space or control characters")
    }
}

fn parse_iso8601(text: &str) -> Result<SystemTime, String> {
    let parsed = rfc3339(text.trim())
        .and_then(|text| DateTime::from_str(&text, Format::DateTimeWithOffset).ok());
    parsed.and_then(|at| SystemTime::try_from(at).ok()).ok_or_else(|| {
        format!(
            "{EXPIRATION} must be an ISO 8601 time with an offset, such as `2030-01-31T12:00:00Z`: `Z`, `+02:00`, \
             `+0200` or `+02` at its end, with or without seconds and their fraction"
        )
    })
}

/// The same time in the one form that the parser knows: `2030-01-31T12:00:00.5+02:00`. Numbers are
/// left to the parser.
///
/// ISO 8601 also has forms without separators, seconds, or minutes of the offset, and Python's
/// `str(datetime)` puts a blank where it has a `T`.
fn rfc3339(text: &str) -> Option<String> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let (time, offset) = time.split_at(time.find(['Z', 'z', '+', '-'])?);
    let (clock, fraction) = time
        .split_once(['.', ','])
        .map_or((time, None), |(clock, rest)| (clock, Some(rest)));
    let date = match parts(date, '-', &[4, 2, 2])?[..] {
        [year, month, day] => format!("{year}-{month}-{day}"),
        _ => return None,
    };
    let clock = match parts(clock, ':', &[2, 2, 2]).or_else(|| parts(clock, ':', &[2, 2]))?[..] {
        [hour, minute] if fraction.is_none() => format!("{hour}:{minute}:00"),
        [hour, minute, second] => format!("{hour}:{minute}:{second}"),
        _ => return None,
    };
    let (sign, offset) = offset.split_at(1);
    let offset = match (sign, offset) {
        ("Z" | "z", "") => "Z".to_owned(),
        ("+" | "-", _) => {
            match parts(offset, ':', &[2, 2]).or_else(|| parts(offset, ':', &[2]))?[..] {
                [hours] => format!("{sign}{hours}:00"),
                [hours, minutes] => format!("{sign}{hours}:{minutes}"),
                _ => return None,
            }
        }
        _ => return None,
    };
    let fraction = fraction
        .map(|digits| format!(".{digits}"))
        .unwrap_or_default();
    Some(format!("{date}T{clock}{fraction}{offset}"))
}

/// Digits in parts of these lengths, with the separator between all of them or none.
fn parts<'a>(text: &'a str, separator: char, lengths: &[usize]) -> Option<Vec<&'a str>> {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if text.contains(separator) {
        let parts: Vec<&str> = text.split(separator).collect();
        let fit = parts
            .iter()
            .map(|part| part.len())
            .eq(lengths.iter().copied())
            && parts.iter().all(|p| is_number(p));
        return fit.then_some(parts);
    }
    if !is_number(text) || text.len() != lengths.iter().sum::<usize>() {
        return None;
    }
    let mut rest = text;
    Some(
        lengths
            .iter()
            .map(|length| {
                let (part, after) = rest.split_at(*length);
                rest = after;
                part
            })
            .collect(),
    )
}

/// The `Version` of `credential_process`: 1, however the number is written.
struct Version;

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VersionVisitor)
    }
}

/// Serde's own messages quote the value that was found; those of the visitors here do not.
macro_rules! refuse {
    ($message:expr, $($visit:ident: $type:ty),*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(E::custom($message))
        }
    )*};
}

const OTHER_VERSION: &str = "`Version` must be the number 1: only 1 is known";

struct VersionVisitor;

impl<'de> Visitor<'de> for VersionVisitor {
    type Value = Version;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number 1")
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Version, E> {
        if number == 1 {
            Ok(Version)
        } else {
            Err(E::custom(OTHER_VERSION))
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Version, E> {
        if number == 1 {
            Ok(Version)
        } else {
            Err(E::custom(OTHER_VERSION))
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Version, E> {
        if number == 1.0 {
            Ok(Version)
        } else {
            Err(E::custom(OTHER_VERSION))
        }
    }

    refuse!(OTHER_VERSION, visit_bool: bool, visit_str: &str, visit_bytes: &[u8]);

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Version, A::Error> {
        Err(A::Error::custom(OTHER_VERSION))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Version, A::Error> {
        Err(A::Error::custom(OTHER_VERSION))
    }
}

const NO_MAP: &str = "credentials must be a map of names to values";

/// Reads the fields of a map; a derived reader would take a list for them, too.
struct MapOnly;

impl<'de> Visitor<'de> for MapOnly {
    type Value = Wire;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names to values")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Wire, A::Error> {
        Wire::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Wire, A::Error> {
        Err(A::Error::custom(NO_MAP))
    }

    refuse!(NO_MAP, visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);
    refuse!(NO_MAP, visit_bytes: &[u8]);
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
        assert!(
            read(
                r#"{"access_key":"A","secret_key":"S","expiry_time":"2030-01-31 12:00:00+00:00"}"#
            )
            .is_ok()
        );
    }

    #[test]
    fn everything_missing_is_listed_at_once() {
        let error = read(r#"{"token":"T","secret_key":""}"#).unwrap_err();
        assert!(
            error.contains("access_key") && error.contains("secret_key"),
            "{error}"
        );
    }

    #[test]
    fn wrong_values_are_refused_without_being_shown() {
        for (text, hidden) in [
            (r#"{"access_key":"A","secret_key":4711}"#, "4711"),
            (
                r#"{"access_key":"A","secret_key":"S","token":["hush"]}"#,
                "hush",
            ),
            (
                r#"{"access_key":"A","secret_key":"S","expiry_time":"tomorrow-ish"}"#,
                "tomorrow",
            ),
            (
                r#"{"access_key":"A","secret_key":"S","expiry_time":1893456000}"#,
                "1893456000",
            ),
            (
                r#"{"access_key":"A","secret_key":"S","expiry_time":"2030-01-31T12:00:00"}"#,
                "2030-01-31T12:00:00\"",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(!error.contains(hidden), "{error}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        for version in [
            "2",
            "0",
            "-1",
            "1.5",
            "4711",
            "\"hush\"",
            "[1]",
            "{\"hush\":1}",
            "true",
        ] {
            let set = format!(r#"{{"Version":{version},"AccessKeyId":"A","SecretAccessKey":"S"}}"#);
            let error = read(&set).unwrap_err();
            assert!(error.contains("only 1 is known"), "{error}");
            assert!(
                !error.contains("hush") && !error.contains("4711"),
                "{error}"
            );
        }
        for version in ["1", "1.0", "1e0", "null"] {
            let set = format!(r#"{{"Version":{version},"AccessKeyId":"A","SecretAccessKey":"S"}}"#);
            assert!(read(&set).is_ok(), "{version}");
        }
    }

    #[test]
    fn only_a_map_is_read() {
        for text in [
            r#"[1,"hush","hush"]"#,
            "[]",
            "\"hush\"",
            "4711",
            "-4711",
            "4711.5",
            "true",
        ] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("must be a map")
                    && !error.contains("hush")
                    && !error.contains("4711"),
                "{error}"
            );
        }
        assert!(read("null").is_err());
        let value = serde_json::json!([1, "A", "S"]);
        assert!(serde_json::from_value::<TemporaryCredentials>(value).is_err());
    }

    #[test]
    fn a_set_with_a_token_ends_unless_a_process_says_that_it_does_not() {
        for endless in [
            r#"{"access_key":"A","secret_key":"S","token":"T","expiry_time":null}"#,
            r#"{"access_key":"A","secret_key":"S","token":"T"}"#,
            r#"{"access_key_id":"A","secret_access_key":"S","session_token":"T","expiration":null}"#,
            r#"{"aws_access_key_id":"A","aws_secret_access_key":"S","aws_session_token":"T"}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","expiry_time":null}"#,
        ] {
            let error = read(endless).unwrap_err();
            assert!(
                error.contains("missing `expiry_time` (`Expiration`)") && error.contains("token"),
                "{error}"
            );
        }
        for endless in [
            r#"{"access_key":"A","secret_key":"S","token":null,"expiry_time":null}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T"}"#,
            r#"{"AccessKeyId":"A","SecretAccessKey":"S","SessionToken":"T","Expiration":null}"#,
        ] {
            assert_eq!(read(endless).unwrap().expiration(), None, "{endless}");
        }
    }

    #[test]
    fn what_is_given_in_two_spellings_is_refused() {
        let error =
            read(r#"{"access_key":"A","secret_key":"S","token":"hush","SessionToken":"hush"}"#)
                .unwrap_err();
        assert!(
            error.contains("`token` (`SessionToken`) is given twice") && !error.contains("hush"),
            "{error}"
        );
        let error =
            read(r#"{"access_key":"A","secret_key":"S","expiration":"hush","expiry_time":null}"#)
                .unwrap_err();
        assert!(
            error.contains("is given twice") && !error.contains("hush"),
            "{error}"
        );
    }

    #[test]
    fn white_space_and_control_characters_are_refused_and_not_trimmed() {
        let set = |id: &str, secret: &str, token: &str| {
            let set = serde_json::json!({ "AccessKeyId": id, "SecretAccessKey": secret, "SessionToken": token });
            let error = read(&set.to_string()).unwrap_err();
            assert!(!error.contains("hush"), "{error}");
            error
        };
        for (error, expected) in [
            (
                set("A", "hush\n", "T"),
                "`secret_key` (`SecretAccessKey`) ends in a line break",
            ),
            (
                set("A", "hush\r\n", "T"),
                "`secret_key` (`SecretAccessKey`) ends in a line break",
            ),
            (
                set("  ", "hush", "T"),
                "`access_key` (`AccessKeyId`) is nothing but white space",
            ),
            (
                set("A", " hush", "T"),
                "`secret_key` (`SecretAccessKey`) holds white space or control",
            ),
            (
                set("A", "hush", "hush\u{7}"),
                "`token` (`SessionToken`) holds white space or control",
            ),
            (set("A B", "hush\n", "T"), "characters, and `secret_key`"),
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_account_id_is_12_digits() {
        let set =
            |id: &str| format!(r#"{{"AccessKeyId":"A","SecretAccessKey":"S","AccountId":"{id}"}}"#);
        assert_eq!(
            read(&set("123456789012")).unwrap().account_id(),
            Some("123456789012")
        );
        for wrong in [
            "47114711",
            "1234567890123",
            "12345678901x",
            " 123456789012",
            "١٢٣٤٥٦٧٨٩٠١٢",
        ] {
            let error = read(&set(wrong)).unwrap_err();
            assert!(
                error.contains("12 digits") && !error.contains(wrong),
                "{error}"
            );
        }
    }

    #[test]
    fn expirations_are_read_in_every_form_with_an_offset() {
        let noon = parse_iso8601("2040-01-31T12:00:00Z").unwrap();
        for text in [
            "2040-01-31T12:00:00+00:00",
            "2040-01-31T12:00:00+0000",
            "2040-01-31T12:00:00+00",
            "2040-01-31T12:00:00-00:00",
            "2040-01-31T14:00:00+02:00",
            "2040-01-31T14:00+0200",
            "2040-01-31T08:30:00-0330",
            "2040-01-31T12:00Z",
            "2040-01-31t12:00:00z",
            "2040-01-31 12:00:00+00:00",
            "2040-01-31T12:00:00.000Z",
            "2040-01-31T12:00:00,000000+0000",
            "2040-01-31T12:00:00.0000000Z",
            "20400131T120000Z",
            "20400131T140000+0200",
            "20400131T1200Z",
            "  2040-01-31T12:00:00Z\n",
        ] {
            assert_eq!(parse_iso8601(text).as_ref(), Ok(&noon), "{text}");
        }
        let half = parse_iso8601("2040-01-31T12:00:00.500000+00:00").unwrap();
        assert_eq!(
            half.duration_since(noon).unwrap(),
            std::time::Duration::from_millis(500)
        );
    }

    #[test]
    fn other_times_are_refused_with_the_forms_that_are_accepted() {
        for text in [
            "",
            "Z",
            "2040-01-31",
            "2040-01-31Z",
            "2040-01-31T12:00:00",
            "20400131T120000",
            "2040-01-31T12:00:00.5",
            "2040-01-31T12Z",
            "2040-01-31T12:00.5Z",
            "2040-01-31T12:00:00.Z",
            "2040-01-31T12:00:00.5.5Z",
            "2040-01-31T12:00:00ZZ",
            "2040-01-31T12:00:00Z+00:00",
            "2040-01-31T12:00:00+0",
            "2040-01-31T12:00:00+000",
            "2040-01-31T12:00:00+00:0",
            "2040-01-31T12:00:00+00:00:00",
            "2040-01-31T12:00:00+99:00",
            "2040-01-31T12:00:00 UTC",
            "2040-01-31T12:0000Z",
            "2040-0131T12:00:00Z",
            "2040-1-31T12:00:00Z",
            "2040-13-31T12:00:00Z",
            "2040-02-30T12:00:00Z",
            "2040-01-31T24:00:00Z",
            "20400-01-31T12:00:00Z",
            "+2040-01-31T12:00:00Z",
            "２０４０-01-31T12:00:00Z",
            "2040-W05-2T12:00:00Z",
            "Tue Jan 31 12:00:00 UTC 2040",
            "2040-01-31T1２:00:00Z",
            "T12:00:00é",
        ] {
            let error = parse_iso8601(text).unwrap_err();
            for form in ["`Z`", "`+02:00`", "`+0200`", "`+02`"] {
                assert!(error.contains(form), "{text} {error}");
            }
        }
    }
}
