//! Certificates and keys as they are given: a path, PEM text, or bytes (PEM or DER).
//!
//! Owns the input type, and which texts are paths. [`blocks`] splits PEM and [`kinds`] recognises
//! what a block or DER is; `certificate.rs` and `key.rs` read what is inside, `reading.rs` reads
//! files.

use std::fmt;
use std::path::{Path, PathBuf};

use brs_core::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use zeroize::Zeroizing;

use brs_core::kit::files::{MAX_BYTES, read};
use brs_core::kit::path;

pub(crate) mod blocks;
pub(crate) mod kinds;

const BEGIN: &str = "-----BEGIN";

/// A certificate, a private key or a trust store: a path, PEM text, or bytes (PEM or DER).
///
/// A text that contains `-----BEGIN` is PEM, any other is a path; `~/` at its start is the home
/// directory, and line breaks at its ends are ignored. URIs are errors, including those of tokens
/// (`pkcs11:`): a certificate on a token is found through the token. A text that looks like a key
/// without its PEM lines is an error that does not show it: give a long path without any dot by
/// [`file`](Self::file).
///
/// In PEM, text around the blocks is ignored. A certificate may also be OpenSSL's `TRUSTED
/// CERTIFICATE`. Line breaks, blanks or zeros after DER are ignored. Files are read when the
/// session is built, and again at each refresh, which adopts a changed file. `Debug` shows a path
/// or a length, never the content.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_iot as iot; }
/// use brs::iot::Pem;
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
    /// A text that is neither and may be a secret: it is dropped, so nothing can show it.
    Neither(Neither),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Neither {
    Empty,
    Token,
    Uri,
    PerhapsKey,
}

impl Pem {
    /// A file, PEM or DER.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        match path.to_str().and_then(uri) {
            Some(neither) => Self(Kind::Neither(neither)),
            None => Self(Kind::File(path)),
        }
    }

    /// The content itself, PEM or DER.
    pub fn content(content: impl Into<Vec<u8>>) -> Self {
        Self(Kind::Content(Zeroizing::new(content.into())))
    }

    fn text(text: &str) -> Self {
        if text.contains(BEGIN) {
            return Self::content(text);
        }
        let text = text.trim_matches(['\r', '\n']);
        if text.trim().is_empty() {
            Self(Kind::Neither(Neither::Empty))
        } else if path::is_plausible(text) || uri(text).is_some() {
            Self::file(text)
        } else {
            Self(Kind::Neither(Neither::PerhapsKey))
        }
    }

    /// Checks that it is a path or content. `what` begins the error's sentence, as in "the
    /// certificate".
    #[doc(hidden)]
    pub fn validate(&self, what: &str, param: &str) -> Result<(), Error> {
        let Kind::Neither(neither) = self.0 else {
            return Ok(());
        };
        let problem = match (neither, param) {
            (Neither::Empty, _) => "is empty: give a path, PEM text or bytes".to_owned(),
            (Neither::Token, "private_key") => "is a `pkcs11:` URI: give it as `pkcs11` and leave this out".to_owned(),
            (Neither::Token, "certificate") => "is a `pkcs11:` URI: leave it out, then the certificate is read from \
                                                the token in `pkcs11`, by `certificate_label` or `certificate_id` there"
                .to_owned(),
            (Neither::Token, _) => "is a `pkcs11:` URI, which is not supported here: give a path".to_owned(),
            (Neither::Uri, _) => "is a URI: give a path on this machine, such as \
                                  `/etc/device/file.pem`".to_owned(),
            (Neither::PerhapsKey, _) => format!(
                "looks like a key or certificate without its PEM lines: give a path, or the whole text from `{BEGIN}` \
                 on"
            ),
        };
        Err(Error::validation(format!("{what} {problem}"))
            .with_param(param)
            .unrecoverable())
    }

    /// Whether this may change: whether it is a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.0, Kind::File(_))
    }

    /// The content. Blocks; `what` begins the error's sentence, as in "the certificate".
    pub(crate) fn read(&self, what: &str, param: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.validate(what, param)?;
        match &self.0 {
            Kind::File(path) => read(&path::expanded(path))
                .map_err(|unread| unread.into_error(&self.named(what), param)),
            Kind::Content(content) if content.len() <= MAX_BYTES => Ok(content.clone()),
            Kind::Content(_) | Kind::Neither(_) => {
                Err(Error::configuration(format!("{what} has more than 1 MiB"))
                    .with_param(param)
                    .unrecoverable())
            }
        }
    }

    /// How errors name it: ``the certificate `/path` ``, or what it is alone.
    pub(crate) fn named(&self, what: &str) -> String {
        match &self.0 {
            Kind::File(path) => format!("{what} `{}`", path::expanded(path).display()),
            Kind::Content(_) | Kind::Neither(_) => what.to_owned(),
        }
    }
}

