//! MQTT to AWS IoT Core for brs: a connection that stays up and loses nothing silently.
//!
//! ```text
//! session.mqtt(options) ──► Connection: publish · subscribe · unsubscribe · events · disconnect
//! mqtt::connect(options)        │ commands                     ▲ messages, answers
//!                               ▼                              │
//!                           driver: one task ── outbox, subscriptions, back-off
//!                               │
//!                    TCP ─ proxy ─ TLS ─ WebSocket ──► <prefix>-ats.iot.<region>.amazonaws.com
//!                    certificate or signature of this moment, for each connection anew
//! ```
//!
//! ```no_run
//! use brs_mqtt::{Options, Publish, Qos, Subscribe};
//!
//! # async fn example() -> Result<(), brs_core::Error> {
//! let options = Options::new("a1b2c3-ats.iot.eu-west-1.amazonaws.com", "device-7")
//!     .certificate("/etc/device/certificate.pem")
//!     .private_key("/etc/device/private.key");
//! let mqtt = brs_mqtt::connect(options).await?;
//! let mut commands = mqtt.subscribe("devices/7/commands/+").await?;
//! mqtt.publish(Publish::new("devices/7/state", "up")).await?;
//! while let Some(message) = commands.next().await {
//!     println!("{}: {} bytes", message.topic(), message.payload().len());
//! }
//! mqtt.disconnect(None).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Ways to connect
//!
//! | [`Transport`] | port | shows | needs |
//! |---|---|---|---|
//! | `X509` | 8883 | the device's certificate | certificate and key (file or token), or a session of the method `iot` |
//! | `X509` | 443, ALPN `x-amzn-mqtt-ca` | the same | the same |
//! | `X509` | 443, ALPN `mqtt` | a name and a password | [`Options::username`], and no certificate |
//! | `WebSocket` | 443 | a SigV4 signature | any session |
//!
//! MQTT 5 by default, 3.1.1 by [`Protocol`]; each through an HTTP CONNECT proxy if one is given or
//! the environment has one. Name and password are for custom authorizers; they can also go with a
//! certificate. What a connection shows is made for it: the URL is signed for each handshake, with
//! credentials that are refreshed first where that is due, and a certificate that has been rotated
//! is used at the next connection. A refresh that fails is the error of that try: nothing is signed
//! with credentials that have expired.
//!
//! With the feature `pkcs11` the key may be in a PKCS#11 token: that of a session of `iot`, or
//! given anew (`Options::pkcs11`). A token that hangs costs a try its error, and neither a thread
//! of the runtime nor its end.
//!
//! [`Options::from_data`] reads all of this from a configuration file, in brs's names or the Python
//! package's.
//!
//! # What a result means
//!
//! [`publish`](Connection::publish) is ready when a message of QoS 1 is acknowledged, one of QoS 0
//! handed to the socket; [`subscribe`](Connection::subscribe) when the server has granted it. A
//! future that is dropped before the outbox has taken its message has published nothing; dropped
//! later it cancels nothing.
//!
//! # Staying up
//!
//! After a loss the client waits 1 s, 2 s, … 128 s, with jitter, and starts again from 1 s only
//! after a connection that was stable for 30 s. A server that has not kept the session is asked for
//! all subscriptions again, and nothing is published before it has granted them. Messages of QoS 1
//! in flight are sent again, under their packet ids and with their DUP flag, when the session lives
//! on; when it does not, they are published once more or fail, as [`WhenSessionLost`] says. What is
//! published meanwhile waits in the outbox, bounded in messages and bytes; [`WhenFull`] says what
//! happens when that is full. WebSockets are replaced before AWS ends them after 24 hours.
//! [`Connection::events`] reports all of it.
//!
//! The outbox is in memory only: what it holds when the process ends is lost. So await
//! [`disconnect`](Connection::disconnect) before the program ends; it also keeps the server from
//! publishing the last will, which it does for a process that ends without a goodbye.
//!
//! A server that says nothing for the [`keep_alive`](Options::keep_alive) is asked whether it is
//! there, whatever is sent to it meanwhile, and left if there is no answer within half of it. One
//! that answers but does not acknowledge is left, too ([`Event::Unanswered`]).
//!
//! MQTT 3.1.1 has no way to refuse a message but to close the connection. If a server closes four
//! connections at the same message, in an orderly way that nobody in between can forge (TLS's
//! `close_notify`, a WebSocket's close frame), the message fails with [`Outcome::NotTaken`]. What the
//! network cuts says nothing of a message, a client id or a certificate, and no message is given up
//! for it.
//!
//! # Messages
//!
//! Each subscription is a stream, and [`Connection::messages`] one of all. A message of QoS 1 is
//! acknowledged when it is taken from its streams, or by [`Message::ack`] where
//! [`Subscribe::manual_ack`] leaves it to the reader. So a reader that is slow makes the server
//! wait: it sends no more than it may have unacknowledged ([`Options::receive_maximum`]), over the
//! connection as a whole, so a reader that leaves all of that unread leaves nothing of QoS 1 to the
//! other streams ([`Event::WindowFull`] names it). A server that sends more than its window all the
//! same, as one of MQTT 3.1.1 may, finds the stream full at 1024 beyond its capacity. Messages of
//! QoS 0, which no server holds back, are dropped when their stream is full, and an event counts
//! them. No reader stops the connection, its keep-alive, or what is published.
//!
//! Filters that overlap are no reason to get a message twice: in MQTT 5 each of them has a
//! subscription identifier, if the server takes such, and a stream gets each message once. A
//! message that is larger than [`Options::max_incoming_packet_size`] is passed over, acknowledged,
//! and reported ([`Event::TooLarge`]).
//!
//! A session that the server has kept for an earlier process ([`Options::clean_start`]) brings
//! messages before anybody subscribes: they wait a minute for somebody who does, as many as the
//! window holds, at least 1024.
//!
//! # Two clients with one id
//!
//! The server lets the newer one in and closes the older one's connection, so two clients with one
//! id evict each other for ever. [`Event::DuplicateClientId`] says so, for certain where the server
//! tells, as a suspicion after three connections that the server soon closed, in an orderly way,
//! without a word.
//!
//! # Limits of AWS IoT
//!
//! More than eight filters in a subscribe and QoS 2 are refused before they are sent; to an
//! endpoint of AWS's own name, so are payloads over 128 KB and topics over 256 bytes or seven
//! slashes. Another broker, or a custom domain, is given whatever MQTT can carry, up to what it
//! says or [`Options::max_outgoing_packet_size`].

mod api;
mod driver;
mod error;
mod open;
mod transport;
mod wire;

/// What fuzz targets reach. Not part of the public API.
#[doc(hidden)]
pub mod __fuzz {
    /// Reads what a server answered to a WebSocket's handshake: its `Date`, and its body.
    pub fn answer(date: &str, body: &[u8]) {
        crate::transport::websocket::read_answer(date, body);
    }

    /// Matches a topic that a server sends to a filter that it may have granted.
    pub fn topic(filter: &str, topic: &str) -> bool {
        crate::api::topic::check_filter(filter).is_ok() && crate::api::topic::matches(filter, topic)
    }

    /// Reads a configured endpoint and proxy.
    pub fn places(endpoint: &str, proxy: &str) {
        let _ = crate::transport::endpoint::Endpoint::parse(endpoint, None, |_| 8883);
        let _ = crate::transport::check_proxy(proxy);
    }
}

pub use api::connection::{Connection, Messages, Subscribe, Subscription};
pub use api::events::{Event, Events, State};
pub use api::message::{Message, Publish, Qos};
pub use api::options::{Options, Protocol, Transport, WhenFull, WhenSessionLost};
pub use error::outcome::Outcome;
pub use open::{MqttExt, connect};
