//! The engine's behaviour, row by row, with a scripted strategy on a manual clock.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod base_sessions;
mod callers;
mod clocks;
mod common;
mod contract;
mod eager;
mod failures;
mod invalidation;
mod lifetimes;
mod observation;
mod runtimes;
mod sdk;
mod time_limits;
mod windows;
