//! MQTT 5.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::v5::{
    Connect, ConnectAuth, ConnectProperties, ConnectReturnCode, LastWill, LastWillProperties,
    Packet, PubAckReason, Publish as PublishPacket, PublishProperties, Subscribe, SubscribeFilter,
    SubscribeProperties, SubscribeReasonCode, UnsubAckReason, Unsubscribe,
};
use rumqttc_v5 as rumqttc;

use super::*;
use crate::api::message::Properties;

pub(super) fn connect(
    options: &Options,
    clean: bool,
    max_incoming: usize,
    output: &mut BytesMut,
) -> Result<(), Malformed> {
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(seconds(options.session_expiry));
    properties.receive_maximum = Some(options.receive_maximum);
    properties.max_packet_size = Some(u32::try_from(max_incoming).unwrap_or(u32::MAX));
    properties.user_properties = options.user_properties.clone();
    let connect = Connect {
        keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: options.client_id.clone(),
        clean_start: clean,
        properties: Some(properties),
    };
    let auth = match (username(options), password(options)) {
        (Some(username), Some(password)) => ConnectAuth::UsernamePassword { username, password },
        (Some(username), None) => ConnectAuth::Username { username },
        (None, Some(password)) => ConnectAuth::Password { password },
        (None, None) => ConnectAuth::None,
    };
    write(
        &Packet::Connect(connect, options.last_will.as_ref().map(last_will), auth),
        output,
    )
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn last_will(will: &Publish) -> LastWill {
    let Properties {
        message_expiry,
        content_type,
        response_topic,
        correlation_data,
        user,
    } = will.properties.clone();
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: message_expiry.map(seconds),
        content_type,
        response_topic,
        correlation_data,
        user_properties: user,
    };
    LastWill::new(
        will.topic.clone(),
        will.payload.to_vec(),
        qos(will.qos),
        will.retain,
        Some(properties),
    )
}

pub(super) fn publish(
    publish: &Publish,
    id: u16,
    duplicate: bool,
    output: &mut BytesMut,
) -> Result<(), Malformed> {
    let properties = (publish.properties != Properties::default()).then(|| {
        let Properties {
            message_expiry,
            content_type,
            response_topic,
            correlation_data,
            user,
        } = publish.properties.clone();
        PublishProperties {
            message_expiry_interval: message_expiry.map(seconds),
            content_type,
            response_topic,
            correlation_data,
            user_properties: user,
            ..PublishProperties::default()
        }
    });
    let mut packet = PublishPacket::new(
        &*publish.topic,
        qos(publish.qos),
        publish.payload.clone(),
        properties,
    );
    (packet.pkid, packet.dup, packet.retain) = (id, duplicate, publish.retain);
    write(&Packet::Publish(packet), output)
}

pub(super) fn subscribe(
    filters: &[(String, Qos)],
    id: u16,
    identifier: Option<u32>,
    output: &mut BytesMut,
) -> Result<(), Malformed> {
    let filters = filters
        .iter()
        .map(|(filter, level)| SubscribeFilter::new(&**filter, qos(*level)));
    let properties = identifier.map(|identifier| SubscribeProperties {
        id: usize::try_from(identifier).ok(),
        user_properties: Vec::new(),
    });
    let mut packet = Subscribe::new_many(filters, properties);
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
            filters: filters.to_vec(),
            properties: None,
        }),
        output,
    )
}

fn write(packet: &Packet, output: &mut BytesMut) -> Result<(), Malformed> {
    packet.write(output, None)?;
    Ok(())
}

