//! `pkcs11:` URIs as RFC 7512 defines them: from one text to the parts that brs uses.
//!
//! Owns the syntax only: percent-encoding, the attributes of path and query, duplicates. An
//! attribute of the path that is not understood, a vendor's or a misspelt one, is refused: to
//! ignore it would widen what the URI means, and the RFC wants nothing to match it. One of the
//! query is ignored, as the RFC wants, with a warning. Names may have the padding that tokens have
//! in fixed fields, blanks and zeros (`%20`, `%00`) at their ends, which are ignored. A URI may
//! hold a PIN (`pin-value`), so that no error and no warning repeats any value.

use std::path::PathBuf;

use brs_core::{Error, SecretString};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::select::{Id, ObjectSelector, TokenSelector};

const SCHEME: &str = "pkcs11:";
/// The attributes of the query that are known.
const QUERY: [&str; 4] = ["module-path", "module-name", "pin-source", "pin-value"];
/// Far above any URI that a tool prints.
const MAX_LENGTH: usize = 4096;

/// The parts of a URI.
#[derive(Debug, Default)]
pub(super) struct Uri {
    pub(super) token: TokenSelector,
    pub(super) key: ObjectSelector,
    pub(super) module_path: Option<PathBuf>,
    pub(super) pin_file: Option<PathBuf>,
    pub(super) pin_value: Option<SecretString>,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    ///
    /// A validation error that names the attribute and what is wrong with it, without its value.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        // Such as a line break of the file that it comes from.
        let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
        if text.len() > MAX_LENGTH {
            return Err(wrong(format!(
                "has {} bytes, at most {MAX_LENGTH} are allowed",
                text.len()
            )));
        }
        // Schemes are case-insensitive.
        let rest = match text.get(..SCHEME.len()) {
            Some(scheme) if scheme.eq_ignore_ascii_case(SCHEME) => &text[SCHEME.len()..],
            _ => return Err(wrong("must begin with `pkcs11:`")),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, query),
            None => (rest, ""),
        };
        let mut uri = Self::default();
        let mut seen = Vec::new();
        for (part, separator, more) in [(path, ';', ""), (query, '&', "/?|")] {
            for attribute in part.split(separator).filter(|_| !part.is_empty()) {
                let (name, value) = attribute.split_once('=').ok_or_else(|| {
                    wrong("has an attribute without `=`: attributes are `name=value`")
                })?;
                if !is_name(name) {
                    return Err(wrong(
                        "has an attribute name with characters other than letters, digits, `-` and \
                         `_`",
                    ));
                }
                let value = decode(name, value, more)?;
                if separator == '&' && !QUERY.contains(&name) {
                    tracing::warn!(
                        name,
                        "ignoring an unknown attribute in the query of a PKCS#11 URI"
                    );
                    continue;
                }
                if seen.contains(&name) {
                    return Err(wrong(format!("has the attribute `{name}` twice")));
                }
                seen.push(name);
                if separator == ';' {
                    uri.set_path(name, &value)?
                } else {
                    uri.set_query(name, &value)?
                }
            }
        }
        if uri.pin_file.is_some() && uri.pin_value.is_some() {
            return Err(wrong("has both `pin-source` and `pin-value`: keep one"));
        }
        Ok(uri)
    }

    fn set_path(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        match name {
            "token" => self.token.label = Some(bare(name, value)?),
            "serial" => self.token.serial = Some(bare(name, value)?),
            "manufacturer" => self.token.manufacturer = Some(bare(name, value)?),
            "model" => self.token.model = Some(bare(name, value)?),
            "slot-id" => {
                let number = text(name, value)?;
                let number =
                    Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
                let number = number.and_then(|number| number.parse().ok());
                self.token.slot_id = Some(
                    number.ok_or_else(|| wrong("has a `slot-id` that is not a decimal number"))?,
                );
            }
            "object" => self.key.label = Some(bare(name, value)?),
            "id" => self.key.id = Some(Id(value.to_vec())),
            "type" if value == b"private" => {}
            "type" => {
                return Err(wrong(
                    "must name a private key: `type=private`, or no `type`",
                ));
            }
            "library-manufacturer"
            | "library-description"
            | "library-version"
            | "slot-manufacturer"
            | "slot-description" => {
                return Err(wrong(format!(
                    "has `{name}`, which is not supported: name the module by `module-path` and the token by `token`, \
                     `serial` or `slot-id`"
                )));
            }
            "module-path" | "module-name" | "pin-source" | "pin-value" => {
                return Err(wrong(format!(
                    "has `{name}` in its path: put it after the `?`"
                )));
            }
            name => {
                return Err(wrong(format!(
                    "has the unknown attribute `{name}`, which may narrow what is meant: leave it out"
                )));
            }
        }
        Ok(())
    }

    fn set_query(&mut self, name: &str, value: &[u8]) -> Result<(), Error> {
        match name {
            "module-path" => self.module_path = Some(file(name, text(name, value)?)?),
            "module-name" => {
                return Err(wrong(
                    "has `module-name`: give the module's file as `module-path=/…` instead",
                ));
            }
            "pin-source" => {
                let source = text(name, value)?;
                if source.starts_with('|') {
                    return Err(wrong(
                        "has a command as `pin-source`, which brs does not run: use a file or a \
                         function",
                    ));
                }
                self.pin_file = Some(file(name, source)?);
            }
            "pin-value" => self.pin_value = Some(SecretString::new(text(name, value)?)),
            _ => {}
        }
        Ok(())
    }
}

