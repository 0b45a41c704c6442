//! The options of a connection.
//!
//! Owns the typed builder; `check.rs` has its checks, `data.rs` the spelling as data, and `brs-iot`
//! certificate and key. A value may be wrong until it is [validated](Options::validate), which
//! connecting does first.

use std::sync::Arc;
use std::time::Duration;

use brs_core::{Clock, Error, Params, SecretString};
use brs_iot::{DeviceParams, Pem, SecretSource};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::api::message::Publish;

mod check;
mod data;
mod derived;

/// The shortest and the longest wait between two attempts: those of AWS's device SDKs.
const RECONNECT_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(128));

/// How the connection is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Transport {
    /// Mutual TLS with the device's certificate: port 8883, or 443 with ALPN.
    #[default]
    #[serde(rename = "x509")]
    X509,
    /// WebSocket on port 443, signed with a session's credentials.
    #[serde(rename = "ws", alias = "websocket")]
    WebSocket,
}

/// The version of MQTT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub enum Protocol {
    /// MQTT 5: reasons for refusals, session expiry, flow control, message properties.
    #[default]
    #[serde(rename = "5", alias = "5.0")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// What happens to a publish when the outbox is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits for room.
    #[default]
    Block,
    /// The oldest message that is not yet in flight is dropped: its publish fails with
    /// [`Outcome::Dropped`](crate::Outcome::Dropped).
    DropOldest,
    /// It fails with [`Outcome::Full`](crate::Outcome::Full).
    Error,
}

/// What happens to publishes in flight when the server has lost the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenSessionLost {
    /// They are published again as new messages: they may arrive twice.
    #[default]
    Requeue,
    /// They fail with [`Outcome::SessionLost`](crate::Outcome::SessionLost): they may have arrived.
    Fail,
}

/// The options of a connection.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_mqtt as mqtt; }
/// use std::time::Duration;
///
/// let options = brs::mqtt::Options::new("a1b2c3-ats.iot.eu-west-1.amazonaws.com", "device-7")
///     .certificate("/etc/device/certificate.pem")
///     .private_key("/etc/device/private.key")
///     .keep_alive(Duration::from_secs(60));
/// options.validate()?;
/// # Ok::<(), brs::Error>(())
/// ```
///
/// The same as data, for configuration files. The names are those of the methods or of the Python
/// package, and durations are numbers of seconds:
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_mqtt as mqtt; }
/// let options = brs::mqtt::Options::from_data(serde_json::json!({
///     "endpoint": "a1b2c3-ats.iot.eu-west-1.amazonaws.com", "client_id": "device-7", "transport": "x509",
///     "certificate": "~/device/certificate.pem", "private_key": "~/device/private.key",
///     "ca": "~/device/AmazonRootCA1.pem", "keep_alive_secs": 60, "use_alpn": true, "port": 443,
/// }))?;
/// options.validate()?;
/// # Ok::<(), brs::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "data::Data")]
#[must_use]
pub struct Options {
    pub(crate) endpoint: String,
    pub(crate) client_id: String,
    pub(crate) transport: Transport,
    pub(crate) protocol: Protocol,
    pub(crate) port: Option<u16>,
    pub(crate) alpn: Option<bool>,
    pub(crate) device: Option<DeviceParams>,
    pub(crate) trust_store: Option<Pem>,
    pub(crate) region: Option<String>,
    pub(crate) proxy: Option<SecretString>,
    pub(crate) username: Option<SecretString>,
    pub(crate) password: Option<SecretString>,
    pub(crate) keep_alive: Duration,
    pub(crate) clean_start: bool,
    pub(crate) session_expiry: Duration,
    pub(crate) last_will: Option<Publish>,
    pub(crate) user_properties: Vec<(String, String)>,
    pub(crate) connect_timeout: Duration,
    pub(crate) defer_connect: bool,
    pub(crate) backoff: (Duration, Duration),
    pub(crate) outbox_messages: usize,
    pub(crate) outbox_bytes: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) hold_at_most_once: bool,
    pub(crate) when_session_lost: WhenSessionLost,
    pub(crate) receive_maximum: u16,
    pub(crate) max_incoming_packet_size: Option<usize>,
    pub(crate) max_outgoing_packet_size: Option<usize>,
    pub(crate) stream_capacity: usize,
    pub(crate) renew_after: Duration,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) runtime: Option<Handle>,
}

