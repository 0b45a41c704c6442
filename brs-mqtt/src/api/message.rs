//! Messages to publish, received messages, and their acknowledgement.
//!
//! Owns both types and when a received message is acknowledged: once every stream that got it has
//! handed it to its reader (with manual acknowledgement: once the reader acknowledged it), or had no
//! room for it and reported that. Never earlier, so that the server still has every message that a
//! process did not see before it ended.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use brs_core::Error;
use bytes::Bytes;
use tokio::sync::mpsc::UnboundedSender;

use crate::api::topic::{check_for_aws, check_name};

/// AWS IoT Core: 128 KB.
pub(crate) const MAX_PAYLOAD: usize = 128 * 1024;

/// The quality of service of a message.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// 0: the message arrives once or not at all.
    AtMostOnce,
    /// 1: the message arrives at least once.
    #[default]
    AtLeastOnce,
    /// 2: refused with the reason, since AWS IoT Core has no QoS 2.
    ExactlyOnce,
}

impl Qos {
    pub(crate) fn check(self) -> Result<(), Error> {
        if self != Self::ExactlyOnce {
            return Ok(());
        }
        Err(Error::validation(
            "AWS IoT Core has no QoS 2: use QoS 1, and \
             make duplicate messages harmless",
        )
        .with_param("qos")
        .unrecoverable())
    }
}

/// A message to publish.
///
/// ```
/// # mod brs { pub use brs_core::*; pub use brs_mqtt as mqtt; }
/// use brs::mqtt::{Publish, Qos};
///
/// let message = Publish::new("devices/7/temperature", "21.5").qos(Qos::AtLeastOnce).content_type("text/plain");
/// ```
#[derive(Clone)]
#[must_use]
pub struct Publish {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) properties: Properties,
}

/// MQTT 5, section 1.5: texts and data have a length of two bytes.
pub(crate) const MAX_TEXT: usize = 65_535;

/// MQTT 5's properties of a message. MQTT 3.1.1 has none of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    pub(crate) message_expiry: Option<Duration>,
    pub(crate) content_type: Option<String>,
    pub(crate) response_topic: Option<String>,
    pub(crate) correlation_data: Option<Bytes>,
    pub(crate) user: Vec<(String, String)>,
}

impl Publish {
    /// A message of QoS 1 to a topic. AWS IoT accepts payloads of up to 128 KB.
    pub fn new(topic: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into(),
            qos: Qos::default(),
            retain: false,
            properties: Properties::default(),
        }
    }

    /// The quality of service. Default: at least once.
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Whether the server keeps the message for later subscribers. Default: no.
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// How long the server keeps the message for subscribers that are offline, in whole seconds
    /// (MQTT 5). Default: without limit.
    pub fn message_expiry(mut self, expiry: Duration) -> Self {
        self.properties.message_expiry = Some(expiry);
        self
    }

    /// The type of the payload, usually a MIME type (MQTT 5). Default: none.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.properties.content_type = Some(content_type.into());
        self
    }

    /// The topic for an answer (MQTT 5). Default: none.
    pub fn response_topic(mut self, topic: impl Into<String>) -> Self {
        self.properties.response_topic = Some(topic.into());
        self
    }

    /// Data that an answer repeats (MQTT 5). Default: none.
    pub fn correlation_data(mut self, data: impl Into<Bytes>) -> Self {
        self.properties.correlation_data = Some(data.into());
        self
    }

    /// Adds a user property (MQTT 5).
    pub fn user_property(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.user.push((key.into(), value.into()));
        self
    }

    /// Checks the message against the limits of MQTT. For an endpoint of AWS, publishing also checks
    /// AWS IoT's limits: 128 KB of payload, 256 bytes and seven slashes in a topic.
    ///
    /// # Errors
    ///
    /// A validation error: an empty or too long topic, a topic with wildcards, QoS 2, or properties
    /// that MQTT 5 cannot carry.
    pub fn validate(&self) -> Result<(), Error> {
        check_name(&self.topic)?;
        self.qos.check()?;
        self.properties.check()
    }

    /// Checks it by the limits of AWS IoT.
    pub(crate) fn check_for_aws(&self) -> Result<(), Error> {
        check_for_aws(&self.topic, "topic")?;
        if self.payload.len() > MAX_PAYLOAD {
            return Err(Error::validation(format!(
                "the payload has {} bytes, and AWS IoT accepts 128 KB (131072): split it, or store it in \
                 S3 and send its location",
                self.payload.len()
            ))
            .with_param("payload")
            .unrecoverable());
        }
        Ok(())
    }

    /// Whether it has properties, which need MQTT 5.
    pub(crate) fn needs_v5(&self) -> bool {
        self.properties != Properties::default()
    }

    /// What it costs in memory, roughly.
    pub(crate) fn size(&self) -> usize {
        let user: usize = self
            .properties
            .user
            .iter()
            .map(|(key, value)| key.len() + value.len() + 48)
            .sum();
        self.topic.len()
            + self.payload.len()
            + self.properties.lengths().sum::<usize>()
            + user
            + 128
    }
}

