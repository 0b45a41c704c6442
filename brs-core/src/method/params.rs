//! What a method is given: a typed value, or data whose errors name the path of the wrong field.
//!
//! Owns the way from data to a method's own parameter type. Data may hold secrets: it is wiped when
//! dropped, never shown, and the errors of reading it name fields and expected types but no values.

use std::any::{Any, type_name};
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kit::error::Error;
use crate::kit::secret::zeroize_value;

/// The options of a session that data may hold beside parameters, by their own names: for hints.
pub(crate) const SESSION_OPTIONS: [&str; 17] = [
    "region",
    "profile_name",
    "access_key_id",
    "secret_access_key",
    "session_token",
    "account_id",
    "asker_name",
    "endpoint_url",
    "defer_refresh",
    "advisory_window",
    "mandatory_window",
    "advisory_refresh",
    "static_stability",
    "refresh_timeout",
    "client_cache_capacity",
    "client_cache_policy",
    "retry_rejected",
];

/// Every name that the data may use for one of the options.
pub(crate) const SESSION_NAMES: &[&str] = &[
    "region",
    "region_name",
    "profile_name",
    "profile",
    "access_key_id",
    "aws_access_key_id",
    "secret_access_key",
    "aws_secret_access_key",
    "session_token",
    "aws_session_token",
    "account_id",
    "aws_account_id",
    "asker_name",
    "endpoint_url",
    "defer_refresh",
    "advisory_window",
    "advisory_timeout",
    "mandatory_window",
    "mandatory_timeout",
    "advisory_refresh",
    "static_stability",
    "refresh_timeout",
    "client_cache_capacity",
    "client_cache_policy",
    "retry_rejected",
];

/// The parameters of a method, on their way to the code that registers it.
pub struct Params(Kind);

enum Kind {
    Typed {
        value: Box<dyn Any + Send>,
        type_name: &'static str,
    },
    Data(Data),
}

/// Data that is wiped when it is dropped.
struct Data {
    value: Value,
    /// Options of the session stood beside the parameters.
    beside_options: bool,
}

impl Drop for Data {
    fn drop(&mut self) {
        zeroize_value(&mut self.value);
    }
}

impl Params {
    /// A method's own parameter type. Authors of methods write `impl From<MyParams> for Params`
    /// with it.
    pub fn typed<T: Any + Send>(value: T) -> Self {
        Self(Kind::Typed {
            value: Box::new(value),
            type_name: type_name::<T>(),
        })
    }

    /// Anything that can be serialised: a struct, a map, a configuration file's table.
    ///
    /// # Errors
    ///
    /// A validation error if `data` cannot be serialised or is not a map.
    pub fn data(data: impl Serialize) -> Result<Self, Error> {
        let value = serde_json::to_value(data).map_err(|error| {
            Error::validation(format!(
                "parameters cannot be read: {}",
                without_value(&error.to_string())
            ))
        })?;
        match value {
            Value::Object(_) => Ok(value.into()),
            Value::Null => Ok(Value::Object(serde_json::Map::new()).into()),
            mut other => {
                zeroize_value(&mut other);
                Err(Error::validation(
                    "parameters must be a map of names to values",
                ))
            }
        }
    }

    /// The parameters as `T`: the typed value if it is one, else read from the data.
    ///
    /// # Errors
    ///
    /// A validation error that names the field's path ([`Error::param`]) for data that does not
    /// fit, or both types for a typed value of another type.
    pub fn take<T: DeserializeOwned + Any>(self) -> Result<T, Error> {
        match self.0 {
            Kind::Typed {
                value,
                type_name: given,
            } => value.downcast::<T>().map(|value| *value).map_err(|_| {
                Error::validation(format!(
                    "parameters are a `{given}`, this method takes a `{}`",
                    type_name::<T>()
                ))
            }),
            Kind::Data(data) => read(&data.value, data.beside_options),
        }
    }

    /// Moves the named entries of data into a map of their own; typed values have none.
    pub(crate) fn split_off<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Params {
        let mut taken = serde_json::Map::new();
        if let Kind::Data(data) = &mut self.0
            && let Value::Object(fields) = &mut data.value
        {
            data.beside_options = true;
            for name in names {
                if let Some(value) = fields.remove(name) {
                    taken.insert(name.to_owned(), value);
                }
            }
        }
        Value::Object(taken).into()
    }
}

/// The parameters of one method, which know its name: what [`open`] takes.
///
/// ```
/// # mod brs { pub use brs_core::*; }
/// use brs::MethodParams;
///
/// struct VaultParams {
///     address: String,
/// }
///
/// impl MethodParams for VaultParams {
///     const METHOD: &'static str = "vault";
/// }
/// ```
///
/// [`open`]: https://docs.rs/brs/latest/brs/fn.open.html
pub trait MethodParams: Any + Send + Sized {
    /// The name under which the method is registered.
    const METHOD: &'static str;
}

