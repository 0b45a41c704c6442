//! The one error type of this program: a message for the terminal and an exit code.
//!
//! Nothing here is handled by code, it is only read by people, so every foreign error becomes its
//! text at once. Exit code 1 says that the project is at fault, 2 that this machine lacks
//! something.

use std::fmt;

/// What every command returns.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The project is at fault.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// This machine lacks something; the message says what to install.
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }

    /// The exit code of the program.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

macro_rules! from_display {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::new(error.to_string())
            }
        })+
    };
}

from_display!(
    std::io::Error,
    xshell::Error,
    cargo_metadata::Error,
    toml::de::Error
);