impl Properties {
    fn check(&self) -> Result<(), Error> {
        let refused = |param: &str, problem: &str| {
            Err(Error::validation(format!("`{param}` {problem}"))
                .with_param(param)
                .unrecoverable())
        };
        if let Some(topic) = &self.response_topic
            && (topic.is_empty() || topic.contains(['+', '#']))
        {
            return refused(
                "response_topic",
                "must be a topic that an answer can be published to, without wildcards",
            );
        }
        if self.message_expiry.is_some_and(|expiry| {
            expiry.subsec_nanos() != 0 || u32::try_from(expiry.as_secs()).is_err()
        }) {
            return refused("message_expiry", "must be whole seconds, fewer than 2^32");
        }
        if self.lengths().any(|length| length > MAX_TEXT) {
            return refused("properties", "must have at most 65535 bytes each");
        }
        for (param, text) in [
            ("content_type", &self.content_type),
            ("response_topic", &self.response_topic),
        ] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return refused(
                    param,
                    "must not contain the character NUL, which MQTT cannot carry",
                );
            }
        }
        check_user_properties(&self.user)
    }

    /// Those of all but the user's own.
    fn lengths(&self) -> impl Iterator<Item = usize> {
        let texts = [self.content_type.as_deref(), self.response_topic.as_deref()]
            .map(|text| text.map_or(0, str::len));
        texts
            .into_iter()
            .chain([self.correlation_data.as_ref().map_or(0, Bytes::len)])
    }
}

/// MQTT 5, section 1.5.4: a text that cannot be encoded would end each connection it is sent over.
pub(crate) fn check_user_properties(pairs: &[(String, String)]) -> Result<(), Error> {
    let is_wrong = |text: &String| text.len() > MAX_TEXT || text.contains('\0');
    if pairs
        .iter()
        .any(|(key, value)| is_wrong(key) || is_wrong(value))
    {
        let problem = "`user_property` must have keys and values of at most 65535 bytes each, \
                       without the character NUL";
        return Err(Error::validation(problem)
            .with_param("user_property")
            .unrecoverable());
    }
    Ok(())
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("bytes", &self.payload.len())
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .finish_non_exhaustive()
    }
}

/// A message that was received.
///
/// It is acknowledged when it is taken from its stream or, with
/// [manual acknowledgement](crate::Subscribe::manual_ack), by [`ack`](Self::ack).
#[derive(Clone)]
pub struct Message {
    pub(crate) received: Arc<Received>,
    /// Of this copy: `None` once it has done its part, and where nothing is to be acknowledged.
    pub(crate) share: Option<Share>,
}

/// What all copies of a message have in common.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) duplicate: bool,
    pub(crate) properties: Properties,
    /// The identifiers of the matching subscriptions (MQTT 5), if the server sends them.
    pub(crate) identifiers: Vec<u32>,
}

impl Message {
    /// The topic it was published to.
    pub fn topic(&self) -> &str {
        &self.received.topic
    }

    /// The payload.
    pub fn payload(&self) -> &Bytes {
        &self.received.payload
    }

    /// The quality of service it was delivered with.
    pub fn qos(&self) -> Qos {
        self.received.qos
    }

    /// Whether the server kept the message from before the subscription.
    pub fn retain(&self) -> bool {
        self.received.retain
    }

    /// Whether the server sent it before and does not know whether it arrived.
    pub fn duplicate(&self) -> bool {
        self.received.duplicate
    }

    /// The type of the payload (MQTT 5).
    pub fn content_type(&self) -> Option<&str> {
        self.received.properties.content_type.as_deref()
    }

    /// The topic for an answer (MQTT 5).
    pub fn response_topic(&self) -> Option<&str> {
        self.received.properties.response_topic.as_deref()
    }

    /// Data that an answer repeats (MQTT 5).
    pub fn correlation_data(&self) -> Option<&Bytes> {
        self.received.properties.correlation_data.as_ref()
    }

    /// The rest of the message expiry when the server sent it (MQTT 5).
    pub fn message_expiry(&self) -> Option<Duration> {
        self.received.properties.message_expiry
    }

    /// The sender's user properties (MQTT 5).
    pub fn user_properties(&self) -> &[(String, String)] {
        &self.received.properties.user
    }

    /// Whether a server that goes on with the session will send it again, over the connection of
    /// that number.
    pub(crate) fn comes_again_after(&self, generation: u64) -> bool {
        self.share
            .as_ref()
            .is_some_and(|share| share.0.pending.generation < generation)
    }

