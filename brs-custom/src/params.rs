//! What a session by the method `"custom"` is given: a function, a command, or data that names a
//! command.
//!
//! Owns the constructors and the data form. What is wrong with a value is found when the strategy
//! is built.

use std::any::type_name;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use brs_core::command::{Command, CommandLine};
use brs_core::{Error, SecretString};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::function::{AsyncFunction, BlockingFunction, erase_async, erase_blocking, name_of};
use crate::output::IntoCredentials;

/// The parameters of the method `"custom"`: where the credentials come from, and under which name.
///
/// `Debug` shows the name and, of a command, the program; neither arguments nor values of the
/// environment.
pub struct Params {
    pub(crate) source: Source,
    pub(crate) name: Option<String>,
}

pub(crate) enum Source {
    Async {
        function: AsyncFunction,
        name: String,
    },
    Blocking {
        function: BlockingFunction,
        name: String,
    },
    Command(Command),
    Data(Box<Data>),
}

impl Params {
    /// Credentials from an async function.
    ///
    /// Called for every refresh, one call at a time, on brs's own runtime; dropped at the session's
    /// `refresh_timeout`. It must not block its thread: see
    /// [`blocking_function`](Self::blocking_function).
    ///
    /// Of a closure the error type must be known, as in `|| async { Ok::<_,
    /// std::io::Error>(fetch().await) }`.
    pub fn function<F, R, C, E>(function: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<C, E>> + Send + 'static,
        C: IntoCredentials,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::from_async(erase_async(function), name_of::<F>())
    }

    /// Credentials from an async function that is passed a clone of `args` at every call; several
    /// arguments are a tuple.
    pub fn function_with<A, F, R, C, E>(args: A, function: F) -> Self
    where
        A: Clone + Send + Sync + 'static,
        F: Fn(A) -> R + Send + Sync + 'static,
        R: Future<Output = Result<C, E>> + Send + 'static,
        C: IntoCredentials,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::from_async(erase_async(move || function(args.clone())), name_of::<F>())
    }

    /// Credentials from a synchronous function, run on a thread of its own.
    ///
    /// It cannot be interrupted: while a call still runs past the session's `refresh_timeout`,
    /// further tries fail at once.
    pub fn blocking_function<F, C, E>(function: F) -> Self
    where
        F: Fn() -> Result<C, E> + Send + Sync + 'static,
        C: IntoCredentials,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::from_blocking(erase_blocking(function), name_of::<F>())
    }

    /// Credentials from a synchronous function that is passed a clone of `args` at every call;
    /// several arguments are a tuple.
    pub fn blocking_function_with<A, F, C, E>(args: A, function: F) -> Self
    where
        A: Clone + Send + Sync + 'static,
        F: Fn(A) -> Result<C, E> + Send + Sync + 'static,
        C: IntoCredentials,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::from_blocking(
            erase_blocking(move || function(args.clone())),
            name_of::<F>(),
        )
    }

    /// Credentials from the JSON that a command prints.
    pub fn command(command: Command) -> Self {
        Self {
            source: Source::Command(command),
            name: None,
        }
    }

    /// The name that [`Identity::source`](brs_core::Identity::source) and errors show: 1 to 128
    /// characters. Otherwise that of the function in the source code (`closure in …` for a
    /// closure), or the command's file name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    fn from_async(function: AsyncFunction, name: String) -> Self {
        Self {
            source: Source::Async { function, name },
            name: None,
        }
    }

    fn from_blocking(function: BlockingFunction, name: String) -> Self {
        Self {
            source: Source::Blocking { function, name },
            name: None,
        }
    }
}

impl brs_core::MethodParams for Params {
    const METHOD: &'static str = "custom";
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Params");
        match &self.source {
            Source::Async { name, .. } => out.field("function", name),
            Source::Blocking { name, .. } => out.field("blocking_function", name),
            Source::Command(command) => out.field("command", command),
            Source::Data(data) => out.field("data", data),
        };
        out.field("name", &self.name).finish()
    }
}

impl<'de> Deserialize<'de> for Params {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = deserializer.deserialize_any(MapOnly)?;
        let name = data.name.take();
        Ok(Self {
            source: Source::Data(Box::new(data)),
            name,
        })
    }
}

impl schemars::JsonSchema for Params {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CustomParams".into()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        type_name::<Self>().into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Data::json_schema(generator)
    }
}

/// Credentials from an external command that prints the JSON of `credential_process`.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    /// The program and its arguments: a list of words, or one text that is split by the quoting
    /// rules of a POSIX shell. No shell is run.
    #[schemars(required)]
    command: Option<CommandLine>,
    /// How many seconds the command may run: above 0, at most 43200 (12 h), 30 unless set.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 43200))]
    timeout: Option<f64>,
    /// Environment variables to set for the command, by name.
    env: Option<BTreeMap<String, SecretString>>,
    /// The directory the command runs in; otherwise that of this process.
    #[serde(alias = "cwd")]
    current_dir: Option<PathBuf>,
    /// What the session shows as the source of its credentials; otherwise the program's file name.
    #[schemars(length(min = 1, max = 128))]
    name: Option<String>,
    #[serde(
        default,
        rename = "custom_credentials_method",
        deserialize_with = "refuse_function"
    )]
    #[schemars(skip)]
    _method: (),
    #[serde(
        default,
        rename = "custom_credentials_method_args",
        deserialize_with = "refuse_function"
    )]
    #[schemars(skip)]
    _method_args: (),
}

impl Data {
    pub(crate) fn to_command(&self) -> Result<Command, Error> {
        let Some(line) = &self.command else {
            return Err(Error::validation(
                "parameter `command` is missing: name a program with its arguments (a function is given in code, with \
                 `Params::function`)",
            )
            .with_param("command"));
        };
        let mut command = line
            .to_command()
            .map_err(|error| error.with_param("command"))?;
        if let Some(seconds) = self.timeout {
            // What is no duration at all is as far outside the range as zero.
            let limit = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO);
            command = command.timeout(limit)?;
        }
        for (key, value) in self.env.iter().flatten() {
            command = command
                .env(key, value.expose())
                .map_err(|error| error.with_param("env"))?;
        }
        Ok(match &self.current_dir {
            Some(path) => command.current_dir(path),
            None => command,
        })
    }
}

/// Reads the fields of a map; a derived reader would take a list for them, too. What else is there
/// is not repeated.
struct MapOnly;

const NO_MAP: &str = "must be a map of parameters";

macro_rules! refuse {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E: serde::de::Error>(self, _: $type) -> Result<Data, E> {
            Err(E::custom(NO_MAP))
        }
    )*};
}

impl<'de> Visitor<'de> for MapOnly {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of parameters")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Data, A::Error> {
        Data::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Data, A::Error> {
        Err(serde::de::Error::custom(NO_MAP))
    }

    refuse!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);
}

/// The Python package's names for a function and its arguments.
fn refuse_function<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    IgnoredAny::deserialize(deserializer)?;
    Err(serde::de::Error::custom(
        "a function cannot come from data: use `Params::function` or `Params::function_with` in code, or `command`",
    ))
}
