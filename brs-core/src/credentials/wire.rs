//! Reading credentials from data: the Python names, those of `credential_process`, and brs's own.
//!
//! One reader for all of them. Everything that is missing or of the wrong kind is listed in one
//! error, and no error repeats a value or an unknown name: a secret in the wrong place must not end
//! up in a message. Empty strings count as missing; white space and control characters are refused,
//! not trimmed. An expiration is an ISO 8601 text with an offset; a number or a time without an
//! offset is refused, because its meaning is a guess. Credentials with a session token expire, so
//! a token without an expiration is refused too, except in the spelling of `credential_process`,
//! which means that they do not. Whole answers of AWS's, with the credentials in a map within, are
//! refused as they are by `credential_process` and the Python package; the error names the map.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};

use super::TemporaryCredentials;
use super::expiration::parse_iso8601;
use crate::kit::check::is_account_id;
use crate::kit::secret::SecretString;

mod visitors;

/// The spelling of the Python package.
const PYTHON: [&str; 4] = ["access_key", "secret_key", "token", "expiry_time"];
/// The spelling of `credential_process`.
const PROCESS: [&str; 7] = [
    "Version",
    "AccessKeyId",
    "SecretAccessKey",
    "SessionToken",
    "Expiration",
    "AccountId",
    // As instances and containers name it.
    "Token",
];
/// What holds the credentials in the answers of STS, AWS IoT and IAM Identity Center.
const WRAPPERS: [&str; 4] = [
    "Credentials",
    "credentials",
    "roleCredentials",
    "RoleCredentials",
];
/// brs's own names, those of environment variables, and those of AWS's JSON services.
const OTHERS: [&str; 13] = [
    "accessKeyId",
    "secretAccessKey",
    "sessionToken",
    "accountId",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "expiration",
    "account_id",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_account_id",
];

/// Those of the keys themselves.
const KEYS: [&str; 10] = [
    "access_key",
    "AccessKeyId",
    "accessKeyId",
    "access_key_id",
    "aws_access_key_id",
    "secret_key",
    "SecretAccessKey",
    "secretAccessKey",
    "secret_access_key",
    "aws_secret_access_key",
];

const ACCESS_KEY_ID: &str = "`access_key` (`AccessKeyId`)";
const SECRET_ACCESS_KEY: &str = "`secret_key` (`SecretAccessKey`)";
const SESSION_TOKEN: &str = "`token` (`SessionToken`)";
pub(super) const EXPIRATION: &str = "`expiry_time` (`Expiration`)";
const AN_EXPIRATION: &str = "an ISO 8601 text with an offset, such as `2030-01-31T12:00:00Z`";

/// Where data with credentials comes from, which decides what it must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataOrigin {
    /// Anywhere: every spelling.
    Any,
    /// A function: every spelling, but the Python names must all be there.
    Function,
    /// A command: the spelling of `credential_process`, with its `Version`.
    Command,
}

/// What is wrong with credentials as data, without any of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnusableData {
    /// The problem's name: `no_map`, `nested`, `missing_fields`, `wrong_kind`, `unusable`.
    pub name: &'static str,
    /// The fields without a usable value, for `missing_fields`.
    pub missing: Vec<&'static str>,
    text: String,
}

impl UnusableData {
    fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            missing: Vec::new(),
            text: text.into(),
        }
    }
}

impl fmt::Display for UnusableData {
    /// A predicate: `lacks …`, `has … as …, which must be …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TemporaryCredentials {
    /// Reads data that a function or a command gave.
    ///
    /// # Errors
    ///
    /// That of the deserializer; then what is wrong with the data.
    pub fn from_data<'de, D: Deserializer<'de>>(
        data: D,
        origin: DataOrigin,
    ) -> Result<Result<Self, UnusableData>, D::Error> {
        Data::deserialize(data).map(|data| data.read(origin))
    }
}

impl<'de> Deserialize<'de> for TemporaryCredentials {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_data(deserializer, DataOrigin::Any)?
            .map_err(|problem| D::Error::custom(format!("the data {problem}")))
    }
}

type Fields = BTreeMap<&'static str, Field>;

enum Data {
    /// The known ones, and the name of a map that has keys of its own.
    Map(Fields, Option<Within>),
    Other(Field),
}

/// The name of a map within, if it is a known one.
type Within = Option<&'static str>;

/// A value; only texts are kept.
enum Field {
    Null,
    Text(SecretString),
    One,
    Number,
    Bool,
    List,
    Map,
}

impl Field {
    fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.expose().is_empty(),
            _ => false,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Text(text) if text.expose().is_empty() => "an empty text",
            Self::Text(_) => "a text",
            Self::One | Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::List => "a list",
            Self::Map => "a map",
        })
    }
}

impl Data {
    fn read(self, origin: DataOrigin) -> Result<TemporaryCredentials, UnusableData> {
        let fields = match self {
            Self::Map(fields, Some(within)) if !has_keys(&fields) => {
                return Err(UnusableData::new("nested", nested(within, origin)));
            }
            Self::Map(fields, _) => fields,
            Self::Other(field) => {
                let names = match origin {
                    DataOrigin::Command => &PROCESS[..3],
                    _ => &PYTHON,
                };
                let text = format!("is {field}, not a map of {}", list(names));
                return Err(UnusableData::new("no_map", text));
            }
        };
        let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(name));
        match origin {
            DataOrigin::Any => {}
            DataOrigin::Command => lacks(&fields, &PROCESS[..3], &[])?,
            DataOrigin::Function if has(&PROCESS) => lacks(&fields, &PROCESS[1..3], &[])?,
            // Both spellings may be mixed: what is missing is found when the set is made.
            DataOrigin::Function if has(&OTHERS) => {}
            DataOrigin::Function => lacks(&fields, &PYTHON[..2], &PYTHON[2..])?,
        }
        let wrong: Vec<String> = fields
            .iter()
            .filter_map(|(name, field)| wrong_kind(name, field, origin))
            .collect();
        if wrong.is_empty() {
            set_of(fields).map_err(|problem| {
                UnusableData::new("unusable", format!("cannot be used: {problem}"))
            })
        } else {
            Err(UnusableData::new("wrong_kind", wrong.join(", and ")))
        }
    }
}

