//! The strategy behind the method `"custom"`.
//!
//! Calls the function or runs the command, and says who the credentials are. Building it validates
//! the parameters.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use brs_core::command::Command;
use brs_core::{
    Blocking, Error, Identity, RefreshContext, RefreshStrategy, Setup, TemporaryCredentials,
    register_method,
};

use crate::function::{AsyncFunction, BlockingFunction, failed};
use crate::output::read_printed;
use crate::params::{Params, Source};

/// What a refresh has beyond a command's own time limit, so that the command's error is the one
/// that is seen.
const MARGIN: Duration = Duration::from_secs(5);

/// The longest name, in characters.
const NAME_LIMIT: usize = 128;

/// Fetches credentials by a function or a command.
pub struct Custom {
    name: String,
    fetch: Fetch,
}

enum Fetch {
    Async(AsyncFunction),
    Blocking(BlockingFunction, Blocking),
    Command(Command),
}

impl Custom {
    /// Validates the parameters.
    ///
    /// # Errors
    ///
    /// A validation error for a name or time limit outside its range or a missing command; a
    /// configuration error for a command that is empty or has unbalanced quotes.
    pub fn new(params: Params) -> Result<Self, Error> {
        let (own_name, fetch) = match params.source {
            Source::Async { function, name } => (name, Fetch::Async(function)),
            Source::Blocking { function, name } => {
                (name, Fetch::Blocking(function, Blocking::new()))
            }
            Source::Command(command) => (command.name(), Fetch::Command(command)),
            Source::Data(data) => {
                let command = data.to_command()?;
                (command.name(), Fetch::Command(command))
            }
        };
        let name = params.name.map_or(Ok(own_name), checked_name)?;
        Ok(Self { name, fetch })
    }

    /// The function's or command's name, or the one it was given.
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn checked_name(name: String) -> Result<String, Error> {
    if (1..=NAME_LIMIT).contains(&name.chars().count()) && !name.contains(char::is_control) {
        Ok(name)
    } else {
        Err(
            Error::validation("`name` must have 1 to 128 characters and no control characters")
                .with_param("name"),
        )
    }
}

#[async_trait]
impl RefreshStrategy for Custom {
    fn method(&self) -> &'static str {
        "custom"
    }

    fn source(&self) -> &'static str {
        match self.fetch {
            Fetch::Async(_) | Fetch::Blocking(..) => "custom-function",
            Fetch::Command(_) => "custom-command",
        }
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        match &self.fetch {
            Fetch::Async(function) => function().await.map_err(|error| failed(&self.name, error)),
            Fetch::Blocking(function, place) => {
                let function = BlockingFunction::clone(function);
                place
                    .run(move || function())
                    .await?
                    .map_err(|error| failed(&self.name, error))
            }
            Fetch::Command(command) => {
                let output = command.run(cx.clock(), within(cx.time_left())).await?;
                read_printed(&command.name(), &output)
            }
        }
    }

    async fn identity(&self, credentials: &TemporaryCredentials) -> Result<Identity, Error> {
        Ok(Identity::new(
            self.method(),
            self.name.as_str(),
            credentials.access_key_id(),
        ))
    }

    fn refresh_timeout(&self) -> Option<Duration> {
        match &self.fetch {
            Fetch::Async(_) | Fetch::Blocking(..) => None,
            Fetch::Command(command) => Some(command.time_limit() + MARGIN),
        }
    }
}

/// What a command may take of the time the engine grants: a little less, so that it is ended and
/// reported before the engine gives up on it.
fn within(time_left: Duration) -> Duration {
    time_left - (time_left / 10).min(Duration::from_secs(1))
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Custom");
        out.field("source", &self.source())
            .field("name", &self.name);
        if let Fetch::Command(command) = &self.fetch {
            out.field("command", command);
        }
        out.finish()
    }
}

async fn build(params: Params, _: Setup) -> Result<Custom, Error> {
    Custom::new(params)
}

register_method! {
    summary: "credentials from a function or an external command",
    params: Params,
    build: build,
}
