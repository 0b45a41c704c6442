//! IAM Roles Anywhere: the endpoint's name, one call, and what its answers mean.

pub(crate) mod arn;
pub(crate) mod call;
pub(crate) mod configured;
pub(crate) mod endpoint;
pub(crate) mod refusal;
pub(crate) mod response;
