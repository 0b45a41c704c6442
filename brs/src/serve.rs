//! An endpoint on loopback that gives the credentials of sessions to programs in every language.
//!
//! It speaks what containers on ECS and EKS speak, so every AWS SDK knows it: two variables tell a
//! program where it is. A service in Rust feeds its children with it:
//!
//! ```
//! use brs::serve::Server;
//! # use brs_core::test_util::{Scripted, Step};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), brs::Error> {
//! # let scripted = Scripted::always(Step::Fresh(std::time::Duration::from_secs(3600)));
//! # let session = brs::RefreshableSession::with_strategy(scripted.shared()).build().await?;
//! let server = Server::builder().session("app", session).build().await?;
//! let mut child = std::process::Command::new("aws");
//! child
//!     .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url())
//!     .env("AWS_CONTAINER_AUTHORIZATION_TOKEN", server.token().unwrap().expose());
//!
//! let handle = server.handle();
//! let running = tokio::spawn(server.run());
//! // … the child runs, and asks for credentials whenever it needs new ones.
//! handle.shutdown();
//! running.await.unwrap()?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//!   child, other programs                 browser, Prometheus
//!        │ GET / with a token                   │ with the admin token
//!        ▼                                      ▼
//!   connection ► guard ► routes ► consumer    admin: page, status.json, metrics
//!                                   │
//!                                   ▼
//!   kept sessions (answers kept ready) · roles by ARN (a pool) ► the sessions' engines
//! ```
//!
//! # What it answers
//!
//! | path | answer |
//! |---|---|
//! | `/`, `/creds` | the consumer's only session |
//! | `/session/NAME`, `/role/NAME` | that session |
//! | `/role-arn/ARN` | that role, where the consumer and an [`AssumeRule`] allow it |
//! | `/healthz`, `/readyz` | without a token: whether it lives, whether every session has usable credentials |
//!
//! What only a person can fix is answered with 403, since SDKs try again after a 5xx; 503 is "ask
//! again in a second", 502 a source that fails. A request never asks a person for a code or a PIN.
//! While a set is valid, a dead source is nobody's error.
//!
//! # What it does not answer
//!
//! Requests of browsers and proxies, requests under another name than the address, requests with a
//! body, and requests from other machines, whatever their token. Tokens are compared in constant
//! time with those of all consumers. The manual's chapter [`serve`](crate::manual::serve) has the
//! rest.

mod admin;
mod answer;
mod assume;
mod builder;
mod connection;
mod consumer;
mod endpoint;
mod guard;
mod history;
mod imds;
mod kept;
mod metrics;
mod pace;
mod page;
mod pattern;
mod routes;
mod server;
mod shared;
mod status;
mod systemd;
mod tally;
mod token;
mod token_file;

pub use assume::AssumeRule;
pub use builder::ServerBuilder;
pub use consumer::Consumer;
pub use server::{Handle, Server};
pub use token::Token;
