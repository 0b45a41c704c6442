//! The connection as programs see it.
//!
//! Owns the handle and its calls; the driver carries them out. All clones are one connection, which
//! ends with [`disconnect`](Connection::disconnect) or when its last handle is dropped.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use brs_core::{Clock, Error};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::events::{EventSender, Events, State};
use crate::api::message::{Message, Publish, Qos};
use crate::api::options::Protocol;
use crate::api::outbox::Outbox;
use crate::api::process::Process;
use crate::api::routes::{self, Receiver, Route};
use crate::api::topic::{Id, MAX_FILTERS, check_filter, check_for_aws};
use crate::error;

/// How long a disconnect without a limit waits for outstanding calls.
pub(crate) const TO_DISCONNECT: Duration = Duration::from_secs(10);

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    Subscribe(Vec<Wanted>),
    Listen(Route),
    Unsubscribe(Vec<String>, oneshot::Sender<Result<(), Error>>),
    Reconnect,
    Disconnect(Duration, oneshot::Sender<Result<(), Error>>),
}

impl Command {
    /// The receiver of a disconnect's result.
    pub(crate) fn into_disconnect(self) -> Option<oneshot::Sender<Result<(), Error>>> {
        match self {
            Self::Disconnect(_, reply) => Some(reply),
            _ => None,
        }
    }
}

/// One requested subscription.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: Id,
    pub(crate) filter: String,
    pub(crate) qos: Qos,
    pub(crate) route: Route,
    pub(crate) reply: oneshot::Sender<Result<Qos, Error>>,
}

/// State that handles and driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client_id: String,
    /// Whether AWS IoT's limits apply.
    pub(crate) is_aws: bool,
    pub(crate) outbox: Outbox,
    pub(crate) events: EventSender,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) protocol: Protocol,
    pub(crate) stream_capacity: usize,
    /// Where the driver is.
    pub(crate) process: Process,
}

