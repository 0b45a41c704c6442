//! What a session stands on: the base configuration, another session, and what methods are built
//! with.

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod session;
pub(crate) mod setup;
