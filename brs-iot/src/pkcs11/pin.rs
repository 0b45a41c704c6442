//! Where a token's PIN comes from, and which PINs a token has refused.
//!
//! A PIN is fetched when the token is logged in to, and again when the token was away: a file or a function may give
//! another one then. A token counts wrong PINs and locks itself after a few. So each PIN that a token refused is
//! remembered for the life of the process, as a keyed hash under a key that exists in this process only, and not tried
//! on that token again until another PIN was accepted.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::{hmac, rand::SystemRandom};
use brs_core::{Error, SecretString};
use zeroize::Zeroizing;

use super::find::Identity;
use crate::path;

/// PKCS#11 has no limit of its own; tokens allow 4 to 255 bytes.
const MAX_LENGTH: usize = 255;

/// Where a token's PIN comes from: a value, a file, an environment variable or a function.
///
/// `From` is implemented for texts: `.pin("1234")` is the value.
#[derive(Clone)]
pub struct Pin(Source);

#[derive(Clone)]
enum Source {
    Value(SecretString),
    File(PathBuf),
    Environment(String),
    Function(Arc<dyn Fn() -> Result<SecretString, Error> + Send + Sync>),
}

impl Pin {
    /// The PIN itself.
    pub fn value(pin: impl Into<SecretString>) -> Self {
        Self(Source::Value(pin.into()))
    }

    /// A file that holds the PIN, in UTF-8; one line feed at its end is not part of it. `~` stands for the home
    /// directory.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// An environment variable that holds the PIN.
    pub fn environment(name: impl Into<String>) -> Self {
        Self(Source::Environment(name.into()))
    }

    /// A function that gives the PIN. It is called on the token's thread, within the time limit of a signature.
    pub fn function(function: impl Fn() -> Result<SecretString, Error> + Send + Sync + 'static) -> Self {
        Self(Source::Function(Arc::new(function)))
    }

    /// Fetches the PIN.
    pub(super) fn fetch(&self) -> Result<SecretString, Error> {
        let wrong = |problem: String| Error::configuration(problem).unrecoverable().with_param("pin");
        let (pin, place) = match &self.0 {
            Source::Value(pin) => (pin.clone(), "the PIN".to_owned()),
            Source::File(file) => {
                let place = format!("PIN file `{}`", file.display());
                (read(file).map_err(|error| wrong(format!("{place} cannot be read")).with_source(error))?, place)
            }
            Source::Environment(name) => {
                let place = format!("environment variable `{name}`");
                // `VarError` holds the value, so that it is not kept as the source.
                let pin = std::env::var(name).map_err(|_| wrong(format!("{place} holds no PIN: it is not set")))?;
                (SecretString::new(pin), place)
            }
            Source::Function(function) => (function()?, "what the PIN function returned".to_owned()),
        };
        match pin.expose().len() {
            0 => Err(wrong(format!("{place} is empty"))),
            length if length > MAX_LENGTH => {
                Err(wrong(format!("{place} is longer than a PIN can be: at most {MAX_LENGTH} bytes")))
            }
            _ => Ok(pin),
        }
    }
}

fn read(file: &std::path::Path) -> std::io::Result<SecretString> {
    let mut file = File::open(path::expanded(file))?;
    // One buffer that never grows: growing would leave copies behind. Longer than allowed by a line end and one.
    let mut buffer = Zeroizing::new([0_u8; MAX_LENGTH + 3]);
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let text = std::str::from_utf8(&buffer[..length])
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(SecretString::new(text))
}

impl<T: Into<SecretString>> From<T> for Pin {
    fn from(pin: T) -> Self {
        Self::value(pin)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Value(_) => f.write_str("Pin(** redacted **)"),
            Source::File(file) => write!(f, "Pin(file {})", file.display()),
            Source::Environment(name) => write!(f, "Pin(environment {name})"),
            Source::Function(_) => f.write_str("Pin(function)"),
        }
    }
}

