//! A call to STS: connection, certificates, the answer, and what a failure means.

pub(crate) mod asker;
pub(crate) mod ca;
pub(crate) mod call;
pub(crate) mod connect;
pub(crate) mod error;
pub(crate) mod guarded;
pub(crate) mod http_client;
pub(crate) mod observed;
pub(crate) mod proxy;
