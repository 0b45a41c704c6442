//! What the endpoint answers: credentials, or an error in AWS's words.
//!
//! Owns the parsers of both bodies. They accept any bytes: errors use their own words and repeat
//! nothing of the body except AWS's message. Fuzzed.

use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use brs_core::{SecretString, TemporaryCredentials};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;

/// The longest answer that is read: AWS's have 2 KiB.
pub(crate) const MAX_BODY: usize = 64 * 1024;

/// A map is a map: serde's own structs read lists, too, by position.
#[derive(Debug)]
pub struct FromMap<T>(pub T);

#[derive(serde::Deserialize)]
struct Answer {
    credentials: Option<FromMap<Fields>>,
}

/// The fields of a credential set.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields {
    access_key_id: Option<SecretString>,
    secret_access_key: Option<SecretString>,
    session_token: Option<SecretString>,
    expiration: Option<SecretString>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FromMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for MapVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer
            .deserialize_map(MapVisitor(PhantomData))
            .map(Self)
    }
}

/// Reads a success; or what is wrong with it, as the end of a sentence that begins with "an answer
/// that".
pub(crate) fn credentials(body: &[u8]) -> Result<TemporaryCredentials, String> {
    let FromMap(answer) =
        read_json::<FromMap<Answer>>(body, "`credentials` must be a map of strings")?;
    let Some(FromMap(fields)) = answer.credentials else {
        return Err("has no `credentials`".into());
    };
    fields.into_credentials()
}

/// Reads a body as JSON; `shape` says what it must be, for errors as those of `credentials`.
pub fn read_json<T: serde::de::DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("is empty".into());
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Eof => "is cut off".to_owned(),
        Category::Data => format!("is JSON of another shape: {shape}"),
        Category::Syntax | Category::Io => format!("is not JSON{}", guess(body)),
    })
}

impl Fields {
    /// The credentials, if all of it is there and well-formed; errors are as those of
    /// `credentials`.
    pub fn into_credentials(self) -> Result<TemporaryCredentials, String> {
        let fields = [
            ("accessKeyId", self.access_key_id),
            ("secretAccessKey", self.secret_access_key),
            ("sessionToken", self.session_token),
            ("expiration", self.expiration),
        ];
        let missing: Vec<String> = fields
            .iter()
            .filter(|(_, value)| value.as_ref().is_none_or(|value| value.expose().is_empty()))
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let odd = |c: char| c.is_whitespace() || c.is_control();
        let odd: Vec<String> = fields
            .iter()
            .filter(|(_, value)| {
                value
                    .as_ref()
                    .is_some_and(|value| value.expose().contains(odd))
            })
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        let [
            (_, Some(access_key_id)),
            (_, Some(secret_access_key)),
            (_, Some(session_token)),
            (_, Some(expiration)),
        ] = &fields
        else {
            return Err(format!("lacks {}", missing.join(", ")));
        };
        if !missing.is_empty() {
            return Err(format!("lacks {}", missing.join(", ")));
        }
        if !odd.is_empty() {
            return Err(format!(
                "has white space or control characters in {}",
                odd.join(", ")
            ));
        }
        let expiration =
            time(expiration.expose(), Format::DateTimeWithOffset).ok_or_else(|| {
                "has an `expiration` that is not an ISO 8601 time with an offset".to_owned()
            })?;
        Ok(TemporaryCredentials::new(
            access_key_id.expose(),
            secret_access_key.expose(),
            Some(session_token.expose().to_owned()),
            Some(expiration),
        ))
    }
}

/// What the body may be instead, where that is easy to see.
fn guess(body: &[u8]) -> &'static str {
    let start = body.trim_ascii_start();
    if start.starts_with(b"<") {
        " but HTML or XML: something on the way answers in AWS's place"
    } else {
        ""
    }
}

/// AWS's words in an error's body.
pub fn message(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        #[serde(alias = "Message")]
        message: String,
    }
    serde_json::from_slice::<FromMap<Refusal>>(body)
        .ok()
        .map(|FromMap(refusal)| refusal.message)
}

/// An HTTP `Date`.
pub(crate) fn http_date(text: &str) -> Option<SystemTime> {
    time(text, Format::HttpDate)
}

/// `Retry-After`, in either of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Wait(Duration),
    /// By the endpoint's clock.
    Until(SystemTime),
}

/// A `Retry-After`; `None` for what is neither a number of seconds nor a date.
pub(crate) fn retry_after(text: &str) -> Option<RetryAfter> {
    let text = text.trim();
    let seconds = text
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten();
    match seconds {
        Some(seconds) => Some(RetryAfter::Wait(Duration::from_secs(seconds))),
        None => http_date(text).map(RetryAfter::Until),
    }
}

