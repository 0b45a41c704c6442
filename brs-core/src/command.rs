//! External commands that print credentials or codes, run without a shell.
//!
//! A [`Command`] is a program with its arguments, working directory, environment and time limit,
//! all checked when it is built. [`Command::run`] gives what it printed:
//!
//! - No shell is involved: `$HOME`, `*` and `;` are ordinary characters. [`Command::parse`] splits
//!   a text into words as a POSIX shell does (Python's `shlex.split`) and does nothing else.
//! - The command runs in a process group of its own (a job object on Windows), with nothing on its
//!   standard input. It cannot ask at the terminal, and Ctrl-C there does not reach it.
//! - When the time limit is reached, too much is printed, or the future is dropped, the whole group
//!   is killed and reaped, grandchildren that ignore SIGTERM included. A process that has left the
//!   group (`setsid`) is out of reach, but is not waited for.
//! - Once the command itself has exited, a descendant that keeps its output open has [one
//!   second](LEFTOVER_GRACE) to finish; then the group is ended and what was printed until then
//!   counts. A descendant that holds neither pipe, such as an agent started in the background, is
//!   left alone (on Windows it ends with the job).
//! - Errors show the end of standard error, cleaned, with `***` over every argument, value of an
//!   argument (`--opt=value`) and [environment value](Command::env) of four or more characters that
//!   was given here. What a command writes there in another form is shown: it must not write a
//!   secret to its standard error. Standard output is never shown.
//! - Standard output is wiped from memory after use. Arguments and environment values are wiped
//!   too, but the operating system shows arguments to every user of the machine: a secret belongs
//!   into the environment or a file.
//!
//! A command that is running when this process ends outlives it.
//!
//! Tried on Linux. The code provides for macOS and Windows but has not been tried there.

mod report;
mod run;
mod shown;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::{Zeroize, Zeroizing};

use crate::kit::clock::Clock;
use crate::kit::error::Error;
use crate::kit::secret::SecretString;

/// The time limit of a command that was given none; the Python package's default.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time limit that can be set: the longest life of a set of temporary credentials.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

/// How much a command may print to its standard output, in bytes.
pub const STDOUT_LIMIT: usize = 64 * 1024;

/// How long descendants may keep the output open after the command itself has exited.
pub const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// A program with its arguments, working directory, environment and time limit.
///
/// ```no_run
/// # mod brs { pub use brs_core::*; }
/// # async fn example() -> Result<(), brs::Error> {
/// use brs::command::Command;
/// use brs::{Clock, SystemClock};
/// use std::{sync::Arc, time::Duration};
///
/// let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
/// let command = Command::parse("ykman oath accounts code --single 'my key'")?
///     .env("LANG", "C")?
///     .timeout(Duration::from_secs(10))?;
/// let output = command.run(&clock, Duration::from_secs(30)).await?;
/// println!("{} bytes", output.stdout().len());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Command {
    program: OsString,
    /// What may be seen of it: a text that is no program may hold a secret.
    harmless: OsString,
    args: Vec<Hidden>,
    current_dir: Option<PathBuf>,
    /// `None` removes the variable.
    env: BTreeMap<OsString, Option<Hidden>>,
    clear_env: bool,
    timeout: Duration,
}

impl Command {
    /// The program and its arguments, passed on as they are.
    ///
    /// A program without a slash is looked for in `PATH`, the one set with [`env`](Self::env) where
    /// there is one.
    ///
    /// # Errors
    ///
    /// An unrecoverable configuration error if there is no program or a word holds a NUL character.
    pub fn new<I>(program_and_args: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let mut words = program_and_args.into_iter().map(Into::into);
        let program: OsString = words
            .next()
            .filter(|program| !program.is_empty())
            .ok_or_else(report::empty)?;
        let args: Vec<Hidden> = words.map(Hidden).collect();
        if std::iter::once(&program)
            .chain(args.iter().map(|arg| &arg.0))
            .any(|word| has_nul(word))
        {
            return Err(report::nul("the command"));
        }
        let (harmless, env) = (shown::harmless(&program), BTreeMap::new());
        Ok(Self {
            program,
            harmless,
            args,
            current_dir: None,
            env,
            clear_env: false,
            timeout: DEFAULT_TIMEOUT,
        })
    }

