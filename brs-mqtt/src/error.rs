//! Errors of publishes and subscriptions, and of connections.
//!
//! Owns the wording, each with the setting to look at. `reason.rs` puts the reason codes of servers
//! into words, `lost.rs` the failures of a connection, and `brs-iot` those of TLS. Programs match on
//! what `outcome.rs` adds.

use std::time::Duration;

use brs_core::{Error, Recovery};

use crate::error::outcome::Outcome;

pub(crate) mod lost;
pub(crate) mod outcome;
pub(crate) mod reason;

/// The outbox was full, and this message was the oldest in it.
pub(crate) fn dropped() -> Error {
    Outcome::Dropped.on(Error::request(
        "the message was dropped: the outbox was full, and it was the oldest in it",
    ))
}

pub(crate) fn full() -> Error {
    Outcome::Full.on(Error::request(
        "the outbox is full: publish less, or give it more room (`outbox_messages`, \
         `outbox_bytes`)",
    )
    .retryable())
}

pub(crate) fn larger_than_the_outbox(size: usize, room: usize) -> Error {
    Error::validation(format!(
        "the message needs {size} bytes and is larger than the whole outbox of {room}: raise `outbox_bytes`"
    ))
    .with_param("outbox_bytes")
    .unrecoverable()
}

pub(crate) fn offline() -> Error {
    Outcome::Offline.on(Error::connection(
        "there is no connection, and a message of QoS 0 does not wait for one: publish it with QoS 1, or let it wait \
         (`hold_at_most_once`)",
    ))
}

/// A message of QoS 0 on its way into a socket that failed.
pub(crate) fn unsure() -> Error {
    Outcome::Offline.on(Error::connection(
        "the connection was lost while the message was sent: it may have arrived, and a message of QoS 0 is not sent \
         twice",
    ))
}

pub(crate) fn session_lost() -> Error {
    Outcome::SessionLost.on(Error::connection(
        "the connection and the session were lost before the message was acknowledged: it may have arrived",
    ))
}

pub(crate) fn closed() -> Error {
    Outcome::Closed.on(Error::connection("the connection is closed").unrecoverable())
}

pub(crate) fn forked() -> Error {
    Outcome::Closed.on(Error::connection(
        "the connection was opened before this process was forked, and stays with its parent: open another one here, \
         with another client id",
    )
    .unrecoverable())
}

/// The MQTT library rejected what this crate's checks accepted.
pub(crate) fn not_sendable(topic: &str) -> Error {
    Error::validation(format!(
        "the message to `{topic}` cannot be sent: check its topic and properties"
    ))
    .with_param("topic")
    .unrecoverable()
}

/// A message with properties on a connection with MQTT 3.1.1.
pub(crate) fn needs_v5() -> Error {
    Error::configuration(
        "properties of messages need MQTT 5: leave them out, or set the protocol to `V5`",
    )
    .with_param("properties")
    .unrecoverable()
}

/// The server announced the largest packet it accepts. A larger one would end every connection it is
/// sent over.
pub(crate) fn larger_than_a_packet(topic: &str, size: usize, most: usize) -> Error {
    Error::validation(format!(
        "the message to `{topic}` makes a packet of about {size} bytes, and the server accepts {most}: split it"
    ))
    .with_param("payload")
    .unrecoverable()
}

/// The server closed several connections in a row at the same message.
pub(crate) fn closed_at_message(topic: &str, times: u32) -> Error {
    Outcome::NotTaken.on(Error::request(format!(
        "the server closed {times} connections after it received the message to `{topic}`, and never acknowledged it: \
         check that the policy allows `iot:Publish` to the topic (and `iot:RetainPublish` for a retained message); \
         the message may have arrived"
    ))
    .with_detail("topic", topic)
    .unrecoverable())
}

/// A message in flight when the time limit of a disconnect expired.
pub(crate) fn unfinished(limit: Duration) -> Error {
    Outcome::Closed.on(Error::connection(format!(
        "the connection was closed {limit:?} after the call of `disconnect`, before the message was acknowledged: it \
         may have arrived"
    ))
    .with_recovery(Recovery::Later))
}

/// A message that was not yet sent then.
pub(crate) fn unsent(limit: Duration) -> Error {
    Outcome::Closed.on(Error::connection(format!(
        "the connection was closed {limit:?} after the call of `disconnect`, and the message was not sent"
    ))
    .with_recovery(Recovery::Later))
}

/// The result of the disconnect itself then.
pub(crate) fn left_over(limit: Duration) -> Error {
    Outcome::Closed.on(Error::connection(format!(
        "the connection was closed after {limit:?} before all calls were finished: the calls left have failed with \
         their own errors; give a longer limit, or check why the server does not answer"
    ))
    .with_recovery(Recovery::Later))
}

/// The subscription was withdrawn before the server answered.
pub(crate) fn unsubscribed(filter: &str) -> Error {
    Outcome::Unsubscribed.on(Error::request(format!(
        "an unsubscribe ended the subscription to `{filter}` before it was granted"
    ))
    .with_detail("filter", filter))
}

pub(crate) fn too_many_filters(count: usize) -> Error {
    Error::validation(format!(
        "{count} filters are too many for one call: AWS IoT accepts 8, so make several calls"
    ))
    .with_param("filters")
    .unrecoverable()
}

pub(crate) fn no_filters() -> Error {
    Error::validation("no filter is given: give at least one")
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
        "mutual TLS needs the device's certificate and key: set `certificate` and `private_key`, use a session of the \
         method `iot`, the transport `WebSocket`, or `username` and `password` for a custom authorizer",
    )
    .with_param("certificate")
    .unrecoverable()
}

pub(crate) fn needs_a_region() -> Error {
    Error::configuration(
        "no region is known to sign for: give `region`, since the endpoint's name does not contain one",
    )
    .with_param("region")
    .unrecoverable()
}

pub(crate) fn duplicate_client_id(client_id: &str, certain: bool, cause: Error) -> Error {
    Outcome::DuplicateClientId.on_with_cause(Error::connection(if certain {
        format!(
            "another client connected with the client id `{client_id}`, so the server closed this connection: give \
             each client its own id"
        )
    } else {
        format!(
            "the server keeps closing the connection soon after it accepted `{client_id}`: most likely another client \
             uses the same client id; otherwise check that the policy allows what this client publishes and \
             subscribes to"
        )
    }), cause)
}
