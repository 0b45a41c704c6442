//! What users give: parameters, their checks, and the settings of the client of STS.

pub(crate) mod client;
pub(crate) mod fingerprint;
pub(crate) mod params;
pub(crate) mod session_name;
pub(crate) mod validate;
