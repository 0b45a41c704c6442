//! How serde gives the data to the reader: any kind of value is accepted, since serde's own messages
//! would quote what was found.
//!
//! Owns no rule about credentials: those are `wire.rs`'s.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Data, Field, Fields, KEYS, OTHERS, PROCESS, PYTHON, WRAPPERS};

/// A name: one of those that are known, or just another.
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
                let mut known = [&PYTHON[..], &PROCESS, &OTHERS, &WRAPPERS, &["version"]]
                    .into_iter()
                    .flatten();
                Ok(Name(known.find(|known| **known == name).copied()))
            }
        }

        deserializer.deserialize_identifier(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A map within a map is not looked at.
        Ok(match Data::deserialize(deserializer)? {
            Data::Map(..) => Self::Map,
            Data::Other(field) => field,
        })
    }
}

/// Takes anything: serde's own messages would quote what was found.
struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Data, E> {
        Ok(Data::Other(Field::Null))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Data, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Data, E> {
        Ok(Data::Other(Field::Bool))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Data, E> {
        Ok(Data::Other(if number == 1 {
            Field::One
        } else {
            Field::Number
        }))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Data, E> {
        self.visit_u64(number.unsigned_abs().saturating_add(u64::from(number < 0)))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Data, E> {
        self.visit_u64(u64::from(number == 1.0))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Data, E> {
        Ok(Data::Other(Field::Text(text.into())))
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Data, E> {
        Ok(Data::Other(Field::List))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Data::Other(Field::List))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let (mut fields, mut within) = (Fields::new(), None);
        while let Some(Name(name)) = map.next_key()? {
            let known = name.filter(|name| !WRAPPERS.contains(name));
            let Some(name) = known else {
                if map.next_value::<Keys>()?.0 {
                    within = Some(name);
                }
                continue;
            };
            if fields.insert(name, map.next_value()?).is_some() {
                return Err(A::Error::custom(format!("has `{name}` twice")));
            }
        }
        Ok(Data::Map(fields, within))
    }
}

/// Whether there are keys anywhere within a value that is otherwise ignored.
struct Keys(bool);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(false))
    }
}

impl<'de> Visitor<'de> for Keys {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bytes<E: serde::de::Error>(self, _: &[u8]) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some(Self(found)) = items.next_element()? {
            self.0 |= found;
        }
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            self.0 |= name.is_some_and(|name| KEYS.contains(&name));
            self.0 |= map.next_value::<Self>()?.0;
        }
        Ok(self)
    }
}
