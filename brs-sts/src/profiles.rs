//! The graph of profiles and its ends: who assumes which role with what, and the credentials at
//! the end of a chain.

pub(crate) mod graph;
pub(crate) mod leaf;
#[cfg(feature = "login")]
mod login;
pub(crate) mod sso;