fn has_keys(fields: &Fields) -> bool {
    fields.keys().any(|name| KEYS.contains(name))
}

fn nested(within: Within, origin: DataOrigin) -> String {
    let place = match within {
        Some(name) => format!("`{name}`"),
        None => "a map within".to_owned(),
    };
    let what = match (origin, within) {
        (DataOrigin::Command, Some(name)) => format!(
            "print that map with `Version` 1 in it (the AWS CLI does so with --query \
             'merge(`{{\"Version\":1}}`,{name})')"
        ),
        (DataOrigin::Command, None) => "print that map with `Version` 1 in it".to_owned(),
        _ => "give that map alone".to_owned(),
    };
    format!("has the credentials one level too deep, in {place}: {what}")
}

/// Finds fields without a usable value: `filled` must have one, `present` may be null.
fn lacks(
    fields: &Fields,
    filled: &[&'static str],
    present: &[&'static str],
) -> Result<(), UnusableData> {
    let filled = filled
        .iter()
        .filter(|name| fields.get(**name).is_none_or(Field::is_empty));
    let present = present.iter().filter(|name| !fields.contains_key(**name));
    let missing: Vec<&'static str> = filled.chain(present).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(UnusableData {
        text: format!("lacks {}", list(&missing)),
        missing,
        name: "missing_fields",
    })
}

fn wrong_kind(name: &str, field: &Field, origin: DataOrigin) -> Option<String> {
    let expected = match (name, field) {
        ("Version" | "version", Field::One | Field::Null) => return None,
        ("Version" | "version", Field::Number) => {
            return Some(format!("has another `{name}` than 1: only 1 is known"));
        }
        ("Version" | "version", _) => "the number 1: only 1 is known",
        ("expiry_time", Field::Null) if origin != DataOrigin::Any => {
            return Some(format!(
                "has null as `expiry_time`, which must be {AN_EXPIRATION}: temporary credentials \
                 expire (return keys that do not as `TemporaryCredentials`)"
            ));
        }
        (_, Field::Null) => return None,
        ("expiry_time" | "Expiration" | "expiration", field) if field.is_empty() => AN_EXPIRATION,
        (_, Field::Text(_)) => return None,
        ("expiry_time" | "Expiration" | "expiration", _) => AN_EXPIRATION,
        _ => "a text",
    };
    Some(format!("has {field} as `{name}`, which must be {expected}"))
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn set_of(mut fields: Fields) -> Result<TemporaryCredentials, String> {
    let says_when = fields.contains_key("expiry_time");
    // An empty text counts as absent.
    let mut take = |shown: &str, names: &[&'static str]| {
        let mut found = None;
        for name in names {
            if let Some(Field::Text(text)) = fields.remove(name)
                && !text.expose().is_empty()
                && found.replace(text).is_some()
            {
                return Err(format!("{shown} is given twice"));
            }
        }
        Ok(found)
    };
    let access_key_id = take(
        ACCESS_KEY_ID,
        &[
            "access_key",
            "AccessKeyId",
            "accessKeyId",
            "access_key_id",
            "aws_access_key_id",
        ],
    )?;
    let secret_access_key = take(
        SECRET_ACCESS_KEY,
        &[
            "secret_key",
            "SecretAccessKey",
            "secretAccessKey",
            "secret_access_key",
            "aws_secret_access_key",
        ],
    )?;
    let token = take(
        SESSION_TOKEN,
        &[
            "token",
            "session_token",
            "sessionToken",
            "aws_session_token",
        ],
    )?;
    let process_token = take(SESSION_TOKEN, &["SessionToken", "Token"])?;
    let expiration = take(EXPIRATION, &["Expiration", "expiration"])?;
    let expiry_time = take(EXPIRATION, &["expiry_time"])?;
    let account_id = take(
        "`aws_account_id` (`AccountId`)",
        &["AccountId", "account_id", "accountId", "aws_account_id"],
    )?;
    if token.is_some() && process_token.is_some() {
        return Err(format!("{SESSION_TOKEN} is given twice"));
    }
    if says_when && expiration.is_some() {
        return Err(format!("{EXPIRATION} is given twice"));
    }
    let may_be_endless = token.is_none() && (process_token.is_none() || !says_when);
    let expiration = expiry_time.or(expiration);

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
            ": credentials with a session token expire"
        } else {
            ""
        };
        return Err(format!("missing {}{hint}", missing.join(", ")));
    };
    let session_token = process_token.or(token);
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
    match account_id {
        Some(id) if !is_account_id(id.expose()) => {
            Err("`aws_account_id` (`AccountId`) must be 12 digits".to_owned())
        }
        Some(id) => Ok(set.with_account_id(id.expose())),
        None => Ok(set),
    }
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

#[cfg(test)]
mod tests;
