//! The method `"custom"` of brs: temporary credentials from your function, or from an
//! external command.
//!
//! Whatever the source, the session refreshes it as any other: in the background, one call at a
//! time, with a pause after failures. An expired set is not served unless the session is told to
//! (`static_stability`).
//!
//! # An async function
//!
//! ```
//! # mod brs { pub use brs_core::*; pub use brs_custom as custom; }
//! use brs::{RefreshableSession, TemporaryCredentials};
//! use brs::custom::Params;
//! # use std::time::{Duration, UNIX_EPOCH};
//!
//! async fn ask_the_broker() -> Result<TemporaryCredentials, std::io::Error> {
//!     let expiration = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
//!     Ok(TemporaryCredentials::new("ASIAEXAMPLE", "secret", Some("token".into()), Some(expiration)))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let params = Params::function(ask_the_broker);
//! let session = RefreshableSession::with(params).region("eu-west-1").build().await?;
//! assert_eq!(session.credentials().await?.access_key_id(), "ASIAEXAMPLE");
//! assert_eq!(session.whoami().await?.source, "ask_the_broker");
//! # Ok::<_, brs::Error>(())
//! # }).unwrap();
//! ```
//!
//! A function may return a [`TemporaryCredentials`](brs_core::TemporaryCredentials), the AWS SDK's
//! `Credentials`, or a `serde_json::Value` in the Python package's spelling (see
//! [`IntoCredentials`]), and any error. To say that only a person can fix a failure, return a
//! [`brs_core::Error`] that is [unrecoverable](brs_core::Error::unrecoverable).
//!
//! # A synchronous function with arguments
//!
//! It runs on a thread of its own, so it may block. The arguments are passed to every call, as a
//! clone.
//!
//! ```
//! # mod brs { pub use brs_core::*; pub use brs_custom as custom; }
//! use brs::RefreshableSession;
//! use brs::custom::Params;
//!
//! fn read_from((host, port): (String, u16)) -> Result<serde_json::Value, String> {
//!     if port == 0 {
//!         return Err(format!("no port for {host}"));
//!     }
//!     Ok(serde_json::json!({
//!         "access_key": "ASIAEXAMPLE",
//!         "secret_key": "secret",
//!         "token": "token",
//!         "expiry_time": "2096-10-02T07:06:40Z",
//!     }))
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let params = Params::blocking_function_with(("vault.internal".to_owned(), 8200), read_from).name("vault");
//! let session = RefreshableSession::with(params).region("eu-west-1").build().await?;
//! assert_eq!(session.credentials().await?.access_key_id(), "ASIAEXAMPLE");
//! assert_eq!(session.whoami().await?.source, "vault");
//! # Ok::<_, brs::Error>(())
//! # }).unwrap();
//! ```
//!
//! # A command
//!
//! It prints the JSON of AWS's `credential_process`: `Version` 1, `AccessKeyId`, `SecretAccessKey`,
//! and where there are any `SessionToken`, `Expiration`, `AccountId`. No shell is involved; see
//! [`Command`].
//!
//! A `credential_process` of a profile is something else: the AWS SDK runs it, with a shell, when a
//! session's base configuration comes from that profile, and none of the bounds here hold for it
//! (time limit, size of the output, end of the whole process group, masked errors). A command given
//! here is the bounded way to the same program.
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_custom as custom; }
//! use brs::RefreshableSession;
//! use brs::custom::{Command, Params};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), brs::Error> {
//! let command = Command::parse("/opt/bin/fetch-credentials --account 'my team'")?.timeout(Duration::from_secs(10))?;
//! let session = RefreshableSession::open(Params::command(command)).await?;
//!
//! // The same from data, such as a configuration file's table.
//! let data = serde_json::json!({ "command": ["/opt/bin/fetch-credentials", "--account", "my team"], "timeout": 10 });
//! let session = RefreshableSession::from_method("custom", data).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Sharing
//!
//! These credentials are not shared between sessions or processes (method `shared`): what a
//! function returns can depend on anything, and so can what a command prints: its environment, its
//! own configuration, who has logged in. Nor could a command be told by its arguments, which may
//! hold secrets. A program that knows what decides its credentials implements
//! [`RefreshStrategy`](brs_core::RefreshStrategy) with a `fingerprint`.
//!
//! # Parameters as data
//!
//! | name | meaning | default |
//! |---|---|---|
//! | `command` | text, split into words as a POSIX shell does; or a list of words | required |
//! | `timeout` | seconds the command may run: above 0, at most 43200 (12 h) | 30 |
//! | `env` | variables to set, by name | none |
//! | `current_dir`, `cwd` | the directory it runs in | this process's |
//! | `name` | what [`Identity::source`](brs_core::Identity::source) shows | the program's file name |
//!
//! # Time limits
//!
//! A function has the session's `refresh_timeout`, 30 s unless set. An async one is dropped then; a
//! synchronous one cannot be interrupted and is left alone on its thread, and until it returns
//! further tries fail at once. A command has its own limit; with it, or with a shorter
//! `refresh_timeout`, its whole process group ends.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod function;
mod output;
mod params;
mod strategy;

pub use brs_core::command::Command;
pub use output::IntoCredentials;
pub use params::Params;
pub use strategy::Custom;
