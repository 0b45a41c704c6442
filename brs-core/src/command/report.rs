//! What is said about a command that cannot be run or did not succeed.
//!
//! Owns the wording, kind and details of every error, and the cleaning of what a command wrote to its standard error.
//! Nothing here sees arguments, values of the environment or standard output.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use super::{Command, STDOUT_LIMIT};
use crate::error::Error;

/// How much of a command's standard error is shown, in characters.
const STDERR_SHOWN: usize = 500;

/// How much of a program's name is shown, in characters.
const NAME_SHOWN: usize = 200;

pub(super) fn empty() -> Error {
    unusable("empty", "the command is empty: name a program, followed by its arguments")
}

pub(super) fn unbalanced() -> Error {
    unusable(
        "unbalanced_quotes",
        "the command has unbalanced quotes or ends in a backslash: close them, or give a list of words",
    )
}

pub(super) fn nul(what: &str) -> Error {
    unusable("nul", format!("{what} holds a NUL character, which no program can be given"))
}

pub(super) fn env_name(key: &OsStr) -> Error {
    // What stands after `=` is a value that was put in the wrong place.
    let name = key.to_string_lossy();
    let name = name.split('=').next().unwrap_or_default();
    unusable(
        "environment_name",
        format!("the name of an environment variable must not be empty or hold `=` (it begins with `{}`)", clean(name)),
    )
}

fn unusable(problem: &str, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::configuration(message).unrecoverable().with_detail("problem", problem)
}