/// An absolute path, or a `file:` URI of this machine.
fn file(name: &str, value: &str) -> Result<PathBuf, Error> {
    let path = match value.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//localhost/").map_or_else(
            || rest.strip_prefix("//").unwrap_or(rest).to_owned(),
            |below_the_root| format!("/{below_the_root}"),
        ),
        None => value.to_owned(),
    };
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(wrong(format!(
            "has a `{name}` that is not an absolute path"
        )))
    }
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// The bytes of a value; `more` are the characters that are allowed beside those of a path.
fn decode(name: &str, value: &str, more: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    const PATH: &str = "-._~:[]@!$'()*+,=&%";
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let allowed = byte.is_ascii_alphanumeric() || PATH.as_bytes().contains(&byte);
        if !allowed && !more.as_bytes().contains(&byte) {
            return Err(wrong(format!(
                "has a character in `{name}` that must be percent-encoded"
            )));
        }
        let mut is_digit = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte == b'%' && !(is_digit() && is_digit()) {
            return Err(wrong(format!(
                "has a `%` in `{name}` that is not followed by two hexadecimal digits"
            )));
        }
    }
    // Reserved beforehand, so that no half-filled buffer is left behind.
    let mut decoded = Zeroizing::new(Vec::with_capacity(value.len()));
    decoded.extend(percent_decode(value.as_bytes()));
    Ok(decoded)
}

/// A name without the padding of fixed fields.
fn bare(name: &str, value: &[u8]) -> Result<String, Error> {
    let end = value
        .iter()
        .rposition(|byte| !matches!(byte, b' ' | 0))
        .map_or(0, |last| last + 1);
    if end == 0 && !value.is_empty() {
        return Err(wrong(format!(
            "has a `{name}` of blanks and zeros only: leave it out, or give the name"
        )));
    }
    text(name, &value[..end]).map(str::to_owned)
}

fn text<'a>(name: &str, value: &'a [u8]) -> Result<&'a str, Error> {
    let text = std::str::from_utf8(value)
        .map_err(|_| wrong(format!("has a `{name}` that is not UTF-8 text")))?;
    match text.contains('\0') {
        true => Err(wrong(format!(
            "has a `{name}` with a NUL (`%00`) in it, which can only be padding at its end"
        ))),
        false => Ok(text),
    }
}

fn wrong(problem: impl std::fmt::Display) -> Error {
    Error::validation(format!("the PKCS#11 URI {problem}")).unrecoverable()
}

#[cfg(test)]
mod tests;
