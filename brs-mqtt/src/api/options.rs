//! What a connection is given.
//!
//! Owns the typed builder and its checks; the spelling as data is `data.rs`'s. A value may be wrong
//! until it has been [validated](Options::validate), which connecting does first. Certificate and
//! key are `brs-iot`'s; the meaning of each value is here.

use std::sync::Arc;
use std::time::Duration;

use brs_core::{Clock, Error, Params, SecretString};
use brs_iot::{DeviceParams, Passphrase, Pem};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use crate::api::message::Publish;

mod check;
mod data;
mod derived;

/// The shortest and the longest wait between two tries: what AWS's own device SDKs use.
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
    /// MQTT 5: reasons in words, a session that ends when it should, flow control.
    #[default]
    #[serde(rename = "5", alias = "5.0")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// What a full outbox means for the next publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits for room.
    #[default]
    Block,
    /// The oldest that is not yet in flight is dropped: its publish ends with
    /// [`Outcome::Dropped`](crate::Outcome::Dropped).
    DropOldest,
    /// It ends with [`Outcome::Full`](crate::Outcome::Full).
    Error,
}

/// What becomes of publishes in flight when the server has not kept the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenSessionLost {
    /// They are published once more, as new ones: at least once, perhaps twice.
    #[default]
    Requeue,
    /// They end with [`Outcome::SessionLost`](crate::Outcome::SessionLost): whether they have
    /// arrived is unknown.
    Fail,
}

