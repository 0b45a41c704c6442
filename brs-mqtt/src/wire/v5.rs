//! MQTT 5.

use std::sync::Arc;
use std::time::Duration;

use brs_core::Error;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::mqttbytes::v5::{
    LastWill, LastWillProperties, Packet, PubAckReason, PublishProperties, SubscribeReasonCode,
};
use rumqttc::{
    AckMode, AsyncClient, ClientError, ConnectReturnCode, ConnectionError, DisconnectReasonCode, Event, EventLoop,
    ManualAck, MqttOptions, PersistedAckMode, PersistedSession, PublishNoticeError, PublishOptions, PublishResult,
    SessionStore, SessionStoreError, SessionStoreKey, StateError, SubscribeFilterInput, UnsubAckReason,
};
use rumqttc_v5 as rumqttc;

use super::*;
use crate::error::{lost, reason};
use crate::message::Properties;

/// What acknowledges a message.
#[derive(Clone, Debug)]
pub(crate) struct Ack(ManualAck);

#[cfg(test)]
impl Ack {
    pub(super) fn for_test(id: u16) -> Self {
        Self(ManualAck::PubAck(rumqttc::mqttbytes::v5::PubAck::new(id, None)))
    }
}

pub(super) fn open(options: &Options, connector: &Arc<Connector>, resume: bool) -> (Box<dyn Link>, Box<dyn Handle>) {
    let endpoint = &connector.endpoint;
    let mut mqtt = MqttOptions::new(options.client_id.clone(), (endpoint.host.clone(), endpoint.port));
    mqtt.set_transport(rumqttc::Transport::Tcp);
    let opener = Arc::clone(connector);
    mqtt.set_socket_connector(move |_, _| {
        let opener = Arc::clone(&opener);
        async move { opener.open().await.map_err(opened_as) }
    });
    mqtt.set_connect_timeout(options.connect_timeout + LAST_RESORT);
    mqtt.set_keep_alive(u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX));
    mqtt.set_session_expiry_interval(u32::try_from(options.session_expiry.as_secs()).ok());
    mqtt.set_clean_start(options.clean_start && !resume);
    mqtt.set_ack_mode(AckMode::Manual);
    mqtt.set_receive_maximum(Some(options.receive_maximum));
    mqtt.set_outgoing_inflight_upper_limit(MAX_IN_FLIGHT);
    mqtt.set_max_packet_size(Some(MAX_PACKET));
    if !options.user_properties.is_empty() {
        mqtt.set_user_properties(options.user_properties.clone());
    }
    if let Some(will) = &options.last_will {
        mqtt.set_last_will(last_will(will));
    }
    if !mqtt.clean_start() {
        mqtt.set_session_store(Blank(options.client_id.clone()));
    }
    let (client, events) = AsyncClient::builder(mqtt).unbounded().build();
    let link = V5 {
        events,
        client: client.clone(),
        connector: Arc::clone(connector),
        client_id: options.client_id.clone(),
        connected: false,
    };
    (Box::new(link), Box::new(client))
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn last_will(will: &Publish) -> LastWill {
    let Properties { message_expiry, content_type, response_topic, correlation_data, user } = will.properties.clone();
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: message_expiry.map(seconds),
        content_type,
        response_topic,
        correlation_data,
        user_properties: user,
    };
    LastWill::new(will.topic.clone(), will.payload.to_vec(), qos(will.qos), will.retain, Some(properties))
}

blank_session!(PersistedSession {
    clean_start: false,
    session_expiry_interval: None,
    outgoing_inflight_upper_limit: Some(MAX_IN_FLIGHT),
});

struct V5 {
    events: EventLoop,
    client: AsyncClient,
    connector: Arc<Connector>,
    client_id: String,
    connected: bool,
}

impl Link for V5 {
    fn poll(mut self: Box<Self>) -> BoxFuture<'static, (Box<dyn Link>, Result<Incoming, Lost>)> {
        async move {
            let happened = self.next().await;
            (self as Box<dyn Link>, happened)
        }
        .boxed()
    }

    fn keep_session(&mut self) {
        self.events.options.set_clean_start(false);
    }
}

impl V5 {
    async fn next(&mut self) -> Result<Incoming, Lost> {
        for _ in 0..PATIENCE {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                    self.connected = true;
                    // It has done its work; left in place, it would copy what is in flight with every packet.
                    self.events.options.clear_session_store();
                    let max_packet = answer.properties.and_then(|properties| properties.max_packet_size);
                    return Ok(Incoming::Connected {
                        session_present: answer.session_present,
                        max_packet: max_packet.and_then(|size| usize::try_from(size).ok()),
                    });
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let ack = self.client.prepare_ack(&publish).map(|ack| super::Ack::V5(Ack(ack)));
                    return Ok(Incoming::Message(Box::new(received(publish)), ack));
                }
                Ok(_) => {}
                Err(error) => {
                    let was_connected = std::mem::take(&mut self.connected);
                    return Err(self.lost(&error, was_connected));
                }
            }
        }
        Ok(Incoming::Nothing)
    }

    fn lost(&self, error: &ConnectionError, was_connected: bool) -> Lost {
        // What the library makes of a failed read has no source.
        let beneath: &(dyn std::error::Error + 'static) = match error {
            ConnectionError::MqttState(StateError::Deserialization(error)) => error,
            error => error,
        };
        if let Some(lost) = told(&self.connector, error, beneath) {
            return lost;
        }
        let endpoint = &self.connector.endpoint.host;
        match error {
            ConnectionError::ConnectionRefused(code) => {
                Lost::told(reason::connect_refused(connect_code(*code), &self.client_id))
            }
            ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => Lost {
                taken_over: *reason_code == DisconnectReasonCode::SessionTakenOver,
                may_be_a_message: reason::may_be_about_a_message(*reason_code as u8),
                ..Lost::told(reason::disconnected(*reason_code as u8, reason_string.as_deref()))
            },
            ConnectionError::MqttState(StateError::AwaitPingResp) => Lost::told(lost::dead(endpoint)),
            ConnectionError::Timeout(_) => Lost::told(lost::late(endpoint, self.events.options.connect_timeout())),
            ConnectionError::MqttState(
                StateError::Io(_) | StateError::ConnectionAborted | StateError::Deserialization(MqttError::Io(_)),
            )
            | ConnectionError::Io(_) => cut(&self.connector, beneath, &self.client_id, was_connected),
            ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout => Lost::told(crate::error::closed()),
            error => not_understood(&self.connector, error),
        }
    }
}

