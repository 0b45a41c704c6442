//! A broker that does what a test says, packet by packet: what no independent one does on request.
//!
//! It stands behind a [`TlsDoor`], speaks both versions as far as a script needs, and keeps
//! whatever it was sent.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use brs::mqtt::{Event, Events, Protocol};
use brs_core::Error;
use brs_tests::tls_door::TlsDoor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{in_time, world};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const UNSUBSCRIBE: u8 = 10;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const DISCONNECT: u8 = 14;

/// A packet that a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Which connection it came over, from 0 on.
    pub(crate) connection: usize,
    /// Whether that speaks MQTT 5.
    pub(crate) v5: bool,
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

/// What is done about a packet.
pub(crate) enum Deed {
    Send(Vec<u8>),
    /// The connection is closed as servers do it, with TLS's `close_notify`; a path in between is
    /// what cuts.
    SendAndClose(Vec<u8>),
    /// The connection stays, and nothing more is read from it.
    Deafen,
    Nothing,
}

impl Packet {
    pub(crate) fn kind(&self) -> u8 {
        self.first >> 4
    }

    /// Whether a PUBLISH is to be acknowledged.
    pub(crate) fn is_at_least_once(&self) -> bool {
        self.first & 0b0110 != 0
    }

    pub(crate) fn is_duplicate(&self) -> bool {
        self.first & 0b1000 != 0
    }

    /// Of a PUBLISH of QoS 1, else of what begins with it.
    pub(crate) fn id(&self) -> [u8; 2] {
        let at = if self.kind() == PUBLISH {
            2 + usize::from(self.body[1])
        } else {
            0
        };
        [self.body[at], self.body[at + 1]]
    }

    pub(crate) fn holds(&self, text: &str) -> bool {
        self.body
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }

    /// CONNACK.
    pub(crate) fn accept(&self, session_present: bool) -> Vec<u8> {
        self.connack(u8::from(session_present), 0)
    }

    pub(crate) fn connack(&self, flags: u8, code: u8) -> Vec<u8> {
        if self.v5 {
            vec![0x20, 3, flags, code, 0]
        } else {
            vec![0x20, 2, flags, code]
        }
    }

    /// CONNACK with a Receive Maximum, where the version has one.
    pub(crate) fn accept_with_window(&self, session_present: bool, window: Option<u16>) -> Vec<u8> {
        match window {
            Some(window) if self.v5 => {
                let [high, low] = window.to_be_bytes();
                vec![0x20, 6, u8::from(session_present), 0, 3, 0x21, high, low]
            }
            _ => self.accept(session_present),
        }
    }

    pub(crate) fn puback(&self) -> Vec<u8> {
        let [high, low] = self.id();
        vec![0x40, 2, high, low]
    }

    /// SUBACK for one filter.
    pub(crate) fn suback(&self, code: u8) -> Vec<u8> {
        let [high, low] = self.id();
        if self.v5 {
            vec![0x90, 4, high, low, 0, code]
        } else {
            vec![0x90, 3, high, low, code]
        }
    }

    /// SUBACK for as many filters as there are.
    pub(crate) fn suback_of_all(&self, code: u8) -> Vec<u8> {
        let [high, low] = self.id();
        let (mut at, mut codes) = (2, Vec::new());
        if self.v5 {
            // Properties, of less than 128 bytes.
            at += 1 + usize::from(self.body[2]);
            codes.push(0);
        }
        while at < self.body.len() {
            at += 3 + usize::from(self.body[at + 1]);
            codes.push(code);
        }
        [
            &[0x90, u8::try_from(codes.len() + 2).unwrap(), high, low],
            &codes[..],
        ]
        .concat()
    }

    /// UNSUBACK for one filter.
    pub(crate) fn unsuback(&self) -> Vec<u8> {
        let [high, low] = self.id();
        if self.v5 {
            vec![0xB0, 4, high, low, 0, 0]
        } else {
            vec![0xB0, 2, high, low]
        }
    }

    /// A message of QoS 1 for the client.
    pub(crate) fn publish(&self, topic: &str, id: u8) -> Vec<u8> {
        let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
        body.extend(topic.as_bytes());
        body.extend([0, id]);
        if self.v5 {
            body.push(0);
        }
        body.push(b'x');
        [&[0x32, u8::try_from(body.len()).unwrap()], &body[..]].concat()
    }
}