impl<P: MethodParams> From<P> for Params {
    fn from(params: P) -> Self {
        Self::typed(params)
    }
}

impl From<Value> for Params {
    fn from(value: Value) -> Self {
        Self(Kind::Data(Data {
            value,
            beside_options: false,
        }))
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Typed { type_name, .. } => f.debug_tuple("Params").field(type_name).finish(),
            Kind::Data(Data {
                value: Value::Object(fields),
                ..
            }) => f
                .debug_tuple("Params")
                .field(&fields.keys().collect::<Vec<_>>())
                .finish(),
            Kind::Data(_) => f.write_str("Params(** redacted **)"),
        }
    }
}

/// Reads `T` from data; an error names the path of the field and never its value.
fn read<T: DeserializeOwned>(value: &Value, beside_options: bool) -> Result<T, Error> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let mut problem = without_value(&error.inner().to_string());
        if problem.starts_with("unknown field") && SESSION_NAMES.contains(&path.as_str()) {
            problem.push_str("; it is an option of the session: set it there, or open the session with `from_method`");
        } else if problem.starts_with("unknown field") && beside_options && !path.contains('.') {
            let options = SESSION_OPTIONS.map(|name| format!("`{name}`")).join(", ");
            problem.push_str(&format!(" or an option of the session: {options}"));
        }
        if path == "." {
            Error::validation(format!("parameters: {problem}"))
        } else {
            Error::validation(format!("parameter `{path}`: {problem}")).with_param(path)
        }
    })
}

/// Serde's messages quote the value they found, which may be a secret in the wrong place: keeps the
/// rest.
///
/// `invalid type: string "hush", expected u32` becomes `invalid type: string, expected u32`.
fn without_value(message: &str) -> String {
    for start in ["invalid type: ", "invalid value: "] {
        if let Some(rest) = message.strip_prefix(start)
            && let Some((found, expected)) = rest.rsplit_once(", expected ")
        {
            let kind: String = found
                .chars()
                .take_while(|c| !matches!(c, '`' | '"' | '\''))
                .collect();
            return format!("{start}{}, expected {expected}", kind.trim());
        }
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        return match rest.rsplit_once("`, expected ") {
            Some((_, expected)) => format!("unknown value, expected {expected}"),
            None => "unknown value".to_owned(),
        };
    }
    message.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        inner: Inner,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        number: u32,
        #[serde(default)]
        mode: Option<Mode>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        On,
    }

    fn wrong(value: Value) -> Error {
        Params::from(value).take::<Sample>().unwrap_err()
    }

    #[test]
    fn a_wrong_type_names_the_path_and_not_the_value() {
        let error = wrong(json!({ "inner": { "number": "hush, expected none" } }));
        assert_eq!(error.param(), Some("inner.number"));
        assert_eq!(
            error.to_string(),
            "parameter `inner.number`: invalid type: string, expected u32"
        );
    }

    #[test]
    fn a_wrong_number_is_not_shown() {
        let error = wrong(json!({ "inner": { "number": -4711 } }));
        assert!(!error.to_string().contains("4711"), "{error}");
    }

    #[test]
    fn an_unknown_name_is_named_with_those_that_are_known() {
        let error = wrong(json!({ "inner": { "nomber": 1 } }));
        assert!(
            error.to_string().contains("nomber") && error.to_string().contains("number"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_variant_is_not_shown() {
        let error = wrong(json!({ "inner": { "number": 1, "mode": "hush" } }));
        assert_eq!(
            error.to_string(),
            "parameter `inner.mode`: unknown value, expected `on`"
        );
    }

    #[test]
    fn a_typed_value_comes_back_as_it_is_and_only_as_that() {
        let sample = || Sample {
            inner: Inner {
                number: 1,
                mode: Some(Mode::On),
            },
        };
        assert_eq!(Params::typed(sample()).take::<Sample>().unwrap(), sample());
        let error = Params::typed(1_u8).take::<Sample>().unwrap_err();
        assert!(
            error.to_string().contains("`u8`") && error.to_string().contains("Sample"),
            "{error}"
        );
    }

    #[test]
    fn data_must_be_a_map() {
        assert!(Params::data(vec![1]).is_err());
        assert!(Params::data(json!({})).is_ok());
    }

    #[test]
    fn debug_shows_names_only() {
        let shown = format!("{:?}", Params::from(json!({ "pin": "hush" })));
        assert!(shown.contains("pin") && !shown.contains("hush"));
    }
}