    /// Splits `text` into program and arguments by the quoting rules of a POSIX shell; nothing is
    /// expanded.
    ///
    /// The rules are the same on every system, so a backslash quotes on Windows too: give a list to
    /// [`new`](Self::new) there.
    ///
    /// # Errors
    ///
    /// An unrecoverable configuration error if `text` holds no word, has unbalanced quotes, or ends
    /// in a backslash.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.contains('\0') {
            return Err(report::nul("the command"));
        }
        // The splitter takes `#` for the start of a comment, Python's does not. NUL stands in for
        // it: it has no meaning to the splitter either and cannot be in the text.
        let stand_in = Zeroizing::new(text.replace('#', "\0"));
        let words = shlex::split(&stand_in).ok_or_else(report::unbalanced)?;
        Self::new(words.into_iter().map(|word| {
            let word = Zeroizing::new(word);
            word.replace('\0', "#")
        }))
    }

    /// The directory the command runs in; otherwise that of this process.
    ///
    /// Whether a program given by a relative path is looked for there or in this process's
    /// directory depends on the system.
    #[must_use]
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Sets an environment variable; all others are those of this process.
    ///
    /// # Errors
    ///
    /// An unrecoverable configuration error if the name is empty or holds `=`, or if name or value
    /// holds a NUL character.
    pub fn env(
        mut self,
        key: impl Into<OsString>,
        value: impl Into<OsString>,
    ) -> Result<Self, Error> {
        let (key, value) = (key.into(), Hidden(value.into()));
        if key.is_empty() || key.as_encoded_bytes().contains(&b'=') {
            return Err(report::env_name(&key));
        }
        if has_nul(&key) || has_nul(&value.0) {
            return Err(report::nul("the command's environment"));
        }
        self.env.insert(key, Some(value));
        Ok(self)
    }

    /// Takes an environment variable of this process away from the command.
    #[must_use]
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.env.insert(key.into(), None);
        self
    }

    /// Starts from an empty environment; variables set so far are forgotten. Without `PATH` the
    /// program needs a full path.
    #[must_use]
    pub fn env_clear(mut self) -> Self {
        self.env.clear();
        self.clear_env = true;
        self
    }

    /// How long the command may run: above zero, at most [12 h](MAX_TIMEOUT), [30
    /// s](DEFAULT_TIMEOUT) unless set.
    ///
    /// # Errors
    ///
    /// A validation error for a limit outside that range.
    pub fn timeout(mut self, limit: Duration) -> Result<Self, Error> {
        if limit.is_zero() || limit > MAX_TIMEOUT {
            return Err(Error::validation(
                "the time limit of a command must be above zero and at most 12 hours (43200 seconds)",
            )
            .with_param("timeout"));
        }
        self.timeout = limit;
        Ok(self)
    }

    /// The program, as it was given. What was meant for a shell (`TOKEN=… tool`) stands here with
    /// its values: show [`name`](Self::name).
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// The time limit.
    pub fn time_limit(&self) -> Duration {
        self.timeout
    }

    /// The program's file name, without control characters, for messages and identities. Of a text
    /// that is no program (`TOKEN=… tool`, or a whole command line) it is the part that holds no
    /// value.
    pub fn name(&self) -> String {
        let path = std::path::Path::new(&self.harmless);
        shown::name(path.file_name().unwrap_or(&self.harmless))
    }

    /// Runs the command and gives what it printed, if it exits with status 0 within `limit` and
    /// [its own](Self::timeout).
    ///
    /// Needs no runtime: the command is watched from brs's own, and on Unix by a thread that ends
    /// with it.
    ///
    /// # Errors
    ///
    /// Details name the `command` and the `problem`; what it printed to standard output is in none
    /// of them.
    ///
    /// | problem | kind | |
    /// |---|---|---|
    /// | `not_found`, `permission_denied`, `working_directory` | configuration | unrecoverable |
    /// | `variable_for_program`: `NAME=value` stands where the program should | configuration | unrecoverable |
    /// | `line_for_program`: a text with blanks does, and there is no such file | configuration | unrecoverable |
    /// | `os_error`: it could not be started for another reason | configuration | |
    /// | `failed`: exit status other than 0, or a signal; with the end of standard error | configuration | retryable |
    /// | `timed_out` | connection | retryable |
    /// | `output_too_long`: more than [64 KiB](STDOUT_LIMIT) of output | credential | |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the whole group; it is reaped in the background.
    pub async fn run(&self, clock: &Arc<dyn Clock>, limit: Duration) -> Result<Output, Error> {
        run::run(self, clock, limit).await
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.harmless)
            .field("args", &self.args.len())
            .field("current_dir", &self.current_dir)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("env_cleared", &self.clear_env)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What a command printed. `Debug` shows lengths only.