/// A connection to the broker that stays up.
///
/// Clones are cheap and share the connection. When the last one is dropped, the connection closes in
/// the background, if the process lives long enough: await [`disconnect`](Self::disconnect) before a
/// program ends.
///
/// # Forks
///
/// A connection stays with the process that opened it. In a forked child, calls on it fail with the
/// outcome [`Closed`](crate::Outcome), its streams have ended and its state is `Closed`, while the
/// parent goes on with it. Open another one in the child, with another client id, and leave this one
/// alone there: dropping its last handle may wait for what another thread of the parent held locked.
///
/// # Cancel safety
///
/// All calls are cancel safe, and a dropped call loses nothing that it has handed over:
/// [`publish`](Self::publish), [`subscribe`](Self::subscribe), [`unsubscribe`](Self::unsubscribe) and
/// [`disconnect`](Self::disconnect) state what still happens then.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<State>,
    next_id: Arc<AtomicU64>,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        state: watch::Receiver<State>,
    ) -> Self {
        Self {
            shared,
            commands,
            state,
            next_id: Arc::default(),
        }
    }

    /// Publishes a message. Ready when a message of QoS 1 is acknowledged, or a message of QoS 0 is
    /// written to the socket.
    ///
    /// Without a connection, a message of QoS 1 waits in the outbox until there is one. A connection
    /// that is being replaced counts as one until the new one fails.
    ///
    /// # Errors
    ///
    /// A validation error, before anything is sent, for a message that MQTT cannot carry or AWS IoT
    /// does not accept. Then the server's refusal, or an [`Outcome`](crate::Outcome): `Full`,
    /// `Dropped`, `Offline`, `SessionLost`, `NotTaken` or `Closed`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the outbox has accepted the message, nothing is published. If
    /// it is dropped later, the message is still published.
    pub async fn publish(&self, message: Publish) -> Result<(), Error> {
        self.check_process()?;
        message.validate()?;
        if self.shared.is_aws {
            message.check_for_aws()?;
        }
        if self.shared.protocol == Protocol::V311 && message.needs_v5() {
            return Err(error::needs_v5());
        }
        self.shared
            .outbox
            .add(message)
            .await?
            .await
            .unwrap_or_else(|_| Err(error::closed()))
    }

    /// Subscribes to a topic filter. Ready when the server has granted it; without a connection it
    /// waits for one.
    ///
    /// The subscription lasts: if the server loses the session, it is requested again over the next
    /// connection.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong filter and for QoS 2; the server's refusal; the
    /// [outcomes](crate::Outcome) `Closed`, and `Unsubscribed` if
    /// [`unsubscribe`](Self::unsubscribe) was called before there was an answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the subscription may exist; its messages are acknowledged and dropped.
    pub async fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Result<Subscription, Error> {
        self.subscribe_all([subscribe.into()])
            .await?
            .pop()
            .unwrap_or_else(|| Err(error::no_filters()))
    }

    /// Subscribes to up to eight filters in one packet, each with its own stream and result.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong filter, QoS 2, and more than eight filters: then nothing is
    /// requested. Each filter can have the server's refusal, or the outcome `Unsubscribed`
    /// or `Closed`.
    ///
    /// # Cancel safety
    ///
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_all(
        &self,
        subscribes: impl IntoIterator<Item = Subscribe>,
    ) -> Result<Vec<Result<Subscription, Error>>, Error> {
        self.check_process()?;
        let subscribes: Vec<Subscribe> = subscribes.into_iter().collect();
        check_count(subscribes.len())?;
        for subscribe in &subscribes {
            self.check_filter(&subscribe.filter)?;
            subscribe.qos.check()?;
        }
        let (mut wanted, mut waiting) = (Vec::new(), Vec::new());
        for subscribe in subscribes {
            let Subscribe {
                filter,
                qos,
                manual_ack,
                capacity,
            } = subscribe;
            let id = self.next_id.fetch_add(1, Ordering::Relaxed);
            let capacity = capacity.unwrap_or(self.shared.stream_capacity);
            let (route, receiver) = routes::route(Some((id, filter.clone())), capacity, manual_ack);
            let (reply, replied) = oneshot::channel();
            wanted.push(Wanted {
                id,
                filter: filter.clone(),
                qos,
                route,
                reply,
            });
            waiting.push((filter, receiver, replied));
        }
        self.send(Command::Subscribe(wanted)).await?;
        let mut subscriptions = Vec::new();
        for (filter, receiver, replied) in waiting {
            let granted = replied.await.unwrap_or_else(|_| Err(error::closed()));
            subscriptions.push(granted.map(|granted| Subscription {
                filter,
                granted,
                receiver,
            }));
        }
        Ok(subscriptions)
    }

    /// Ends the subscriptions to the filters, and their streams. Ready when the server has confirmed
    /// it.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong filter and for more than eight; the server's refusal;
    /// the outcome `Closed`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after it was polled, the subscriptions still end.
    pub async fn unsubscribe(
        &self,
        filters: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), Error> {
        self.check_process()?;
        let filters: Vec<String> = filters.into_iter().map(Into::into).collect();
        check_count(filters.len())?;
        filters
            .iter()
            .try_for_each(|filter| self.check_filter(filter))?;
        let (reply, replied) = oneshot::channel();
        self.send(Command::Unsubscribe(filters, reply)).await?;
        replied.await.unwrap_or_else(|_| Err(error::closed()))
    }

    /// A stream of all messages from now on: those of all subscriptions, and those that belong to
    /// none.
    pub async fn messages(&self) -> Messages {
        let (route, receiver) = routes::route(None, self.shared.stream_capacity, false);
        // If the connection is closed, the stream has ended.
        let _ = self.send(Command::Listen(route)).await;
        Messages(receiver)
    }

    /// Closes the connection: waits for outstanding calls, for `limit` at most (`None`: 10 s), and
    /// sends DISCONNECT.
    ///
    /// Await it before the program ends: if the process ends first, the server does not get DISCONNECT
    /// and publishes the last will.
    ///
    /// Outstanding are publishes, including those that wait for room in the outbox, and subscribes and
    /// unsubscribes that the server has not answered. New ones end with the outcome `Closed` from
    /// now on, and so does what is outstanding when the limit is reached. Of several calls, the one whose
    /// limit expires first counts. The server does not publish the last will, unless the connection was
    /// lost before or is just being opened.
    ///
    /// # Errors
    ///
    /// A connection error with the outcome `Closed` if calls were left over, if the runtime that
    /// drives the connection ended meanwhile, or in a forked child, whose parent keeps it. A
    /// connection that is closed already gives no error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after it was polled, the connection still closes.
    pub async fn disconnect(&self, limit: impl Into<Option<Duration>> + Send) -> Result<(), Error> {
        self.check_process()?;
        let limit = limit.into().unwrap_or(TO_DISCONNECT);
        let (reply, replied) = oneshot::channel();
        if self.send(Command::Disconnect(limit, reply)).await.is_err() {
            return Ok(());
        }
        replied.await.unwrap_or_else(|_| Err(error::closed()))
    }

    /// Replaces the network connection by a new one, with the current certificate and credentials.
    ///
    /// It waits for publishes in flight, for 10 s at most. Those that are left are sent again if the
    /// server [keeps the session](crate::Options::session_expiry), and handled as
    /// [`WhenSessionLost`](crate::WhenSessionLost) otherwise. Without a kept session, messages that are
    /// published for the client between the two connections are lost.
    ///
    /// While the connection is lost, the next attempt begins at once: call it when the device's network
    /// is back.
    pub async fn reconnect(&self) {
        let _ = self.send(Command::Reconnect).await;
    }

    /// The current state.
    pub fn state(&self) -> State {
        if self.shared.process.is_here() {
            *self.state.borrow()
        } else {
            State::Closed
        }
    }

    /// Waits until the connection is connected.
    ///
    /// # Errors
    ///
    /// A connection error with the outcome `Closed` once the connection is closed.
    pub async fn connected(&self) -> Result<(), Error> {
        self.check_process()?;
        let mut state = self.state.clone();
        match state
            .wait_for(|state| matches!(state, State::Connected | State::Closed))
            .await
            .as_deref()
        {
            Ok(State::Connected) => Ok(()),
            _ => Err(error::closed()),
        }
    }

    /// The events from now on; [`Event::Closed`](crate::Event::Closed) is the last.
    pub fn events(&self) -> Events {
        if !self.shared.process.is_here() {
            return Events::of_closed();
        }
        let events = self.shared.events.subscribe();
        // The event may have been sent before.
        if self.state() == State::Closed {
            Events::of_closed()
        } else {
            events
        }
    }

    /// The client id.
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    fn check_filter(&self, filter: &str) -> Result<(), Error> {
        check_filter(filter)?;
        if self.shared.is_aws {
            check_for_aws(filter, "filter")
        } else {
            Ok(())
        }
    }

    fn check_process(&self) -> Result<(), Error> {
        if self.shared.process.is_here() {
            Ok(())
        } else {
            Err(error::forked())
        }
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        self.check_process()?;
        self.commands
            .send(command)
            .await
            .map_err(|_| error::closed())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("client_id", &self.shared.client_id)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

fn check_count(count: usize) -> Result<(), Error> {
    match count {
        0 => Err(error::no_filters()),
        1..=MAX_FILTERS => Ok(()),
        count => Err(error::too_many_filters(count)),
    }
}

/// A subscription to request. A topic filter alone is one of QoS 1.
#[derive(Clone, Debug)]
#[must_use]
pub struct Subscribe {
    filter: String,
    qos: Qos,
    manual_ack: bool,
    capacity: Option<usize>,
}

impl Subscribe {
    /// A subscription of QoS 1 to a topic filter. `$share/<group>/<filter>` shares it among the group's
    /// clients.
    pub fn new(filter: impl Into<String>) -> Self {
        Self {
            filter: filter.into(),
            qos: Qos::default(),
            manual_ack: false,
            capacity: None,
        }
    }

    /// The maximum quality of service. Default: at least once.
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Whether the reader acknowledges each message with [`Message::ack`]. Default: no, reading it from
    /// the stream acknowledges it.
    pub fn manual_ack(mut self, manual_ack: bool) -> Self {
        self.manual_ack = manual_ack;
        self
    }

    /// How many messages of QoS 0 the stream holds; it also holds the server's window of QoS 1.
    /// Default: [`Options::stream_capacity`](crate::Options::stream_capacity).
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = Some(capacity);
        self
    }
}

