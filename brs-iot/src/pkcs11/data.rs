//! A token as data: a map with brs's names or the Python package's, or one `pkcs11:` URI.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use brs_core::{Error, SecretString};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::Pkcs11;
use brs_core::SecretSource;

/// The map.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Data {
    /// A `pkcs11:` URI; the other values complete it.
    uri: Option<SecretString>,
    /// The module: the vendor's PKCS#11 library, as an absolute path or one that begins with `~`.
    #[serde(alias = "pkcs11_lib")]
    module_path: Option<PathBuf>,
    /// The slot's number.
    slot_id: Option<u64>,
    /// The token's label.
    token_label: Option<String>,
    /// The token's serial number.
    token_serial: Option<String>,
    /// The private key's label.
    #[serde(alias = "private_key_label")]
    key_label: Option<String>,
    /// The private key's id, in hexadecimal.
    key_id: Option<String>,
    /// The certificate's label, if it is on the token and has neither the key's id nor its label.
    certificate_label: Option<String>,
    /// The certificate's id, in hexadecimal.
    certificate_id: Option<String>,
    /// The PIN.
    #[serde(alias = "user_pin")]
    pin: Option<SecretString>,
    /// A file whose first line is the PIN.
    pin_file: Option<PathBuf>,
    /// An environment variable that holds the PIN.
    pin_env: Option<String>,
    /// The time limit of a signature in seconds: above 0, at most 43200. Default: 10.
    signature_timeout: Option<f64>,
}

impl Data {
    fn read(self) -> Result<Pkcs11, Error> {
        let mut read = match &self.uri {
            Some(uri) => Pkcs11::from_uri_with(uri.expose(), self.module_path.as_deref())?,
            None => Pkcs11::new(self.module_path.ok_or_else(|| {
                Error::validation(
                    "`module_path` is missing: the path of the token's PKCS#11 library",
                )
                .unrecoverable()
            })?),
        };
        let given = |name: &str, is_given: bool| match is_given {
            true => Err(Error::validation(format!(
                "`{name}` is given twice: in the URI and beside it"
            ))
            .unrecoverable()),
            false => Ok(()),
        };
        macro_rules! set {
            ($($name:ident, $place:expr, $value:expr;)*) => {$(
                if let Some(value) = $value {
                    given(stringify!($name), $place.is_some())?;
                    $place = Some(value);
                }
            )*};
        }
        set! {
            slot_id, read.token.slot_id, self.slot_id;
            token_label, read.token.label, self.token_label;
            token_serial, read.token.serial, self.token_serial;
            key_label, read.key.label, self.key_label;
            key_id, read.key.id, id("key_id", self.key_id)?;
            certificate_label, read.certificate.label, self.certificate_label;
            certificate_id, read.certificate.id, id("certificate_id", self.certificate_id)?;
        }
        let pins = [
            self.pin.map(SecretSource::value),
            self.pin_file.map(SecretSource::file),
            self.pin_env.map(SecretSource::env),
        ];
        for pin in pins.into_iter().flatten() {
            if read.pin.replace(pin).is_some() {
                return Err(Error::validation(
                    "the PIN is given twice: choose one of `pin`, `pin_file`, `pin_env` and the URI's",
                )
                .unrecoverable());
            }
        }
        if let Some(seconds) = self.signature_timeout {
            let limit = Duration::try_from_secs_f64(seconds).map_err(|_| super::wrong_timeout())?;
            read = read.signature_timeout(limit);
        }
        read.check()?;
        Ok(read)
    }
}

/// Bytes from hexadecimal digits, with or without `:` between them.
fn id(name: &str, text: Option<String>) -> Result<Option<super::select::Id>, Error> {
    let Some(text) = text else { return Ok(None) };
    let digits: Vec<u8> = text.bytes().filter(|&byte| byte != b':').collect();
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair)
            .ok()
            .filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u8::from_str_radix(pair, 16)
            .ok()
            .filter(|_| pair.len() == 2)
    };
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes
        .map(|bytes| Some(super::select::Id(bytes)))
        .ok_or_else(|| {
            Error::validation(format!(
                "`{name}` must be bytes in hexadecimal, such as `0a1b` or `0a:1b`"
            ))
            .unrecoverable()
        })
}