pub struct Output {
    stdout: Zeroizing<Vec<u8>>,
    stderr: String,
}

impl Output {
    /// What it printed to its standard output; wiped when this value is dropped.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// The end of what it printed to its standard error: on one line, without control sequences, at
    /// most 500 characters, with `***` over what the command was given.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("stdout", &format_args!("{} bytes", self.stdout.len()))
            .field("stderr", &format_args!("{} bytes", self.stderr.len()))
            .finish()
    }
}

/// A command as data: a text that is split as by [`Command::parse`], or a list of words.
///
/// Kept as it is read, so that what is wrong with it is a [configuration error](Self::to_command)
/// of its own.
#[derive(Clone, Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "must be a text or a list of texts")]
#[non_exhaustive]
pub enum CommandLine {
    /// One text, split into words by the quoting rules of a POSIX shell.
    Text(SecretString),
    /// The program and its arguments.
    Words(Vec<SecretString>),
}

impl CommandLine {
    /// The command.
    ///
    /// # Errors
    ///
    /// Those of [`Command::parse`] and [`Command::new`].
    pub fn to_command(&self) -> Result<Command, Error> {
        match self {
            Self::Text(text) => Command::parse(text.expose()),
            Self::Words(words) => Command::new(words.iter().map(SecretString::expose)),
        }
    }
}

/// An argument or a value of the environment: may be a secret, so it is wiped when dropped and has
/// no `Debug`.
#[derive(Clone)]
struct Hidden(OsString);

impl Drop for Hidden {
    fn drop(&mut self) {
        std::mem::take(&mut self.0).into_encoded_bytes().zeroize();
    }
}

