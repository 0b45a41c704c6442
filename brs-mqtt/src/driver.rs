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

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use brs_core::{Error, Sleep};
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};

use crate::backoff::Backoff;
use crate::connection::{Command, Shared};
use crate::error::lost::Lost;
use crate::events::{Event, State};
use crate::message::Received;
use crate::options::Options;
use crate::outbox::Entry;
use crate::routes::Routes;
use crate::subscriptions::{Id, Subscriptions};
use crate::takeover::Takeovers;
use crate::transport::Connector;
use crate::wire::{self, Incoming, Link, MAX_IN_FLIGHT, Published};

mod asked;
mod endings;
mod outgoing;

use asked::Asked;

/// How long what is in flight is waited for before a connection is replaced.
const DRAIN: Duration = Duration::from_secs(10);
/// How many connections in a row may end at one message before it fails.
const MAX_CLOSED: u32 = 4;
/// By how much of its time a connection is replaced earlier, at most.
const RENEWAL_SPREAD: f64 = 0.05;
/// How long a program has to subscribe to what its session brings from an earlier process.
const TO_CLAIM: Duration = Duration::from_secs(60);
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
    /// Filters of unsubscribes on their way. A link that goes on with a session sends those again in no order that is
    /// promised, so nothing may overtake them.
    leaving: Vec<String>,
    resubscribing: Option<Resubscribing>,
    publishes: FuturesUnordered<BoxFuture<'static, (Entry, Published)>>,
    asked: FuturesUnordered<BoxFuture<'static, Asked>>,
    handle: Option<Box<dyn wire::Handle>>,
    generation: u64,
    /// What the server takes.
    max_packet: usize,
    /// On the monotonic clock.
    connected_at: Duration,
    /// Until it is replaced.
    stands_for: Duration,
    replacing: Option<Duration>,
    /// Until when what nobody has subscribed to waits.
    claim_until: Option<Duration>,
    closing: Option<Closing>,
    backoff: Backoff,
    takeovers: Takeovers,
    /// By their numbers.
    in_flight: BTreeSet<u64>,
    /// Whether one of them is of QoS 0. There is one at a time: the library queues them without a bound and past a
    /// loss, and to hand it one is but to write it to a socket.
    handing_over: bool,
    /// The message at which the last connections may have ended, and how many of them.
    suspect: Option<(u64, u32)>,
    failed: u32,
    timer: Option<(Duration, Sleep)>,
}

