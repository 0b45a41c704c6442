//! MQTT 3.1.1. Refusals have few reasons in it, and a server that closes says none.

use std::sync::Arc;
use std::time::Duration;

use brs_core::Error;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use rumqttc::mqttbytes::Error as MqttError;
use rumqttc::mqttbytes::v4::{LastWill, Packet, SubscribeReasonCode};
use rumqttc::{
    AckMode, AsyncClient, ClientError, ConnectReturnCode, ConnectionError, Event, EventLoop, ManualAck, MqttOptions,
    NetworkOptions, PersistedAckMode, PersistedSession, PublishNoticeError, PublishOptions, SessionStore,
    SessionStoreError, SessionStoreKey, StateError, SubscribeFilterInput,
};
use rumqttc_v4 as rumqttc;

use super::*;
use crate::error::{lost, reason};
use crate::message::Properties;

/// What acknowledges a message.
#[derive(Clone, Debug)]
pub(crate) struct Ack(ManualAck);

pub(super) fn open(options: &Options, connector: &Arc<Connector>, resume: bool) -> (Box<dyn Link>, Box<dyn Handle>) {
    let endpoint = &connector.endpoint;
    let mut mqtt = MqttOptions::new(options.client_id.clone(), (endpoint.host.clone(), endpoint.port));
    mqtt.set_transport(rumqttc::Transport::Tcp);
    let opener = Arc::clone(connector);
    mqtt.set_socket_connector(move |_, _| {
        let opener = Arc::clone(&opener);
        async move { opener.open().await.map_err(opened_as) }
    });
    mqtt.set_keep_alive(u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX));
    mqtt.set_clean_session(options.clean_start && !resume);
    mqtt.set_ack_mode(AckMode::Manual);
    mqtt.set_inflight(MAX_IN_FLIGHT);
    let max_packet = usize::try_from(MAX_PACKET).unwrap_or(usize::MAX);
    mqtt.set_max_packet_size(max_packet, max_packet);
    if let Some(will) = &options.last_will {
        mqtt.set_last_will(LastWill::new(will.topic.clone(), will.payload.to_vec(), qos(will.qos), will.retain));
    }
    if !mqtt.clean_session() {
        mqtt.set_session_store(Blank(options.client_id.clone()));
    }
    let (client, mut events) = AsyncClient::builder(mqtt).unbounded().build();
    let mut network = NetworkOptions::new();
    let limit = options.connect_timeout + LAST_RESORT;
    network.set_connection_timeout(limit.as_secs());
    events.set_network_options(network);
    let link = V4 {
        events,
        client: client.clone(),
        connector: Arc::clone(connector),
        client_id: options.client_id.clone(),
        limit,
        connected: false,
    };
    (Box::new(link), Box::new(client))
}

blank_session!(PersistedSession { clean_session: false, max_inflight: MAX_IN_FLIGHT });

struct V4 {
    events: EventLoop,
    client: AsyncClient,
    connector: Arc<Connector>,
    client_id: String,
    limit: Duration,
    connected: bool,
}

impl Link for V4 {
    fn poll(mut self: Box<Self>) -> BoxFuture<'static, (Box<dyn Link>, Result<Incoming, Lost>)> {
        async move {
            let happened = self.next().await;
            (self as Box<dyn Link>, happened)
        }
        .boxed()
    }

    /// One switch says whether a session is kept and whether one is begun: it stays as it was given.
    fn keep_session(&mut self) {}
}

impl V4 {
    async fn next(&mut self) -> Result<Incoming, Lost> {
        for _ in 0..PATIENCE {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(answer))) => {
                    self.connected = true;
                    // It has done its work; left in place, it would copy what is in flight with every packet.
                    self.events.mqtt_options.clear_session_store();
                    return Ok(Incoming::Connected { session_present: answer.session_present, max_packet: None });
                }
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    let ack = self.client.prepare_ack(&publish).map(|ack| super::Ack::V4(Ack(ack)));
                    let received = Received {
                        topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                        payload: publish.payload,
                        qos: qos_back(publish.qos),
                        retain: publish.retain,
                        duplicate: publish.dup,
                        properties: Properties::default(),
                    };
                    return Ok(Incoming::Message(Box::new(received), ack));
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
            ConnectionError::MqttState(StateError::AwaitPingResp) => Lost::told(lost::dead(endpoint)),
            ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
                Lost::told(lost::late(endpoint, self.limit))
            }
            ConnectionError::MqttState(
                StateError::Io(_) | StateError::ConnectionAborted | StateError::Deserialization(MqttError::Io(_)),
            )
            | ConnectionError::Io(_) => cut(&self.connector, beneath, &self.client_id, was_connected),
            ConnectionError::RequestsDone | ConnectionError::DisconnectTimeout => Lost::told(crate::error::closed()),
            error => not_understood(&self.connector, error),
        }
    }
}

fn connect_code(code: ConnectReturnCode) -> u8 {
    reason::of_v4(match code {
        ConnectReturnCode::Success => 0,
        ConnectReturnCode::RefusedProtocolVersion => 1,
        ConnectReturnCode::BadClientId => 2,
        ConnectReturnCode::ServiceUnavailable => 3,
        ConnectReturnCode::BadUserNamePassword => 4,
        ConnectReturnCode::NotAuthorized => 5,
    })
}

impl Handle for AsyncClient {
    fn publish(&self, publish: &Publish) -> BoxFuture<'static, Published> {
        let options = PublishOptions::new(qos(publish.qos)).retain(publish.retain);
        let notice = match self.try_publish_tracked(publish.topic.clone(), publish.payload.clone(), options) {
            Ok(notice) => notice,
            Err(ClientError::InvalidRequest(_)) => {
                return ready(Published::Refused(crate::error::not_sendable(&publish.topic))).boxed();
            }
            Err(_) => return ready(Published::NotSent).boxed(),
        };
        async move {
            match notice.wait_async().await {
                Ok(_) => Published::Done,
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
                SubscribeReasonCode::Failure => Err(reason::subscribe_refused(0x80, filter)),
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
            match notice.wait_async().await {
                Ok(_) => Answer::Given(Ok(())),
                Err(_) => Answer::Lost,
            }
        }
        .boxed()
    }

    fn ack(&self, ack: super::Ack) {
        if let super::Ack::V4(Ack(ack)) = ack {
            // The link is gone: so is what was to be acknowledged.
            let _ = self.try_manual_ack(ack);
        }
    }

    fn disconnect(&self, at_once: bool) {
        // The link is gone: so is whom to take leave of.
        let _ = if at_once { self.try_disconnect_now() } else { self.try_disconnect_with_timeout(GOODBYE) };
    }
}