fn time(text: &str, format: Format) -> Option<SystemTime> {
    DateTime::from_str(text, format).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const GOOD: &str = r#"{"credentials":{"accessKeyId":"ASIAX","secretAccessKey":"hush/1","sessionToken":"hush+2",
        "expiration":"2026-01-01T00:00:00Z"}}"#;

    #[test]
    fn credentials_are_read_and_other_fields_are_let_be() {
        for body in [
            GOOD.to_owned(),
            GOOD.replace("\"expiration\"", "\"more\":[1],\"expiration\""),
        ] {
            let set = credentials(body.as_bytes()).unwrap();
            assert_eq!(
                (set.access_key_id(), set.secret_access_key()),
                ("ASIAX", "hush/1")
            );
            assert_eq!(set.session_token(), Some("hush+2"));
            assert_eq!(
                set.expiration(),
                Some(UNIX_EPOCH + Duration::from_secs(1_767_225_600))
            );
        }
    }

    #[test]
    fn what_is_wrong_is_told_and_nothing_of_the_body_is_shown() {
        for (body, problem) in [
            (String::new(), "is empty"),
            (" \r\n".into(), "is empty"),
            (GOOD[..80].to_owned(), "is cut off"),
            ("hush".into(), "is not JSON"),
            ("<html>hush</html>".into(), "is not JSON but HTML"),
            ("\u{feff}{}".into(), "is not JSON"),
            ("[\"hush\"]".into(), "another shape"),
            ("4711".into(), "another shape"),
            ("{}".into(), "has no `credentials`"),
            (r#"{"credentials":null}"#.into(), "has no `credentials`"),
            (r#"{"credentials":"hush"}"#.into(), "another shape"),
            (
                r#"{"credentials":["A","hush","hush","2026-01-01T00:00:00Z"]}"#.into(),
                "another shape",
            ),
            (
                r#"{"credentials":{"secretAccessKey":["hush"]}}"#.into(),
                "another shape",
            ),
            (
                r#"{"credentials":{"secretAccessKey":4711}}"#.into(),
                "another shape",
            ),
            (
                r#"{"credentials":{}}"#.into(),
                "lacks `accessKeyId`, `secretAccessKey`, `sessionToken`, `expiration`",
            ),
            (GOOD.replace("hush/1", ""), "lacks `secretAccessKey`"),
            (GOOD.replace("\"hush+2\"", "null"), "lacks `sessionToken`"),
            (
                GOOD.replace("sessionToken", "token"),
                "lacks `sessionToken`",
            ),
            (
                GOOD.replace("hush/1", "hush\\n"),
                "control characters in `secretAccessKey`",
            ),
            (
                GOOD.replace("2026-01-01T00:00:00Z", "1767225600"),
                "not an ISO 8601 time",
            ),
            (
                GOOD.replace("2026-01-01T00:00:00Z", "2026-01-01T00:00:00"),
                "not an ISO 8601 time",
            ),
            (
                GOOD.replace("ASIAX", "A\",\"accessKeyId\":\"B"),
                "another shape",
            ),
        ] {
            let found = credentials(body.as_bytes()).unwrap_err();
            assert!(found.contains(problem), "{body}: {found}");
            assert!(
                !found.contains("hush") && !found.contains("4711"),
                "{found}"
            );
        }
        assert!(
            credentials(&[0xff, 0xfe])
                .unwrap_err()
                .contains("is not JSON")
        );
    }

    #[test]
    fn awss_message_is_read_where_there_is_one() {
        assert_eq!(
            message(br#"{"message":"Access Denied"}"#).as_deref(),
            Some("Access Denied")
        );
        assert_eq!(
            message(br#"{"Message":"Access Denied"}"#).as_deref(),
            Some("Access Denied")
        );
        for body in [
            "",
            "<html>",
            "{}",
            "[]",
            r#"["by position"]"#,
            r#"{"message":1}"#,
        ] {
            assert_eq!(message(body.as_bytes()), None);
        }
    }

    #[test]
    fn a_date_header_is_read() {
        assert_eq!(
            http_date("Thu, 01 Jan 2026 00:00:00 GMT"),
            Some(UNIX_EPOCH + Duration::from_secs(1_767_225_600))
        );
        for text in ["", "yesterday", "2026-01-01T00:00:00Z"] {
            assert_eq!(http_date(text), None);
        }
    }

    #[test]
    fn a_wait_is_read_in_both_its_forms() {
        assert_eq!(
            retry_after(" 30"),
            Some(RetryAfter::Wait(Duration::from_secs(30)))
        );
        let date = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        assert_eq!(
            retry_after("Thu, 01 Jan 2026 00:00:00 GMT"),
            Some(RetryAfter::Until(date))
        );
        for text in ["", "-1", "1.5", "soon", "99999999999999999999"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
    }
}
