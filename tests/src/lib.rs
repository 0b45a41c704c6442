//! The harness of brs's tests: servers to call, and what it takes to run them.
//!
//! [`EmbeddedAws`] runs inside the test's process and does what no independent server does on
//! request: it lets credentials expire, rejects them, hangs, drops connections and counts calls.
//! [`EmbeddedIot`] does the same for devices, over mutual TLS, [`EmbeddedAnywhere`] for requests
//! that certificates sign. [`Moto`](moto::Moto) is the
//! independent check that the embedded server has not merely agreed with the code that it tests;
//! [`Nginx`](nginx::Nginx) is so for TLS, [`Mosquitto`](mosquitto::Mosquitto) for MQTT,
//! [`Redis`](redis::Redis) for a fleet's store, with
//! [`Gateway`](gateway::Gateway), [`TlsDoor`](tls_door::TlsDoor) and
//! [`RoughPath`](rough_path::RoughPath) on the way to it. `SoftwareTpm` is a token that is hardware
//! as far as a program can tell, [`Token`](token::Token) one in whatever module there is.
//! [`Client`](clients::Client) is a program with another SDK.
//!
//! The library uses no brs crate; the programs beside it do: `demo` shows sessions at work, and
//! `probe` is what tests start with an environment of its own.

pub mod clients;
pub mod embedded_anywhere;
pub mod embedded_aws;
pub mod embedded_iot;
pub mod gateway;
pub mod identity_providers;
pub mod machine_metadata;
pub mod mosquitto;
pub mod moto;
pub mod nginx;
pub mod redis;
pub mod rough_path;
mod served;
pub mod sign_in;
#[cfg(unix)]
pub mod software_tpm;
pub mod tls_door;
pub mod token;

pub use embedded_anywhere::EmbeddedAnywhere;
pub use embedded_aws::EmbeddedAws;
pub use embedded_iot::EmbeddedIot;

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
