//! Where SAML assertions come from: what the user says, typed and as data.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use brs_core::command::{Command, CommandLine, DEFAULT_TIMEOUT};
use brs_core::{Error, SecretString};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::data;
use crate::methods::web_identity::command;
use crate::mfa::PROMPT_TIMEOUT;
use crate::proof::{Fetcher, Kind, Source, USUAL_LIMIT, check_limit};

pub(super) const PARAM: &str = "assertion_source";
/// AWS's, in the reference of AssumeRoleWithSAML, in characters.
const ASSERTION: Kind = Kind {
    what: "SAML assertion",
    least: 4,
    most: 100_000,
};

/// Where the assertions of [`Params`](super::Params) come from; asked again for each refresh.
///
/// An assertion is the identity provider's `SAMLResponse`: base64, at most 100000 characters (65536
/// from a command). White space in it is not sent.
///
/// As data, a map with exactly one of `file` and `command`, and `interactive`, `timeout`, and the
/// command's `env` and `current_dir`.
#[derive(Clone, Deserialize)]
#[serde(try_from = "Data")]
#[must_use]
pub struct AssertionSource {
    source: Source,
    is_interactive: bool,
    timeout: Option<Duration>,
}

impl AssertionSource {
    /// The content of a file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::of(Source::File(path.into()))
    }

    /// What a command prints. No shell is run, and the command has nothing on its standard input.
    pub fn command(command: Command) -> Self {
        Self::of(Source::Command(command))
    }

    /// What an async function returns. It runs where refreshes run and must not block its thread.
    ///
    /// ```
    /// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
    /// # use brs::sts::saml::AssertionSource;
    /// let source = AssertionSource::function(|| async {
    ///     // Log in at the identity provider and take `SAMLResponse` from its page.
    ///     Ok::<_, std::io::Error>("PHNhbWxwOlJlc3BvbnNl…")
    /// });
    /// ```
    pub fn function<F, R, T, E>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::of(Source::Async(Arc::new(move || {
            let asked = function();
            Box::pin(async move { asked.await.map(Into::into).map_err(Into::into) })
        })))
    }

    /// What a synchronous function returns, which may block: it runs on its own thread.
    ///
    /// It cannot be interrupted: while a call still runs past [its time limit](Self::timeout),
    /// further tries fail at once.
    pub fn blocking_function<F, T, E>(function: F) -> Self
    where
        F: Fn() -> Result<T, E> + Send + Sync + 'static,
        T: Into<SecretString>,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self::of(Source::Blocking(Arc::new(move || {
            function().map(Into::into).map_err(Into::into)
        })))
    }

    /// The function or command asks a person: the session asks when somebody needs credentials and
    /// waits for the answer, and never asks unless a caller needs credentials. Default: it does not.
    pub fn interactive(mut self) -> Self {
        self.is_interactive = true;
        self
    }

    /// How long one answer may take: above zero, at most 12 h. Default: the command's own limit if
    /// it was given one, else 30 s, or 5 minutes if a person is asked.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            is_interactive: false,
            timeout: None,
        }
    }

    pub(super) fn is_interactive(&self) -> bool {
        self.is_interactive
    }

    pub(super) fn validate(&self) -> Result<(), Error> {
        check_limit(self.timeout, "assertion_source.timeout")?;
        match self.source {
            Source::File(_) if self.is_interactive => Err(Error::configuration(
                "`assertion_source.interactive` is a setting of functions and commands: a file asks no person",
            )
            .with_param("assertion_source.interactive")
            .unrecoverable()),
            _ => Ok(()),
        }
    }

    pub(super) fn fetcher(&self) -> Result<Fetcher, Error> {
        let usual = if self.is_interactive {
            PROMPT_TIMEOUT
        } else {
            USUAL_LIMIT
        };
        let (source, limit) = match &self.source {
            Source::Command(command) => {
                let own = command.time_limit();
                let own = if own == DEFAULT_TIMEOUT { usual } else { own };
                let limit = self.timeout.unwrap_or(own);
                (Source::Command(command.clone().timeout(limit)?), limit)
            }
            source => (source.clone(), self.timeout.unwrap_or(usual)),
        };
        Ok(Fetcher::new(source, ASSERTION, PARAM, limit))
    }
}

impl fmt::Debug for AssertionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionSource")
            .field("source", &self.source)
            .field("interactive", &self.is_interactive)
            .finish()
    }
}

/// A source as data: exactly one of the first two.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Data {
    /// A file that holds the assertion.
    file: Option<PathBuf>,
    /// A command that prints the assertion: a list of words, or one text that is split by the rules
    /// of a POSIX shell.
    command: Option<CommandLine>,
    /// Whether the command asks a person.
    interactive: bool,
    /// Environment variables to set for the command, beside those of this process.
    env: BTreeMap<String, SecretString>,
    /// The directory the command runs in; otherwise that of this process.
    #[serde(alias = "cwd")]
    current_dir: Option<PathBuf>,
    /// How many seconds one answer may take: above 0, at most 43200; 30 unless set, or 300 if a
    /// person is asked.
    #[serde(deserialize_with = "data::seconds")]
    #[schemars(with = "Option<f64>")]
    timeout: Option<Duration>,
}

impl TryFrom<Data> for AssertionSource {
    type Error = Error;

    fn try_from(data: Data) -> Result<Self, Error> {
        let mut out = match (data.file, data.command) {
            (Some(path), None) if data.env.is_empty() && data.current_dir.is_none() => {
                Self::file(path)
            }
            (Some(_), None) => {
                return Err(Error::configuration(
                    "`env` and `current_dir` are settings of `command` only",
                ));
            }
            (None, Some(line)) => {
                Self::command(command(&line, &data.env, data.current_dir.as_ref(), None)?)
            }
            _ => {
                return Err(Error::configuration(
                    "must have exactly one of `file` and `command`",
                ));
            }
        };
        out.is_interactive = data.interactive;
        out.timeout = data.timeout;
        Ok(out)
    }
}
