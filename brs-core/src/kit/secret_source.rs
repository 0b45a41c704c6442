//! Where a secret comes from: a pass phrase, a token's PIN. One type for all of them.
//!
//! It is fetched when it is needed and not kept. A file and a variable give their first line, by the
//! rules of `first_line`. Fetching may take its time, where a person is asked: it blocks, so callers do it
//! on a thread for that; an async function is driven there by brs's own runtime. What is given in
//! place of a path or a name may be the secret itself, so it is shown only if it looks like one.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex as Turns, OwnedMutexGuard as Turn};
use zeroize::Zeroizing;

use super::blocking::Blocking;
use super::error::Error;
use super::per_process::PerProcess;
use super::runtime::own as own_runtime;
use super::secret::SecretString;
use super::{first_line, path};

/// The longest name of a variable that is shown.
const MAX_NAME: usize = 128;

/// Where a secret comes from: a value, a file, an environment variable or a function. Never shown.
///
/// `From` is implemented for texts: `.pin("1234")` is the value. Clones are one source: sessions
/// that share it ask once for what they need at the same time.
#[derive(Clone)]
pub struct SecretSource(Arc<Source>);

struct Source {
    kind: Kind,
    place: Blocking,
    /// Callers that share this source wait for the one that is asking, and need not ask if that one
    /// was enough. A forked child has its own: who asks in the parent never ends there.
    turns: PerProcess<Turns<()>>,
}

type Cause = Box<dyn StdError + Send + Sync>;
type Function = Box<dyn Fn() -> Result<SecretString, Cause> + Send + Sync>;

enum Kind {
    Value(SecretString),
    File(PathBuf),
    Environment(String),
    Function(Function),
}

/// What a secret is for: how errors name it.
#[derive(Clone, Copy, Debug)]
pub struct Purpose {
    /// With an article: `the PIN`.
    pub what: &'static str,
    /// The parameter.
    pub param: &'static str,
}

impl SecretSource {
    fn of(kind: Kind) -> Self {
        Self(Arc::new(Source {
            kind,
            place: Blocking::new(),
            turns: PerProcess::new(),
        }))
    }

    /// The secret itself, as it is.
    pub fn value(secret: impl Into<SecretString>) -> Self {
        Self::of(Kind::Value(secret.into()))
    }

