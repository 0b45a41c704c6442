//! Certificates and keys as they are given: a path, PEM text, or bytes (PEM or DER).
//!
//! Owns the input type and reading it, bounded and zeroised; [`blocks`] takes PEM apart. What a block means is
//! `certificate.rs`'s and `key.rs`'s.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use brs_core::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::path;

pub(crate) mod blocks;

/// The system's own bundles of authorities have about 200 KiB; a device's certificate and key have a few.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;
const BEGIN: &str = "-----BEGIN";

/// A certificate, a private key or a trust store: a path, PEM text, or bytes (PEM or DER).
///
/// A text that holds `-----BEGIN` is PEM, any other is a path; `~/` at its start is the home directory. What looks like
/// a key that lost its PEM lines is refused, unseen: a long path without any dot is given by [`file`](Self::file).
/// Files are read when the session is built, and again at each refresh: a file that changed is taken over then. `Debug`
/// shows a path or a length, never the content.
///
/// ```
/// use brs_iot::Pem;
///
/// let path: Pem = "~/device/certificate.pem".into();
/// let text: Pem = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n".into();
/// # let _ = (path, text);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Pem(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    File(PathBuf),
    Content(Zeroizing<Vec<u8>>),
    /// A text that may be a key: not kept, so that nothing shows it.
    Neither,
}

impl Pem {
    /// A file, PEM or DER.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// The content itself, PEM or DER.
    pub fn content(content: impl Into<Vec<u8>>) -> Self {
        Self(Kind::Content(Zeroizing::new(content.into())))
    }

    fn text(text: &str) -> Self {
        if text.contains(BEGIN) {
            Self::content(text)
        } else if path::is_plausible(text) {
            Self::file(text)
        } else {
            Self(Kind::Neither)
        }
    }

    /// Checks that it is a path or content. `what` begins the error's sentence, as in "the certificate".
    pub(crate) fn validate(&self, what: &str, param: &str) -> Result<(), Error> {
        match self.0 {
            Kind::Neither => Err(Error::validation(format!(
                "{what} looks like a key or certificate without its PEM lines: give a path, or the whole text from \
                 `{BEGIN}` on"
            ))
            .with_param(param)
            .unrecoverable()),
            _ => Ok(()),
        }
    }

    /// Whether this may change: whether it is a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.0, Kind::File(_))
    }

    /// The content. Blocks; `what` begins the error's sentence, as in "the certificate".
    pub(crate) fn read(&self, what: &str, param: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let refused = |shown: &str, problem: &str| {
            Error::configuration(format!("{what}{shown} {problem}")).with_param(param).unrecoverable()
        };
        self.validate(what, param)?;
        match &self.0 {
            Kind::Neither => Err(refused("", "is neither a path nor PEM")),
            Kind::Content(content) if content.len() > MAX_BYTES => Err(refused("", "has more than 1 MiB")),
            Kind::Content(content) => Ok(content.clone()),
            Kind::File(path) => {
                let path = path::expanded(path);
                let shown = format!(" `{}`", path.display());
                read_file(&path).map_err(|failure| match failure {
                    Unread::Io(error) => {
                        refused(&shown, "cannot be read: check the path and its permissions").with_source(error)
                    }
                    Unread::NoFile => refused(&shown, "is not a file: give a PEM or DER file"),
                    Unread::TooLong => refused(&shown, "has more than 1 MiB: give the right file"),
                })
            }
        }
    }

    /// How errors name it: ``the certificate `/path` ``, or what it is alone.
    pub(crate) fn named(&self, what: &str) -> String {
        match &self.0 {
            Kind::File(path) => format!("{what} `{}`", path.display()),
            Kind::Content(_) | Kind::Neither => what.to_owned(),
        }
    }
}

/// Why a file was not read.
pub(crate) enum Unread {
    Io(io::Error),
    NoFile,
    TooLong,
}

/// Reads a file, bounded, without leaving copies behind.
pub(crate) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let metadata = std::fs::metadata(path).map_err(Unread::Io)?;
    // A pipe or a device would block or never end.
    if !metadata.is_file() {
        return Err(Unread::NoFile);
    }
    let length = usize::try_from(metadata.len()).ok().filter(|length| *length <= MAX_BYTES).ok_or(Unread::TooLong)?;
    // One byte more than expected: a vector that grows leaves its old memory as it is.
    let mut bytes = Zeroizing::new(vec![0; length + 1]);
    let mut file = File::open(path).map_err(Unread::Io)?;
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => {
                bytes.truncate(filled);
                return Ok(bytes);
            }
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Unread::Io(error)),
        }
    }
    Err(Unread::Io(io::Error::other("the file grew while it was read")))
}