/// A message of QoS 0 for the client.
pub(crate) fn publish_at_most_once(v5: bool, topic: &str) -> Vec<u8> {
    let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
    body.extend(topic.as_bytes());
    body.extend(if v5 { &b"\0x"[..] } else { &b"x"[..] });
    [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

type Script = Arc<dyn Fn(&Packet) -> Deed + Send + Sync>;

pub(crate) struct Scripted {
    door: TlsDoor,
    plain: SocketAddr,
    seen: Arc<Mutex<Vec<Packet>>>,
}

impl Scripted {
    pub(crate) async fn start(script: impl Fn(&Packet) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = listener.local_addr().unwrap();
        let door = TlsDoor::start(&world().iot, &[], plain);
        let seen = Arc::<Mutex<Vec<Packet>>>::default();
        let (keeping, script) = (Arc::clone(&seen), Arc::new(script) as Script);
        tokio::spawn(async move {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                tokio::spawn(serve(
                    stream,
                    connection,
                    Arc::clone(&script),
                    Arc::clone(&keeping),
                ));
            }
        });
        Self { door, plain, seen }
    }

    pub(crate) fn endpoint(&self) -> String {
        self.door.endpoint()
    }

    /// For another door.
    pub(crate) fn plain_address(&self) -> SocketAddr {
        self.plain
    }

    /// What is behind the endpoint.
    pub(crate) fn address(&self) -> SocketAddr {
        self.door.address()
    }

    pub(crate) fn seen(&self, kind: u8) -> Vec<Packet> {
        self.seen_of(&[kind])
    }

    /// In the order in which they came.
    pub(crate) fn seen_of(&self, kinds: &[u8]) -> Vec<Packet> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|packet| kinds.contains(&packet.kind()))
            .cloned()
            .collect()
    }

    /// Waits until so many packets of a kind have come.
    pub(crate) async fn until(&self, kind: u8, count: usize) -> Vec<Packet> {
        loop {
            let seen = self.seen(kind);
            if seen.len() >= count {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    script: Script,
    seen: Arc<Mutex<Vec<Packet>>>,
) {
    let mut v5 = false;
    while let Ok(first) = stream.read_u8().await {
        let (mut length, mut shift) = (0, 0);
        while let Ok(byte) = stream.read_u8().await {
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        if first >> 4 == CONNECT {
            v5 = body[6] == 5;
        }
        let packet = Packet {
            connection,
            v5,
            first,
            body,
        };
        let deed = script(&packet);
        seen.lock().unwrap().push(packet);
        if matches!(deed, Deed::Deafen) {
            std::future::pending().await
        }
        let (Deed::Send(bytes) | Deed::SendAndClose(bytes)) = &deed else {
            continue;
        };
        if stream.write_all(bytes).await.is_err() {
            return;
        }
        if matches!(deed, Deed::SendAndClose(_)) {
            // In an orderly way: a socket that is closed with something unread tears away what it
            // has sent.
            let _ = stream.shutdown().await;
            std::future::pending().await
        }
    }
}

pub(crate) const BOTH: [Protocol; 2] = [Protocol::V5, Protocol::V311];

/// Accepts every client, acknowledges and grants everything.
pub(crate) fn agree(packet: &Packet) -> Deed {
    match packet.kind() {
        CONNECT => Deed::Send(packet.accept(false)),
        PUBLISH if packet.is_at_least_once() => Deed::Send(packet.puback()),
        SUBSCRIBE => Deed::Send(packet.suback(1)),
        _ => Deed::Nothing,
    }
}

/// Agrees once more, and answers every ping.
pub(crate) fn agree_and_live(packet: &Packet) -> Deed {
    if packet.kind() == PINGREQ {
        Deed::Send(vec![0xD0, 0])
    } else {
        agree(packet)
    }
}

/// Waits for the next loss, and says why.
pub(crate) async fn lost(events: &mut Events) -> Error {
    loop {
        if let Some(Event::Lost { error, .. }) = in_time(events.next()).await {
            return error;
        }
    }
}
