//! MQTT to AWS IoT Core for brs: a connection that reconnects by itself and loses nothing silently.
//!
//! ```text
//! session.mqtt(options) ──► Connection: publish · subscribe · unsubscribe · events · disconnect
//! mqtt::connect(options)        │ commands                     ▲ messages, answers
//!                               ▼                              │
//!                           driver: one task ── outbox, subscriptions, back-off
//!                               │
//!                    TCP ─ proxy ─ TLS ─ WebSocket ──► <prefix>-ats.iot.<region>.amazonaws.com
//!                    current certificate or signature, for each connection
//! ```
//!
//! ```no_run
//! # mod brs { pub use brs_core::*; pub use brs_mqtt as mqtt; }
//! use brs::mqtt::{Options, Publish, Qos, Subscribe};
//!
//! # async fn example() -> Result<(), brs::Error> {
//! let options = Options::new("a1b2c3-ats.iot.eu-west-1.amazonaws.com", "device-7")
//!     .certificate("/etc/device/certificate.pem")
//!     .private_key("/etc/device/private.key");
//! let mqtt = brs::mqtt::connect(options).await?;
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
//! | [`Transport`] | port | authenticates by | needs |
//! |---|---|---|---|
//! | `X509` | 8883 | the device's certificate | certificate and key (file or token), or a session of the method `iot` |
//! | `X509` | 443, ALPN `x-amzn-mqtt-ca` | the device's certificate | the same |
//! | `X509` | 443, ALPN `mqtt` | a user name and a password | [`Options::username`], and no certificate |
//! | `WebSocket` | 443 | a SigV4 signature | any session |
//!
//! MQTT 5 is the default, and [`Protocol`] selects 3.1.1. Each way can go through an HTTP CONNECT
//! proxy, from the options or the environment. User name and password are for custom authorizers and
//! can be combined with a certificate.
//!
//! Each connection uses the current credentials: a URL is signed for its handshake, after a refresh if
//! one is due, and a rotated certificate is used from the next connection on. A failed refresh is the
//! error of that attempt; brs never signs with expired credentials.
//!
//! [`Options::from_data`] reads all options from a configuration file, by brs's names or those of the
//! Python package.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `pkcs11` | keys in a PKCS#11 token: that of a session of the method `iot`, or `Options::pkcs11` |
//!
//! A token that hangs fails the attempt, and blocks neither a thread of the runtime nor its shutdown.
//!
//! # Results
//!
//! [`publish`](Connection::publish) is ready when a message of QoS 1 is acknowledged, or a message of
//! QoS 0 is written to the socket; [`subscribe`](Connection::subscribe) when the server has granted the
//! subscription. If a call fails on this side of the connection, [`Outcome::of`] finds the reason in
//! its error; the reason code of a server's refusal is [`Error::code`](brs_core::Error::code).
//!
//! # Reconnecting
//!
//! After a loss the client waits 1 s, 2 s, … 128 s, with jitter. It starts from 1 s again after a
//! connection that was stable for 30 s. If the server has not kept the session, the client repeats all
//! subscriptions and publishes nothing before the server has answered them.
//!
//! Messages of QoS 1 in flight are sent again, with their packet ids and the DUP flag, if the session
//! was kept; otherwise [`WhenSessionLost`] decides whether they are published again or fail. Publishes
//! wait in the outbox meanwhile, which is bounded in messages and bytes; [`WhenFull`] decides what
//! happens when it is full. WebSockets are replaced before AWS closes them after 24 hours.
//! [`Connection::events`] reports all of it.
//!
//! The outbox is in memory only: its messages are lost when the process ends. Await
//! [`disconnect`](Connection::disconnect) before the program ends. It also keeps the server from
//! publishing the last will, which it does if the process ends without DISCONNECT.
//!
//! If the server is silent for the [`keep_alive`](Options::keep_alive), the client sends a ping, and
//! replaces the connection if there is no answer within half of it. It also replaces a connection to a
//! server that answers pings but acknowledges nothing ([`Event::Unanswered`]).
//!
//! An MQTT 3.1.1 server can refuse a message only by closing the connection. If it closes four
//! connections at the same message, and in an orderly way that only the server itself can produce
//! (TLS's `close_notify`, a WebSocket's close frame), the message fails with [`Outcome::NotTaken`]. A
//! connection that the network cuts proves nothing about a message, and no message fails for it.
//!
//! # Receiving
//!
//! Each subscription is a stream, and [`Connection::messages`] is one of all messages. A message of
//! QoS 1 is acknowledged when it is read from its streams, or by [`Message::ack`] with
//! [`Subscribe::manual_ack`].
//!
//! A slow reader therefore slows down the server, which sends only a limited number of unacknowledged
//! messages ([`Options::receive_maximum`]). The limit is for the whole connection: a reader that uses
//! it up keeps messages of QoS 1 from the other streams ([`Event::WindowFull`] names it). If a server
//! exceeds its window, as one of MQTT 3.1.1 can, the stream is full at 1024 messages beyond its
//! capacity. Messages of QoS 0, which no server holds back, are dropped when their stream is full, and
//! an event counts them. No reader stops the connection, its keep-alive, or publishes.
//!
//! Overlapping filters do not deliver a message twice: in MQTT 5 each subscription has an identifier,
//! if the server supports them, and a stream gets each message once. A message that is larger than
//! [`Options::max_incoming_packet_size`] is skipped, acknowledged and reported ([`Event::TooLarge`]).
//!
//! A session that the server has kept for an earlier process ([`Options::clean_start`]) can deliver
//! messages before the program subscribes. They are held for a minute: as many as the window allows,
//! at least 1024.
//!
//! # Two clients with one id
//!
//! A server accepts the newer client and closes the connection of the older one, so two clients with
//! one id evict each other for ever. [`Event::DuplicateClientId`] reports this: for certain if the
//! server gives the reason, and as a suspicion after three connections that the server soon closed in
//! an orderly way without one.
//!
//! # Forks
//!
//! A connection stays with the process that opened it: see [`Connection`].
//!
//! # Limits of AWS IoT
//!
//! More than eight filters in a subscribe and QoS 2 are rejected before they are sent. For an endpoint
//! with AWS's own name, so are payloads over 128 KB, and topics over 256 bytes or seven slashes. For
//! other brokers and custom domains the limits are MQTT's, the server's, and
//! [`Options::max_outgoing_packet_size`].

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
pub use bytes::Bytes;
pub use error::outcome::Outcome;
pub use open::{MqttExt, connect};
