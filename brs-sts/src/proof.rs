//! What a caller without an access key shows to STS: identity tokens and SAML assertions.
//!
//! Owns where they come from and how they are fetched: again for each refresh, bounded in size and
//! time, never shown. What a token says about its own expiry is `jwt`'s, the sources that are asked
//! over HTTP are `remote`'s, which sends one request with `get`. The methods own what is public.

pub(crate) mod get;
pub(crate) mod jwt;
pub(crate) mod remote;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brs_core::command::{Command, DEFAULT_TIMEOUT, MAX_TIMEOUT};
use brs_core::kit::clean;
use brs_core::{Blocking, Error, RefreshContext, SecretString};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use zeroize::Zeroizing;

use crate::mfa::{AnyError, Asked, AsyncFunction, BlockingFunction};
use remote::Remote;

/// What is fetched, for limits and errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// `web identity token`.
    pub(crate) what: &'static str,
    /// AWS's limits, in characters.
    pub(crate) least: usize,
    pub(crate) most: usize,
}

/// Where it comes from.
#[derive(Clone)]
pub(crate) enum Source {
    File(PathBuf),
    Variable(String),
    Command(Command),
    Async(AsyncFunction),
    Blocking(BlockingFunction),
    Remote(Arc<Remote>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {path:?}"),
            Self::Variable(name) => write!(f, "variable `{}`", clean(name, &[])),
            Self::Command(command) => command.fmt(f),
            Self::Async(_) => f.write_str("function"),
            Self::Blocking(_) => f.write_str("blocking function"),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

impl Source {
    /// The end of a sentence about what came from here: `in …`, `of …`.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::File(path) => format!("in `{}`", path.display()),
            Self::Variable(name) => format!("in the variable `{}`", clean(name, &[])),
            Self::Command(command) => format!("of the command `{}`", command.name()),
            Self::Async(_) | Self::Blocking(_) => "of the function".into(),
            Self::Remote(remote) => format!("of {}", remote.name()),
        }
    }
}

/// The time limit of one answer, checked.
pub(crate) fn limit(source: &Source, own: Option<Duration>, usual: Duration) -> Duration {
    match source {
        Source::Command(command) => own.unwrap_or(usual).min(command.time_limit()),
        _ => own.unwrap_or(usual),
    }
}

/// The usual time limit.
pub(crate) const USUAL_LIMIT: Duration = DEFAULT_TIMEOUT;

/// Checks a time limit that was given.
pub(crate) fn check_limit(limit: Option<Duration>, param: &str) -> Result<(), Error> {
    if limit.is_some_and(|limit| limit.is_zero() || limit > MAX_TIMEOUT) {
        let message = format!("`{param}` must be above zero and at most 12 hours");
        return Err(Error::validation(message).with_param(param).unrecoverable());
    }
    Ok(())
}

/// Fetches it, one call at a time where it may block.
pub(crate) struct Fetcher {
    pub(crate) source: Source,
    pub(crate) kind: Kind,
    /// The setting that says where it comes from.
    pub(crate) param: &'static str,
    pub(crate) limit: Duration,
    /// Where files are read and functions called: what hangs costs one thread, not one for each
    /// try.
    place: Blocking,
}

impl Fetcher {
    pub(crate) fn new(source: Source, kind: Kind, param: &'static str, limit: Duration) -> Self {
        Self {
            source,
            kind,
            param,
            limit,
            place: Blocking::new(),
        }
    }

    /// `the web identity token in …`, for sentences.
    pub(crate) fn named(&self) -> String {
        format!("the {} {}", self.kind.what, self.source.place())
    }

    pub(crate) async fn fetch(&self, cx: &RefreshContext) -> Result<SecretString, Error> {
        let limit = self.limit.min(cx.time_left());
        let asked = self.ask(cx, limit);
        let text = tokio::select! {
            biased;
            asked = asked => asked?,
            () = cx.clock().sleep(limit) => {
                return Err(Error::connection(format!(
                    "{} did not come within {limit:?}: check its source, or allow it more time with `timeout`",
                    self.named()
                ))
                .with_param(self.param));
            }
        };
        self.checked(&text)
    }

    /// What can be read at once and without asking anybody: a file's, a variable's.
    pub(crate) fn at_hand(&self) -> Option<SecretString> {
        let text = match &self.source {
            Source::File(path) => read(path, self.kind.most).ok()?,
            Source::Variable(name) => self.variable(name).ok()?,
            _ => return None,
        };
        self.checked(&text).ok()
    }