impl From<&str> for Pem {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Pem {
    fn from(text: String) -> Self {
        // Wiped, whatever it is.
        Self::text(&Zeroizing::new(text))
    }
}

impl From<&Path> for Pem {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<PathBuf> for Pem {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&[u8]> for Pem {
    fn from(content: &[u8]) -> Self {
        Self::content(content)
    }
}

impl From<Vec<u8>> for Pem {
    fn from(content: Vec<u8>) -> Self {
        Self::content(content)
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::File(path) => write!(f, "{}", path.display()),
            Kind::Content(content) => write!(f, "** {} bytes **", content.len()),
            Kind::Neither => f.write_str("** neither a path nor PEM **"),
        }
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PemVisitor)
    }
}

/// Reads a text, bytes, or the numbers that bytes are in formats without them; what else there is is not repeated,
/// since it may be a key.
struct PemVisitor;

const EXPECTED: &str = "must be a path, PEM text, or bytes";

macro_rules! refuse {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<Self::Value, E> {
            Err(E::custom(EXPECTED))
        }
    )*};
}

impl<'de> Visitor<'de> for PemVisitor {
    type Value = Pem;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path, PEM text, or bytes")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Pem, E> {
        Ok(text.into())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Pem, E> {
        Ok(text.into())
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Pem, E> {
        Ok(bytes.into())
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Pem, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Pem, A::Error> {
        // One that grew would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(numbers.size_hint().unwrap_or(0).min(MAX_BYTES)));
        let refused = || serde::de::Error::custom(EXPECTED);
        while let Some(byte) = numbers.next_element().map_err(|_: A::Error| refused())? {
            if bytes.len() == MAX_BYTES {
                return Err(serde::de::Error::custom("has more than 1 MiB"));
            }
            bytes.push(byte);
        }
        Ok(Pem(Kind::Content(bytes)))
    }

    refuse!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);
}

impl JsonSchema for Pem {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pem".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "array"], "items": { "type": "integer", "minimum": 0, "maximum": 255 },
            "description": "a path, PEM text, or bytes"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_path_unless_it_is_pem() {
        assert_eq!(Pem::from("/etc/device.pem"), Pem::file("/etc/device.pem"));
        let text = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\n";
        assert_eq!(Pem::from(text), Pem::content(text));
        assert_eq!(format!("{:?}", Pem::from(text)), format!("** {} bytes **", text.len()));
    }

    #[test]
    fn a_key_without_its_pem_lines_is_refused_unseen() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/T5k+Q2x9rS7nVtY".repeat(3);
        let pems = [Pem::from(&*key), Pem::from(key.clone()), serde_json::from_value(key.clone().into()).unwrap()];
        for pem in pems {
            let error = pem.read("the private key", "private_key").unwrap_err();
            let shown = format!("{pem:?} {error} {error:?} {}", pem.named("the private key"));
            assert!(shown.contains("without its PEM lines") && !shown.contains("MIGH"), "{shown}");
            assert!(error.param() == Some("private_key") && !pem.is_file());
        }
    }

    #[test]
    fn what_cannot_be_read_names_itself() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (path, problem) in [("absent.pem", "cannot be read"), ("src", "is not a file")] {
            let error = Pem::file(here.join(path)).read("the certificate", "certificate").unwrap_err();
            let shown = error.to_string();
            assert!(shown.contains(path) && shown.contains(problem), "{shown}");
            assert!(error.is_unrecoverable() && error.param() == Some("certificate"));
        }
        let long = Pem::content(vec![b'x'; MAX_BYTES + 1]).read("the trust store", "trust_store").unwrap_err();
        assert_eq!(long.to_string(), "the trust store has more than 1 MiB");
    }

    #[test]
    fn a_file_is_read_whole_and_may_be_empty() {
        let directory = tempfile::tempdir().unwrap();
        for content in [b"".as_slice(), b"one", &[7; 5000]] {
            let path = directory.path().join("file");
            std::fs::write(&path, content).unwrap();
            assert_eq!(Pem::file(&path).read("the key", "private_key").unwrap().as_slice(), content);
        }
    }

    #[test]
    fn a_wrong_type_is_refused_without_its_value() {
        let error = serde_json::from_str::<Pem>("[\"4711\"]").unwrap_err().to_string();
        assert!(!error.contains("4711"), "{error}");
    }
}
