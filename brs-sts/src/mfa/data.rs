//! An MFA token provider as data: a command in the Python package's form, or a map that says which
//! kind it is.
//!
//! Kept as it is read, so that what is wrong with a command is a configuration error and
//! not one of the reader's.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use brs_core::command::{Command, CommandLine};
use brs_core::{Error, SecretSource, SecretString};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{MfaTokenProvider, Source};
use crate::data;

const PARAM: &str = "mfa_token_provider";
const KWARGS: &str = "mfa_token_provider_kwargs";

/// What stands for a provider.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// A command, the Python package's form.
    Line(CommandLine),
    Kind(Box<Kind>),
}

/// A provider that says its kind: exactly one of the first five.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kind {
    /// A command that prints a code: a list of words, or one text that is split by the rules of a
    /// POSIX shell.
    command: Option<CommandLine>,
    /// The device's secret: base32, or an `otpauth://totp/…` URI.
    totp: Option<SecretString>,
    /// A file that holds the secret.
    totp_file: Option<PathBuf>,
    /// An environment variable that holds the secret.
    totp_env: Option<String>,
    /// `true`: a person is asked at the terminal.
    prompt: Option<bool>,
    /// How many seconds an answer may take: above 0, at most 43200; 30 for commands and 300 for
    /// prompts unless set.
    #[serde(deserialize_with = "data::seconds")]
    #[schemars(with = "Option<f64>")]
    timeout: Option<Duration>,
    /// Environment variables to set for the command, beside those of this process.
    env: Option<BTreeMap<String, SecretString>>,
    /// The directory the command runs in; otherwise that of this process.
    #[serde(alias = "cwd")]
    current_dir: Option<PathBuf>,
}

/// The Python package's arguments for the command: those of `subprocess.run`, of which these have a
/// meaning here.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kwargs {
    /// Seconds.
    #[serde(deserialize_with = "data::seconds")]
    #[schemars(with = "Option<f64>")]
    timeout: Option<Duration>,
    cwd: Option<PathBuf>,
    /// In place of the environment of this process, as in Python.
    env: Option<BTreeMap<String, SecretString>>,
    #[schemars(skip)]
    stdout: Refused,
    #[schemars(skip)]
    stderr: Refused,
    #[schemars(skip)]
    shell: Refused,
    #[schemars(skip)]
    executable: Refused,
    #[schemars(skip)]
    preexec_fn: Refused,
}

/// Whether something was given that is refused.
#[derive(Clone, Copy, Debug, Default)]
struct Refused(bool);

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

impl Data {
    /// The provider, its values checked.
    pub(super) fn provider(&self) -> Result<MfaTokenProvider, Error> {
        match self {
            Self::Line(line) => Ok(MfaTokenProvider::command(command(line)?)),
            Self::Kind(kind) => kind.provider(),
        }
    }
}

impl Kind {
    fn provider(&self) -> Result<MfaTokenProvider, Error> {
        let settings = self.env.is_some() || self.current_dir.is_some();
        let mut provider = match (
            &self.command,
            &self.totp,
            &self.totp_file,
            &self.totp_env,
            self.prompt,
        ) {
            (Some(line), None, None, None, None) => {
                let mut command = command(line)?;
                for (name, value) in self.env.iter().flatten() {
                    command = command
                        .env(name, value.expose())
                        .map_err(|error| error.with_param(PARAM))?;
                }
                if let Some(path) = &self.current_dir {
                    command = command.current_dir(path);
                }
                if let Some(limit) = self.timeout {
                    command = command
                        .timeout(limit)
                        .map_err(|error| error.with_param("mfa_token_provider.timeout"))?;
                }
                return Ok(MfaTokenProvider::command(command));
            }
            (None, Some(secret), None, None, None) => MfaTokenProvider::totp(secret.clone()),
            (None, None, Some(path), None, None) => {
                MfaTokenProvider::totp(SecretSource::file(path))
            }
            (None, None, None, Some(name), None) => MfaTokenProvider::totp(SecretSource::env(name)),
            (None, None, None, None, Some(true)) => MfaTokenProvider::prompt(),
            _ => {
                return Err(wrong(
                    "must be exactly one of `command`, `totp`, `totp_file`, `totp_env` and `prompt: true`",
                ));
            }
        };
        if settings {
            return Err(wrong(
                "has `env` or `current_dir`, which go with `command` only",
            ));
        }
        if let Some(limit) = self.timeout {
            provider = provider.timeout(limit);
        }
        Ok(provider)
    }
}

impl Kwargs {
    /// The provider with these arguments.
    pub(crate) fn apply(&self, provider: &MfaTokenProvider) -> Result<MfaTokenProvider, Error> {
        let wrong = |message: String| {
            Err(Error::configuration(message)
                .with_param(KWARGS)
                .unrecoverable())
        };
        for (name, refused) in [
            ("stdout", self.stdout),
            ("stderr", self.stderr),
            ("shell", self.shell),
            ("executable", self.executable),
            ("preexec_fn", self.preexec_fn),
        ] {
            if refused.0 {
                return wrong(format!(
                    "`{KWARGS}.{name}` is not supported: the command is run without a shell, and its output is read \
                     for the code"
                ));
            }
        }
        let Source::Command(command) = &provider.source else {
            return wrong(format!("`{KWARGS}` goes with a command only"));
        };
        let at = |error: Error| error.with_param(KWARGS);
        let mut command = command.clone();
        if let Some(limit) = self.timeout {
            command = command.timeout(limit).map_err(at)?;
        }
        if let Some(path) = &self.cwd {
            command = command.current_dir(path);
        }
        if let Some(env) = &self.env {
            command = command.env_clear();
            for (name, value) in env {
                command = command.env(name, value.expose()).map_err(at)?;
            }
        }
        Ok(MfaTokenProvider::command(command))
    }
}

fn command(line: &CommandLine) -> Result<Command, Error> {
    line.to_command().map_err(|error| error.with_param(PARAM))
}

fn wrong(problem: &str) -> Error {
    Error::configuration(format!("`{PARAM}` {problem}"))
        .with_param(PARAM)
        .unrecoverable()
}

impl<'de> Deserialize<'de> for MfaTokenProvider {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let data = deserializer.deserialize_any(DataVisitor)?;
        Ok(Self {
            source: Source::Data(Arc::new(data), None),
            timeout: None,
        })
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command, as a text or a list of texts, or a map with one of `command`, `totp`, `prompt`, …")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Data, E> {
        Ok(Data::Line(CommandLine::Text(text.into())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, words: A) -> Result<Data, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(words))
            .map(|words| Data::Line(CommandLine::Words(words)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Data, A::Error> {
        Kind::deserialize(MapAccessDeserializer::new(map)).map(|kind| Data::Kind(Box::new(kind)))
    }
}

impl JsonSchema for MfaTokenProvider {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MfaTokenProvider".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let line = generator.subschema_for::<CommandLine>();
        let kind = generator.subschema_for::<Kind>();
        json_schema!({ "anyOf": [line, kind] })
    }
}