/// The options of a connection.
///
/// ```
/// use std::time::Duration;
///
/// let options = brs_mqtt::Options::new("a1b2c3-ats.iot.eu-west-1.amazonaws.com", "device-7")
///     .certificate("/etc/device/certificate.pem")
///     .private_key("/etc/device/private.key")
///     .keep_alive(Duration::from_secs(60));
/// options.validate()?;
/// # Ok::<(), brs_core::Error>(())
/// ```
///
/// The same as data, for configuration files; the names are those of the methods or those of the
/// Python package, durations are numbers of seconds:
///
/// ```
/// let options = brs_mqtt::Options::from_data(serde_json::json!({
///     "endpoint": "a1b2c3-ats.iot.eu-west-1.amazonaws.com", "client_id": "device-7", "transport": "x509",
///     "certificate": "~/device/certificate.pem", "private_key": "~/device/private.key",
///     "ca": "~/device/AmazonRootCA1.pem", "keep_alive_secs": 60, "use_alpn": true, "port": 443,
/// }))?;
/// options.validate()?;
/// # Ok::<(), brs_core::Error>(())
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
    /// A connection to the account's data endpoint, as a client with that id (1–128 bytes; one
    /// connection per id).
    ///
    /// `aws iot describe-endpoint --endpoint-type iot:Data-ATS` tells the endpoint; a custom
    /// domain's name and an address of another broker are taken too. A port may stand after a
    /// colon.
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
    /// A validation error that names the wrong field's path ([`Error::param`]), never its value.
    /// What the values mean together is checked by [`validate`](Self::validate).
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

    /// Whether the TLS extension ALPN asks for `x-amzn-mqtt-ca`, which is what MQTT on port 443
    /// needs. Default: on that port.
    ///
    /// It leads through firewalls that let only 443 pass, unless they rewrite TLS.
    pub fn alpn(mut self, alpn: bool) -> Self {
        self.alpn = Some(alpn);
        self
    }

    /// Certificate and key in one. Default: the session's.
    pub fn device(mut self, device: DeviceParams) -> Self {
        self.device = Some(device);
        self
    }

    /// The device's certificate, with those that lead to its authority: a path, PEM text or bytes.
    pub fn certificate(self, certificate: impl Into<Pem>) -> Self {
        self.with_device(|device| device.certificate(certificate))
    }

    /// The certificate's private key: a path, PEM text or bytes.
    pub fn private_key(self, private_key: impl Into<Pem>) -> Self {
        self.with_device(|device| device.private_key(private_key))
    }

    /// The pass phrase of an encrypted private key. Default: none.
    pub fn private_key_passphrase(self, passphrase: impl Into<Passphrase>) -> Self {
        self.with_device(|device| device.private_key_passphrase(passphrase))
    }

    /// The key within a PKCS#11 token, in place of a private key; the certificate too, where none
    /// is given.
    ///
    /// A signature has the token's own limit and that of the try to connect: a token that waits for
    /// a person wants a longer [`connect_timeout`](Self::connect_timeout), too.
    #[cfg(feature = "pkcs11")]
    pub fn pkcs11(self, pkcs11: brs_iot::Pkcs11) -> Self {
        self.with_device(|device| device.pkcs11(pkcs11))
    }

    /// The authorities that the server's certificate may come from. Default: the session's, else
    /// the system's.
    pub fn trust_store(mut self, trust_store: impl Into<Pem>) -> Self {
        self.trust_store = Some(trust_store.into());
        self
    }

    /// The region that WebSocket requests are signed for. Default: that in the endpoint's name,
    /// else the session's.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// An HTTP proxy, `http://host:port`, perhaps with user and password, through which the
    /// connection is tunnelled. Default: that of the environment when the connection is opened
    /// (`HTTPS_PROXY`, else `ALL_PROXY`, unless `NO_PROXY` excepts the endpoint; upper or lower
    /// case). Never shown.
    ///
    /// As for a session of the method `iot`, one of the environment must be an `http://` proxy,
    /// too.
    pub fn proxy(mut self, proxy: impl Into<SecretString>) -> Self {
        self.proxy = Some(proxy.into());
        self
    }

    /// The user's name in CONNECT: for an authorizer of the account's own in AWS IoT, which also
    /// reads parameters from it (`name?x-amz-customauthorizer-name=…`), and for other brokers.
    /// Default: none. Never shown, since it may hold a token.
    ///
    /// With a name, a connection needs no certificate: without one it shows only name and password,
    /// and goes to port 443 of AWS IoT with `mqtt` in [`alpn`](Self::alpn), where AWS wants it.
    pub fn username(mut self, username: impl Into<SecretString>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The user's password in CONNECT. Default: none. Never shown, and held in memory that is
    /// wiped.
    pub fn password(mut self, password: impl Into<SecretString>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// After how long without a word from the server, whatever is sent to it, the client asks
    /// whether it is there: 5–1200 s, AWS's maximum. Default: 60 s, or what a server of MQTT 5
    /// wants.
    ///
    /// The connection is lost when there is no answer within half of it. A shorter one notices a
    /// dead line sooner and costs traffic; AWS counts 1.5 times the value. It also bounds how long
    /// what is sent may find no room on its way or, on Linux, no confirmation, and how long
    /// publishes may be in flight without any acknowledgement: 1.5 times the value, 12 s at least
    /// and 60 s at most ([`Event::Unanswered`](crate::Event::Unanswered)).
    pub fn keep_alive(mut self, keep_alive: Duration) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Whether the first connection begins with a new session, forgetting an older one of this
    /// client id. Default: yes.
    ///
    /// Later connections of this client go on with its session for as long as
    /// [`session_expiry`](Self::session_expiry) says.
    pub fn clean_start(mut self, clean_start: bool) -> Self {
        self.clean_start = clean_start;
        self
    }

    /// How long the server keeps the session, subscriptions and undelivered messages, after the
    /// connection is lost: whole seconds. Default: 0, not at all. AWS keeps it an hour, or up to
    /// seven days.
    ///
    /// MQTT 3.1.1 knows only whether: with more than 0 it needs `clean_start(false)`.
    pub fn session_expiry(mut self, session_expiry: Duration) -> Self {
        self.session_expiry = session_expiry;
        self
    }

    /// The message that the server publishes when the connection is lost without a word. Default:
    /// none.
    pub fn last_will(mut self, last_will: Publish) -> Self {
        self.last_will = Some(last_will);
        self
    }

    /// One more property of CONNECT (MQTT 5).
    pub fn user_property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.user_properties.push((key.into(), value.into()));
        self
    }

    /// How long one try to connect may take, from the name's look-up to the end of TLS's or the
    /// WebSocket's handshake: 1–300 s. Default: 30 s. The server's answer to the client's name
    /// (CONNACK) may take 5 s more; a refresh that a WebSocket's signature waits for comes before
    /// it, and has the session's own limit.
    pub fn connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// Whether connecting returns at once and goes on trying until it succeeds. Default: it returns
    /// with the first connection or the first try's error.
    ///
    /// For devices that start without a network: what is published meanwhile waits in the outbox.
    pub fn defer_connect(mut self, defer_connect: bool) -> Self {
        self.defer_connect = defer_connect;
        self
    }

    /// The shortest and the longest wait between tries. Default: 1 s and 128 s, as AWS's device
    /// SDKs have it.
    ///
    /// The wait doubles with each failure, has jitter, and starts anew after 30 s of a stable
    /// connection.
    pub fn reconnect_backoff(mut self, shortest: Duration, longest: Duration) -> Self {
        self.backoff = (shortest, longest);
        self
    }

    /// How many publishes may be on their way, waiting and in flight together. Default: 1000.
    ///
    /// The outbox is in memory only: what it holds when the process ends is lost.
    pub fn outbox_messages(mut self, messages: usize) -> Self {
        self.outbox_messages = messages;
        self
    }

    /// How many bytes they may take together. Default: 16 MiB.
    pub fn outbox_bytes(mut self, bytes: usize) -> Self {
        self.outbox_bytes = bytes;
        self
    }

    /// What a full outbox means for the next publish. Default: it waits.
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }

    /// Whether the outbox holds messages of QoS 0 while there is no connection. Default: no, they
    /// end with [`Outcome::Offline`](crate::Outcome::Offline). So does, in any case, one that was
    /// being sent when the connection was lost.
    pub fn hold_at_most_once(mut self, hold: bool) -> Self {
        self.hold_at_most_once = hold;
        self
    }

    /// What becomes of publishes in flight when the server has not kept the session. Default: they
    /// are published again.
    pub fn when_session_lost(mut self, when_session_lost: WhenSessionLost) -> Self {
        self.when_session_lost = when_session_lost;
        self
    }

    /// How many messages of QoS 1 the server may send before their acknowledgement (MQTT 5):
    /// 1–65535. Default: 100, AWS's maximum.
    pub fn receive_maximum(mut self, receive_maximum: u16) -> Self {
        self.receive_maximum = receive_maximum;
        self
    }

    /// The largest packet that is read, in bytes: 1024 – 268,435,460, MQTT's own largest. Default:
    /// 256 KiB from AWS IoT, whose messages have at most 128 KB, and 8 MiB from other brokers.
    ///
    /// A server of MQTT 5 is told and sends nothing larger. A larger message of one that sends it
    /// all the same, as one of MQTT 3.1.1 does, is passed over without being held in memory,
    /// acknowledged, and told as [`Event::TooLarge`](crate::Event::TooLarge). A larger limit costs
    /// memory for as many such messages as streams hold.
    pub fn max_incoming_packet_size(mut self, bytes: usize) -> Self {
        self.max_incoming_packet_size = Some(bytes);
        self
    }

    /// The largest packet that is sent, in bytes: 1024 – 268,435,460. Default: what the server says
    /// (MQTT 5), else no limit; to AWS IoT, also payloads of at most 128 KB and topics of at most
    /// 256 bytes and seven slashes.
    ///
    /// A larger message fails at once, and costs no connection.
    pub fn max_outgoing_packet_size(mut self, bytes: usize) -> Self {
        self.max_outgoing_packet_size = Some(bytes);
        self
    }

    /// How many messages of QoS 0 a stream holds for a reader that is slow; of QoS 1 it holds the
    /// server's window, at least 1024, beyond that. Default: 256.
    pub fn stream_capacity(mut self, stream_capacity: usize) -> Self {
        self.stream_capacity = stream_capacity;
        self
    }

    /// When a WebSocket connection is replaced, since AWS ends it after 24 hours: 60 s – 23 h 50
    /// min. Default: 23 h.
    ///
    /// Up to a twentieth earlier, at random, so that a fleet does not move in step.
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
