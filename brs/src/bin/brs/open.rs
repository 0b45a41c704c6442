//! Opening the session that a command line names, and getting credentials from it.
//!
//! Every session that this process opens, the bases beneath included, has a [`Guard`] around its
//! source and the cache of the host around that:
//!
//! ```text
//! engine ─► host cache ─► guard ─► the method
//! ```
//!
//! The guard is asked when the source is about to be. It stops a refresh that would ask a person if
//! nobody can be asked: the refresh then waits for ever, and the command ends with exit status 3. An
//! error instead would be remembered in the cache, and hold up the very command in a terminal that
//! is to help. The roles of profiles are sessions of the method's own beneath its strategy, without
//! a guard: those that ask for codes fail by themselves if there is no terminal.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use brs::shared::HostCache;
use brs::{Error, RefreshStrategy, RefreshableSession, TemporaryCredentials};
use futures_util::future::{Either, select};
use serde_json::json;

use crate::args::{Global, SessionChoice};
use crate::config::{Config, Data};
use crate::exit::Failure;
use crate::terminal::Terminal;

mod guard;
mod opener;
mod profile;

pub(crate) use guard::Before;
use guard::{Asking, Guard, Stopped};
pub(crate) use opener::Opener;

/// How often credentials are asked for again if another process has failed to ask a person, and how
/// long each wait may be: such a failure is remembered for 5 s.
const TRIES: usize = 3;
const LONGEST_WAIT: Duration = Duration::from_secs(6);

/// What a command runs with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) terminal: Terminal,
    config: OnceCell<Config>,
}

/// Whether credentials are shared with the other processes of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Share {
    /// If the environment names a directory for the cache.
    #[default]
    IfPossible,
    /// A missing directory is reported.
    Always,
    Never,
}

/// How sessions are opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct How {
    pub(crate) share: Share,
    /// Runs before a source is asked.
    pub(crate) before: Option<Before>,
    /// Never asks a person, terminal or not: for what runs beside another program.
    pub(crate) unattended: bool,
}

/// An open session.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// Its name in the configuration, or one made for it.
    pub(crate) name: String,
    pub(crate) session: RefreshableSession,
    /// The sessions beneath it, the nearest first.
    pub(crate) beneath: Vec<(String, RefreshableSession)>,
    /// The method, without guard and cache.
    source: Arc<dyn RefreshStrategy>,
    guard: Guard,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            global,
            terminal: Terminal::of_this_process(),
            config: OnceCell::new(),
        }
    }

    /// The configuration, read when it is first needed.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] with file, line and key.
    pub(crate) fn config(&self) -> Result<&Config, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let config = self.read_config()?;
        Ok(self.config.get_or_init(|| config))
    }

    /// The configuration as it is now.
    ///
    /// # Errors
    ///
    /// As [`config`](Self::config).
    pub(crate) fn read_config(&self) -> Result<Config, Failure> {
        Config::find(self.global.config.as_deref())
    }

    /// Opens a session. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] if the session does not exist or its parameters are wrong.
    pub(crate) async fn open(&self, choice: &SessionChoice) -> Result<Opened, Failure> {
        self.open_with(choice, How::default()).await
    }

    /// Opens a session in that way.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) async fn open_with(
        &self,
        choice: &SessionChoice,
        how: How,
    ) -> Result<Opened, Failure> {
        let none = Config::default();
        let config = match &choice.name {
            Some(_) => self.config()?,
            None => &none,
        };
        let mut opener = Opener::new(config, how, &self.terminal);
        let mut opened = match choice {
            SessionChoice {
                name: Some(name), ..
            } => opener.named(name).await?,
            SessionChoice {
                profile: Some(profile),
                ..
            } => {
                let role_arn = choice.role_arn.as_deref();
                opener.of_profile(profile, role_arn).await?
            }
            SessionChoice {
                method: Some(method),
                ..
            } => {
                let data = params(choice.params.as_deref())?;
                opener.of_method(method, data).await?
            }
            _ => {
                return Err(Failure::Usage(
                    "no session is named: give NAME, --profile or --method".to_owned(),
                ));
            }
        };
        if let (Some(_), Some(role_arn)) = (&choice.name, &choice.role_arn) {
            opened = opener.assumed(opened, role_arn).await?;
        }
        opened.guard.set_typed(self.typed(choice));
        Ok(opened)
    }

    /// The words that name the session on a command line.
    fn typed(&self, choice: &SessionChoice) -> String {
        let config = self
            .global
            .config
            .as_ref()
            .map(|path| path.display().to_string());
        // Parameters may hold secrets, and may be long.
        let params = choice.params.as_deref().map(|params| {
            if params.starts_with('@') {
                params
            } else {
                "…"
            }
        });
        let options = [
            (
                "--config",
                config.as_deref().filter(|_| choice.name.is_some()),
            ),
            ("", choice.name.as_deref()),
            ("--profile", choice.profile.as_deref()),
            ("--role-arn", choice.role_arn.as_deref()),
            ("--method", choice.method.as_deref()),
            ("--params", params),
        ];
        let mut words = Vec::new();
        for (option, value) in options {
            if let Some(value) = value {
                words.extend(Some(option.to_owned()).filter(|option| !option.is_empty()));
                words.push(crate::output::in_posix_shell(value).to_string());
            }
        }
        words.join(" ")
    }
}