pub(super) fn read(input: &mut BytesMut) -> Result<Incoming, Malformed> {
    Ok(match Packet::read(input, None)? {
        Packet::ConnAck(answer) if answer.code == ConnectReturnCode::Success => {
            let properties = answer.properties.as_ref();
            let is_on = |flag: Option<u8>| flag != Some(0);
            Incoming::Accepted(Box::new(Welcome {
                session_present: answer.session_present,
                window: properties
                    .and_then(|given| given.receive_max)
                    .unwrap_or(u16::MAX),
                max_packet: properties
                    .and_then(|given| given.max_packet_size)
                    .and_then(|size| usize::try_from(size).ok()),
                keep_alive: properties.and_then(|given| given.server_keep_alive),
                takes_retained: is_on(properties.and_then(|given| given.retain_available)),
                takes_identifiers: is_on(
                    properties.and_then(|given| given.subscription_identifiers_available),
                ),
            }))
        }
        Packet::ConnAck(answer) => Incoming::Refused(connect_code(answer.code)),
        Packet::Publish(publish) => {
            let ack = ack(publish.qos, publish.pkid);
            Incoming::Message(Box::new(received(publish)), ack)
        }
        Packet::PubAck(answer) => {
            let fine = matches!(
                answer.reason,
                PubAckReason::Success | PubAckReason::NoMatchingSubscribers
            );
            Incoming::Taken {
                id: answer.pkid,
                code: if fine { 0 } else { answer.reason as u8 },
            }
        }
        Packet::PubRel(release) => Incoming::Released { id: release.pkid },
        Packet::SubAck(answer) => {
            let answers = answer.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(granted) => Ok(qos_back(*granted)),
                code => Err(subscribe_code(*code)),
            });
            Incoming::Granted {
                id: answer.pkid,
                answers: answers.collect(),
            }
        }
        Packet::UnsubAck(answer) => {
            let harmless = [
                UnsubAckReason::Success,
                UnsubAckReason::NoSubscriptionExisted,
            ];
            let refusal = answer
                .reasons
                .iter()
                .find(|reason| !harmless.contains(reason));
            Incoming::Unsubscribed {
                id: answer.pkid,
                refusal: refusal.map(|reason| *reason as u8),
            }
        }
        Packet::Disconnect(goodbye) => Incoming::Goodbye {
            code: goodbye.reason_code as u8,
            text: goodbye
                .properties
                .and_then(|properties| properties.reason_string),
        },
        _ => Incoming::Other,
    })
}

fn received(publish: PublishPacket) -> Received {
    let properties = publish.properties.unwrap_or_default();
    let identifiers = properties.subscription_identifiers.into_iter();
    Received {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        qos: qos_back(publish.qos),
        retain: publish.retain,
        duplicate: publish.dup,
        properties: Properties {
            message_expiry: properties
                .message_expiry_interval
                .map(|seconds| Duration::from_secs(seconds.into())),
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            user: properties.user_properties,
        },
        identifiers: identifiers
            .filter_map(|identifier| u32::try_from(identifier).ok())
            .collect(),
    }
}

fn subscribe_code(code: SubscribeReasonCode) -> u8 {
    match code {
        SubscribeReasonCode::ImplementationSpecific => 0x83,
        SubscribeReasonCode::NotAuthorized => 0x87,
        SubscribeReasonCode::TopicFilterInvalid => 0x8F,
        SubscribeReasonCode::PkidInUse => 0x91,
        SubscribeReasonCode::QuotaExceeded => 0x97,
        SubscribeReasonCode::SharedSubscriptionsNotSupported => 0x9E,
        SubscribeReasonCode::SubscriptionIdNotSupported => 0xA1,
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => 0xA2,
        _ => 0x80,
    }
}

fn connect_code(code: ConnectReturnCode) -> u8 {
    match code {
        ConnectReturnCode::MalformedPacket => 0x81,
        ConnectReturnCode::ProtocolError => 0x82,
        ConnectReturnCode::ImplementationSpecificError => 0x83,
        ConnectReturnCode::UnsupportedProtocolVersion
        | ConnectReturnCode::RefusedProtocolVersion => 0x84,
        ConnectReturnCode::ClientIdentifierNotValid | ConnectReturnCode::BadClientId => 0x85,
        ConnectReturnCode::BadUserNamePassword => 0x86,
        ConnectReturnCode::NotAuthorized => 0x87,
        ConnectReturnCode::ServerUnavailable | ConnectReturnCode::ServiceUnavailable => 0x88,
        ConnectReturnCode::ServerBusy => 0x89,
        ConnectReturnCode::Banned => 0x8A,
        ConnectReturnCode::BadAuthenticationMethod => 0x8C,
        ConnectReturnCode::TopicNameInvalid => 0x90,
        ConnectReturnCode::PacketTooLarge => 0x95,
        ConnectReturnCode::QuotaExceeded => 0x97,
        ConnectReturnCode::PayloadFormatInvalid => 0x99,
        ConnectReturnCode::RetainNotSupported => 0x9A,
        ConnectReturnCode::QoSNotSupported => 0x9B,
        ConnectReturnCode::UseAnotherServer => 0x9C,
        ConnectReturnCode::ServerMoved => 0x9D,
        ConnectReturnCode::ConnectionRateExceeded => 0x9F,
        ConnectReturnCode::Success | ConnectReturnCode::UnspecifiedError => 0x80,
    }
}
