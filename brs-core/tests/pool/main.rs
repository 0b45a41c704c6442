//! Pools of sessions, on a manual clock.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

mod keeping;
mod outages;
mod pacing;
mod pressed;
mod source;
mod stored;
