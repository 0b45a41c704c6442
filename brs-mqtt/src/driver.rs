//! The task that keeps a connection up.
//!
//! Invariants:
//! 1. One task owns the link, the streams' sending sides and the list of subscriptions; handles only send commands, so
//!    there is nothing to lock but the outbox.
//! 2. The link is polled to the end of each step and never dropped halfway; whatever else is due is done beside it.
//! 3. Every publish the outbox has given out is either in `publishes`, or back in the outbox, or answered.
//! 4. A generation is one connection that the server has accepted. Acknowledgements and answers carry theirs, and those
//!    of an older one count for nothing.
//! 5. Whatever way the task ends, outbox and subscriptions are closed: nobody waits for a driver that is gone.

use std::sync::Arc;
use std::time::Duration;

use brs_core::{Error, Sleep};
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};

use crate::backoff::Backoff;
use crate::connection::{Command, Shared};
use crate::error;
use crate::error::lost::Lost;
use crate::events::{Event, State};
use crate::message::{Qos, Received};
use crate::options::{Options, WhenSessionLost};
use crate::outbox::Entry;
use crate::routes::Routes;
use crate::subscriptions::{Answered, Id, Subscriptions};
use crate::takeover::{Takeovers, Verdict};
use crate::transport::Connector;
use crate::wire::{self, Answer, GOODBYE, Incoming, Link, MAX_IN_FLIGHT, Published};

mod asked;

use asked::Asked;

/// How long what is in flight is waited for before a connection is replaced.
const DRAIN: Duration = Duration::from_secs(10);
/// What a connection whose last handle was dropped has left for its publishes.
const ORPHANED: Duration = Duration::from_secs(10);

type Ack = (u64, wire::Ack);
type Reply = oneshot::Sender<Result<(), Error>>;
type Polling = BoxFuture<'static, (Box<dyn Link>, Result<Incoming, Lost>)>;

/// The task's state.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    options: Options,
    connector: Arc<Connector>,
    commands: mpsc::Receiver<Command>,
    orphaned: bool,
    state: watch::Sender<State>,
    /// Who waits for the first connection.
    first: Option<Reply>,
    acks: mpsc::UnboundedReceiver<Ack>,
    ack_sender: mpsc::UnboundedSender<Ack>,
    routes: Routes,
    subscriptions: Subscriptions,
    /// Due once there is a connection.
    unsubscribes: Vec<(Vec<String>, Reply)>,
    resubscribing: Option<Resubscribing>,
    publishes: FuturesUnordered<BoxFuture<'static, (Entry, Published)>>,
    asked: FuturesUnordered<BoxFuture<'static, Asked>>,
    handle: Option<Box<dyn wire::Handle>>,
    generation: u64,
    /// On the monotonic clock.
    connected_at: Duration,
    replacing: Option<Duration>,
    closing: Option<Closing>,
    backoff: Backoff,
    takeovers: Takeovers,
    failed: u32,
    timer: Option<(Duration, Sleep)>,
}

/// Subscriptions that are asked for again.
struct Resubscribing {
    left: Vec<Id>,
    filters: usize,
}

/// The connection is to end.
struct Closing {
    limit: Duration,
    deadline: Duration,
    replies: Vec<Reply>,
}

/// Why attending ended before what was attended to.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    Close,
    Replace,
}

/// How a time on one link ended.
enum End {
    Lost(Box<dyn Link>, Lost),
    Stopped(Stop),
}

impl Driver {
    pub(crate) fn new(
        shared: Arc<Shared>,
        options: Options,
        connector: Connector,
        commands: mpsc::Receiver<Command>,
        state: watch::Sender<State>,
        first: Option<Reply>,
    ) -> Self {
        let (ack_sender, acks) = mpsc::unbounded_channel();
        let (shortest, longest) = options.backoff;
        Self {
            shared,
            connector: Arc::new(connector),
            commands,
            orphaned: false,
            state,
            first,
            acks,
            ack_sender,
            routes: Routes::keeping_unclaimed(!options.clean_start),
            options,
            subscriptions: Subscriptions::default(),
            unsubscribes: Vec::new(),
            resubscribing: None,
            publishes: FuturesUnordered::new(),
            asked: FuturesUnordered::new(),
            handle: None,
            generation: 0,
            connected_at: Duration::ZERO,
            replacing: None,
            closing: None,
            backoff: Backoff::new(shortest, longest),
            takeovers: Takeovers::default(),
            failed: 0,
            timer: None,
        }
    }