    /// Acknowledges the message, if the subscription has manual acknowledgement. Otherwise it does
    /// nothing.
    ///
    /// A message that is never acknowledged stays in the server's window, and the server sends it again
    /// over the next connection that continues the session. Once the connection that delivered the
    /// message is lost, an acknowledgement does nothing, and the server sends it again, too.
    pub fn ack(&self) {
        if let Some(share) = &self.share {
            share.done();
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.received.topic)
            .field("bytes", &self.received.payload.len())
            .field("qos", &self.received.qos)
            .finish_non_exhaustive()
    }
}

/// What acknowledges a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) id: u16,
    /// Of QoS 2.
    pub(crate) exactly: bool,
}

#[cfg(test)]
impl Ack {
    pub(crate) fn for_test(id: u16) -> Self {
        Self { id, exactly: false }
    }
}

/// The acknowledgement of one message, due when all who got a copy have done their part.
pub(crate) struct Pending {
    left: AtomicUsize,
    generation: u64,
    ack: Ack,
    acks: UnboundedSender<(u64, Ack)>,
}

/// One copy's part in it.
#[derive(Clone)]
pub(crate) struct Share(Arc<OneShare>);

struct OneShare {
    pending: Arc<Pending>,
    done: AtomicBool,
    /// How many such shares its stream has.
    held: Arc<AtomicUsize>,
}

impl OneShare {
    /// Whether this is the first time.
    fn settle(&self) -> bool {
        let first = !self.done.swap(true, Ordering::AcqRel);
        if first {
            self.held.fetch_sub(1, Ordering::AcqRel);
        }
        first
    }
}

impl Drop for OneShare {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Pending {
    /// `generation` is the connection's: an acknowledgement is of no use over another one.
    pub(crate) fn new(
        parts: usize,
        generation: u64,
        ack: Ack,
        acks: UnboundedSender<(u64, Ack)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(parts),
            generation,
            ack,
            acks,
        })
    }

    /// One stream's share; `held` counts those of it that are not done.
    pub(crate) fn share(self: &Arc<Self>, held: &Arc<AtomicUsize>) -> Share {
        held.fetch_add(1, Ordering::AcqRel);
        Share(Arc::new(OneShare {
            pending: Arc::clone(self),
            done: false.into(),
            held: Arc::clone(held),
        }))
    }
}

impl Share {
    /// This part is done; once is enough.
    pub(crate) fn done(&self) {
        if !self.0.settle() {
            return;
        }
        let pending = &self.0.pending;
        if pending.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // The receiver is gone, and the connection with it.
            let _ = pending.acks.send((pending.generation, pending.ack));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_aws_does_not_take_is_refused_before_it_is_sent() {
        Publish::new("a/b", vec![0; MAX_PAYLOAD])
            .check_for_aws()
            .unwrap();
        for (message, param) in [
            (Publish::new("a", vec![0; MAX_PAYLOAD + 1]), "payload"),
            (Publish::new("x".repeat(257), ""), "topic"),
        ] {
            message.validate().unwrap();
            assert_eq!(message.check_for_aws().unwrap_err().param(), Some(param));
        }
    }

    #[test]
    fn what_no_broker_takes_is_refused_before_it_is_sent() {
        for (message, param, problem) in [
            (Publish::new("a/#", ""), "topic", "wildcard"),
            (
                Publish::new("a", "").qos(Qos::ExactlyOnce),
                "qos",
                "no QoS 2",
            ),
            (
                Publish::new("a", "").response_topic("b/+"),
                "response_topic",
                "wildcards",
            ),
            (
                Publish::new("a", "").message_expiry(Duration::from_millis(1500)),
                "message_expiry",
                "whole seconds",
            ),
            (
                Publish::new("a", "").content_type("x".repeat(65_536)),
                "properties",
                "65535 bytes",
            ),
            (
                Publish::new("a", "").content_type("x\0"),
                "content_type",
                "NUL",
            ),
            (
                Publish::new("a", "").response_topic("x\0"),
                "response_topic",
                "NUL",
            ),
            (
                Publish::new("a", "").user_property("k", "x".repeat(65_536)),
                "user_property",
                "65535 bytes",
            ),
            (
                Publish::new("a", "").user_property("k\0", "x"),
                "user_property",
                "NUL",
            ),
            (
                Publish::new("a", "").user_property("k", "x\0"),
                "user_property",
                "NUL",
            ),
        ] {
            let error = message.validate().unwrap_err();
            assert!(
                error.to_string().contains(problem) && error.param() == Some(param),
                "{error}"
            );
        }
    }

    #[test]
    fn a_message_is_acknowledged_when_the_last_copy_is_done() {
        let (acks, mut acked) = tokio::sync::mpsc::unbounded_channel();
        let pending = Pending::new(2, 7, Ack::for_test(3), acks);
        let held = Arc::default();
        let (first, second) = (pending.share(&held), pending.share(&held));
        first.done();
        first.done();
        first.clone().done();
        assert!(acked.try_recv().is_err());
        assert_eq!(held.load(Ordering::Relaxed), 1);
        second.done();
        assert_eq!(acked.try_recv().unwrap().0, 7);
        assert!(acked.try_recv().is_err());
    }
}