fn received(publish: rumqttc::mqttbytes::v5::Publish) -> Received {
    let properties = publish.properties.unwrap_or_default();
    Received {
        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
        payload: publish.payload,
        qos: qos_back(publish.qos),
        retain: publish.retain,
        duplicate: publish.dup,
        properties: Properties {
            message_expiry: properties.message_expiry_interval.map(|seconds| Duration::from_secs(seconds.into())),
            content_type: properties.content_type,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            user: properties.user_properties,
        },
    }
}

impl Handle for AsyncClient {
    fn publish(&self, publish: &Publish) -> BoxFuture<'static, Published> {
        let mut options = PublishOptions::new(qos(publish.qos)).retain(publish.retain);
        if publish.properties != Properties::default() {
            let Properties { message_expiry, content_type, response_topic, correlation_data, user } =
                publish.properties.clone();
            options = options.properties(PublishProperties {
                message_expiry_interval: message_expiry.map(seconds),
                content_type,
                response_topic,
                correlation_data,
                user_properties: user,
                ..PublishProperties::default()
            });
        }
        let topic = publish.topic.clone();
        let notice = match self.try_publish_tracked(topic.clone(), publish.payload.clone(), options) {
            Ok(notice) => notice,
            Err(ClientError::InvalidRequest(_)) => {
                return ready(Published::Refused(crate::error::not_sendable(&publish.topic))).boxed();
            }
            Err(_) => return ready(Published::NotSent).boxed(),
        };
        async move {
            match notice.wait_async().await {
                Ok(PublishResult::Qos1(answer))
                    if !matches!(answer.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) =>
                {
                    Published::Refused(reason::publish_refused(answer.reason as u8, &topic))
                }
                Ok(_) => Published::Done,
                Err(PublishNoticeError::RetainNotSupported) => {
                    Published::Refused(reason::publish_refused(0x9A, &topic))
                }
                Err(PublishNoticeError::Qos0NotFlushed) => Published::Unsure,
                Err(_) => Published::SessionLost,
            }
        }
        .boxed()
    }

    fn subscribe(&self, filters: &[(String, Qos)]) -> BoxFuture<'static, Answer<Vec<Result<Qos, Error>>>> {
        let asked = filters.iter().map(|(filter, level)| SubscribeFilterInput::new(filter.clone(), qos(*level)));
        let Ok(notice) = self.try_subscribe_many_tracked(asked) else { return ready(Answer::Lost).boxed() };
        let filters: Vec<String> = filters.iter().map(|(filter, _)| filter.clone()).collect();
        async move {
            let Ok(answer) = notice.wait_async().await else { return Answer::Lost };
            let granted = answer.return_codes.iter().zip(&filters).map(|(code, filter)| match code {
                SubscribeReasonCode::Success(granted) => Ok(qos_back(*granted)),
                code => Err(reason::subscribe_refused(subscribe_code(*code), filter)),
            });
            Answer::Given(granted.collect())
        }
        .boxed()
    }

    fn unsubscribe(&self, filters: &[String]) -> BoxFuture<'static, Answer<Result<(), Error>>> {
        let Ok(notice) = self.try_unsubscribe_many_tracked(filters.to_vec()) else {
            return ready(Answer::Lost).boxed();
        };
        async move {
            let Ok(answer) = notice.wait_async().await else { return Answer::Lost };
            let harmless = [UnsubAckReason::Success, UnsubAckReason::NoSubscriptionExisted];
            let refusal = answer.reasons.iter().find(|reason| !harmless.contains(reason));
            Answer::Given(refusal.map_or(Ok(()), |code| Err(reason::unsubscribe_refused(*code as u8))))
        }
        .boxed()
    }

    fn ack(&self, ack: super::Ack) {
        if let super::Ack::V5(Ack(ack)) = ack {
            // The link is gone: so is what was to be acknowledged.
            let _ = self.try_manual_ack(ack);
        }
    }

    fn disconnect(&self, at_once: bool) {
        // The link is gone: so is whom to take leave of.
        let _ = if at_once { self.try_disconnect_now() } else { self.try_disconnect_with_timeout(GOODBYE) };
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
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => 0x84,
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
