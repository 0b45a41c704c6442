//! What decides which credentials a strategy gets, so that those who would get the same can share
//! them.
//!
//! A fingerprint names everything that the answer depends on, the identity that asks included, and
//! holds no secret. Two strategies whose fingerprints are equal may use each other's credentials;
//! a strategy that cannot tell has none, and shares nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
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
/// assert_eq!(
///     fingerprint.canonical(),
///     concat!(
///         r#"{"asker":{"access_key_id":"AKIAEXAMPLE","method":"keys"},"#,
///         r#""method":"vault","path":"aws/creds/reader","ttl_seconds":3600}"#
///     )
/// );
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<&'static str, Value>);

impl Fingerprint {
    /// The fingerprint of a strategy of this method, or of an asker of this kind.
    pub fn new(method: &str) -> Self {
        Self(BTreeMap::new()).with("method", method)
    }

    /// Adds what the answer depends on. An absent value (`None`) adds nothing: absent and empty
    /// are told apart by the strategy.
    ///
    /// What cannot be written as JSON counts as its absence; write names and numbers.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(Value::Null) | Err(_) => {}
            Ok(value) => {
                self.0.insert(name, value);
            }
        }
        self
    }

    /// What was added under this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The fingerprint as JSON, with sorted names and without blanks: the same for equal ones.
    pub fn canonical(&self) -> String {
        let value: Value = self
            .0
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        // Maps of `serde_json` are sorted unless a feature says otherwise, which any crate of the
        // program may switch on.
        sorted(value).to_string()
    }
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
    fn an_empty_value_is_not_an_absent_one() {
        let one = Fingerprint::new("x").with("policy", "");
        assert_ne!(one, Fingerprint::new("x"));
    }
}
