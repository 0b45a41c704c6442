//! brs's errors for what becomes of publishes, and for what ends a connection or keeps it from
//! standing.
//!
//! Owns the wording, each with the setting to look at. What servers say in numbers is said in words
//! by `reason.rs`, and what TLS says by `brs-iot`. What programs may match on is `outcome.rs`.

use std::time::Duration;

use brs_core::{Error, Recovery};

use crate::error::outcome::Outcome;

pub(crate) mod lost;
pub(crate) mod outcome;
pub(crate) mod reason;

/// The outbox had no room, and this was the oldest in it.
pub(crate) fn dropped() -> Error {
    Outcome::Dropped.on(Error::request(
        "the message was dropped: the outbox was full, and it was the oldest in it",
    ))
}

pub(crate) fn full() -> Error {
    Outcome::Full.on(Error::request("the outbox is full: publish less, or give it more room (`outbox_messages`, `outbox_bytes`)")
        .retryable())
}

pub(crate) fn larger_than_the_outbox(size: usize, room: usize) -> Error {
    Error::validation(format!(
        "the message takes {size} bytes and is larger than the whole outbox of {room}: raise `outbox_bytes`"
    ))
    .with_param("outbox_bytes")
    .unrecoverable()
}

pub(crate) fn offline() -> Error {
    Outcome::Offline.on(Error::connection(
        "there is no connection, and a message of QoS 0 does not wait for one: publish it with QoS 1, or allow it to \
         wait (`hold_at_most_once`)",
    ))
}

/// A message of QoS 0 on its way into a socket that failed.
pub(crate) fn unsure() -> Error {
    Outcome::Offline.on(Error::connection(
        "the connection was lost while the message was handed to it: whether it has arrived is unknown, and one of \
         QoS 0 is not sent twice",
    ))
}

pub(crate) fn session_lost() -> Error {
    Outcome::SessionLost.on(Error::connection(
        "the connection was lost before the acknowledgement, and the session with it: whether the message has arrived \
         is unknown",
    ))
}

pub(crate) fn closed() -> Error {
    Outcome::Closed.on(Error::connection("the connection is closed").unrecoverable())
}

/// The library has found what this crate's own checks did not.
pub(crate) fn not_sendable(topic: &str) -> Error {
    Error::validation(format!(
        "the message to `{topic}` cannot be sent: check its topic and properties"
    ))
    .with_param("topic")
    .unrecoverable()
}

/// A message with properties on a connection that has none.
pub(crate) fn needs_v5() -> Error {
    Error::configuration(
        "properties of messages need MQTT 5: leave them out, or give the protocol `V5`",
    )
    .with_param("properties")
    .unrecoverable()
}

/// The server has said how much it takes; sent all the same, the message would end each connection
/// anew.
pub(crate) fn larger_than_a_packet(topic: &str, size: usize, most: usize) -> Error {
    Error::validation(format!(
        "the message to `{topic}` makes a packet of about {size} bytes, and the server takes {most}: split it"
    ))
    .with_param("payload")
    .unrecoverable()
}

/// The server has ended one connection after the other at the same message.
pub(crate) fn closed_at_message(topic: &str, times: u32) -> Error {
    Outcome::NotTaken.on(Error::request(format!(
        "the server closed {times} connections when it had the message to `{topic}`, and acknowledged it over none: \
         check that the policy allows `iot:Publish` to it (and `iot:RetainPublish`, if it is retained); whether \
         it has arrived is unknown"
    ))
    .with_detail("topic", topic)
    .unrecoverable())
}

/// What had been handed to a link when the limit of a disconnect was up.
pub(crate) fn unfinished(limit: Duration) -> Error {
    Outcome::Closed.on(Error::connection(format!(
        "the connection was closed {limit:?} after that was asked for, before the acknowledgement: whether the message \
         has arrived is unknown"
    ))
    .with_recovery(Recovery::Later))
}

/// What had not.
pub(crate) fn unsent(limit: Duration) -> Error {
    Outcome::Closed.on(Error::connection(format!(
        "the connection was closed {limit:?} after that was asked for, and the message has not been sent"
    ))
    .with_recovery(Recovery::Later))
}

/// What the disconnect itself says then.
pub(crate) fn left_over(limit: Duration) -> Error {
    Outcome::Closed.on(Error::connection(format!(
        "the connection was closed after {limit:?} with something left over: each publish, subscribe and unsubscribe \
         has been told; give a longer limit, or look at what the server keeps waiting"
    ))
    .with_recovery(Recovery::Later))
}

/// Nobody has an answer for a subscription that is wanted no more.
pub(crate) fn unsubscribed(filter: &str) -> Error {
    Outcome::Unsubscribed.on(Error::request(format!(
        "the subscription to `{filter}` was ended by an unsubscribe before it was granted"
    ))
    .with_detail("filter", filter))
}

pub(crate) fn too_many_filters(count: usize) -> Error {
    Error::validation(format!(
        "{count} filters are too many for one subscribe: AWS IoT takes 8, make several calls"
    ))
    .with_param("filters")
    .unrecoverable()
}

pub(crate) fn no_filters() -> Error {
    Error::validation("no filter is given")
        .with_param("filters")
        .unrecoverable()
}

pub(crate) fn needs_a_session() -> Error {
    Error::configuration(
        "a WebSocket is signed with a session's credentials: open it with `session.mqtt(options)`",
    )
    .with_param("transport")
    .unrecoverable()
}

pub(crate) fn needs_a_device() -> Error {
    Error::configuration(
        "mutual TLS needs the device's certificate and key: give `certificate` and `private_key`, use a session of the \
         method `iot`, the transport `WebSocket`, or `username` and `password` for a custom authorizer",
    )
    .with_param("certificate")
    .unrecoverable()
}

pub(crate) fn needs_a_region() -> Error {
    Error::configuration(
        "no region is known to sign for: give `region`, since the endpoint's name holds none",
    )
    .with_param("region")
    .unrecoverable()
}

pub(crate) fn duplicate_client_id(client_id: &str, certain: bool, cause: Error) -> Error {
    Outcome::DuplicateClientId.on_with_cause(Error::connection(if certain {
        format!(
            "another client connected with the client id `{client_id}`, so the server closed this connection: give \
             each client an id of its own"
        )
    } else {
        format!(
            "the server accepts `{client_id}` and soon closes the connection, again and again: most likely another \
             client uses the same client id; otherwise check that the policy allows what it publishes and subscribes"
        )
    }), cause)
}