    /// Keeps the connection up until it is closed.
    pub(crate) async fn run(mut self) {
        let mut resume = false;
        'links: loop {
            let (mut link, handle) = wire::open(&self.options, &self.connector, resume);
            self.handle = Some(handle);
            loop {
                match self.once(link).await {
                    End::Lost(back, lost) => {
                        let Some(mut sleep) = self.lost(lost) else { return self.end() };
                        if self.attend(&mut sleep, false).await == Err(Stop::Close) {
                            return self.end();
                        }
                        link = back;
                    }
                    End::Stopped(Stop::Close) => return self.end(),
                    End::Stopped(Stop::Replace) => {
                        // A new link knows nothing of the session, which goes on if the server keeps it.
                        resume = !self.options.session_expiry.is_zero();
                        self.handle = None;
                        self.settle().await;
                        continue 'links;
                    }
                }
            }
        }
    }

    /// One connection, from its try to its end.
    async fn once(&mut self, link: Box<dyn Link>) -> End {
        self.set_state(State::Connecting);
        self.tell(Event::Connecting { failed: self.failed });
        let connector = Arc::clone(&self.connector);
        let mut prepared = async move { connector.prepare().await }.boxed();
        match self.attend(&mut prepared, false).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return End::Lost(link, Lost::told(error)),
            Err(stop) => return End::Stopped(stop),
        }
        drop(prepared);
        let mut connected = false;
        let mut polling = link.poll();
        loop {
            match self.attend(&mut polling, connected).await {
                Ok((mut link, Ok(incoming))) => {
                    if let Incoming::Connected { session_present } = incoming {
                        connected = true;
                        self.connected(&mut *link, session_present);
                    } else if let Incoming::Message(received, ack) = incoming {
                        self.message(*received, ack);
                    }
                    polling = link.poll();
                }
                Ok((link, Err(lost))) => {
                    self.note_end(connected, &lost);
                    return End::Lost(link, lost);
                }
                Err(stop) => {
                    if connected {
                        self.say_goodbye(polling).await;
                    }
                    return End::Stopped(stop);
                }
            }
        }
    }

    /// Does whatever is due until `future` is ready.
    async fn attend<F: Future + Unpin>(&mut self, future: &mut F, connected: bool) -> Result<F::Output, Stop> {
        loop {
            let now = self.shared.clock.monotonic();
            if let Some(stop) = self.due(now, connected) {
                return Err(stop);
            }
            let may_send = connected && self.replacing.is_none();
            if may_send {
                self.send();
            }
            self.set_timer(now, connected);
            let has_room = may_send && self.publishes.len() < usize::from(MAX_IN_FLIGHT);
            let timer = self.timer.as_mut().map(|(_, sleep)| sleep);
            let is_timed = timer.is_some();
            tokio::select! {
                output = &mut *future => return Ok(output),
                Some((entry, ended)) = self.publishes.next(), if !self.publishes.is_empty() => {
                    self.published(entry, ended);
                }
                Some(asked) = self.asked.next(), if !self.asked.is_empty() => self.answered(asked),
                command = self.commands.recv(), if !self.orphaned => match command {
                    Some(command) => self.command(command, connected),
                    None => {
                        self.orphaned = true;
                        self.close(ORPHANED, None);
                    }
                },
                Some((generation, ack)) = self.acks.recv() => {
                    if connected && generation == self.generation && let Some(handle) = &self.handle {
                        handle.ack(ack);
                    }
                }
                () = self.shared.outbox.work.notified(), if has_room => {}
                () = async { if let Some(timer) = timer { timer.await } }, if is_timed => self.timer = None,
            }
        }
    }

    /// What time or progress makes due.
    fn due(&mut self, now: Duration, connected: bool) -> Option<Stop> {
        let is_idle = self.publishes.is_empty();
        if let Some(closing) = &self.closing
            && (now >= closing.deadline || (is_idle && self.shared.outbox.is_empty()))
        {
            return Some(Stop::Close);
        }
        if !connected {
            self.replacing = None;
            return None;
        }
        if self.replacing.is_none() && self.renewal().is_some_and(|at| now >= at) {
            self.replacing = Some(now + DRAIN);
        }
        (self.replacing.is_some_and(|at| is_idle || now >= at)).then_some(Stop::Replace)
    }

    /// When the connection is to be replaced.
    fn renewal(&self) -> Option<Duration> {
        self.connector.is_signed().then(|| self.connected_at + self.options.renew_after)
    }

    /// One timer for whatever is next, made anew only when that changes.
    fn set_timer(&mut self, now: Duration, connected: bool) {
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        let renewal = if connected { self.replacing.or_else(|| self.renewal()) } else { None };
        let Some(next) = [closing, renewal].into_iter().flatten().min() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_none_or(|(at, _)| *at != next) {
            self.timer = Some((next, self.shared.clock.sleep(next.saturating_sub(now))));
        }
    }

    /// Hands messages to the link, as many as may be in flight.
    fn send(&mut self) {
        let Some(handle) = &self.handle else { return };
        while self.publishes.len() < usize::from(MAX_IN_FLIGHT) {
            let Some(entry) = self.shared.outbox.take() else { return };
            let ended = handle.publish(&entry.publish);
            self.publishes.push(async move { (entry, ended.await) }.boxed());
        }
    }

    fn published(&mut self, entry: Entry, ended: Published) {
        let is_at_most_once = entry.publish.qos == Qos::AtMostOnce;
        match ended {
            Published::Done => entry.finish(Ok(())),
            Published::Refused(error) => entry.finish(Err(error)),
            // Whether a message of QoS 0 went out is nobody's to know; it is not sent twice.
            Published::SessionLost | Published::NotSent if is_at_most_once && !self.options.hold_at_most_once => {
                entry.finish(Err(error::offline()));
            }
            Published::SessionLost if self.options.when_session_lost == WhenSessionLost::Fail => {
                entry.finish(Err(error::session_lost()));
            }
            Published::SessionLost | Published::NotSent => self.shared.outbox.put_back(entry),
        }
    }

    fn command(&mut self, command: Command, connected: bool) {
        match command {
            Command::Subscribe(wanted) => {
                for wanted in wanted {
                    self.routes.add(wanted.route, self.generation, &self.ack_sender);
                    self.subscriptions.want(wanted.id, wanted.filter, wanted.qos, wanted.reply);
                }
                if connected {
                    self.ask();
                }
            }
            Command::Listen(route) => self.routes.add(route, self.generation, &self.ack_sender),
            Command::Unsubscribe(filters, reply) => {
                self.routes.remove(&filters);
                self.subscriptions.unwant(&filters);
                self.unsubscribes.push((filters, reply));
                if connected {
                    self.unsubscribe();
                }
            }
            Command::Reconnect => {
                if connected && self.replacing.is_none() {
                    self.replacing = Some(self.shared.clock.monotonic() + DRAIN);
                }
            }
            Command::Disconnect(limit, reply) => self.close(limit, Some(reply)),
        }
    }

    fn close(&mut self, limit: Duration, reply: Option<Reply>) {
        let deadline = self.shared.clock.monotonic().saturating_add(limit);
        let closing = self.closing.get_or_insert_with(|| Closing { limit, deadline, replies: Vec::new() });
        closing.replies.extend(reply);
    }

    fn connected(&mut self, link: &mut dyn Link, session_present: bool) {
        self.generation += 1;
        self.failed = 0;
        self.connected_at = self.shared.clock.monotonic();
        if !self.options.session_expiry.is_zero() {
            link.keep_session();
        }
        self.routes.begin_connection();
        self.set_state(State::Connected);
        self.tell(Event::Connected { session_present });
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
        self.resubscribing = None;
        if !session_present {
            let again = self.subscriptions.lost();
            if !again.is_empty() {
                self.resubscribing = Some(Resubscribing { filters: again.len(), left: again });
            }
            for (_, reply) in self.unsubscribes.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        self.ask();
        self.unsubscribe();
    }

    fn message(&mut self, received: Received, ack: Option<wire::Ack>) {
        self.routes.deliver(received, ack, self.generation, &self.ack_sender);
        for (filter, count) in self.routes.take_dropped() {
            self.tell(Event::MessagesDropped { filter, count });
        }
    }

    fn ask(&mut self) {
        let Some(handle) = &self.handle else { return };
        for batch in self.subscriptions.due(self.generation) {
            let ids: Vec<Id> = batch.iter().map(|(id, ..)| *id).collect();
            let filters: Vec<(String, Qos)> = batch.into_iter().map(|(_, filter, qos)| (filter, qos)).collect();
            self.asked.push(asked::subscribe(handle.subscribe(&filters), self.generation, ids));
        }
    }

    fn unsubscribe(&mut self) {
        let Some(handle) = &self.handle else { return };
        for (filters, reply) in self.unsubscribes.drain(..) {
            self.asked.push(asked::unsubscribe(handle.unsubscribe(&filters), filters, reply));
        }
    }

    fn answered(&mut self, asked: Asked) {
        match asked {
            Asked::Subscribe { generation, ids, answer: Answer::Lost } => {
                self.subscriptions.unanswered(generation, &ids);
                // The link was replaced or the session lost meanwhile: this connection asks at once.
                if self.state.borrow().eq(&State::Connected) {
                    self.ask();
                }
            }
            Asked::Subscribe { generation, ids, answer: Answer::Given(answers) } => {
                for (id, answer) in ids.into_iter().zip(answers) {
                    let granted = answer.is_ok();
                    if !granted {
                        self.routes.remove_one(id);
                    }
                    if let Answered::Withdrawn(filter, error) = self.subscriptions.answered(generation, id, answer) {
                        self.tell(Event::SubscriptionRefused { filter, error });
                    }
                    self.resubscribed(id);
                }
            }
            Asked::Unsubscribe { reply, answer: Answer::Given(answer), .. } => drop(reply.send(answer)),
            Asked::Unsubscribe { filters, reply, answer: Answer::Lost } => self.unsubscribes.push((filters, reply)),
        }
    }

    fn resubscribed(&mut self, id: Id) {
        let Some(resubscribing) = &mut self.resubscribing else { return };
        resubscribing.left.retain(|other| *other != id);
        if resubscribing.left.is_empty() {
            let filters = resubscribing.filters;
            self.resubscribing = None;
            self.tell(Event::Resubscribed { filters });
        }
    }

    /// What the end of a connection says about the next.
    fn note_end(&mut self, connected: bool, lost: &Lost) {
        if !connected {
            self.takeovers.failed();
            return;
        }
        let stood = self.stood();
        self.backoff.stood_for(stood);
        if lost.silent || lost.taken_over {
            tracing::debug!(?stood, "the connection stood for that long");
        }
    }

    fn stood(&self) -> Duration {
        self.shared.clock.monotonic().saturating_sub(self.connected_at)
    }

    /// A connection or a try is lost: the wait before the next; `None` where there is none.
    fn lost(&mut self, lost: Lost) -> Option<Sleep> {
        let was_connected = *self.state.borrow() == State::Connected;
        let mut error = lost.error;
        if was_connected && let Some(verdict) = self.takeovers.lost(self.stood(), lost.taken_over, lost.silent) {
            let certain = verdict == Verdict::Certain;
            error = error::duplicate_client_id(&self.shared.client_id, certain).with_source(error);
            self.tell(Event::DuplicateClientId { certain });
        }
        if let Some(first) = self.first.take() {
            let _ = first.send(Err(error));
            return None;
        }
        self.failed = self.failed.saturating_add(1);
        if !self.options.hold_at_most_once {
            for entry in self.shared.outbox.extract(|publish| publish.qos == Qos::AtMostOnce) {
                entry.finish(Err(error::offline()));
            }
        }
        let wait = self.backoff.wait(fastrand::f64());
        // Begun before it is told: whoever moves a manual clock at the news moves this.
        let sleep = self.shared.clock.sleep(wait);
        let next_try = self.shared.clock.now() + wait;
        self.set_state(State::Waiting { next_try });
        self.tell(Event::Lost { error, next_try });
        Some(sleep)
    }

    /// Says goodbye over a connection that stands, for as long as that may take.
    async fn say_goodbye(&mut self, mut polling: Polling) {
        let Some(handle) = &self.handle else { return };
        while let Ok((generation, ack)) = self.acks.try_recv() {
            if generation == self.generation {
                handle.ack(ack);
            }
        }
        handle.disconnect();
        let mut time_is_up = self.shared.clock.sleep(GOODBYE);
        loop {
            tokio::select! {
                (link, happened) = &mut polling => match happened {
                    // What comes now is not acknowledged: the server keeps it.
                    Ok(_) => polling = link.poll(),
                    Err(_) => return,
                },
                () = &mut time_is_up => return,
            }
        }
    }

    /// Takes back what a link that is gone had in flight.
    async fn settle(&mut self) {
        while let Some((entry, ended)) = self.publishes.next().await {
            self.published(entry, ended);
        }
        while let Some(asked) = self.asked.next().await {
            self.answered(asked);
        }
    }

    /// What those are told whose publishes are left over.
    fn last_word(&self) -> Error {
        self.closing.as_ref().map_or_else(error::closed, |closing| error::unfinished(closing.limit))
    }

    /// The end: everybody who waits is told.
    fn end(mut self) {
        let error = self.last_word();
        let left = !self.publishes.is_empty() || !self.shared.outbox.is_empty();
        let replies = self.closing.take().map(|closing| closing.replies).unwrap_or_default();
        self.handle = None;
        self.shared.outbox.close(&error);
        // The link is gone, so each of them is ready.
        while let Some(Some((entry, ended))) = self.publishes.next().now_or_never() {
            self.published(entry, ended);
        }
        // Whoever hears that it has ended sees it, too.
        self.set_state(State::Closed);
        for reply in replies {
            let _ = reply.send(if left { Err(error.clone()) } else { Ok(()) });
        }
    }

    fn set_state(&self, state: State) {
        self.state.send_replace(state);
    }

    fn tell(&self, event: Event) {
        self.shared.events.send(&self.shared.client_id, event);
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let error = error::closed();
        self.shared.outbox.close(&error);
        self.subscriptions.close(&error);
        self.set_state(State::Closed);
        self.tell(Event::Closed);
    }
}
