//! What an author of a method reads: the strategy, its parameters, whom it is, and what happens.

pub(crate) mod events;
pub(crate) mod fingerprint;
pub(crate) mod identity;
pub(crate) mod params;
pub(crate) mod strategy;
