//! What of a command may be seen: its program's text, and the end of its standard error.
//!
//! Owns the cleaning of what comes from outside, and the masks over what brs itself was given: a
//! tool that quotes its arguments or its environment (`unrecognized option '--pin=…'`, `sh -x`)
//! must not put them into an error. A mask finds a text as it was given; one that the tool has
//! quoted or encoded is not recognised. A line whose beginning was not kept is not shown: it may
//! begin within a secret.

use std::ffi::{OsStr, OsString};
use std::path::{Path, is_separator};

use zeroize::Zeroizing;

use super::{Command, Hidden};
use crate::kit::shown::{named, without_controls};

/// How much of a command's standard error is shown, in characters.
const STDERR_SHOWN: usize = 500;

/// How much of a program's name is shown, in characters.
const NAME_SHOWN: usize = 200;

/// The shortest text that is masked, in characters: shorter ones stand in too many words.
const MASKED: usize = 4;

/// What stands for a masked text.
const MASK: &str = "***";

/// A program's text that is none: what it looks like instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// `NAME=value`, which only a shell takes for the setting of a variable.
    Variable,
    /// A whole command line in one word.
    Line,
}

/// What the text looks like, if not like a program. Whether there is such a file is not looked at.
pub(super) fn mistake(program: &OsStr) -> Option<Mistake> {
    let text = program.to_string_lossy();
    if first_word(&text)
        .split(is_separator)
        .next()
        .is_some_and(|name| name.contains('='))
    {
        Some(Mistake::Variable)
    } else {
        text.contains(char::is_whitespace).then_some(Mistake::Line)
    }
}

/// The part of a program's text that holds no value: up to the first `=` of a variable, the first
/// word of a line. A file whose path holds blanks is a program.
pub(super) fn harmless(program: &OsStr) -> OsString {
    let text = program.to_string_lossy();
    match mistake(program) {
        Some(Mistake::Variable) => format!(
            "{}=…",
            text.trim_start().split('=').next().unwrap_or_default()
        )
        .into(),
        Some(Mistake::Line) if !Path::new(program).is_file() => {
            format!("{} …", first_word(&text)).into()
        }
        Some(Mistake::Line) | None => program.to_owned(),
    }
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// A name from outside, fit for a message.
pub(super) fn name(name: &OsStr) -> String {
    clean(&name.to_string_lossy())
        .chars()
        .take(NAME_SHOWN)
        .collect()
}

/// The end of a command's standard error on one line: that is where the reason stands. `cut` says
/// that `written` is not all of it.
pub(super) fn stderr(command: &Command, written: &[u8], cut: bool) -> String {
    let text = Zeroizing::new(String::from_utf8_lossy(written).into_owned());
    let whole = if cut {
        text.split_once('\n').map_or("", |(_, whole)| whole)
    } else {
        &text
    };
    let line = joined(&masked(&lines(whole), &secrets(command)));
    let surplus = line.chars().count().saturating_sub(STDERR_SHOWN);
    if surplus > 0 {
        format!("…{}", line.chars().skip(surplus + 1).collect::<String>())
    } else if cut {
        format!("…{line}")
    } else {
        line
    }
}

/// The texts that brs gave to the command, cleaned like what is searched for them.
fn secrets(command: &Command) -> Vec<Zeroizing<String>> {
    let mut secrets = Vec::new();
    let mut add = |text: &str| {
        // A text of several lines may be quoted line by line.
        for part in std::iter::once(text).chain(text.lines()) {
            let part = Zeroizing::new(lines(part.trim_start()));
            if part.chars().count() >= MASKED {
                secrets.push(part);
            }
        }
    };
    for Hidden(arg) in &command.args {
        let arg = arg.to_string_lossy();
        add(&arg);
        if let Some((_, value)) = arg.split_once('=') {
            add(value);
        }
    }
    for Hidden(value) in command.env.values().flatten() {
        add(&value.to_string_lossy());
    }
    secrets
}

/// `text` with a mask over every occurrence of a secret, and what stands behind a secret's name;
/// they may overlap.
fn masked(text: &str, secrets: &[Zeroizing<String>]) -> String {
    let mut is_secret = vec![false; text.len()];
    for value in named::values(text) {
        is_secret[value].fill(true);
    }
    for secret in secrets {
        let step = secret.chars().next().map_or(1, char::len_utf8);
        let mut from = 0;
        while let Some(found) = text[from..].find(secret.as_str()) {
            let start = from + found;
            is_secret[start..start + secret.len()].fill(true);
            from = start + step;
        }
    }
    let mut shown = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        if !is_secret[at] {
            shown.push(c);
        } else if at == 0 || !is_secret[at - 1] {
            shown.push_str(MASK);
        }
    }
    shown
}

/// A text from outside on one line, fit for a message.
pub(super) fn clean(text: &str) -> String {
    joined(&lines(text))
}

fn joined(lines: &str) -> String {
    let lines: Vec<&str> = lines.split('\n').map(str::trim).collect();
    lines.join("; ")
}

