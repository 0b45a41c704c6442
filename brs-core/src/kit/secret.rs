//! Texts that must not be seen: zeroised, redacted, read without echoing a wrong value.
//!
//! [`SecretString`] is what parameters of strategies use for keys, tokens, PINs and pass phrases.
//! Its `Debug` shows nothing, it has no `Serialize`, and reading something else in its place gives
//! an error without the value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use zeroize::{Zeroize, Zeroizing};

/// A text that is zeroised when dropped and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for SecretString {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("** redacted **")
    }
}

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SilentVisitor)
    }
}

impl schemars::JsonSchema for SecretString {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretString".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "writeOnly": true })
    }
}

/// Serde's own messages quote the value that was found; these do not.
struct SilentVisitor;

macro_rules! refuse {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(E::custom("must be a text"))
        }
    )*};
}

impl<'de> Visitor<'de> for SilentVisitor {
    type Value = SecretString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(SecretString::new(text))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(SecretString::new(text))
    }

    refuse!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_char: char, visit_bytes: &[u8]);

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom("must be a text"))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom("must be a text"))
    }
}

/// Wipes every text and every number within a value of data: bytes are lists of numbers.
pub fn zeroize_value(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => text.zeroize(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(zeroize_value),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(zeroize_value),
        serde_json::Value::Number(number) => {
            *number = 0.into();
            // Without a reader the write is one that the compiler may leave out.
            std::hint::black_box(number);
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(
            format!("{:?}", SecretString::from("hush")),
            "** redacted **"
        );
    }

    #[test]
    fn a_wrong_type_is_refused_without_its_value() {
        for text in [
            "12345",
            "true",
            "[\"12345\"]",
            "{\"a\":\"12345\"}",
            "1.2345",
        ] {
            let error = serde_json::from_str::<SecretString>(text)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("must be a text") && !error.contains("2345"),
                "{error}"
            );
        }
    }

    #[test]
    fn wiping_reaches_every_text_and_number() {
        let mut value =
            serde_json::json!({ "a": "x", "b": ["y", { "c": "z" }], "d": [48, 1.5, -3] });
        zeroize_value(&mut value);
        assert_eq!(
            value,
            serde_json::json!({ "a": "", "b": ["", { "c": "" }], "d": [0, 0, 0] })
        );
    }
}
