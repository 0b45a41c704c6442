//! The MQTT libraries, behind what the driver needs of them.
//!
//! The only module that names them: their types end here. Two versions of the protocol, one shape: a [`Link`] that is
//! polled and gives what comes in, and a [`Handle`] that takes what goes out and tells how it ended. Packet ids,
//! keep-alive, acknowledgement order, sending again with DUP: theirs. When to connect, with what, and what to do with
//! messages that a lost session leaves behind: the driver's.

use std::sync::Arc;
use std::time::Duration;

use brs_core::Error;
use brs_core::shown::{any_in_chain, find};
use futures_util::future::BoxFuture;
use rumqttc_v5::mqttbytes::QoS;

use crate::error::lost::{self, Lost};
use crate::message::{Publish, Qos, Received};
use crate::options::{Options, Protocol};
use crate::transport::Connector;

/// A store of a session of which nothing is in flight: what a client that has seen nothing of it may go on with.
///
/// Both libraries have these types, each its own; what follows the name are the fields that differ.
macro_rules! blank_session {
    ($session:ident { $($field:ident: $value:expr),* $(,)? }) => {
        #[derive(Debug)]
        struct Blank(String);

        impl SessionStore for Blank {
            fn load<'a>(
                &'a self,
                _: &'a SessionStoreKey,
            ) -> BoxFuture<'a, Result<Option<$session>, SessionStoreError>> {
                let session = $session {
                    format_version: 1,
                    client_id: self.0.clone(),
                    ack_mode: PersistedAckMode::Manual,
                    last_pkid: 0,
                    last_puback: 0,
                    replay: Vec::new(),
                    incoming_qos2: Vec::new(),
                    $($field: $value),*
                };
                Box::pin(ready(Ok(Some(session))))
            }

            fn save<'a>(
                &'a self,
                _: &'a SessionStoreKey,
                _: &'a $session,
            ) -> BoxFuture<'a, Result<(), SessionStoreError>> {
                Box::pin(ready(Ok(())))
            }

            fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> BoxFuture<'a, Result<(), SessionStoreError>> {
                Box::pin(ready(Ok(())))
            }
        }
    };
}

mod v4;
mod v5;

/// AWS IoT Core: unacknowledged publishes in one direction.
pub(crate) const MAX_IN_FLIGHT: u16 = 100;
/// What is read of one packet: the largest payload, its topic, and properties.
const MAX_PACKET: u32 = 256 * 1024;
/// How many uninteresting events are passed over before others get their turn.
const PATIENCE: usize = 64;
/// How long saying goodbye may take.
pub(crate) const GOODBYE: Duration = Duration::from_secs(5);
/// The library's own limit is the last resort: it also bounds the wait for the server's answer to CONNECT.
const LAST_RESORT: Duration = Duration::from_secs(5);

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The server has accepted the client, and takes packets up to a size, if it says so.
    Connected { session_present: bool, max_packet: Option<usize> },
    /// A message, and what acknowledges it.
    Message(Box<Received>, Option<Ack>),
    /// Nothing that matters.
    Nothing,
}

/// How a publish ended.
#[derive(Debug)]
pub(crate) enum Published {
    /// Handed to the socket (QoS 0), or acknowledged (QoS 1).
    Done,
    Refused(Error),
    /// The link, or the session in which it was sent, is gone.
    SessionLost,
    /// Of QoS 0: the connection was lost while it was handed to the socket.
    Unsure,
    /// The link has not taken it.
    NotSent,
}

/// How a subscribe or unsubscribe ended.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Given(T),
    /// The connection, or the session, is gone.
    Lost,
}

/// A connection that is polled; polled again after a loss, it connects again.
pub(crate) trait Link: Send {
    /// The next thing that happens. Never dropped halfway: it gives the link back.
    fn poll(self: Box<Self>) -> BoxFuture<'static, (Box<dyn Link>, Result<Incoming, Lost>)>;

    /// Later connections go on with the session.
    fn keep_session(&mut self);
}

/// What goes out. Nothing in here waits: what is sent is bounded by the driver.
pub(crate) trait Handle: Send {
    fn publish(&self, publish: &Publish) -> BoxFuture<'static, Published>;
    fn subscribe(&self, filters: &[(String, Qos)]) -> BoxFuture<'static, Answer<Vec<Result<Qos, Error>>>>;
    fn unsubscribe(&self, filters: &[String]) -> BoxFuture<'static, Answer<Result<(), Error>>>;
    fn ack(&self, ack: Ack);
    /// Says goodbye, after what was handed over before or at once; the link ends.
    fn disconnect(&self, at_once: bool);
}

/// What acknowledges a message.
#[derive(Clone, Debug)]
pub(crate) enum Ack {
    V4(v4::Ack),
    V5(v5::Ack),
}

#[cfg(test)]
impl Ack {
    pub(crate) fn for_test(id: u16) -> Self {
        Self::V5(v5::Ack::for_test(id))
    }
}

/// A new link. `resume` is whether it goes on with a session of which it has seen nothing: one of an earlier process,
/// or of a link that was replaced.
pub(crate) fn open(options: &Options, connector: &Arc<Connector>, resume: bool) -> (Box<dyn Link>, Box<dyn Handle>) {
    match options.protocol {
        Protocol::V5 => v5::open(options, connector, resume),
        Protocol::V311 => v4::open(options, connector, resume),
    }
}

fn qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

fn qos_back(qos: QoS) -> Qos {
    match qos {
        QoS::AtMostOnce => Qos::AtMostOnce,
        QoS::AtLeastOnce => Qos::AtLeastOnce,
        QoS::ExactlyOnce => Qos::ExactlyOnce,
    }
}

/// What this crate itself, the token or TLS has to say about a failure, which is more than the library can.
fn told(
    connector: &Connector,
    error: &(dyn std::error::Error + 'static),
    beneath: &(dyn std::error::Error + 'static),
) -> Option<Lost> {
    find::<Error>(error).cloned().or_else(|| connector.explain(beneath)).map(Lost::told)
}

/// The line was cut: a connection that stood, or one whose CONNECT the server did not answer.
fn cut(connector: &Connector, error: &(dyn std::error::Error + 'static), client_id: &str, was_connected: bool) -> Lost {
    let endpoint = &connector.endpoint.host;
    let timed_out = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut)
    };
    match was_connected {
        true if any_in_chain(error, timed_out) => Lost::told(lost::dead(endpoint)),
        true => Lost::silent(lost::cut(endpoint, error)),
        false => Lost::told(lost::closed_at_connect(endpoint, client_id, connector.is_signed())),
    }
}

/// What the library says about packets: of those that come in, or of one that it was to send.
fn not_understood(connector: &Connector, error: &(dyn std::error::Error + 'static)) -> Lost {
    // The library ends a connection over what it cannot encode, too, and tells the two apart for none of its callers.
    Lost { may_be_a_message: true, ..Lost::told(lost::not_mqtt(&connector.endpoint.host, error)) }
}

/// What the library says about a stream that could not be opened is what the connector has said.
fn opened_as(error: Error) -> std::io::Error {
    std::io::Error::other(error)
}
