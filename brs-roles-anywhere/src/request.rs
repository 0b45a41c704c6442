//! The signed request: the certificates that it carries, and its signature.
//!
//! Knows neither the service's answers nor the method's parameters.

pub(crate) mod presented;
pub(crate) mod signature;