/// What kind of URI a text is, if it is one.
fn uri(text: &str) -> Option<Neither> {
    let text = text.trim_start();
    let starts = |scheme: &str| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    if starts("pkcs11:") {
        return Some(Neither::Token);
    }
    if starts("file:") {
        return Some(Neither::Uri);
    }
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.len() > 1
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    is_scheme.then_some(Neither::Uri)
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
            Kind::Neither(_) => f.write_str("** neither a path nor PEM **"),
        }
    }
}

impl<'de> Deserialize<'de> for Pem {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PemVisitor)
    }
}

/// Reads a text, bytes, or the numbers that bytes are in formats without them; what else there is
/// is not repeated, since it may be a key.
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
        let mut bytes = Zeroizing::new(Vec::with_capacity(
            numbers.size_hint().unwrap_or(0).min(MAX_BYTES),
        ));
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
        assert_eq!(
            format!("{:?}", Pem::from(text)),
            format!("** {} bytes **", text.len())
        );
    }

    #[test]
    fn a_key_without_its_pem_lines_is_refused_unseen() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/T5k+Q2x9rS7nVtY".repeat(3);
        let pems = [
            Pem::from(&*key),
            Pem::from(key.clone()),
            serde_json::from_value(key.clone().into()).unwrap(),
        ];
        for pem in pems {
            let error = pem.read("the private key", "private_key").unwrap_err();
            let shown = format!("{pem:?} {error} {error:?} {}", pem.named("the private key"));
            assert!(
                shown.contains("without its PEM lines") && !shown.contains("MIGH"),
                "{shown}"
            );
            assert!(error.param() == Some("private_key") && !pem.is_file());
        }
    }

    #[test]
    fn what_cannot_be_read_names_itself() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (path, problem) in [("absent.pem", "does not exist"), ("src", "is a folder")] {
            let error = Pem::file(here.join(path))
                .read("the certificate", "certificate")
                .unwrap_err();
            let shown = error.to_string();
            assert!(shown.contains(path) && shown.contains(problem), "{shown}");
            assert!(error.is_unrecoverable() && error.param() == Some("certificate"));
        }
        let long = Pem::content(vec![b'x'; MAX_BYTES + 1])
            .read("the trust store", "trust_store")
            .unwrap_err();
        assert_eq!(long.to_string(), "the trust store has more than 1 MiB");
    }

    #[test]
    fn uris_and_empty_texts_are_refused_with_their_reason_and_unseen() {
        for (text, param, words) in [
            (
                "pkcs11:token=t;type=cert?pin-value=hush",
                "certificate",
                "`certificate_label` or `certificate_id`",
            ),
            ("PKCS11:object=hush", "private_key", "give it as `pkcs11`"),
            (" pkcs11:object=hush\n", "trust_store", "not supported here"),
            (
                "file:///etc/hush.pem",
                "certificate",
                "is a URI: give a path",
            ),
            ("file:/etc/hush.pem", "certificate", "is a URI: give a path"),
            (
                "https://hush@example.com/x.pem",
                "trust_store",
                "is a URI: give a path",
            ),
            ("", "certificate", "is empty"),
            (" \r\n", "private_key", "is empty"),
        ] {
            for pem in [Pem::from(text), Pem::from(text.to_owned())] {
                let error = pem.read("the file", param).unwrap_err();
                let shown = format!("{pem:?} {error} {error:?}");
                assert!(
                    shown.contains(words) && !shown.contains("hush"),
                    "{text}: {shown}"
                );
                assert_eq!((error.param(), pem.is_file()), (Some(param), false));
            }
        }
        assert!(
            Pem::file("pkcs11:token=t")
                .validate("the file", "certificate")
                .is_err()
        );
    }

    #[test]
    fn line_breaks_at_a_paths_ends_are_no_part_of_it() {
        assert_eq!(
            Pem::from("/etc/device.pem\r\n"),
            Pem::file("/etc/device.pem")
        );
        assert_eq!(Pem::from("C://device.pem"), Pem::file("C://device.pem"));
    }

    #[test]
    fn a_wrong_type_is_refused_without_its_value() {
        let error = serde_json::from_str::<Pem>("[\"4711\"]")
            .unwrap_err()
            .to_string();
        assert!(!error.contains("4711"), "{error}");
    }
}
