//! Where the pass phrase of an encrypted key comes from: a value, a file, the environment, a
//! function.
//!
//! It is asked when the key is read: when the session is built, and when the key's file has
//! changed.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brs_core::{Error, SecretString};
use zeroize::Zeroizing;

use super::{first_line, path};

const PARAM: &str = "private_key_passphrase";
/// The longest name of a variable that is shown.
const MAX_NAME: usize = 128;

/// The pass phrase of an encrypted private key, or where it comes from. Never shown.
#[derive(Clone)]
pub struct Passphrase(Kind);

type Function = Arc<dyn Fn() -> Result<SecretString, Error> + Send + Sync>;

#[derive(Clone)]
enum Kind {
    Value(SecretString),
    File(PathBuf),
    Environment(String),
    Function(Function),
}

impl Passphrase {
    /// The pass phrase itself.
    pub fn value(passphrase: impl Into<SecretString>) -> Self {
        Self(Kind::Value(passphrase.into()))
    }

    /// The first line of a file, without its line break; `~/` at the path's start is the home
    /// directory.
    ///
    /// The file is a regular one of at most 4 KiB in UTF-8, a byte order mark is no part of the
    /// line, blanks are, and what follows it is ignored. An empty first line, a NUL in it and a
    /// file in PEM are errors.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Kind::File(path.into()))
    }

    /// A variable of this process's environment.
    pub fn environment(name: impl Into<String>) -> Self {
        Self(Kind::Environment(name.into()))
    }

    /// A function, called on a thread of its own whenever the key is read; it may ask a person.
    pub fn function<F, E>(function: F) -> Self
    where
        F: Fn() -> Result<SecretString, E> + Send + Sync + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self(Kind::Function(Arc::new(move || {
            function().map_err(|error| {
                Error::configuration("the function for the private key's pass phrase failed")
                    .with_param(PARAM)
                    .with_source(error)
            })
        })))
    }

    /// Its content, where that may change and nobody is asked for it. Blocks.
    pub(crate) fn content(&self) -> Option<Zeroizing<Vec<u8>>> {
        match &self.0 {
            Kind::File(_) | Kind::Environment(_) => self
                .ask()
                .ok()
                .map(|text| Zeroizing::new(text.expose().as_bytes().to_vec())),
            Kind::Value(_) | Kind::Function(_) => None,
        }
    }

    /// Asks for it. Blocks.
    pub(crate) fn ask(&self) -> Result<SecretString, Error> {
        match &self.0 {
            Kind::Value(value) => Ok(value.clone()),
            Kind::File(path) => from_file(&path::expanded(path)),
            Kind::Environment(name) => from_environment(name),
            Kind::Function(function) => function(),
        }
    }
}

/// The pass phrase itself.
impl From<&str> for Passphrase {
    fn from(passphrase: &str) -> Self {
        Self::value(passphrase)
    }
}

/// The pass phrase itself.
impl From<SecretString> for Passphrase {
    fn from(passphrase: SecretString) -> Self {
        Self::value(passphrase)
    }
}

fn from_file(path: &Path) -> Result<SecretString, Error> {
    let named = format!("the pass phrase's file{}", shown_path(path));
    first_line::read(path).map_err(|unread| unread.into_error(&named, PARAM))
}

fn from_environment(name: &str) -> Result<SecretString, Error> {
    let (named, value) = environment(name, "the private key's pass phrase");
    match value {
        Ok(value) if !value.expose().is_empty() => Ok(value),
        Ok(_) => Err("is empty"),
        Err(problem) => Err(problem),
    }
    .map_err(|problem| {
        Error::configuration(format!("{named} {problem}"))
            .with_param(PARAM)
            .unrecoverable()
    })
}