/// Without control sequences and what is blank around and between lines; one blank tells that a line
/// was indented.
fn lines(text: &str) -> String {
    let plain = without_controls(text);
    let mut out = String::with_capacity(plain.len());
    for line in plain.lines().filter(|line| !line.trim().is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        if line.starts_with(' ') && !out.is_empty() {
            out.push(' ');
        }
        out.push_str(line.trim());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Command {
        Command::new(["tool"]).unwrap()
    }

    #[test]
    fn standard_error_is_shown_on_one_line_without_control_sequences() {
        for (written, expected) in [
            (&b""[..], ""),
            (b"\n \r\n\t\n", ""),
            (b"no access\n", "no access"),
            (b"first\r\n  second\n\nthird", "first; second; third"),
            (
                b"\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x1b\\ end",
                "red link end",
            ),
            (b"\x1b(Bplain\x1bM\x08\x00!", "plain!"),
            (b"bad \xff byte", "bad \u{fffd} byte"),
            (
                "\u{202e}turned\u{2069}\u{feff} \u{9b}31mred".as_bytes(),
                "turned red",
            ),
            (b"cut off \x1b[3", "cut off"),
            (b"cut off \x1b", "cut off"),
            (b"cut off \x1b]0;title", "cut off"),
        ] {
            assert_eq!(stderr(&bare(), written, false), expected, "{written:?}");
        }
    }

    #[test]
    fn of_a_long_standard_error_the_end_is_shown() {
        let mut written = "ä".repeat(600);
        written.push_str("the reason");
        let shown = stderr(&bare(), written.as_bytes(), false);
        assert_eq!(shown.chars().count(), 500);
        assert!(
            shown.starts_with("…ä") && shown.ends_with("the reason"),
            "{shown}"
        );
    }

    #[test]
    fn what_the_command_was_given_is_masked_in_its_standard_error() {
        let command = Command::new([
            "tool",
            "--password=hush",
            "two\nlines",
            "ünïcode",
            "-v",
            "k=overlap",
        ])
        .unwrap();
        let command = command
            .env("PIN", "4711")
            .unwrap()
            .env("LONGER", "4711-0815")
            .unwrap()
            .env("D", "123")
            .unwrap();
        for (written, expected) in [
            ("unknown option '--password=hush'", "unknown option '***'"),
            ("wrong password: hush", "wrong password: ***"),
            ("\u{1b}[1mhu\u{1b}[0msh\u{1b}[1m!", "***!"),
            ("+ echo 4711 4711-0815", "+ echo *** ***"),
            ("hushhush 4711hush", "*** ***"),
            ("two\nlines", "***"),
            ("`lines` and ünïcode", "`***` and ***"),
            ("-v and 123 are too short", "-v and 123 are too short"),
            ("47 11 hus", "47 11 hus"),
        ] {
            assert_eq!(
                stderr(&command, written.as_bytes(), false),
                expected,
                "{written}"
            );
        }
    }

    #[test]
    fn overlapping_secrets_are_masked_to_their_ends() {
        let command = Command::new(["tool", "abcdef", "defghi", "xxxx"]).unwrap();
        assert_eq!(stderr(&command, b"-abcdefghi-xxxxxx-", false), "-***-***-");
    }

    #[test]
    fn a_line_whose_beginning_was_not_kept_is_not_shown() {
        for (written, expected) in [
            ("ter half of hush\ndenied", "…denied"),
            ("correct horse hush: denied", "…"),
            ("", "…"),
        ] {
            assert_eq!(
                stderr(&bare(), written.as_bytes(), true),
                expected,
                "{written}"
            );
        }
    }

    #[test]
    fn what_stands_behind_a_secrets_name_is_masked_over_lines() {
        for written in [
            "SecretAccessKey:\n  hush\n",
            "password: |\r\n  hush\r\n  hush",
            "SecretAccessKey : wJal\n    hush",
            "pin:\n\nhush",
        ] {
            let shown = stderr(&bare(), written.as_bytes(), false);
            assert!(shown.ends_with(MASK) && !shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn a_mask_is_laid_before_the_text_is_shortened() {
        let long = "hush".repeat(200);
        let command = Command::new(["tool", &long]).unwrap();
        assert_eq!(
            stderr(&command, format!("{long}: denied").as_bytes(), false),
            "***: denied"
        );
    }

    #[test]
    fn of_what_is_no_program_the_harmless_part_is_shown() {
        let file = std::env::current_exe().unwrap();
        for (program, expected, mistaken) in [
            ("tool", "tool", None),
            ("/opt/a=b/tool", "/opt/a=b/tool", None),
            ("TOKEN=hush", "TOKEN=…", Some(Mistake::Variable)),
            ("TOKEN=hush /opt/tool", "TOKEN=…", Some(Mistake::Variable)),
            ("--pin=hush /opt/tool", "--pin=…", Some(Mistake::Variable)),
            ("=hush", "=…", Some(Mistake::Variable)),
            ("/bin/sh -c 'echo hush'", "/bin/sh …", Some(Mistake::Line)),
            ("tool\thush", "tool …", Some(Mistake::Line)),
            ("/bin/env TOKEN=hush", "/bin/env …", Some(Mistake::Line)),
            ("/opt/tool\nhush", "/opt/tool …", Some(Mistake::Line)),
            ("tool hush --pin=hush", "tool …", Some(Mistake::Line)),
            (" TOKEN=hush tool", "TOKEN=…", Some(Mistake::Variable)),
            (" ", " …", Some(Mistake::Line)),
            (file.to_str().unwrap(), file.to_str().unwrap(), None),
        ] {
            assert_eq!(
                harmless(OsStr::new(program)),
                OsStr::new(expected),
                "{program}"
            );
            assert_eq!(mistake(OsStr::new(program)), mistaken, "{program}");
        }
    }
}