/// Subscriptions that are asked for again.
struct Resubscribing {
    left: Vec<Id>,
    granted: usize,
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
            routes: Routes::new(!options.clean_start, options.receive_maximum),
            options,
            subscriptions: Subscriptions::default(),
            unsubscribes: Vec::new(),
            leaving: Vec::new(),
            resubscribing: None,
            publishes: FuturesUnordered::new(),
            asked: FuturesUnordered::new(),
            handle: None,
            generation: 0,
            max_packet: usize::MAX,
            connected_at: Duration::ZERO,
            stands_for: Duration::ZERO,
            replacing: None,
            claim_until: None,
            closing: None,
            backoff: Backoff::new(shortest, longest),
            takeovers: Takeovers::default(),
            in_flight: BTreeSet::new(),
            handing_over: false,
            suspect: None,
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
                        let Some(mut sleep) = self.lost(lost) else {
                            drop(back);
                            return self.end().await;
                        };
                        let kept = self.goes_on().then_some(back);
                        if kept.is_none() {
                            resume = self.leave().await;
                        }
                        if self.attend(&mut sleep, false).await == Err(Stop::Close) {
                            drop(kept);
                            return self.end().await;
                        }
                        match kept {
                            Some(back) => link = back,
                            None => continue 'links,
                        }
                    }
                    End::Stopped(Stop::Close) => return self.end().await,
                    End::Stopped(Stop::Replace) => {
                        resume = self.leave().await;
                        continue 'links;
                    }
                }
            }
        }
    }

    /// Whether a link that has lost its connection makes the next one. It sends again what it has in flight: rightly
    /// within a session that is kept, unless that is what ends one connection after the other, or nothing but a message
    /// of QoS 0, of which its publisher has heard that it is lost.
    fn goes_on(&self) -> bool {
        let is_vain = self.handing_over && self.in_flight.len() == 1;
        self.keeps_session() && !self.is_stuck() && !is_vain
    }

    fn keeps_session(&self) -> bool {
        !self.options.session_expiry.is_zero()
    }

    /// Takes back what was given to a link that is gone. A new one knows nothing of its session: whether it is to go on
    /// with that all the same, if the server keeps it.
    async fn leave(&mut self) -> bool {
        self.handle = None;
        self.settle().await;
        self.keeps_session()
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
                    if let Incoming::Connected { session_present, max_packet } = incoming {
                        connected = true;
                        self.max_packet = max_packet.unwrap_or(usize::MAX);
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
                        // It ends by our own wish, which says nothing against it.
                        let stood = self.stood();
                        self.backoff.stood_for(stood);
                        self.takeovers.stood_for(stood);
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
            let listens = has_room || self.closing.is_some();
            let timer = self.timer.as_mut().map(|(_, sleep)| sleep);
            let is_timed = timer.is_some();
            tokio::select! {
                output = &mut *future => return Ok(output),
                Some((entry, ended)) = self.publishes.next(), if !self.publishes.is_empty() => {
                    self.published(entry, ended, false);
                }
                Some(asked) = self.asked.next(), if !self.asked.is_empty() => self.answered(asked),
                command = self.commands.recv(), if !self.orphaned => match command {
                    Some(command) => self.command(command, connected),
                    None => {
                        self.orphaned = true;
                        if self.closing.is_none() {
                            self.close(ORPHANED, None);
                        }
                    }
                },
                Some((generation, ack)) = self.acks.recv() => {
                    if connected && generation == self.generation && let Some(handle) = &self.handle {
                        handle.ack(ack);
                    }
                }
                () = self.shared.outbox.work.notified(), if listens => {}
                () = async { if let Some(timer) = timer { timer.await } }, if is_timed => self.timer = None,
            }
        }
    }

    /// What time or progress makes due.
    fn due(&mut self, now: Duration, connected: bool) -> Option<Stop> {
        let is_idle = self.publishes.is_empty();
        if let Some(closing) = &self.closing
            && (now >= closing.deadline || self.is_done())
        {
            return Some(Stop::Close);
        }
        if !connected {
            // Asked for while waiting for the next try, it is that try which is made.
            let is_asked = self.replacing.take().is_some();
            return (is_asked && matches!(*self.state.borrow(), State::Waiting { .. })).then_some(Stop::Replace);
        }
        if self.claim_until.is_some_and(|at| now >= at) {
            self.claim_until = None;
            let count = self.routes.end_waiting(&self.ack_sender);
            if count > 0 {
                self.tell(Event::Unclaimed { count });
            }
        }
        if self.replacing.is_none() && self.renewal().is_some_and(|at| now >= at) {
            self.replacing = Some(now + DRAIN);
        }
        (self.replacing.is_some_and(|at| is_idle || now >= at)).then_some(Stop::Replace)
    }

    /// When the connection is to be replaced.
    fn renewal(&self) -> Option<Duration> {
        self.connector.is_signed().then(|| self.connected_at + self.stands_for)
    }

    /// One timer for whatever is next, made anew only when that changes.
    fn set_timer(&mut self, now: Duration, connected: bool) {
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        let renewal = if connected { self.replacing.or_else(|| self.renewal()) } else { None };
        let claim = self.claim_until.filter(|_| connected);
        let Some(next) = [closing, renewal, claim].into_iter().flatten().min() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_none_or(|(at, _)| *at != next) {
            self.timer = Some((next, self.shared.clock.sleep(next.saturating_sub(now))));
        }
    }

    fn connected(&mut self, link: &mut dyn Link, session_present: bool) {
        self.generation += 1;
        self.failed = 0;
        self.connected_at = self.shared.clock.monotonic();
        // What an outage has brought into step is not to stay so.
        self.stands_for = self.options.renew_after.mul_f64(1.0 - RENEWAL_SPREAD * fastrand::f64());
        if self.keeps_session() {
            link.keep_session();
        }
        self.routes.begin_connection(self.generation, session_present);
        self.shared.outbox.go_online();
        if self.claim_until.is_none() && self.routes.keeps_unclaimed() {
            self.claim_until = Some(self.connected_at + TO_CLAIM);
        }
        self.set_state(State::Connected);
        self.tell(Event::Connected { session_present });
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
        if !session_present {
            let again = self.subscriptions.lost();
            self.resubscribing = (!again.is_empty()).then_some(Resubscribing { left: again, granted: 0 });
            for (_, reply) in self.unsubscribes.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        // In this order: what was unsubscribed from may have been subscribed to since.
        self.unsubscribe();
        self.ask();
    }

    fn message(&mut self, received: Received, ack: Option<wire::Ack>) {
        self.routes.deliver(received, ack, self.generation, &self.ack_sender);
        for (filter, count) in self.routes.take_dropped() {
            self.tell(Event::MessagesDropped { filter, count });
        }
    }

    fn set_state(&self, state: State) {
        self.state.send_replace(state);
    }

    fn tell(&self, event: Event) {
        self.shared.events.send(&self.shared.client_id, event);
    }
}