impl<'de> Deserialize<'de> for Pkcs11 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Pkcs11;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a `pkcs11:` URI or a map with `module_path`, `token_label`, `key_label`, …")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pkcs11, E> {
        Pkcs11::from_uri(text).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pkcs11, A::Error> {
        Data::deserialize(MapAccessDeserializer::new(map))?
            .read()
            .map_err(A::Error::custom)
    }
}

impl JsonSchema for Pkcs11 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pkcs11".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let map = generator.subschema_for::<Data>();
        json_schema!({ "anyOf": [{ "type": "string", "pattern": "^pkcs11:", "writeOnly": true }, map] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: Value) -> Result<Pkcs11, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_python_packages_names_are_understood() {
        let python = json!({
            "pkcs11_lib": "/usr/lib/m.so", "user_pin": "hush", "slot_id": 1, "token_label": "t",
            "private_key_label": "k",
        });
        let own = json!({
            "module_path": "/usr/lib/m.so", "pin": "hush", "slot_id": 1, "token_label": "t", "key_label": "k",
        });
        let shown = format!("{:?}", read(python).unwrap());
        assert_eq!(shown, format!("{:?}", read(own).unwrap()));
        assert!(
            !shown.contains("hush") && shown.contains("/usr/lib/m.so"),
            "{shown}"
        );
    }

    #[test]
    fn a_uri_stands_alone_or_is_added_to() {
        let alone = read(json!(
            "pkcs11:token=t;object=k;id=%0a?module-path=/m.so&pin-source=/run/pin"
        ))
        .unwrap();
        let added = read(json!({
            "uri": "pkcs11:token=t;object=k", "key_id": "0A", "module_path": "/m.so", "pin_file": "/run/pin",
        }));
        assert_eq!(format!("{alone:?}"), format!("{:?}", added.unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named_without_values() {
        for (value, words) in [
            (json!({}), "`module_path` is missing"),
            (json!("pkcs11:token=t"), "module-path"),
            (json!({ "module_path": "m.so" }), "absolute"),
            (
                json!({ "uri": "pkcs11:?module-path=/m.so", "module_path": "/m.so" }),
                "`module_path` is given twice",
            ),
            (
                json!({ "uri": "pkcs11:token=hush?module-path=/m.so", "token_label": "x" }),
                "`token_label` is given twice",
            ),
            (
                json!({ "module_path": "/m.so", "key_id": "hush" }),
                "hexadecimal",
            ),
            (
                json!({ "module_path": "/m.so", "key_id": "0a1" }),
                "hexadecimal",
            ),
            (
                json!({ "module_path": "/m.so", "pin": "hush", "pin_env": "PIN" }),
                "PIN is given twice",
            ),
            (
                json!({ "uri": "pkcs11:?module-path=/m.so&pin-value=hush", "pin": "hush" }),
                "PIN is given twice",
            ),
            (
                json!({ "module_path": "/m.so", "pin": 4711 }),
                "must be a text",
            ),
            (
                json!({ "module_path": "/m.so", "signature_timeout": -1.0 }),
                "`signature_timeout`",
            ),
            (
                json!({ "module_path": "/m.so", "signature_timeout": 0 }),
                "`signature_timeout`",
            ),
            (
                json!({ "module_path": "/m.so", "signature_timeout": 1e9 }),
                "`signature_timeout`",
            ),
            (
                json!({ "module_path": "/m.so", "pins": 1 }),
                "unknown field",
            ),
        ] {
            let problem = read(value.clone()).map(|_| ()).unwrap_err();
            assert!(problem.contains(words), "{value}: {problem}");
            assert!(
                !problem.contains("hush") && !problem.contains("4711"),
                "{problem}"
            );
        }
    }
}
