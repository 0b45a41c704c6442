//! Which fields a set of credentials as data has, and of what kind: all that may be said about it
//! in an error.
//!
//! Read before the set itself, so that everything that is missing or of the wrong kind is listed at
//! once. No value is kept, and field names that are not known are not either: a secret may stand in
//! the wrong place.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The spellings in which data may be written; the names are in the order in which they are listed
/// when missing.
const PYTHON: [&str; 4] = ["access_key", "secret_key", "token", "expiry_time"];
const PROCESS: [&str; 6] = [
    "Version",
    "AccessKeyId",
    "SecretAccessKey",
    "SessionToken",
    "Expiration",
    "AccountId",
];
const OWN: [&str; 5] = [
    "access_key_id",
    "secret_access_key",
    "session_token",
    "expiration",
    "account_id",
];
const ENVIRONMENT: [&str; 4] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_account_id",
];

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Text,
    EmptyText,
    /// The number 1 (or 1.0), which is the only `Version` there is.
    One,
    Number,
    Bool,
    List,
    Map,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Text => "a text",
            Self::EmptyText => "an empty text",
            Self::One | Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::List => "a list",
            Self::Map => "a map",
        })
    }
}

/// The known fields of a map, or the kind of what is no map.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Fields(BTreeMap<&'static str, Kind>),
    Other(Kind),
}

/// What is wrong with a shape.
#[derive(Debug)]
pub(crate) struct Problem {
    /// A name for programs.
    pub(crate) name: &'static str,
    /// The end of a sentence.
    pub(crate) text: String,
    /// The fields without a usable value.
    pub(crate) missing: Vec<&'static str>,
}

impl Problem {
    pub(crate) fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            text: text.into(),
            missing: Vec::new(),
        }
    }
}

impl Shape {
    /// What is wrong with a set that a function returned.
    pub(crate) fn problem_of_returned(&self) -> Option<Problem> {
        let fields = match self {
            Self::Fields(fields) => fields,
            Self::Other(kind) => return Some(no_map(*kind, &PYTHON)),
        };
        let has = |names: &[&str]| names.iter().any(|name| fields.contains_key(name));
        if has(&PROCESS) {
            missing(fields, &["AccessKeyId", "SecretAccessKey"], &[])
        } else if has(&OWN) || has(&ENVIRONMENT) {
            // Reading the set itself tells what is missing: the names of both spellings may be
            // mixed.
            None
        } else {
            missing(
                fields,
                &["access_key", "secret_key"],
                &["token", "expiry_time"],
            )
        }
        .or_else(|| wrong_kind(fields))
    }

    /// What is wrong with a set that a command printed.
    pub(crate) fn problem_of_printed(&self) -> Option<Problem> {
        let fields = match self {
            Self::Fields(fields) => fields,
            Self::Other(kind) => return Some(no_map(*kind, &PROCESS[..3])),
        };
        missing(fields, &PROCESS[..3], &[]).or_else(|| wrong_kind(fields))
    }
}

fn no_map(kind: Kind, names: &[&str]) -> Problem {
    Problem::new("no_map", format!("is {kind}, not a map of {}", list(names)))
}

/// Fields that have no usable value: `filled` must have one, `present` may be null.
fn missing(
    fields: &BTreeMap<&'static str, Kind>,
    filled: &[&'static str],
    present: &[&'static str],
) -> Option<Problem> {
    let lacks_value = |name: &&&str| {
        matches!(
            fields.get(**name),
            None | Some(Kind::Null | Kind::EmptyText)
        )
    };
    let is_absent = |name: &&&str| !fields.contains_key(**name);
    let missing: Vec<&'static str> = filled
        .iter()
        .filter(lacks_value)
        .chain(present.iter().filter(is_absent))
        .copied()
        .collect();
    let text = format!("lacks {}", list(&missing));
    (!missing.is_empty()).then(|| Problem {
        missing,
        ..Problem::new("missing_fields", text)
    })
}

fn wrong_kind(fields: &BTreeMap<&'static str, Kind>) -> Option<Problem> {
    let texts: Vec<String> = fields
        .iter()
        .filter_map(|(name, kind)| wrong_kind_of(name, *kind))
        .collect();
    (!texts.is_empty()).then(|| Problem::new("wrong_kind", texts.join(", and ")))
}

fn wrong_kind_of(name: &str, kind: Kind) -> Option<String> {
    let expected = match (name, kind) {
        ("Version" | "version", Kind::One | Kind::Null) => return None,
        ("Version" | "version", Kind::Number) => {
            return Some(format!(
                "has another `{name}` than 1, which is the only one that is known"
            ));
        }
        ("Version" | "version", _) => "the number 1",
        ("expiry_time", Kind::Null) => {
            "an ISO 8601 text with an offset, such as `2030-01-31T12:00:00Z`: temporary credentials end (return keys \
             that do not as `TemporaryCredentials`)"
        }
        (_, Kind::Null | Kind::Text) => return None,
        ("expiry_time" | "Expiration" | "expiration", _) => {
            "an ISO 8601 text with an offset, such as `2030-01-31T12:00:00Z`"
        }
        // Of the fields that may be absent, an empty one counts as that.
        (_, Kind::EmptyText) => return None,
        _ => "a text",
    };
    Some(format!("has {kind} as `{name}`, which must be {expected}"))
}

fn list(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn known(name: &str) -> Option<&'static str> {
    let mut all = [&PYTHON[..], &PROCESS, &OWN, &ENVIRONMENT, &["version"]]
        .into_iter()
        .flatten();
    all.find(|known| **known == name).copied()
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

/// One field's kind.
struct Field(Kind);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor).map(Self)
    }
}

/// One field's name, if it is known.
struct Name(Option<&'static str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(known(name)))
            }
        }

        deserializer.deserialize_identifier(NameVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Kind, E> {
        Ok(Kind::Bool)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Kind, E> {
        Ok(if number == 1 { Kind::One } else { Kind::Number })
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Kind, E> {
        Ok(Kind::Number)
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Kind, E> {
        Ok(if number == 1.0 {
            Kind::One
        } else {
            Kind::Number
        })
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Kind, E> {
        Ok(if text.is_empty() {
            Kind::EmptyText
        } else {
            Kind::Text
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Kind, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Kind::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Kind, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Kind::Map)
    }
}

struct ShapeVisitor;

macro_rules! no_map {
    ($($visit:ident($($value:ident: $type:ty)?)),* $(,)?) => {$(
        fn $visit<E: serde::de::Error>(self $(, $value: $type)?) -> Result<Shape, E> {
            KindVisitor.$visit($($value)?).map(Shape::Other)
        }
    )*};
}

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    no_map!(visit_unit(), visit_bool(v: bool), visit_str(v: &str));
    no_map!(visit_u64(v: u64), visit_i64(v: i64), visit_f64(v: f64));

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Shape, A::Error> {
        KindVisitor.visit_seq(items).map(Shape::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((Name(name), Field(kind))) = map.next_entry()? {
            if let Some(name) = name
                && fields.insert(name, kind).is_some()
            {
                return Err(A::Error::custom(format!("has `{name}` twice")));
            }
        }
        Ok(Shape::Fields(fields))
    }
}