/// A secret from the environment: how errors name the variable, and its value or the end of such a
/// sentence.
pub(crate) fn environment(name: &str, what: &str) -> (String, Result<SecretString, &'static str>) {
    let named = format!("the environment variable{} for {what}", shown_name(name));
    // `var` panics on names that no environment can have.
    if name.is_empty() || name.contains(['=', '\0']) {
        return (named, Err("has no usable name"));
    }
    // The error holds the value, so that it is not kept.
    let value = match std::env::var(name) {
        Ok(value) => Ok(value.into()),
        Err(std::env::VarError::NotPresent) => Err("is not set"),
        Err(std::env::VarError::NotUnicode(_)) => Err("is not UTF-8"),
    };
    (named, value)
}

/// What is given in place of a path or a name may be the secret itself, a pass phrase or a PIN: it
/// is shown only if it looks like one.
pub(crate) fn shown_path(path: &Path) -> String {
    match path
        .to_str()
        .filter(|text| text.contains(['/', '\\']) && path::is_plausible(text))
    {
        Some(text) => format!(" `{text}`"),
        None => String::new(),
    }
}

/// The same for the name of a variable.
pub(crate) fn shown_name(name: &str) -> String {
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name {
        format!(" `{name}`")
    } else {
        String::new()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Value(value) => write!(f, "{value:?}"),
            Kind::File(path) => write!(f, "file{}", shown_path(path)),
            Kind::Environment(name) => write!(f, "environment{}", shown_name(name)),
            Kind::Function(_) => f.write_str("function"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_first_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passphrase");
        std::fs::write(&path, "hush hush\r\nmore\n").unwrap();
        assert_eq!(Passphrase::file(&path).ask().unwrap().expose(), "hush hush");
        std::fs::write(&path, "\nhush").unwrap();
        let error = Passphrase::file(&path).ask().unwrap_err();
        assert!(
            error.to_string().contains("empty first line") && error.param() == Some(PARAM),
            "{error}"
        );
    }

    #[test]
    fn the_environment_and_a_function_are_asked() {
        assert!(Passphrase::environment("PATH").ask().is_ok());
        for (name, problem) in [
            ("BRS_NO_SUCH_VARIABLE", "is not set"),
            ("", "no usable name"),
            ("a=b", "no usable"),
        ] {
            let error = Passphrase::environment(name).ask().unwrap_err();
            assert!(
                error.to_string().contains(problem) && error.param() == Some(PARAM),
                "{error}"
            );
        }
        let asked = Passphrase::function(|| Ok::<SecretString, std::io::Error>("hush".into()));
        assert_eq!(asked.ask().unwrap().expose(), "hush");
        let failed = Passphrase::function(|| Err("nobody is here"))
            .ask()
            .unwrap_err();
        assert_eq!(
            std::error::Error::source(&failed).unwrap().to_string(),
            "nobody is here"
        );
    }

    #[test]
    fn debug_shows_where_it_comes_from_and_not_what_it_is() {
        let shown = [
            Passphrase::value("hush"),
            Passphrase::file("/a"),
            Passphrase::environment("B"),
        ];
        assert_eq!(
            format!("{shown:?}"),
            "[** redacted **, file `/a`, environment `B`]"
        );
    }

    #[test]
    fn a_pass_phrase_in_the_place_of_a_path_or_a_name_is_not_shown() {
        for given in [
            "hush",
            "hush hush",
            "4hush",
            "hush-hush!",
            "MIGHhush/+".repeat(9).as_str(),
        ] {
            let (file, variable) = (
                Passphrase::file(given),
                Passphrase::environment(format!("{given}!")),
            );
            let (one, other) = (file.ask().unwrap_err(), variable.ask().unwrap_err());
            let shown = format!("{file:?} {one} {one:?} {variable:?} {other} {other:?}");
            assert!(!shown.contains("hush"), "{shown}");
            assert!(
                one.to_string()
                    .starts_with("the pass phrase's file does not exist"),
                "{one}"
            );
            assert!(other.to_string().contains("is not set"), "{other}");
        }
    }
}