impl Opened {
    /// What a call on the session gives, unless a refresh is stopped.
    ///
    /// # Errors
    ///
    /// [`Failure::Person`] if a person would have to be asked; else the call's error.
    pub(crate) async fn or_stopped<T>(
        &self,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        match select(std::pin::pin!(call), std::pin::pin!(self.guard.stopped())).await {
            Either::Left((answer, _)) => answer.map_err(Failure::of_refresh),
            Either::Right((Stopped::ForPerson, _)) => Err(Failure::person(format!(
                "a person has to be asked for the credentials of `{}`, and there is no terminal: {}",
                self.name,
                self.guard.remedy()
            ))),
            Either::Right((Stopped::For(text), _)) => Err(Failure::Usage(text)),
        }
    }

    /// The current credentials.
    ///
    /// # Errors
    ///
    /// As [`or_stopped`](Self::or_stopped).
    pub(crate) async fn credentials(&self) -> Result<TemporaryCredentials, Failure> {
        for _ in 0..TRIES {
            let failure = match self.or_stopped(self.session.credentials()).await {
                Ok(set) => return Ok(set),
                Err(failure) => failure,
            };
            // Another process has failed a moment ago since it could not ask. This one can.
            match failure.refresh_allowed_at() {
                Some(at)
                    if self.guard.asking() == Asking::Allowed
                        && self.session.as_base().is_interactive() =>
                {
                    let clock = self.session.clock();
                    let wait = at.duration_since(clock.now()).unwrap_or_default();
                    clock.sleep(wait.min(LONGEST_WAIT)).await;
                }
                _ => return Err(failure),
            }
        }
        self.or_stopped(self.session.credentials()).await
    }

    /// The valid set of the host cache, whatever is left of it. For the case that the source fails.
    pub(crate) fn cached(&self) -> Option<TemporaryCredentials> {
        HostCache::new().valid(&self.source.fingerprint()?)
    }

    /// Whether this process has asked the source: else the credentials are those of the cache.
    pub(crate) fn has_asked(&self) -> bool {
        self.guard.has_asked()
    }

    /// From now on no person is asked: another program has the terminal.
    pub(crate) fn ask_no_more(&self) {
        self.guard.set_asking(Asking::Fails);
    }
}

/// The parameters of `--params`.
fn params(text: Option<&str>) -> Result<Data, Failure> {
    let read = |text: &str, named: &str| {
        serde_json::from_str(text).map(Data).map_err(|error| {
            // Not the error's text: it may quote a value.
            let (line, column) = (error.line(), error.column());
            Failure::Usage(format!(
                "{named} is not JSON: see line {line}, column {column}"
            ))
        })
    };
    match text {
        None => Ok(Data(json!({}))),
        Some(text) => match text.strip_prefix('@') {
            None => read(text, "the value of `--params`"),
            Some(path) => {
                let named = format!("the file `{path}` of `--params`");
                let bytes = brs::kit::files::read(std::path::Path::new(path))
                    .map_err(|unread| Failure::Usage(format!("{named} {}", unread.problem())))?;
                let text = std::str::from_utf8(&bytes)
                    .map_err(|_| Failure::Usage(format!("{named} is not UTF-8")))?;
                read(text, &named)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_parameters_are_not_repeated() {
        let Err(Failure::Usage(text)) = params(Some("{\"pin\": hush}")) else {
            panic!("accepted");
        };
        assert!(
            text.contains("column 9") && !text.contains("hush"),
            "{text}"
        );
        assert!(params(None).is_ok() && params(Some("{}")).is_ok());
        assert!(matches!(
            params(Some("@/does/not/exist")),
            Err(Failure::Usage(_))
        ));
    }
}
