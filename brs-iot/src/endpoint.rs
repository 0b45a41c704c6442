//! The credentials endpoint: its name, the way to it, one refresh's calls, and what their answers and
//! failures mean.
//!
//! Uses the device's side and knows nothing of the method's parameters.

pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod failed;
pub(crate) mod name;
pub(crate) mod proxy;
mod refusal;
pub(crate) mod response;
pub(crate) mod round;
pub(crate) mod unreached;