impl Options {
    /// A connection to the account's data endpoint with a client id (1–128 bytes; one connection per
    /// id).
    ///
    /// `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints the endpoint. A custom domain
    /// and the address of another broker are accepted, too. A port can follow after a colon.
    pub fn new(endpoint: impl Into<String>, client_id: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            client_id: client_id.into(),
            transport: Transport::default(),
            protocol: Protocol::default(),
            port: None,
            alpn: None,
            device: None,
            trust_store: None,
            region: None,
            proxy: None,
            username: None,
            password: None,
            keep_alive: Duration::from_secs(60),
            clean_start: true,
            session_expiry: Duration::ZERO,
            last_will: None,
            user_properties: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            defer_connect: false,
            backoff: RECONNECT_BACKOFF,
            outbox_messages: 1000,
            outbox_bytes: 16 * 1024 * 1024,
            when_full: WhenFull::default(),
            hold_at_most_once: false,
            when_session_lost: WhenSessionLost::default(),
            receive_maximum: 100,
            max_incoming_packet_size: None,
            max_outgoing_packet_size: None,
            stream_capacity: 256,
            renew_after: Duration::from_secs(23 * 3600),
            clock: None,
            runtime: None,
        }
    }

    /// The options from data: a map, a configuration file's table, or any structure that can be
    /// serialised.
    ///
    /// # Errors
    ///
    /// A validation error that names the path of the wrong field ([`Error::param`]), never its value.
    /// [`validate`](Self::validate) checks the values themselves.
    pub fn from_data(data: impl Serialize) -> Result<Self, Error> {
        Params::data(data)?.take()
    }

    /// How the connection is made. Default: mutual TLS.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// The version of MQTT. Default: 5.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The port. Default: 8883, with [`alpn`](Self::alpn) and for WebSocket 443.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Whether to request `x-amzn-mqtt-ca` by the TLS extension ALPN, which MQTT on port 443 needs.
    /// Default: only on that port.
    ///
    /// It passes firewalls that allow only port 443, unless they rewrite TLS.
    pub fn alpn(mut self, alpn: bool) -> Self {
        self.alpn = Some(alpn);
        self
    }

    /// Certificate and key in one. Default: the session's.
    pub fn device(mut self, device: DeviceParams) -> Self {
        self.device = Some(device);
        self
    }

    /// The device's certificate, followed by any intermediate ones: a path, PEM text or bytes.
    pub fn certificate(self, certificate: impl Into<Pem>) -> Self {
        self.with_device(|device| device.certificate(certificate))
    }

    /// The certificate's private key: a path, PEM text or bytes.
    pub fn private_key(self, private_key: impl Into<Pem>) -> Self {
        self.with_device(|device| device.private_key(private_key))
    }

    /// The pass phrase of an encrypted private key. Default: none.
    pub fn private_key_passphrase(self, passphrase: impl Into<SecretSource>) -> Self {
        self.with_device(|device| device.private_key_passphrase(passphrase))
    }

    /// The key in a PKCS#11 token, in place of a private key; also the certificate, if none is given.
    ///
    /// The token's signature timeout and [`connect_timeout`](Self::connect_timeout) both limit a
    /// signature: a token that waits for a person needs longer values of both.
    #[cfg(feature = "pkcs11")]
    pub fn pkcs11(self, pkcs11: brs_iot::Pkcs11) -> Self {
        self.with_device(|device| device.pkcs11(pkcs11))
    }

    /// The certificate authorities to trust. Default: the session's, else the system's.
    pub fn trust_store(mut self, trust_store: impl Into<Pem>) -> Self {
        self.trust_store = Some(trust_store.into());
        self
    }

    /// The region to sign WebSocket requests for, which cannot be another than the one in the
    /// endpoint's name. Default: that one, else the session's.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// An HTTP proxy, `http://host:port` or `http://user:password@host:port`, to tunnel the connection
    /// through. Never shown. Default: the environment's when the connection is opened (`HTTPS_PROXY`,
    /// else `ALL_PROXY`, unless `NO_PROXY` lists the endpoint; upper or lower case), which must be an
    /// `http://` proxy, too.
    pub fn proxy(mut self, proxy: impl Into<SecretString>) -> Self {
        self.proxy = Some(proxy.into());
        self
    }

    /// The user name in CONNECT: for a custom authorizer of AWS IoT, which can also read parameters
    /// from it (`name?x-amz-customauthorizer-name=…`), and for other brokers. Never shown, since it may
    /// contain a token. Default: none.
    ///
    /// With a user name a connection needs no certificate. Without one it goes to port 443 of AWS IoT,
    /// with `mqtt` in [`alpn`](Self::alpn), as AWS requires.
    pub fn username(mut self, username: impl Into<SecretString>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password in CONNECT. Never shown, and wiped from memory. Default: none.
    pub fn password(mut self, password: impl Into<SecretString>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// How long the server may be silent before the client sends a ping: 5–1200 s, AWS's maximum.
    /// Default: 60 s, or the value that an MQTT 5 server asks for.
    ///
    /// The connection is lost if the server does not answer within half of it. A shorter value notices
    /// a dead connection sooner and costs traffic; AWS waits for 1.5 times the value. It also limits
    /// how long data may wait to be sent or, on Linux, to be confirmed, and how long publishes may be
    /// in flight without any acknowledgement: 1.5 times the value, at least 12 s and at most 60 s
    /// ([`Event::Unanswered`](crate::Event::Unanswered)).
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Whether the first connection starts a new session and discards an older one of this client id.
    /// Default: yes.
    ///
    /// Reconnects continue the session within [`session_expiry`](Self::session_expiry).
    pub fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = clean_start;
        self
    }

    /// How long the server keeps the session (subscriptions and undelivered messages) after the
    /// connection is lost, in whole seconds. Default: 0, not at all. AWS keeps it for an hour, or up to
    /// seven days on request.
    ///
    /// MQTT 3.1.1 has no duration: a value above 0 needs `clean_start(false)` there.
    pub fn session_expiry(mut self, session_expiry: Duration) -> Self {
        self.session_expiry = session_expiry;
        self
    }

    /// The message that the server publishes when the connection is lost without DISCONNECT. Default:
    /// none.
    pub fn last_will(mut self, last_will: Publish) -> Self {
        self.last_will = Some(last_will);
        self
    }

    /// Adds a user property of CONNECT (MQTT 5).
    pub fn user_property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_properties.push((key.into(), value.into()));
        self
    }

    /// How long one attempt to connect may take, from the DNS lookup to the end of the TLS or WebSocket
    /// handshake: 1–300 s. Default: 30 s. CONNACK may take 5 s more. A refresh for a WebSocket's
    /// signature comes before that and has the session's limit.
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// Whether connecting returns at once and keeps trying in the background. Default: it returns with
    /// the first connection, or the error of the first attempt.
    ///
    /// For devices that start without a network: publishes wait in the outbox meanwhile.
    pub fn defer_connect(mut self, defer_connect: bool) -> Self {
        self.defer_connect = defer_connect;
        self
    }

    /// The shortest and the longest wait between attempts. Default: 1 s and 128 s, as in AWS's device
    /// SDKs.
    ///
    /// The wait doubles with each failure, has jitter, and starts from the shortest again after 30 s
    /// of a stable connection.
    pub fn reconnect_backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.backoff = (shortest, longest);
        self
    }

    /// How many publishes the outbox holds, waiting and in flight. Default: 1000.
    ///
    /// The outbox is in memory only: its messages are lost when the process ends.
    pub fn outbox_messages(mut self, messages: usize) -> Self {
        self.outbox_messages = messages;
        self
    }

    /// How many bytes the messages in the outbox can use. Default: 16 MiB.
    pub fn outbox_bytes(mut self, bytes: usize) -> Self {
        self.outbox_bytes = bytes;
        self
    }

    /// What happens to a publish when the outbox is full. Default: it waits.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Whether the outbox holds messages of QoS 0 while there is no connection. Default: no, they
    /// fail with [`Outcome::Offline`](crate::Outcome::Offline). A message that was being sent when the
    /// connection was lost fails so in any case.
    pub fn hold_at_most_once(mut self, hold: bool) -> Self {
        self.hold_at_most_once = hold;
        self
    }

    /// What happens to publishes in flight when the server has lost the session. Default: they
    /// are published again.
    pub fn when_session_lost(mut self, when_session_lost: WhenSessionLost) -> Self {
        self.when_session_lost = when_session_lost;
        self
    }

    /// How many unacknowledged messages of QoS 1 the server may send (MQTT 5): 1–65535. Default: 100,
    /// AWS's maximum.
    pub fn receive_maximum(mut self, receive_maximum: u16) -> Self {
        self.receive_maximum = receive_maximum;
        self
    }

    /// The largest packet to receive, in bytes: 1024 – 268,435,460, MQTT's maximum. Default: 256 KiB
    /// from AWS IoT, whose messages have at most 128 KB, and 8 MiB from other brokers.
    ///
    /// An MQTT 5 server learns the limit in CONNECT. A larger message is skipped without being held in
    /// memory, acknowledged, and reported as [`Event::TooLarge`](crate::Event::TooLarge). A larger
    /// limit costs memory for as many such messages as the streams hold.
    pub fn max_incoming_packet_size(mut self, bytes: usize) -> Self {
        self.max_incoming_packet_size = Some(bytes);
        self
    }

    /// The largest packet to send, in bytes: 1024 – 268,435,460. Default: the server's limit (MQTT 5),
    /// else none. For AWS IoT, payloads also have at most 128 KB, and topics at most 256 bytes and
    /// seven slashes.
    ///
    /// A larger message fails at once and does not cost the connection.
    pub fn max_outgoing_packet_size(mut self, bytes: usize) -> Self {
        self.max_outgoing_packet_size = Some(bytes);
        self
    }

    /// How many messages of QoS 0 a stream holds for a slow reader; it also holds the server's window
    /// of QoS 1, at least 1024. Default: 256.
    pub fn stream_capacity(mut self, stream_capacity: usize) -> Self {
        self.stream_capacity = stream_capacity;
        self
    }

    /// When to replace a WebSocket connection, which AWS closes after 24 hours: 60 s – 23 h 50 min.
    /// Default: 23 h.
    ///
    /// It is replaced up to 5 % earlier, at random, so that a fleet does not reconnect all at once.
    pub fn renew_after(mut self, renew_after: Duration) -> Self {
        self.renew_after = renew_after;
        self
    }

    /// The source of time. Default: the session's, else the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The runtime that drives the connection. Default: brs's own.
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    fn with_device(mut self, set: impl FnOnce(DeviceParams) -> DeviceParams) -> Self {
        self.device = Some(set(self.device.unwrap_or_default()));
        self
    }
}
