//! What is said about a command that cannot be run or did not succeed.
//!
//! Owns the wording, kind and details of every error. Nothing here sees arguments, values of the
//! environment or standard output; what may be seen of the rest is [`shown`]'s.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use super::shown::{self, Mistake};
use super::{Command, STDOUT_LIMIT};
use crate::kit::error::Error;

pub(super) fn empty() -> Error {
    unusable(
        "empty",
        "the command is empty: name a program, followed by its arguments",
    )
}

pub(super) fn unbalanced() -> Error {
    unusable(
        "unbalanced_quotes",
        "the command has unbalanced quotes or ends in a backslash: close them, or give a list of words",
    )
}

pub(super) fn nul(what: &str) -> Error {
    unusable(
        "nul",
        format!("{what} holds a NUL character, which no program can be given"),
    )
}

pub(super) fn env_name(key: &OsStr) -> Error {
    // What stands after `=` is a value that was put in the wrong place.
    let name = key.to_string_lossy();
    let name = name.split('=').next().unwrap_or_default();
    unusable(
        "environment_name",
        format!(
            "the name of an environment variable must not be empty or hold `=` (it begins with `{}`)",
            shown::clean(name)
        ),
    )
}

fn unusable(problem: &str, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::configuration(message)
        .unrecoverable()
        .with_detail("problem", problem)
}

pub(super) fn not_started(command: &Command, error: io::Error) -> Error {
    let program = program_of(command);
    if let Some(path) = command.current_dir.as_deref().filter(|path| !path.is_dir()) {
        let path = shown::name(path.as_os_str());
        let message = format!(
            "working directory `{path}` of command `{program}` is not an existing directory"
        );
        return of(
            command,
            "working_directory",
            Error::configuration(message).unrecoverable(),
        )
        .with_detail("current_dir", path)
        .with_source(error);
    }
    let os_error = error.raw_os_error();
    let (problem, described) = match (shown::mistake(&command.program), error.kind()) {
        (Some(mistake), _) if !is_there(command) => {
            let (problem, advice) = advice(mistake, command.args.is_empty());
            let message = format!("command `{program}` was not found; {advice}");
            (problem, Error::configuration(message).unrecoverable())
        }
        (_, io::ErrorKind::NotFound) if is_there(command) => (
            "not_found",
            Error::configuration(format!(
                "command `{program}` names an interpreter that was not found: check the `#!` line at its beginning"
            ))
            .unrecoverable(),
        ),
        (_, io::ErrorKind::NotFound) => (
            "not_found",
            Error::configuration(format!(
                "command `{program}` was not found: install it, give its full path, or add its directory to `PATH`"
            ))
            .unrecoverable(),
        ),
        (_, io::ErrorKind::PermissionDenied) => (
            "permission_denied",
            Error::configuration(format!(
                "command `{program}` may not be run: permission denied; make it executable (`chmod +x`) and check the \
                 permissions of its directories"
            ))
            .unrecoverable(),
        ),
        _ => (
            "os_error",
            Error::configuration(format!(
                "command `{program}` could not be started: see the system's error beneath this one"
            )),
        ),
    };
    let described = of(command, problem, described).with_source(error);
    match os_error {
        Some(number) => described.with_detail("os_error", number),
        None => described,
    }
}

/// What to do about a text that is no program, alone or before arguments.
fn advice(mistake: Mistake, alone: bool) -> (&'static str, &'static str) {
    match (mistake, alone) {
        (Mistake::Variable, _) => (
            "variable_for_program",
            "setting a variable before the program takes a shell: set variables with `env`",
        ),
        (Mistake::Line, true) => (
            "line_for_program",
            "this is one text in a list: give a text, or one word per element",
        ),
        (Mistake::Line, false) => (
            "line_for_program",
            "its name holds blanks: check the path, or give one word per element, options as elements of their own",
        ),
    }
}

/// Whether the program was given by a path at which there is a file: then, if none is found, it is
/// the file's interpreter that is missing.
fn is_there(command: &Command) -> bool {
    let path = Path::new(&command.program);
    let base = command.current_dir.as_deref().unwrap_or(Path::new(""));
    path.components().count() > 1 && base.join(path).exists()
}

fn program_of(command: &Command) -> String {
    shown::name(&command.harmless)
}

pub(super) fn timed_out(command: &Command, limit: Duration) -> Error {
    let message = format!(
        "command `{}` did not finish within {limit:?} and was ended: check what it waits for (it cannot ask at the \
         terminal), or allow it more with `timeout`",
        program_of(command)
    );
    of(command, "timed_out", Error::connection(message)).with_detail("limit", format!("{limit:?}"))
}

pub(super) fn output_too_long(command: &Command) -> Error {
    let message = format!(
        "command `{}` printed more than {} KiB and was ended: it must print its answer and nothing else",
        program_of(command),
        STDOUT_LIMIT / 1024
    );
    of(command, "output_too_long", Error::credential(message))
        .with_detail("limit_bytes", STDOUT_LIMIT)
}

pub(super) fn stderr_too_long(command: &Command, limit: u64) -> Error {
    let message = format!(
        "command `{}` wrote more than {} MiB to its standard error and was ended: make it less talkative",
        program_of(command),
        limit / (1024 * 1024)
    );
    of(command, "output_too_long", Error::credential(message)).with_detail("limit_bytes", limit)
}

pub(super) fn failed(command: &Command, status: ExitStatus, stderr: &str) -> Error {
    let (how, detail) = match (status.code(), signal(status)) {
        (Some(code), _) => (
            format!("failed with exit status {code}"),
            Some(("exit_status", code)),
        ),
        (None, Some(signal)) => (
            format!("was ended by signal {signal}"),
            Some(("signal", signal)),
        ),
        (None, None) => ("failed".to_owned(), None),
    };
    let said = if stderr.is_empty() {
        "it wrote nothing to its standard error"
    } else {
        stderr
    };
    let message = format!("command `{}` {how}: {said}", program_of(command));
    let mut error = of(command, "failed", Error::configuration(message).retryable())
        .with_detail("stderr", stderr);
    if let Some((name, value)) = detail {
        error = error.with_detail(name, value);
    }
    error
}

/// Reading a pipe or waiting failed: nothing a command or its user can help.
pub(super) fn unwatched(command: &Command, error: io::Error) -> Error {
    let message = format!(
        "command `{}` could not be watched and was ended",
        program_of(command)
    );
    of(command, "os_error", Error::connection(message)).with_source(error)
}

fn of(command: &Command, problem: &str, error: Error) -> Error {
    error
        .with_detail("command", program_of(command))
        .with_detail("problem", problem)
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}