    /// A file whose first line is the secret, without its line break; `~/` at the path's start is
    /// the home directory.
    ///
    /// The file must be a regular one of at most 4 KiB in UTF-8. A byte order mark is not part of
    /// the line, blanks are, and what follows the line is ignored. An empty first line, a NUL in it
    /// and a key, a certificate or a container in place of the secret are errors.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Kind::File(path.into()))
    }

    /// An environment variable of this process whose first line is the secret, by the rules of
    /// [`file`](Self::file).
    pub fn env(name: impl Into<String>) -> Self {
        Self::of(Kind::Environment(name.into()))
    }

    /// An async function, run on brs's own runtime each time the secret is needed. It may ask a
    /// person.
    ///
    /// The secret is the function's result as it is, without a rule about lines. An error of brs's
    /// own type is passed on as it is.
    pub fn function<F, R, C, E>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<C, E>> + Send + 'static,
        C: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::of(Kind::Function(Box::new(move || {
            let secret = own_runtime()?.block_on(function());
            secret.map(Into::into).map_err(Into::into)
        })))
    }

    /// A synchronous function, called on a thread of its own each time the secret is needed. It may
    /// block, and ask a person.
    ///
    /// The secret is the function's result as it is, without a rule about lines. An error of brs's
    /// own type is passed on as it is.
    pub fn blocking_function<F, C, E>(function: F) -> Self
    where
        F: Fn() -> Result<C, E> + Send + Sync + 'static,
        C: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::of(Kind::Function(Box::new(move || {
            function().map(Into::into).map_err(Into::into)
        })))
    }

    /// The secret itself, if it was given as a value.
    pub fn as_value(&self) -> Option<&SecretString> {
        match &self.0.kind {
            Kind::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The secret, if it may change and no function has to be called for it. Blocks.
    pub fn look(&self, purpose: Purpose) -> Option<SecretString> {
        match &self.0.kind {
            Kind::File(_) | Kind::Environment(_) => self.fetch(purpose).ok(),
            Kind::Value(_) | Kind::Function(_) => None,
        }
    }

    /// Fetches the secret on a thread of its own, one call at a time.
    ///
    /// Dropping the future leaves a function running; while it does, another call fails.
    pub async fn ask(&self, purpose: Purpose) -> Result<SecretString, Error> {
        let source = self.clone();
        let asked = self.0.place.run(move || source.fetch(purpose)).await;
        asked.map_err(|error| {
            Error::connection(format!("{} cannot be asked for: {error}", purpose.what))
                .with_param(purpose.param)
        })?
    }

    /// Waits until no other caller that shares this source has the turn.
    pub async fn turn(&self) -> Turn<()> {
        self.0.turns.get().lock_owned().await
    }

    /// Whether this is a clone of the other.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Fetches the secret. Blocks, not to be called on a runtime's thread.
    pub fn fetch(&self, Purpose { what, param }: Purpose) -> Result<SecretString, Error> {
        match &self.0.kind {
            Kind::Value(value) => Ok(value.clone()),
            Kind::File(file) => first_line::read(&path::expanded(file)).map_err(|unread| {
                unread.into_error(&format!("{what}'s file{}", shown_path(file)), param)
            }),
            Kind::Environment(name) => environment(name).map_err(|problem| {
                Error::configuration(format!(
                    "the environment variable{} for {what} {problem}",
                    shown_name(name)
                ))
                .with_param(param)
                .unrecoverable()
            }),
            Kind::Function(function) => function().map_err(|error| match error.downcast() {
                Ok(error) => *error,
                Err(error) => Error::configuration(format!("the function for {what} failed"))
                    .with_param(param)
                    .with_source(error),
            }),
        }
    }
}

impl<T: Into<SecretString>> From<T> for SecretSource {
    fn from(secret: T) -> Self {
        Self::value(secret)
    }
}

/// The value, or the end of a sentence.
fn environment(name: &str) -> Result<SecretString, &'static str> {
    // `var` panics on names that no environment can have.
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err("has no usable name");
    }
    // The error holds the value, so it is not kept.
    match std::env::var(name) {
        Ok(value) => first_line::of(Zeroizing::new(value).as_bytes()),
        Err(std::env::VarError::NotPresent) => Err("is not set"),
        Err(std::env::VarError::NotUnicode(_)) => Err("is not UTF-8"),
    }
}

fn shown_path(path: &Path) -> String {
    match path.to_str() {
        Some(text) if text.contains(['/', '\\']) && path::is_plausible(text) => {
            format!(" `{text}`")
        }
        _ => String::new(),
    }
}

