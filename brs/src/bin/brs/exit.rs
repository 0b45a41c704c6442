//! How a command ends: what went wrong, and the exit status that reports it.

use std::fmt;
use std::io;
use std::process::{ExitCode, ExitStatus};
use std::time::SystemTime;

use brs::{Error, ErrorKind, Recovery};

/// A command that did what it was asked to do.
#[derive(Debug)]
pub(crate) enum Done {
    Success,
    /// The child of `exec` has ended.
    Child(ExitStatus),
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The credentials are not available.
    Credentials(Error),
    /// The command line or the configuration is wrong.
    Usage(String),
    /// A person is needed; the text names what to run.
    Person {
        text: String,
        /// For a failure of another process: when its source may be asked again.
        refresh_allowed_at: Option<SystemTime>,
    },
    /// The result could not be written.
    Output(io::Error),
    /// The program of `exec` could not be started.
    Start { program: String, error: io::Error },
    /// Something on this machine is not as it should be.
    Machine(String),
}

impl Failure {
    /// Of a session that was opened: what is wrong with its parameters is a matter of
    /// configuration.
    pub(crate) fn of_opening(error: Error) -> Self {
        match error.kind() {
            _ if needs_person(&error) => Self::of_refresh(error),
            ErrorKind::Validation | ErrorKind::Configuration => Self::Usage(error.to_string()),
            _ => Self::Credentials(error),
        }
    }

    /// Of a refresh.
    pub(crate) fn of_refresh(error: Error) -> Self {
        if needs_person(&error) {
            Self::Person {
                text: error.to_string(),
                refresh_allowed_at: error.refresh_allowed_at(),
            }
        } else {
            Self::Credentials(error)
        }
    }

    /// A person would have to be asked.
    pub(crate) fn person(text: impl Into<String>) -> Self {
        Self::Person {
            text: text.into(),
            refresh_allowed_at: None,
        }
    }

    /// For a failure of another process: when its source may be asked again.
    pub(crate) fn refresh_allowed_at(&self) -> Option<SystemTime> {
        match self {
            Self::Credentials(error) => error.refresh_allowed_at(),
            Self::Person {
                refresh_allowed_at, ..
            } => *refresh_allowed_at,
            _ => None,
        }
    }

    /// The exit status.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Credentials(_) | Self::Output(_) | Self::Machine(_) => 1,
            Self::Usage(_) => 2,
            Self::Person { .. } => 3,
            Self::Start { error, .. } if error.kind() == io::ErrorKind::NotFound => 127,
            Self::Start { .. } => 126,
        }
    }

    /// Writes it to the log: the last line of a command that failed.
    pub(crate) fn tell(&self) {
        match self {
            Self::Credentials(error) => {
                let (method, code, status) = (error.method(), error.code(), error.status());
                let causes = brs::kit::causes(error, &[]);
                let cause = Some(causes).filter(|causes| !causes.is_empty());
                tracing::error!(method, code, status, cause, "{error}");
            }
            _ => tracing::error!("{self}"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(error) => error.fmt(f),
            Self::Usage(text) | Self::Person { text, .. } | Self::Machine(text) => {
                f.write_str(text)
            }
            Self::Output(error) => write!(f, "the result was not written: {error}"),
            Self::Start { program, error } => {
                write!(f, "the program `{program}` was not started: {error}")
            }
        }
    }
}

/// Whether a person has to do something that no configuration can do: give a code, log in, enter a
/// PIN. Wrong parameters and denied access are not meant: they do not change with who asks.
pub(crate) fn needs_person(error: &Error) -> bool {
    // An error from the memory of the host cache has its text and no details.
    let text = error.to_string();
    let asks =
        |param: &str| matches!(param, "mfa_token_provider" | "pin") || param.ends_with(".pin");
    error.recovery() == Recovery::Person
        && (error.param().is_some_and(asks)
            || ["`aws sso login", "`aws login", "no terminal to ask", " PIN"]
                .iter()
                .any(|part| text.contains(part)))
}

/// The exit status of a command.
pub(crate) fn code(outcome: &Result<Done, Failure>) -> ExitCode {
    match outcome {
        Ok(Done::Success) => ExitCode::SUCCESS,
        Ok(Done::Child(status)) => of_child(*status),
        Err(failure) => failure.code().into(),
    }
}

/// The child's own status; a child that was ended by a signal ends this process by the same one.
fn of_child(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt as _;

    if let Some(signal) = status.signal() {
        // Comes back only for a signal that cannot end a process here.
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        return u8::try_from(128 + signal).unwrap_or(u8::MAX).into();
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.unwrap_or(u8::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_status() {
        let denied = Error::request("access denied").unrecoverable();
        let login = "the SSO login of the profile `p` has expired or is missing: run `aws sso login --profile p`";
        let login = Error::configuration(login).unrecoverable();
        let parameter = Error::validation("parameter `role_arn`: wrong");
        let start = |kind| Failure::Start {
            program: "x".to_owned(),
            error: io::Error::from(kind),
        };
        for (failure, code) in [
            (Failure::of_refresh(Error::connection("no answer")), 1),
            (Failure::of_refresh(denied.clone()), 1),
            (Failure::of_refresh(login.clone()), 3),
            (Failure::of_opening(login), 3),
            (Failure::of_opening(denied), 1),
            (Failure::of_opening(parameter), 2),
            (
                Failure::Output(io::Error::from(io::ErrorKind::BrokenPipe)),
                1,
            ),
            (start(io::ErrorKind::NotFound), 127),
            (start(io::ErrorKind::PermissionDenied), 126),
        ] {
            assert_eq!(failure.code(), code, "{failure:?}");
        }
    }

    #[test]
    fn codes_logins_and_pins_need_a_person() {
        for (error, expected) in [
            (
                Error::configuration("no code")
                    .with_param("mfa_token_provider")
                    .unrecoverable(),
                true,
            ),
            (
                Error::configuration("refused")
                    .with_param("pkcs11.pin")
                    .unrecoverable(),
                true,
            ),
            (
                Error::configuration("no code").with_param("mfa_token_provider"),
                false,
            ),
            (Error::validation("wrong").with_param("role_arn"), false),
        ] {
            assert_eq!(needs_person(&error), expected, "{error:?}");
        }
    }
}