pub(super) fn not_started(command: &Command, error: io::Error) -> Error {
    let program = shown(&command.program);
    if let Some(path) = command.current_dir.as_deref().filter(|path| !path.is_dir()) {
        let path = shown(path.as_os_str());
        let message = format!("working directory `{path}` of command `{program}` is not an existing directory");
        return of(command, "working_directory", Error::configuration(message).unrecoverable())
            .with_detail("current_dir", path)
            .with_source(error);
    }
    let os_error = error.raw_os_error();
    let (problem, described) = match error.kind() {
        io::ErrorKind::NotFound if is_there(command) => (
            "not_found",
            Error::configuration(format!(
                "command `{program}` names an interpreter that was not found: check the `#!` line at its beginning"
            ))
            .unrecoverable(),
        ),
        io::ErrorKind::NotFound => (
            "not_found",
            Error::configuration(format!(
                "command `{program}` was not found: install it, give its full path, or add its directory to `PATH`"
            ))
            .unrecoverable(),
        ),
        io::ErrorKind::PermissionDenied => (
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

/// Whether the program was given by a path at which there is a file: then it is the file's interpreter that is missing.
fn is_there(command: &Command) -> bool {
    let path = Path::new(&command.program);
    let base = command.current_dir.as_deref().unwrap_or(Path::new(""));
    path.components().count() > 1 && base.join(path).is_file()
}

pub(super) fn timed_out(command: &Command, limit: Duration) -> Error {
    let message = format!(
        "command `{}` did not finish within {limit:?} and was ended: check what it waits for (it cannot ask at the \
         terminal), or allow it more with `timeout`",
        shown(&command.program)
    );
    of(command, "timed_out", Error::connection(message)).with_detail("limit", format!("{limit:?}"))
}

pub(super) fn output_too_long(command: &Command) -> Error {
    let message = format!(
        "command `{}` printed more than {} KiB and was ended: it must print its answer and nothing else",
        shown(&command.program),
        STDOUT_LIMIT / 1024
    );
    of(command, "output_too_long", Error::credential(message)).with_detail("limit_bytes", STDOUT_LIMIT)
}

pub(super) fn stderr_too_long(command: &Command, limit: u64) -> Error {
    let message = format!(
        "command `{}` wrote more than {} MiB to its standard error and was ended: make it less talkative",
        shown(&command.program),
        limit / (1024 * 1024)
    );
    of(command, "output_too_long", Error::credential(message)).with_detail("limit_bytes", limit)
}

pub(super) fn failed(command: &Command, status: ExitStatus, stderr: &str) -> Error {
    let (how, detail) = match (status.code(), signal(status)) {
        (Some(code), _) => (format!("failed with exit status {code}"), Some(("exit_status", code))),
        (None, Some(signal)) => (format!("was ended by signal {signal}"), Some(("signal", signal))),
        (None, None) => ("failed".to_owned(), None),
    };
    let said = if stderr.is_empty() { "it wrote nothing to its standard error" } else { stderr };
    let message = format!("command `{}` {how}: {said}", shown(&command.program));
    let mut error = of(command, "failed", Error::configuration(message).retryable()).with_detail("stderr", stderr);
    if let Some((name, value)) = detail {
        error = error.with_detail(name, value);
    }
    error
}

/// Reading a pipe or waiting failed: nothing a command or its user can help.
pub(super) fn unwatched(command: &Command, error: io::Error) -> Error {
    let message = format!("command `{}` could not be watched and was ended", shown(&command.program));
    of(command, "os_error", Error::connection(message)).with_source(error)
}

fn of(command: &Command, problem: &str, error: Error) -> Error {
    error.with_detail("command", shown(&command.program)).with_detail("problem", problem)
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_: ExitStatus) -> Option<i32> {
    None
}

/// A name from outside, fit for a message.
pub(super) fn shown(name: &OsStr) -> String {
    clean(&name.to_string_lossy()).chars().take(NAME_SHOWN).collect()
}

/// The end of a command's standard error on one line: that is where the reason stands.
pub(super) fn stderr_shown(written: &[u8]) -> String {
    let line = clean(&String::from_utf8_lossy(written));
    let surplus = line.chars().count().saturating_sub(STDERR_SHOWN);
    if surplus == 0 { line } else { format!("…{}", line.chars().skip(surplus + 1).collect::<String>()) }
}

/// Removes control sequences and characters that change how others are shown, and joins lines with `; `.
fn clean(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.next() {
                Some('[') => skip_csi(&mut rest),
                // Titles, links and other strings for the terminal, up to BEL or ESC \.
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
                Some(' '..='/') => {
                    rest.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_csi(&mut rest),
            '\n' | '\r' => plain.push('\n'),
            '\t' => plain.push(' '),
            c if c.is_control() => {}
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {}
            c => plain.push(c),
        }
    }
    let lines: Vec<&str> = plain.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

fn skip_csi(rest: &mut impl Iterator<Item = char>) {
    let _final = rest.find(|c| matches!(c, '@'..='~'));
}

fn skip_string(rest: &mut impl Iterator<Item = char>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next();
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_error_is_shown_on_one_line_without_control_sequences() {
        for (written, expected) in [
            (&b""[..], ""),
            (b"\n \r\n\t\n", ""),
            (b"no access\n", "no access"),
            (b"first\r\n  second\n\nthird", "first; second; third"),
            (b"\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x1b\\ end", "red link end"),
            (b"\x1b(Bplain\x1bM\x08\x00!", "plain!"),
            (b"bad \xff byte", "bad \u{fffd} byte"),
            ("\u{202e}turned\u{2069}\u{feff} \u{9b}31mred".as_bytes(), "turned red"),
            (b"cut off \x1b[3", "cut off"),
            (b"cut off \x1b", "cut off"),
            (b"cut off \x1b]0;title", "cut off"),
        ] {
            assert_eq!(stderr_shown(written), expected, "{written:?}");
        }
    }

    #[test]
    fn of_a_long_standard_error_the_end_is_shown() {
        let mut written = "ä".repeat(600);
        written.push_str("the reason");
        let shown = stderr_shown(written.as_bytes());
        assert_eq!(shown.chars().count(), 500);
        assert!(shown.starts_with("…ä") && shown.ends_with("the reason"), "{shown}");
    }
}
