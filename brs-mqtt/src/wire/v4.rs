//! MQTT 3.1.1. Refusals have few reasons in it, and a server that closes says none.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectAuth, ConnectReturnCode, LastWill, Packet, Publish as PublishPacket, Subscribe,
    SubscribeFilter, SubscribeReasonCode, Unsubscribe,
};
use rumqttc_v4 as rumqttc;

use super::*;
use crate::api::message::Properties;
use crate::error::reason;

pub(super) fn connect(
    options: &Options,
    clean: bool,
    output: &mut BytesMut,
) -> Result<(), Malformed> {
    let mut connect = Connect::new(options.client_id.clone());
    connect.keep_alive = u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX);
    connect.clean_session = clean;
    connect.last_will = options.last_will.as_ref().map(|will| {
        LastWill::new(
            will.topic.clone(),
            will.payload.to_vec(),
            qos(will.qos),
            will.retain,
        )
    });
    connect.auth = match (username(options), password(options)) {
        (Some(username), Some(password)) => ConnectAuth::UsernamePassword { username, password },
        (Some(username), None) => ConnectAuth::Username { username },
        (None, _) => ConnectAuth::None,
    };
    write(&Packet::Connect(connect), output)
}

pub(super) fn publish(
    publish: &Publish,
    id: u16,
    duplicate: bool,
    output: &mut BytesMut,
) -> Result<(), Malformed> {
    let mut packet =
        PublishPacket::from_bytes(&*publish.topic, qos(publish.qos), publish.payload.clone());
    (packet.pkid, packet.dup, packet.retain) = (id, duplicate, publish.retain);
    write(&Packet::Publish(packet), output)
}

pub(super) fn subscribe(
    filters: &[(String, Qos)],
    id: u16,
    output: &mut BytesMut,
) -> Result<(), Malformed> {
    let filters = filters
        .iter()
        .map(|(filter, level)| SubscribeFilter::new(filter.clone(), qos(*level)));
    let mut packet = Subscribe::new_many(filters);
    packet.pkid = id;
    write(&Packet::Subscribe(packet), output)
}

pub(super) fn unsubscribe(
    filters: &[String],
    id: u16,
    output: &mut BytesMut,
) -> Result<(), Malformed> {
    write(
        &Packet::Unsubscribe(Unsubscribe {
            pkid: id,
            topics: filters.to_vec(),
        }),
        output,
    )
}

fn write(packet: &Packet, output: &mut BytesMut) -> Result<(), Malformed> {
    packet.write(output, usize::MAX)?;
    Ok(())
}

pub(super) fn read(input: &mut BytesMut) -> Result<Incoming, Malformed> {
    Ok(match Packet::read(input, usize::MAX)? {
        Packet::ConnAck(answer) if answer.code == ConnectReturnCode::Success => {
            Incoming::Accepted(Box::new(Welcome {
                session_present: answer.session_present,
                window: u16::MAX,
                max_packet: None,
                keep_alive: None,
                takes_retained: true,
                takes_identifiers: false,
            }))
        }
        Packet::ConnAck(answer) => Incoming::Refused(reason::of_v4(answer.code as u8)),
        Packet::Publish(publish) => {
            let received = Received {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload,
                qos: qos_back(publish.qos),
                retain: publish.retain,
                duplicate: publish.dup,
                properties: Properties::default(),
                identifiers: Vec::new(),
            };
            Incoming::Message(Box::new(received), ack(publish.qos, publish.pkid))
        }
        Packet::PubAck(answer) => Incoming::Taken {
            id: answer.pkid,
            code: 0,
        },
        Packet::PubRel(release) => Incoming::Released { id: release.pkid },
        Packet::SubAck(answer) => {
            let answers = answer.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(granted) => Ok(qos_back(*granted)),
                SubscribeReasonCode::Failure => Err(0x80),
            });
            Incoming::Granted {
                id: answer.pkid,
                answers: answers.collect(),
            }
        }
        Packet::UnsubAck(answer) => Incoming::Unsubscribed {
            id: answer.pkid,
            refusal: None,
        },
        _ => Incoming::Other,
    })
}
