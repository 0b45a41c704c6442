//! What programs see of a connection, and what they share with its driver.
//!
//! Owns the handle, messages, events, options and topics, and the two queues between programs and
//! the driver: the outbox and the streams. It knows neither packets nor sockets.

pub(crate) mod connection;
pub(crate) mod events;
pub(crate) mod message;
pub(crate) mod options;
pub(crate) mod outbox;
pub(crate) mod process;
pub(crate) mod routes;
pub(crate) mod topic;
