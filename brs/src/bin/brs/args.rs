//! The grammar of the command line, and the help that serves as its manual page.
//!
//! Only names and types are here: what a value means is checked by the command that uses it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

mod help;
mod time;

use help::AFTER_HELP;
pub(crate) use time::{duration, positive_duration};

/// Temporary AWS credentials for every program, renewed before they expire.
#[derive(Debug, Parser)]
#[command(
    name = "brs",
    version,
    about,
    after_long_help = AFTER_HELP,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What stands before or after every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The configuration file [default: the first that exists of $BRS_CONFIG,
    /// $XDG_CONFIG_HOME/brs/brs.toml, ~/.config/brs/brs.toml, /etc/brs/brs.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Report errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Report more: -v refreshes, -vv their start and retries, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How messages are written to stderr
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        global = true
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print credentials, as `credential_process` of a profile or for a shell
    CredentialProcess(CredentialProcess),
    /// Run a program that gets its credentials from a session
    Exec(Exec),
    /// Serve the sessions of the configuration to programs of this machine
    Serve(Serve),
    /// Keep the keys of a profile in the shared credentials file fresh
    Write(Write),
    /// Show whose credentials a session has, hop by hop
    Whoami(Whoami),
    /// Check everything that a session needs, each finding with one remedy
    Doctor(Doctor),
    /// Watch sessions in a live table
    Watch(Watch),
    /// List the methods of this build
    Methods(Methods),
    /// Look at the credential sets that processes of this host share
    Cache(Cache),
    /// Log in to IAM Identity Center with a profile that has an `sso_session`
    Login(Login),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// Which session: one of the configuration, one of a profile, or one from parameters.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SessionChoice {
    /// A session of the configuration file
    #[arg(
        value_name = "NAME",
        required_unless_present_any = ["profile", "method"],
        conflicts_with_all = ["profile", "method"]
    )]
    pub(crate) name: Option<String>,
    /// A profile of ~/.aws/config
    #[arg(long, value_name = "PROFILE", conflicts_with = "method")]
    pub(crate) profile: Option<String>,
    /// A role to assume with the credentials of NAME or PROFILE
    #[arg(long, value_name = "ARN", conflicts_with = "method")]
    pub(crate) role_arn: Option<String>,
    /// A method, with its parameters in --params (see `brs methods`)
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// The parameters of the method: JSON, or a file that holds it. Other users can read the
    /// command line: put secrets in a file
    #[arg(
        long,
        value_name = "JSON|@FILE",
        requires = "method",
        conflicts_with_all = ["name", "profile"]
    )]
    pub(crate) params: Option<String>,
}

impl SessionChoice {
    /// The session of that name.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::default()
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct CredentialProcess {
    #[command(flatten)]
    pub(crate) session: SessionChoice,
    /// What is printed
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Renew credentials that are valid for less than this
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    pub(crate) min_validity: Duration,
    /// Renew the credentials in any case
    #[arg(long)]
    pub(crate) force: bool,
    /// Neither use nor fill the cache of this host
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// How long the command may take in all
    #[arg(long, value_name = "TIME", default_value = "50s", value_parser = positive_duration)]
    pub(crate) timeout: Duration,
}

/// The forms in which credentials are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// JSON, for `credential_process` in ~/.aws/config
    #[default]
    Process,
    /// Exports for a POSIX shell
    Env,
    /// The same lines without `export`
    EnvNoExport,
    /// For the shell fish
    Fish,
    /// For PowerShell
    Powershell,
    /// For cmd.exe
    WindowsCmd,
}

#[derive(Args, Debug)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) session: SessionChoice,
    /// Start the program before the first credentials are there
    #[arg(long)]
    pub(crate) lazy: bool,
    /// Leave AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE as they are
    #[arg(long)]
    pub(crate) keep_files: bool,
    /// Hand the endpoint's token over in a file instead of in the environment
    #[arg(long, conflicts_with = "env")]
    pub(crate) token_file: bool,
    /// Hand over the keys themselves, which nothing renews, and become the program
    #[arg(long, conflicts_with = "lazy")]
    pub(crate) env: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// End with an error if a session has no credentials at the start
    #[arg(long)]
    pub(crate) strict: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Write {
    /// A session of the configuration file
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The profile whose keys are kept
    #[arg(long, value_name = "PROFILE")]
    pub(crate) profile: String,
    /// The credentials file [default: $AWS_SHARED_CREDENTIALS_FILE, ~/.aws/credentials]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Write once and end
    #[arg(long)]
    pub(crate) once: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Whoami {
    #[command(flatten)]
    pub(crate) session: SessionChoice,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) session: SessionChoice,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    /// Sessions of the configuration file, opened by this command [default: those of a running
    /// `brs serve`]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// The admin address of a running `brs serve` [default: that of the configuration file]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "names")]
    pub(crate) admin: Option<SocketAddr>,
    /// A file that holds the token of that address
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Methods {
    /// Print the methods with the JSON schemas of their parameters
    #[arg(long)]
    pub(crate) schema: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Cache {
    #[command(subcommand)]
    pub(crate) action: CacheAction,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// List the credential sets, without secrets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove all credential sets
    Clear,
}

#[derive(Args, Debug)]
pub(crate) struct Login {
    /// A profile of ~/.aws/config
    #[arg(value_name = "PROFILE")]
    pub(crate) profile: String,
    /// Open the address in a browser, too
    #[arg(long)]
    pub(crate) browser: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_session_is_named_in_exactly_one_way() {
        let parse = |words: &[&str]| Cli::try_parse_from(["brs", "whoami"].iter().chain(words));
        for words in [
            &["app"][..],
            &["app", "--role-arn", "a"],
            &["--profile", "p"],
            &["--profile", "p", "--role-arn", "a"],
            &["--method", "sts"],
            &["--method", "sts", "--params", "{}"],
        ] {
            assert!(parse(words).is_ok(), "{words:?}");
        }
        for words in [
            &[][..],
            &["app", "--profile", "p"],
            &["app", "--method", "sts"],
            &["--profile", "p", "--method", "sts"],
            &["--method", "sts", "--role-arn", "a"],
            &["app", "--params", "{}"],
            &["--role-arn", "a"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_program_of_exec_stands_behind_two_dashes() {
        let cli =
            Cli::try_parse_from(["brs", "exec", "--profile", "p", "--", "env", "-i"]).unwrap();
        let Command::Exec(exec) = cli.command else {
            panic!("another command: {:?}", cli.command);
        };
        assert_eq!(
            (exec.session.name, exec.command),
            (None, vec!["env".into(), "-i".into()])
        );
        assert!(Cli::try_parse_from(["brs", "exec", "app"]).is_err());
        assert!(Cli::try_parse_from(["brs", "exec", "app", "env"]).is_err());
    }
}
