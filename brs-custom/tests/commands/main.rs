//! Commands as real processes. One test crate, so that the help for scripts and processes is
//! compiled once.
//!
//! They look into `/proc`, so they are for Linux.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod contract;
mod data;
mod run;
mod support;
