//! The file as data, and on which line each of its keys stands.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Data;
use crate::exit::Failure;

/// Where the keys of a file stand.
#[derive(Debug, Default)]
pub(super) struct Document {
    path: Option<PathBuf>,
    /// The line of each key, by its path.
    lines: BTreeMap<String, usize>,
}

impl Document {
    /// Reads TOML.
    pub(super) fn parse(path: &Path, text: &str) -> Result<(Self, Data), Failure> {
        let mut document = Self {
            path: Some(path.to_owned()),
            lines: BTreeMap::new(),
        };
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, &span));
            // Not its `Display`, which shows the line, and with it what may be a secret.
            document.at(line, error.message().trim_end_matches('.'))
        })?;
        let mut reader = Reader {
            document: &mut document,
            text,
        };
        let value = reader.table(table.into_inner(), "")?;
        Ok((document, Data(value)))
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether a key stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// The failure of a key: with its line, or that of the nearest table around it.
    pub(super) fn wrong(&self, key: &str, problem: impl Display) -> Failure {
        let mut around = Some(key);
        let mut line = None;
        while let (None, Some(path)) = (line, around) {
            line = self.lines.get(path).copied();
            around = path.rfind(['.', '[']).and_then(|end| path.get(..end));
        }
        self.at(line, &format!("`{key}`: {problem}"))
    }

    fn at(&self, line: Option<usize>, text: &str) -> Failure {
        let path = self
            .path
            .as_deref()
            .unwrap_or(Path::new("the configuration"));
        Failure::Usage(match line {
            Some(line) => format!("{}:{line}: {text}", path.display()),
            None => format!("{}: {text}", path.display()),
        })
    }
}

struct Reader<'a> {
    document: &'a mut Document,
    text: &'a str,
}

impl Reader<'_> {
    fn table(&mut self, table: DeTable<'_>, path: &str) -> Result<Value, Failure> {
        let mut map = Map::new();
        for (key, value) in table {
            let line = line_of(self.text, &key.span());
            let key = key.into_inner().into_owned();
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            self.document.lines.insert(path.clone(), line);
            let value = self.value(value, &path)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn value(&mut self, value: Spanned<DeValue<'_>>, path: &str) -> Result<Value, Failure> {
        Ok(match value.into_inner() {
            DeValue::String(text) => Value::String(text.into_owned()),
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(at) => Value::String(at.to_string()),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                let number = number
                    .map_err(|_| self.document.wrong(path, "is a number that is too large"))?;
                Value::Number(number.into())
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse().ok().and_then(Number::from_f64);
                Value::Number(
                    number.ok_or_else(|| self.document.wrong(path, "must be a finite number"))?,
                )
            }
            DeValue::Array(items) => {
                let mut array = Vec::new();
                for (index, item) in items.into_iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let line = line_of(self.text, &item.span());
                    self.document.lines.insert(path.clone(), line);
                    array.push(self.value(item, &path)?);
                }
                Value::Array(array)
            }
            DeValue::Table(table) => self.table(table, path)?,
        })
    }
}

/// The line on which a range begins, from 1.
fn line_of(text: &str, range: &Range<usize>) -> usize {
    let before = text
        .as_bytes()
        .get(..range.start)
        .unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}