impl From<&str> for Subscribe {
    fn from(filter: &str) -> Self {
        Self::new(filter)
    }
}

impl From<String> for Subscribe {
    fn from(filter: String) -> Self {
        Self::new(filter)
    }
}

/// A granted subscription: the stream of its messages.
///
/// Dropping it does not end the subscription: messages that still come are acknowledged and dropped,
/// unless [`Connection::messages`] reads them. [`Connection::unsubscribe`] ends it.
///
/// [`next`](Self::next) is cancel safe: no message is lost.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Subscription {
    filter: String,
    granted: Qos,
    receiver: Receiver,
}

impl Subscription {
    /// The topic filter.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// The granted quality of service, which may be lower than the requested one.
    pub fn granted(&self) -> Qos {
        self.granted
    }

    /// The next message; `None` once the subscription or the connection has ended.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.receiver.poll_next(cx)).await
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.receiver.poll_next(cx)
    }
}

/// All messages of a connection.
///
/// [`next`](Self::next) is cancel safe: no message is lost.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Messages(Receiver);

impl Messages {
    /// The next message; `None` once the connection has ended.
    pub async fn next(&mut self) -> Option<Message> {
        std::future::poll_fn(|cx| self.0.poll_next(cx)).await
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.0.poll_next(cx)
    }
}
