//! What decides which credentials a strategy gets, so that those who would get the same can share
//! them.
//!
//! A fingerprint names everything that the answer depends on, the identity that asks included, and
//! holds no secret. Two strategies whose fingerprints are equal may use each other's credentials;
//! a strategy that cannot tell has none, and shares nothing.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

/// Everything that decides which credentials a strategy gets, by name: method, role, session name,
/// policy, tags, duration, endpoint, region, and who asks.
///
/// Equal fingerprints mean interchangeable credentials, on this host and on others. It is not
/// secret: it holds names, ARNs and access key ids, never a key.
///
/// ```
/// use brs_core::Fingerprint;
///
/// let asker = Fingerprint::new("keys").with("access_key_id", "AKIAEXAMPLE");
/// let fingerprint = Fingerprint::new("vault")
///     .with("path", "aws/creds/reader")
///     .with("ttl_seconds", 3600)
///     .with("asker", &asker);
/// assert!(fingerprint.canonical().starts_with(r#"{"asker":{"access_key_id":"AKIAEXAMPLE","#));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint {
    parts: BTreeMap<&'static str, Value>,
    /// Something was added that cannot be written.
    is_incomplete: bool,
}

impl Fingerprint {
    /// The fingerprint of a strategy of this method, or of an asker of this kind.
    pub fn new(method: &str) -> Self {
        let none = Self {
            parts: BTreeMap::new(),
            is_incomplete: false,
        };
        none.with("method", method)
    }

    /// Adds what the answer depends on. An absent value (`None`) adds nothing: absent and empty
    /// are told apart by the strategy.
    ///
    /// What cannot be written as JSON, such as a path that is not UTF-8 or a number that is not
    /// finite, leaves the fingerprint without a part that counts: it is not [`complete`], and nothing
    /// is shared by it.
    ///
    /// [`complete`]: Self::complete
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        let is_number = is_number(&value);
        match serde_json::to_value(value) {
            Ok(Value::Null) => self.is_incomplete |= is_number,
            Ok(value) => {
                self.parts.insert(name, value);
            }
            Err(_) => self.is_incomplete = true,
        }
        self
    }

    /// The fingerprint, if all that was added is in it.
    pub fn complete(self) -> Option<Self> {
        (!self.is_incomplete).then_some(self)
    }

    /// What was added under this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.parts.get(name)
    }

    /// The fingerprint as JSON, with sorted names and without blanks: the same for equal ones.
    pub fn canonical(&self) -> String {
        let value: Value = self
            .parts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        // Maps of `serde_json` are sorted unless a feature says otherwise, which any crate of the
        // program may switch on.
        sorted(value).to_string()
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_incomplete {
            return Err(S::Error::custom("the fingerprint is not complete"));
        }
        self.parts.serialize(serializer)
    }
}

/// Whether a value that JSON writes as nothing is a number all the same: `None` has no text.
fn is_number(value: &impl Serialize) -> bool {
    struct Text<'a, T>(&'a T);

    impl<T: Serialize> fmt::Display for Text<'_, T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.serialize(f)
        }
    }

    write!(String::new(), "{}", Text(value)).is_ok()
}

/// The same value with the names of its maps in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let names: BTreeMap<String, Value> = map.into_iter().collect();
            names
                .into_iter()
                .map(|(name, value)| (name, sorted(value)))
                .collect()
        }
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        other => other,
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_names_does_not_count_and_absent_values_add_nothing() {
        let one = Fingerprint::new("x").with("a", 1).with("b", "two");
        let other = Fingerprint::new("x")
            .with("b", "two")
            .with("c", None::<&str>)
            .with("a", 1);
        assert_eq!(one, other);
        assert_eq!(one.canonical(), r#"{"a":1,"b":"two","method":"x"}"#);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_fingerprint_incomplete() {
        let plain = Fingerprint::new("x").with("a", None::<f64>).with("b", 0.5);
        assert!(plain.complete().is_some());
        for number in [f64::NAN, f64::INFINITY] {
            let told = Fingerprint::new("x").with("ttl", number);
            assert_ne!(told, Fingerprint::new("x"));
            assert!(told.complete().is_none(), "{number}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let path = std::path::Path::new(std::ffi::OsStr::from_bytes(b"/run/\xff"));
            let asker = Fingerprint::new("file").with("path", path);
            let told = Fingerprint::new("x").with("asker", &asker);
            assert!(told.complete().is_none(), "nor is one that it is a part of");
            assert!(asker.with("path", "/run/token").complete().is_none());
        }
    }

    #[test]
    fn an_empty_value_is_not_an_absent_one() {
        let one = Fingerprint::new("x").with("policy", "");
        assert_ne!(one, Fingerprint::new("x"));
    }
}
