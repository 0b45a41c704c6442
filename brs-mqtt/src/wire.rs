//! MQTT's packets, in both versions, behind one shape.
//!
//! The only module that names the libraries that read and write packets: their types end here. It
//! knows neither sockets nor time; what to send when, and what an answer means for a message, is
//! the driver's.

use bytes::{Buf as _, Bytes, BytesMut};
use rumqttc_v5::mqttbytes::QoS;
use zeroize::Zeroizing;

use crate::api::message::{Ack, Publish, Qos, Received};
use crate::api::options::{Options, Protocol};

mod v4;
mod v5;

/// AWS IoT Core: unacknowledged publishes in one direction.
pub(crate) const MAX_IN_FLIGHT: u16 = 100;
/// PUBACK with nothing but an id, in both versions.
const PUBACK: [u8; 2] = [0x40, 2];

/// What a server has sent.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// CONNACK.
    Accepted(Box<Welcome>),
    /// CONNACK, too, with its number as in MQTT 5.
    Refused(u8),
    /// A message, and what acknowledges it.
    Message(Box<Received>, Option<Ack>),
    /// A message that is larger than what was allowed: it has been passed over.
    TooLarge {
        topic: String,
        size: usize,
        ack: Option<Ack>,
    },
    /// PUBACK, with its number.
    Taken { id: u16, code: u8 },
    /// SUBACK: what was granted, or the number of each refusal.
    Granted {
        id: u16,
        answers: Vec<Result<Qos, u8>>,
    },
    /// UNSUBACK, with the number of a refusal.
    Unsubscribed { id: u16, refusal: Option<u8> },
    /// PUBREL: the second half of what acknowledges a message of QoS 2, which a session of another
    /// client may bring.
    Released { id: u16 },
    /// DISCONNECT.
    Goodbye { code: u8, text: Option<String> },
    /// Nothing that matters but that it came.
    Other,
}

/// What CONNACK says.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) session_present: bool,
    /// How many publishes may be unacknowledged.
    pub(crate) window: u16,
    /// The largest packet that the server takes.
    pub(crate) max_packet: Option<usize>,
    /// In seconds, if the server has one of its own.
    pub(crate) keep_alive: Option<u16>,
    pub(crate) takes_retained: bool,
    /// Whether a subscription may have an identifier.
    pub(crate) takes_identifiers: bool,
}

/// What came in is not MQTT: in the library's words.
pub(crate) type Malformed = Box<dyn std::error::Error + Send + Sync>;

/// Reads and writes the packets of one version.
#[derive(Debug)]
pub(crate) struct Codec {
    protocol: Protocol,
    /// The largest packet that is read.
    pub(crate) max_incoming: usize,
    /// How much of a message that is too large is still to be passed over.
    left: usize,
}

impl Codec {
    pub(crate) fn new(protocol: Protocol, max_incoming: usize) -> Self {
        Self {
            protocol,
            max_incoming,
            left: 0,
        }
    }

    /// The next packet of what has come, once it is whole.
    pub(crate) fn read(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Malformed> {
        let passed = self.left.min(input.len());
        input.advance(passed);
        self.left -= passed;
        if self.left > 0 {
            return Ok(None);
        }
        let Some((head, body)) = length(input)? else {
            return Ok(None);
        };
        let size = head + body;
        if size > self.max_incoming {
            return self.pass_over(input, head, size);
        }
        if input.len() < size {
            input.reserve(size - input.len());
            return Ok(None);
        }
        if input[..2] == PUBACK {
            let id = u16::from_be_bytes([input[2], input[3]]);
            input.advance(size);
            return Ok(Some(Incoming::Taken { id, code: 0 }));
        }
        match self.protocol {
            Protocol::V5 => v5::read(input),
            Protocol::V311 => v4::read(input),
        }
        .map(Some)
    }

    /// Reads of a message that is too large what tells it and acknowledges it, and passes over the
    /// rest: over a connection that ended at it, a server that keeps the session would send it
    /// again, for ever.
    fn pass_over(
        &mut self,
        input: &mut BytesMut,
        head: usize,
        size: usize,
    ) -> Result<Option<Incoming>, Malformed> {
        let (kind, qos) = (input[0] >> 4, input[0] >> 1 & 3);
        if kind != 3 {
            return Err(format!(
                "a packet of {size} bytes, and at most {} are read",
                self.max_incoming
            )
            .into());
        }
        let Some(topic) = input
            .get(head..head + 2)
            .map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])))
        else {
            return Ok(None);
        };
        let end = head + 2 + topic + if qos > 0 { 2 } else { 0 };
        if end > size {
            return Err("a message whose topic is longer than itself".into());
        }
        if input.len() < end {
            return Ok(None);
        }
        let name = String::from_utf8_lossy(&input[head + 2..head + 2 + topic]).into_owned();
        let ack = (qos > 0).then(|| Ack {
            id: u16::from_be_bytes([input[end - 2], input[end - 1]]),
            exactly: qos > 1,
        });
        input.advance(end);
        self.left = size - end;
        Ok(Some(Incoming::TooLarge {
            topic: name,
            size,
            ack,
        }))
    }

    /// CONNECT. `clean` begins a new session.
    pub(crate) fn connect(
        &self,
        options: &Options,
        clean: bool,
        output: &mut BytesMut,
    ) -> Result<(), Malformed> {
        match self.protocol {
            Protocol::V5 => v5::connect(options, clean, self.max_incoming, output),
            Protocol::V311 => v4::connect(options, clean, output),
        }
    }

    /// PUBLISH; of QoS 0 without an id.
    pub(crate) fn publish(
        &self,
        publish: &Publish,
        id: u16,
        duplicate: bool,
        output: &mut BytesMut,
    ) -> Result<(), Malformed> {
        match self.protocol {
            Protocol::V5 => v5::publish(publish, id, duplicate, output),
            Protocol::V311 => v4::publish(publish, id, duplicate, output),
        }
    }

    /// SUBSCRIBE, with an identifier for all of its filters where that is given.
    pub(crate) fn subscribe(
        &self,
        filters: &[(String, Qos)],
        id: u16,
        identifier: Option<u32>,
        output: &mut BytesMut,
    ) -> Result<(), Malformed> {
        match self.protocol {
            Protocol::V5 => v5::subscribe(filters, id, identifier, output),
            Protocol::V311 => v4::subscribe(filters, id, output),
        }
    }

    pub(crate) fn unsubscribe(
        &self,
        filters: &[String],
        id: u16,
        output: &mut BytesMut,
    ) -> Result<(), Malformed> {
        match self.protocol {
            Protocol::V5 => v5::unsubscribe(filters, id, output),
            Protocol::V311 => v4::unsubscribe(filters, id, output),
        }
    }

    /// PUBACK, or PUBREC.
    pub(crate) fn acknowledge(ack: Ack, output: &mut BytesMut) {
        short(if ack.exactly { 0x50 } else { PUBACK[0] }, ack.id, output);
    }

    /// PUBCOMP.
    pub(crate) fn complete(id: u16, output: &mut BytesMut) {
        short(0x70, id, output);
    }

    pub(crate) fn ping(output: &mut BytesMut) {
        output.extend_from_slice(&[0xC0, 0]);
    }

    /// DISCONNECT, which keeps the last will from being published.
    pub(crate) fn disconnect(output: &mut BytesMut) {
        output.extend_from_slice(&[0xE0, 0]);
    }
}