/// The hashes of the PINs that each token refused since it last accepted one.
static REFUSED: LazyLock<Mutex<HashMap<Identity, Vec<hmac::Tag>>>> = LazyLock::new(Mutex::default);
/// The key of those hashes; `None` if the system gives no random numbers.
static KEY: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok());

/// Whether the token refused this PIN since it last accepted one.
pub(super) fn is_refused(token: &Identity, pin: &SecretString) -> bool {
    let refused = REFUSED.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(tags), Some(key)) = (refused.get(token), &*KEY) else { return false };
    tags.iter().any(|tag| hmac::verify(key, pin.expose().as_bytes(), tag.as_ref()).is_ok())
}

/// The token refused this PIN.
pub(super) fn refuse(token: &Identity, pin: &SecretString) {
    if let Some(key) = &*KEY {
        let tag = hmac::sign(key, pin.expose().as_bytes());
        REFUSED.lock().unwrap_or_else(PoisonError::into_inner).entry(token.clone()).or_default().push(tag);
    }
}

/// The token accepted a PIN: what it refused before may have become right.
pub(super) fn accept(token: &Identity) {
    REFUSED.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(content: &[u8]) -> Result<SecretString, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        Pin::file(file.path()).fetch()
    }

    #[test]
    fn a_file_ends_with_one_line_end_at_most() {
        for (content, pin) in [("1234", "1234"), ("1234\n", "1234"), ("1234\r\n", "1234"), (" 12 \n\n", " 12 \n")] {
            assert_eq!(file(content.as_bytes()).unwrap().expose(), pin);
        }
        let longest = "9".repeat(MAX_LENGTH);
        assert_eq!(file(format!("{longest}\r\n").as_bytes()).unwrap().expose(), longest);
    }

    #[test]
    fn what_is_no_pin_is_refused_without_showing_it() {
        let too_long = "9".repeat(MAX_LENGTH + 1);
        for error in [
            file(b"").unwrap_err(),
            file(b"\n").unwrap_err(),
            file(b"\xffhush").unwrap_err(),
            file(too_long.as_bytes()).unwrap_err(),
            file("9".repeat(1 << 16).as_bytes()).unwrap_err(),
            Pin::value(too_long).fetch().unwrap_err(),
            Pin::file("/does/not/exist").fetch().unwrap_err(),
            Pin::environment("BRS_TEST_NO_SUCH_VARIABLE").fetch().unwrap_err(),
            Pin::function(|| Ok("".into())).fetch().unwrap_err(),
        ] {
            let shown = format!("{error} {error:?}");
            assert!(error.is_unrecoverable() && !shown.contains("999") && !shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn a_functions_error_is_kept() {
        let error = Pin::function(|| Err(Error::connection("no agent"))).fetch().unwrap_err();
        assert!(error.is_retryable() && error.to_string() == "no agent");
    }

    #[test]
    fn debug_shows_the_place_and_not_the_pin() {
        assert_eq!(format!("{:?}", Pin::value("hush")), "Pin(** redacted **)");
        assert_eq!(format!("{:?}", Pin::file("/run/pin")), "Pin(file /run/pin)");
        assert_eq!(format!("{:?}", Pin::environment("PIN")), "Pin(environment PIN)");
        assert_eq!(format!("{:?}", Pin::function(|| Ok("hush".into()))), "Pin(function)");
    }

    #[test]
    fn refused_pins_are_remembered_until_another_is_accepted() {
        let token = |serial: &str| Identity { serial: serial.into(), ..Identity::default() };
        let (one, other) = (token("refused-1"), token("refused-2"));
        for pin in ["1111", "2222"] {
            assert!(!is_refused(&one, &pin.into()));
            refuse(&one, &pin.into());
        }
        assert!(is_refused(&one, &"1111".into()) && is_refused(&one, &"2222".into()));
        assert!(!is_refused(&one, &"3333".into()) && !is_refused(&other, &"1111".into()));
        accept(&one);
        assert!(!is_refused(&one, &"1111".into()));
    }
}