fn has_nul(text: &OsStr) -> bool {
    text.as_encoded_bytes().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &Command) -> Vec<&str> {
        std::iter::once(&command.program)
            .chain(command.args.iter().map(|arg| &arg.0))
            .map(|word| word.to_str().unwrap())
            .collect()
    }

    #[test]
    fn texts_are_split_as_by_a_shell_and_not_expanded() {
        for (text, expected) in [
            ("tool", &["tool"][..]),
            ("  tool\ta\n b ", &["tool", "a", "b"]),
            (r#"tool 'a b' "c d" e\ f"#, &["tool", "a b", "c d", "e f"]),
            (r#"tool "" '' x"y"'z'"#, &["tool", "", "", "xyz"]),
            (r#"tool "a \"q\" \n" '\'"#, &["tool", "a \"q\" \\n", "\\"]),
            (
                "tool $HOME `id` $(id) ; rm * | > < & ~ {a,b}",
                &[
                    "tool", "$HOME", "`id`", "$(id)", ";", "rm", "*", "|", ">", "<", "&", "~",
                    "{a,b}",
                ],
            ),
            (
                "tool #one '#two' th#ree",
                &["tool", "#one", "#two", "th#ree"],
            ),
            ("tool grüße '名前 ☂'", &["tool", "grüße", "名前 ☂"]),
        ] {
            assert_eq!(words(&Command::parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_command_is_a_configuration_error_of_its_own() {
        for (command, problem) in [
            (Command::parse(""), "empty"),
            (Command::parse(" \t\n"), "empty"),
            (Command::parse("''"), "empty"),
            (Command::new(Vec::<String>::new()), "empty"),
            (Command::new([""]), "empty"),
            (Command::parse("tool 'hush"), "unbalanced_quotes"),
            (Command::parse("tool \"hush"), "unbalanced_quotes"),
            (Command::parse("tool hush\\"), "unbalanced_quotes"),
            (Command::parse("tool hu\0sh"), "nul"),
            (Command::new(["tool", "hu\0sh"]), "nul"),
            (
                Command::new(["tool"]).unwrap().env("hu=sh", "hush"),
                "environment_name",
            ),
            (
                Command::new(["tool"]).unwrap().env("", "hush"),
                "environment_name",
            ),
            (Command::new(["tool"]).unwrap().env("NAME", "hu\0sh"), "nul"),
        ] {
            let error = command.unwrap_err();
            assert_eq!(
                (error.kind(), error.is_unrecoverable()),
                (crate::kit::error::ErrorKind::Configuration, true),
                "{error}"
            );
            assert_eq!(error.details()["problem"], problem, "{error}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
        }
    }

    #[test]
    fn a_time_limit_is_above_zero_and_at_most_twelve_hours() {
        let command = Command::new(["tool"]).unwrap();
        assert_eq!(command.time_limit(), Duration::from_secs(30));
        for (limit, good) in [
            (Duration::ZERO, false),
            (Duration::from_millis(1), true),
            (MAX_TIMEOUT, true),
            (MAX_TIMEOUT + Duration::from_nanos(1), false),
            (Duration::MAX, false),
        ] {
            let limited = command.clone().timeout(limit);
            assert_eq!(limited.is_ok(), good, "{limit:?}");
        }
    }

    #[test]
    fn debug_shows_neither_arguments_nor_values() {
        let command = Command::parse("tool hush --pin hush")
            .unwrap()
            .env("TOKEN", "hush")
            .unwrap()
            .env_remove("GONE");
        let shown = format!("{command:?}");
        assert!(
            shown.contains("tool") && shown.contains("args: 3") && shown.contains("TOKEN"),
            "{shown}"
        );
        assert!(!shown.contains("hush"), "{shown}");
        let output = Output {
            stdout: Zeroizing::new(b"hush".to_vec()),
            stderr: "hush".into(),
        };
        assert!(!format!("{output:?}").contains("hush"));
    }

    #[test]
    fn data_is_a_text_or_a_list_and_nothing_of_it_is_echoed() {
        let read = |text| serde_json::from_str::<CommandLine>(text);
        assert_eq!(
            words(&read(r#""tool 'a b'""#).unwrap().to_command().unwrap()),
            ["tool", "a b"]
        );
        assert_eq!(
            words(
                &read(r#"["tool", "a b", "$X"]"#)
                    .unwrap()
                    .to_command()
                    .unwrap()
            ),
            ["tool", "a b", "$X"]
        );
        for wrong in ["4711", "{\"hush\":1}", "[\"hush\", 4711]", "null"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(
                error.contains("must be a text or a list of texts"),
                "{error}"
            );
            assert!(
                !error.contains("hush") && !error.contains("4711"),
                "{error}"
            );
        }
        assert_eq!(
            read("[]").unwrap().to_command().unwrap_err().details()["problem"],
            "empty"
        );
        assert!(!format!("{:?}", read("[\"hush\"]").unwrap()).contains("hush"));
    }

    #[test]
    fn the_name_is_the_program_s_file_name() {
        assert_eq!(
            Command::new(["/opt/bin/my-tool", "x"]).unwrap().name(),
            "my-tool"
        );
        assert_eq!(Command::new(["tool\u{1b}[31m"]).unwrap().name(), "tool");
    }

    #[test]
    fn of_a_text_that_is_no_program_no_value_is_shown() {
        for (program, name) in [
            ("TOKEN=hush /opt/tool", "TOKEN=…"),
            ("/bin/sh -c 'echo hush'", "sh …"),
        ] {
            let command = Command::new([program]).unwrap();
            assert_eq!(
                (command.name().as_str(), command.program()),
                (name, OsStr::new(program))
            );
            assert!(!format!("{command:?}").contains("hush"), "{command:?}");
        }
    }
}
