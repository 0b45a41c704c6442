//! The methods, what they take from a profile, and what this crate offers to every method.

pub(crate) mod asker;
pub(crate) mod assume;
pub(crate) mod assume_role;
pub mod container;
pub(crate) mod found;
pub mod imds;
pub(crate) mod inherit;
pub(crate) mod loader;
mod machine;
pub(crate) mod role_profile;
pub mod root;
pub mod saml;
pub mod session_token;
pub mod web_identity;
pub(crate) mod whoami;
