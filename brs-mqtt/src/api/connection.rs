//! The connection as programs see it.
//!
//! Owns the handle and its calls; what happens to them is the driver's. All clones are one
//! connection, which ends with [`disconnect`](Connection::disconnect) or with its last handle.

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
use crate::api::routes::{self, Receiver, Route};
use crate::api::topic::{Id, MAX_FILTERS, check_filter, check_for_aws};
use crate::error;

/// How long a connection that ends without a limit waits for what is outstanding.
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
    /// Who waits for the end.
    pub(crate) fn into_disconnect(self) -> Option<oneshot::Sender<Result<(), Error>>> {
        match self {
            Self::Disconnect(_, reply) => Some(reply),
            _ => None,
        }
    }
}

/// One subscription that is asked for.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) id: Id,
    pub(crate) filter: String,
    pub(crate) qos: Qos,
    pub(crate) route: Route,
    pub(crate) reply: oneshot::Sender<Result<Qos, Error>>,
}

/// What handles and driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client_id: String,
    /// Whether AWS IoT's limits hold.
    pub(crate) is_aws: bool,
    pub(crate) outbox: Outbox,
    pub(crate) events: EventSender,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) protocol: Protocol,
    pub(crate) stream_capacity: usize,
}

/// A connection to the broker that stays up.
///
/// A cheap clone; the connection ends, with a goodbye, when the last one is dropped, if the process
/// lives on for as long as that takes: await [`disconnect`](Self::disconnect) at a program's end.
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

    /// Publishes a message: ready when a message of QoS 1 is acknowledged, one of QoS 0 handed to
    /// the socket.
    ///
    /// Without a connection a message of QoS 1 waits in the outbox until there is one. A connection
    /// that is being replaced counts as one for as long as the new one has not failed.
    ///
    /// # Errors
    ///
    /// A validation error, before anything is sent, for a message that MQTT cannot carry or AWS IoT
    /// does not accept. Then the server's refusal, or an [`Outcome`](crate::Outcome): `Full`,
    /// `Dropped`, `Offline`, `SessionLost`, `NotTaken` or `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the outbox has taken the message, nothing is published. Dropped later, it is
    /// published all the same.
    pub async fn publish(&self, message: Publish) -> Result<(), Error> {
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

    /// Subscribes to a topic filter: ready when the server has granted it, which waits for a
    /// connection.
    ///
    /// The subscription is kept up: over a connection to a server that has not kept the session, it
    /// is asked for again.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong filter and for QoS 2; the server's refusal; the
    /// [outcomes](crate::Outcome) `Closed`, and `Unsubscribed` if
    /// [`unsubscribe`](Self::unsubscribe) was called before there was an answer.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may or may not be subscribed to; what comes is then acknowledged and dropped.
    pub async fn subscribe(&self, subscribe: impl Into<Subscribe>) -> Result<Subscription, Error> {
        self.subscribe_all([subscribe.into()])
            .await?
            .pop()
            .unwrap_or_else(|| Err(error::no_filters()))
    }

    /// Subscribes to up to eight filters in one packet, each with a stream and an answer of its
    /// own.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong filter, QoS 2, and more than eight filters: then nothing is
    /// asked for. Each filter can have the server's refusal, or the outcome `Unsubscribed`
    /// or `Closed`.
    ///
    /// # Cancel safety
    ///
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_all(
        &self,
        subscribes: impl IntoIterator<Item = Subscribe>,
    ) -> Result<Vec<Result<Subscription, Error>>, Error> {
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

    /// Ends the subscriptions to those filters, their streams included: ready when the server has
    /// agreed.
    ///
    /// # Errors
    ///
    /// A validation error for a wrong filter and for more than eight; the server's refusal;
    /// the outcome `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Dropped once it has been polled, the subscriptions end all the same.
    pub async fn unsubscribe(
        &self,
        filters: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<(), Error> {
        let filters: Vec<String> = filters.into_iter().map(Into::into).collect();
        check_count(filters.len())?;
        filters
            .iter()
            .try_for_each(|filter| self.check_filter(filter))?;
        let (reply, replied) = oneshot::channel();
        self.send(Command::Unsubscribe(filters, reply)).await?;
        replied.await.unwrap_or_else(|_| Err(error::closed()))
    }

    /// All messages from now on, of all subscriptions, those without a stream of their own
    /// included.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn messages(&self) -> Messages {
        let (route, receiver) = routes::route(None, self.shared.stream_capacity, false);
        // Of a closed connection: a stream that has ended.
        let _ = self.send(Command::Listen(route)).await;
        Messages(receiver)
    }

    /// Ends the connection: waits for what is outstanding, for `limit` at most, and says goodbye.
    /// Without a limit (`None`) it waits for 10 s at most.
    ///
    /// Await it before the program ends: a process that ends first says no goodbye, and the server
    /// publishes the last will.
    ///
    /// Outstanding are publishes, those that wait for room in the outbox included, and subscribes
    /// and unsubscribes the server has not answered. New ones end with the outcome `Closed` from
    /// now on, and so does what is outstanding when the limit is reached. Of several limits the one that
    /// is up first counts. The last will is not published, but where a connection was lost before,
    /// or is just being made.
    ///
    /// # Errors
    ///
    /// A connection error with the outcome `Closed` when something was left over, or when the runtime
    /// that drives the connection ends meanwhile. Of a connection that has ended already, none.
    ///
    /// # Cancel safety
    ///
    /// Dropped once it has been polled, the connection ends all the same.
    pub async fn disconnect(&self, limit: impl Into<Option<Duration>> + Send) -> Result<(), Error> {
        let limit = limit.into().unwrap_or(TO_DISCONNECT);
        let (reply, replied) = oneshot::channel();
        if self.send(Command::Disconnect(limit, reply)).await.is_err() {
            return Ok(());
        }
        replied.await.unwrap_or_else(|_| Err(error::closed()))
    }

    /// Replaces the network connection by a new one, with the certificate and the credentials of
    /// the moment.
    ///
    /// Publishes in flight are waited for, for 10 s at most; what is left then is sent again with a
    /// [session that is kept](crate::Options::session_expiry), and else as
    /// [`WhenSessionLost`](crate::WhenSessionLost) says. A session that is kept goes on; where none
    /// is, the server sends nothing of what comes for the client between the two connections. While
    /// the connection is lost, the next try is made at once: what a device does that has its
    /// network back.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn reconnect(&self) {
        let _ = self.send(Command::Reconnect).await;
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Waits until it is connected; an error once it is closed.
    ///
    /// # Errors
    ///
    /// The outcome `Closed`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn connected(&self) -> Result<(), Error> {
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

    /// What happens from now on, [`Event::Closed`](crate::Event::Closed) last.
    pub fn events(&self) -> Events {
        let events = self.shared.events.subscribe();
        // It may have been told before.
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

    async fn send(&self, command: Command) -> Result<(), Error> {
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

/// A subscription to ask for. A topic filter alone is one of QoS 1.
#[derive(Clone, Debug)]
pub struct Subscribe {
    filter: String,
    qos: Qos,
    manual_ack: bool,
    capacity: Option<usize>,
}

impl Subscribe {
    /// A subscription of QoS 1 to a topic filter; `$share/<group>/<filter>` shares it with others.
    pub fn new(filter: impl Into<String>) -> Self {
        Self {
            filter: filter.into(),
            qos: Qos::default(),
            manual_ack: false,
            capacity: None,
        }
    }

    /// How surely messages are to come at most. Default: at least once.
    #[must_use]
    pub fn qos(mut self, qos: Qos) -> Self {
        self.qos = qos;
        self
    }

    /// Whether the reader acknowledges each message ([`Message::ack`]). Default: no, taking it from
    /// the stream does.
    #[must_use]
    pub fn manual_ack(mut self, manual_ack: bool) -> Self {
        self.manual_ack = manual_ack;
        self
    }

    /// How many messages of QoS 0 the stream holds; of QoS 1 it holds the server's window beyond
    /// that. Default: [`Options::stream_capacity`](crate::Options).
    #[must_use]
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

/// A subscription that the server has granted: the stream of its messages.
///
/// Dropped, the messages that still come are acknowledged and dropped, but for
/// [`Connection::messages`], which has them, too; [`Connection::unsubscribe`] ends it.
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

    /// What the server has granted, perhaps less than was asked for.
    pub fn granted(&self) -> Qos {
        self.granted
    }

    /// The next message; `None` when the subscription or the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
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
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct Messages(Receiver);

impl Messages {
    /// The next message; `None` when the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no message is lost.
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