    async fn ask(&self, cx: &RefreshContext, limit: Duration) -> Result<SecretString, Error> {
        match &self.source {
            Source::File(path) => {
                let (path, most) = (path.clone(), self.kind.most);
                let read = self.place.run(move || read(&path, most)).await?;
                read.map_err(|(problem, source)| {
                    let error = self.failed(&problem);
                    match source {
                        Some(source) => error.with_source(source),
                        None => error,
                    }
                })
            }
            Source::Variable(name) => self.variable(name),
            Source::Command(command) => {
                let output = command
                    .run(cx.clock(), limit)
                    .await
                    .map_err(|error| self.of_command(&error))?;
                self.text(output.stdout())
            }
            Source::Blocking(function) => {
                let function = BlockingFunction::clone(function);
                self.of_function(self.place.run(move || function()).await?)
            }
            Source::Async(function) => {
                // It may panic before it returns a future, too.
                let called = async { function().await };
                match AssertUnwindSafe(called).catch_unwind().await {
                    Ok(asked) => self.of_function(asked),
                    Err(_) => Err(Error::connection(format!(
                        "the function for the {} panicked",
                        self.kind.what
                    ))
                    .with_param(self.param)),
                }
            }
            Source::Remote(remote) => remote
                .fetch(&self.named())
                .await
                .map_err(|error| error.with_param(self.param)),
        }
    }

    fn variable(&self, name: &str) -> Result<SecretString, Error> {
        // The error of `var` holds the value, so it is not kept.
        match std::env::var(name) {
            Ok(value) => Ok(value.into()),
            Err(std::env::VarError::NotPresent) => Err(self.failed("is missing: set the variable")),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(self.failed(&format!("is not a {}", self.kind.what)))
            }
        }
    }

    fn of_function(&self, asked: Asked) -> Result<SecretString, Error> {
        asked.map_err(|error: AnyError| match error.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => {
                Error::configuration(format!("the function for the {} failed", self.kind.what))
                    .with_param(self.param)
                    .with_source(other)
            }
        })
    }

    /// A command that fails is a matter of configuration here.
    fn of_command(&self, error: &Error) -> Error {
        let mut out = Error::configuration(format!("no {}: {error}", self.kind.what))
            .with_param(self.param)
            .with_recovery(error.recovery())
            .with_source(error.clone());
        for (name, value) in error.details() {
            out = out.with_detail(name.as_str(), value);
        }
        out
    }

    fn text(&self, bytes: &[u8]) -> Result<SecretString, Error> {
        std::str::from_utf8(bytes)
            .map(Into::into)
            .map_err(|_| self.failed("is something else than text"))
    }

    /// The text without white space around it, if AWS takes one of that length.
    fn checked(&self, text: &SecretString) -> Result<SecretString, Error> {
        let text = text.expose().trim();
        let Kind { what, least, most } = self.kind;
        match text.chars().count() {
            length if length > most => Err(self.failed(&format!(
                "has more than the {most} characters that AWS takes"
            ))),
            length if length < least => Err(self.failed(&format!(
                "has {length} characters: a {what} has {least} at least; check what writes it"
            ))),
            _ => Ok(text.into()),
        }
    }

    /// What provides it may be late or in the middle of it, so no failure is for ever.
    fn failed(&self, problem: &str) -> Error {
        let named = match &self.source {
            Source::File(path) => format!("the {} file `{}`", self.kind.what, path.display()),
            _ => self.named(),
        };
        Error::configuration(format!("{named} {problem}")).with_param(self.param)
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

type Unread = (String, Option<std::io::Error>);

/// Reads a file of bounded size.
fn read(path: &Path, most: usize) -> Result<SecretString, Unread> {
    let unread = |error| {
        (
            "cannot be read: check path and permissions".into(),
            Some(error),
        )
    };
    if !std::fs::metadata(path).map_err(unread)?.is_file() {
        return Err(("is not a file".into(), None));
    }
    // With room for a line break of two bytes; of full size from the start: a text that grows leaves
    // copies behind.
    let limit = most + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    File::open(path)
        .map_err(unread)?
        .take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    if bytes.len() > limit {
        let problem = format!("has more than the {most} characters that AWS takes");
        return Err((problem, None));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| ("holds something else than a token".into(), None))?;
    Ok(text.into())
}