fn shown_name(name: &str) -> String {
    let is_name = (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match is_name {
        true => format!(" `{name}`"),
        false => String::new(),
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
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

    const SECRET: Purpose = Purpose {
        what: "the secret",
        param: "secret",
    };

    fn fetch(source: &SecretSource) -> Result<SecretString, Error> {
        source.fetch(SECRET)
    }

    #[test]
    fn a_file_gives_its_first_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "hush hush\r\nmore\n").unwrap();
        let source = SecretSource::file(&path);
        assert_eq!(fetch(&source).unwrap().expose(), "hush hush");
        std::fs::write(&path, "\nhush").unwrap();
        let error = fetch(&source).unwrap_err();
        assert!(error.to_string().contains("empty first line"), "{error}");
        assert_eq!(error.param(), Some("secret"));
    }

    #[test]
    fn the_environment_and_both_kinds_of_functions_are_asked() {
        assert!(fetch(&SecretSource::env("PATH")).is_ok());
        for (name, problem) in [
            ("BRS_NO_SUCH_VARIABLE", "is not set"),
            ("", "no usable name"),
            ("a=b", "no usable"),
        ] {
            let error = fetch(&SecretSource::env(name)).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
            assert_eq!(error.param(), Some("secret"));
        }
        let io = || Ok::<_, std::io::Error>("hush");
        for source in [
            SecretSource::blocking_function(io),
            SecretSource::function(move || async move {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
                io()
            }),
        ] {
            assert_eq!(fetch(&source).unwrap().expose(), "hush");
        }
    }

    /// In a process that has the variable.
    #[test]
    fn a_variable_gives_its_first_line_too() {
        const NAME: &str = "BRS_TEST_SECRET_OF_LINES";
        const TEST: &str = "kit::secret_source::tests::a_variable_gives_its_first_line_too";
        if std::env::var_os(NAME).is_some() {
            match fetch(&SecretSource::env(NAME)) {
                Ok(secret) => println!("<{}>", secret.expose()),
                Err(error) => println!("<{error}>"),
            }
            return;
        }
        for (value, expected) in [
            ("hush hush\n", "<hush hush>"),
            ("hush\r\n", "<hush>"),
            ("hush\nmore\n", "<hush>"),
            ("\u{feff} hush", "< hush>"),
            (
                "\nhush",
                " for the secret has an empty first line: put the secret there>",
            ),
            (
                "\n",
                " for the secret has an empty first line: put the secret there>",
            ),
            ("", " for the secret is empty>"),
            (
                "-----BEGIN PRIVATE KEY-----\nhush",
                " for the secret holds PEM, not a secret",
            ),
        ] {
            let child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", TEST, "--nocapture"])
                .env(NAME, value)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&child.stdout).into_owned();
            assert!(
                child.status.success() && said.contains(expected),
                "{value:?}: {said}"
            );
        }
    }

    #[test]
    fn a_functions_error_is_the_source_and_one_of_brs_is_kept() {
        let failing = || Err::<SecretString, _>("nobody is here");
        for source in [
            SecretSource::blocking_function(failing),
            SecretSource::function(move || async move { failing() }),
        ] {
            let failed = fetch(&source).unwrap_err();
            assert_eq!(failed.to_string(), "the function for the secret failed");
            assert_eq!(failed.source().unwrap().to_string(), "nobody is here");
        }
        let own = || Err::<SecretString, _>(Error::connection("no agent"));
        let error = fetch(&SecretSource::blocking_function(own)).unwrap_err();
        assert!(error.is_retryable() && error.to_string() == "no agent");
    }

    #[test]
    fn debug_shows_where_it_comes_from_and_not_what_it_is() {
        let shown = [
            SecretSource::value("hush"),
            SecretSource::file("/a"),
            SecretSource::env("B"),
            SecretSource::blocking_function(|| Ok::<_, Error>("hush")),
        ];
        assert_eq!(
            format!("{shown:?}"),
            "[** redacted **, file `/a`, environment `B`, function]"
        );
    }

    #[test]
    fn a_secret_in_the_place_of_a_path_or_a_name_is_not_shown() {
        for given in [
            "hush",
            "hush hush",
            "4hush",
            "hush-hush!",
            "MIGHhush/+".repeat(9).as_str(),
        ] {
            let file = SecretSource::file(given);
            let variable = SecretSource::env(format!("{given}!"));
            let (one, other) = (fetch(&file).unwrap_err(), fetch(&variable).unwrap_err());
            let shown = format!("{file:?} {one} {one:?} {variable:?} {other} {other:?}");
            assert!(!shown.contains("hush"), "{shown}");
            assert!(
                one.to_string()
                    .starts_with("the secret's file does not exist"),
                "{one}"
            );
            assert!(other.to_string().contains("is not set"), "{other}");
        }
        let digits = format!(
            "{:?}",
            [SecretSource::file("123456"), SecretSource::env("123456")]
        );
        assert_eq!(digits, "[file, environment]");
    }
}