/// A packet of nothing but an id, in both versions.
fn short(first: u8, id: u16, output: &mut BytesMut) {
    let [high, low] = id.to_be_bytes();
    output.extend_from_slice(&[first, 2, high, low]);
}

/// The lengths of a packet's fixed header, and of what follows it (2.1.4).
fn length(input: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for place in 0..4 {
        let Some(byte) = input.get(1 + place) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(Some((2 + place, length)));
        }
    }
    Err("a packet whose length has more than four bytes".into())
}

fn username(options: &Options) -> Option<String> {
    options
        .username
        .as_ref()
        .map(|username| username.expose().to_owned())
}

/// In memory that is wiped.
fn password(options: &Options) -> Option<Bytes> {
    let password = options.password.as_ref()?;
    Some(Bytes::from_owner(Zeroizing::new(
        password.expose().as_bytes().to_vec(),
    )))
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

fn ack(qos: QoS, id: u16) -> Option<Ack> {
    (qos != QoS::AtMostOnce).then_some(Ack {
        id,
        exactly: qos == QoS::ExactlyOnce,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(size: usize) -> Vec<u8> {
        let mut packet = vec![0x32];
        let mut rest = size;
        loop {
            let byte = u8::try_from(rest & 0x7F).unwrap();
            rest >>= 7;
            packet.push(if rest > 0 { byte | 0x80 } else { byte });
            if rest == 0 {
                break;
            }
        }
        packet.extend_from_slice(&[0, 1, b't', 0, 7]);
        packet.resize(packet.len() + size - 5, b'x');
        packet
    }

    proptest! {
        #[test]
        fn a_message_that_is_too_large_is_told_and_passed_over_however_it_comes(
            size in 101..5000_usize,
            piece in 1..600_usize,
            protocol in prop_oneof![Just(Protocol::V5), Just(Protocol::V311)],
        ) {
            let mut codec = Codec::new(protocol, 100);
            let sent = [message(size), vec![0x40, 2, 0, 9]].concat();
            let (mut input, mut seen) = (BytesMut::new(), Vec::new());
            for piece in sent.chunks(piece) {
                input.extend_from_slice(piece);
                while let Some(packet) = codec.read(&mut input).unwrap() {
                    seen.push(packet);
                }
                prop_assert!(input.len() < 1000, "it is not gathered");
            }
            let [Incoming::TooLarge { topic, size: told, ack }, Incoming::Taken { id: 9, .. }] = &seen[..] else {
                return Err(TestCaseError::fail(format!("{seen:?}")));
            };
            prop_assert_eq!(topic, "t");
            prop_assert!(*told > size && ack.unwrap().id == 7);
        }

        #[test]
        fn whatever_comes_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for protocol in [Protocol::V5, Protocol::V311] {
                let mut codec = Codec::new(protocol, 100);
                let mut input = BytesMut::from(&bytes[..]);
                while let Ok(Some(_)) = codec.read(&mut input) {}
            }
        }
    }
}
