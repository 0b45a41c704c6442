//! How parameters are spelled in data: the forms that serde's derive does not cover.
//!
//! Seconds for durations, `null` for a list that is not given, policy ARNs as texts or as AWS's
//! `{"arn": …}`. Errors name what was expected and never the value that was found.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

/// Whole seconds, as AWS's `DurationSeconds`.
pub(crate) fn whole_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_secs))
}

/// Seconds that may have a fraction, as botocore's time-outs.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let Some(seconds) = Option::<f64>::deserialize(deserializer)? else {
        return Ok(None);
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => Ok(Some(duration)),
        Err(_) => Err(D::Error::custom(
            "must be a number of seconds, not negative",
        )),
    }
}

/// A value, or `null` for its default.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A value that is spelled as a map, or `null` for its default. Serde's own structs read lists,
/// too, by position.
pub(crate) fn map_or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(optional_map(deserializer)?.unwrap_or_default())
}

/// As [`map_or_default`], for what has no default.
pub(crate) fn optional_map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<FromMap<T>>::deserialize(deserializer)?.map(|value| value.0))
}

/// A list of such values, or `null` for none.
pub(crate) fn maps<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(or_default::<D, Vec<FromMap<T>>>(deserializer)?
        .into_iter()
        .map(|value| value.0)
        .collect())
}

struct FromMap<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FromMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for MapVisitor<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names to values")
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

/// A list of policy ARNs in either form, or `null` for none.
pub(crate) fn policy_arns<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    Ok(or_default::<D, Vec<PolicyArn>>(deserializer)?
        .into_iter()
        .map(|policy| policy.0)
        .collect())
}

/// One policy ARN in either form.
pub(crate) fn policy_arn<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    PolicyArn::deserialize(deserializer).map(|policy| policy.0)
}

/// A managed policy's ARN: a text, or a map with the one field `arn`.
pub(crate) struct PolicyArn(String);

impl<'de> Deserialize<'de> for PolicyArn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PolicyArnVisitor)
    }
}

struct PolicyArnVisitor;

impl<'de> Visitor<'de> for PolicyArnVisitor {
    type Value = PolicyArn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy ARN, or a map with the field `arn`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PolicyArn(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            #[serde(alias = "Arn")]
            arn: String,
        }
        Fields::deserialize(MapAccessDeserializer::new(map)).map(|fields| PolicyArn(fields.arn))
    }
}

impl JsonSchema for PolicyArn {
    fn schema_name() -> Cow<'static, str> {
        "PolicyArn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "object", "properties": { "arn": { "type": "string" } }, "required": ["arn"] }
            ]
        })
    }
}
