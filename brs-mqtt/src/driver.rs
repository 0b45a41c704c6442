//! The task that keeps a connection up.
//!
//! Invariants:
//! 1. One task owns the line, the streams' sending sides and the list of subscriptions; handles
//!    only send commands, so there is nothing to lock but the outbox.
//! 2. Every publish the outbox has given out is in `in_flight` or `handing`, or back in the outbox,
//!    or answered.
//! 3. A generation is one connection that the server has accepted. Acknowledgements carry theirs,
//!    and those of an older one count for nothing; what a connection has asked is forgotten with
//!    it.
//! 4. Over a connection what is subscribed to goes out first, and nothing is published before it is
//!    granted.
//! 5. Whatever way the task ends, outbox and subscriptions are closed: callers do not wait for a
//!    driver that is gone.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use brs_core::{Error, Sleep};
use futures_util::future::FutureExt as _;
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::connection::{Command, Shared};
use crate::api::events::{Event, State};
use crate::api::options::{Options, Protocol};
use crate::api::outbox::Entry;
use crate::api::routes::Routes;
use crate::api::topic::Id;
use crate::driver::backoff::Backoff;
use crate::driver::in_flight::InFlight;
use crate::driver::line::Line;
use crate::driver::pulse::{Due, Pulse, Watch};
use crate::driver::subscriptions::Subscriptions;
use crate::driver::takeover::Takeovers;
use crate::error::lost::{self, Lost};
use crate::transport::Connector;
use crate::wire::{self, Welcome};

mod asked;
pub(crate) mod backoff;
mod endings;
pub(crate) mod in_flight;
mod incoming;
pub(crate) mod line;
mod opening;
mod outgoing;
pub(crate) mod pulse;
pub(crate) mod subscriptions;
pub(crate) mod takeover;

use asked::Asked;

/// How long what is in flight is waited for before a connection is replaced.
const DRAIN: Duration = Duration::from_secs(10);
/// How many connections in a row may end at one message before it fails.
const MAX_CLOSED: u32 = 4;
/// By how much of its time a connection is replaced earlier, at most.
const RENEWAL_SPREAD: f64 = 0.05;
/// How long a program has to subscribe to what its session brings from an earlier process.
const TO_CLAIM: Duration = Duration::from_secs(60);
/// What a broker of MQTT 3.1.1 sends before it is acknowledged, as the most common one is packaged.
const WINDOW_OF_MOSQUITTO: u16 = 20;
/// How many packets and acknowledgements are seen to before others get their turn.
const BATCH: usize = 64;

type Ack = (u64, crate::api::message::Ack);
type Reply = oneshot::Sender<Result<(), Error>>;

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
    /// Whether any of them may have to be asked for.
    asks: bool,
    /// Due once there is a connection.
    unsubscribes: Vec<(Vec<String>, Reply)>,
    resubscribing: Option<Resubscribing>,
    /// What this connection has asked and has no answer to.
    asked: Vec<Asked>,
    /// Whether nothing has been asked yet over this connection.
    begins: bool,
    /// How many of `asked` have to be answered before anything is published.
    before: usize,
    in_flight: InFlight,
    /// What the outbox gives out at once; empty in between.
    taken: Vec<Entry>,
    /// Of QoS 0, on their way into the socket: each with where it begins and ends on the line.
    handing: VecDeque<(u64, u64, Entry)>,
    last_id: u16,
    generation: u64,
    /// What the server takes.
    limits: Limits,
    pulse: Pulse,
    watch: Watch,
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
    /// The message at which the last connections may have ended, and how many of them.
    suspect: Option<(u64, u32)>,
    failed: u32,
    timer: Option<(Duration, Sleep)>,
}

/// What a server takes over a connection.
#[derive(Debug, Default)]
struct Limits {
    window: usize,
    packet: usize,
    retained: bool,
    identifiers: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Close,
    Replace,
}

/// How a try, or a connection, ended.
enum End {
    Lost(Lost),
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
            pulse: Pulse::new(options.keep_alive, Duration::ZERO),
            watch: Watch::new(options.keep_alive, Duration::ZERO),
            options,
            subscriptions: Subscriptions::default(),
            asks: false,
            unsubscribes: Vec::new(),
            resubscribing: None,
            asked: Vec::new(),
            begins: false,
            before: 0,
            in_flight: InFlight::default(),
            taken: Vec::new(),
            handing: VecDeque::new(),
            last_id: 0,
            generation: 0,
            limits: Limits::default(),
            connected_at: Duration::ZERO,
            stands_for: Duration::ZERO,
            replacing: None,
            claim_until: None,
            closing: None,
            backoff: Backoff::new(shortest, longest),
            takeovers: Takeovers::default(),
            suspect: None,
            failed: 0,
            timer: None,
        }
    }

    /// Keeps the connection up until it is closed.
    pub(crate) async fn run(mut self) {
        loop {
            match self.once().await {
                End::Lost(lost) => {
                    let Some(mut sleep) = self.lost(lost) else {
                        return self.end();
                    };
                    if self.attend(&mut sleep).await == Err(Stop::Close) {
                        return self.end();
                    }
                }
                End::Stopped(Stop::Close) => return self.end(),
                End::Stopped(Stop::Replace) => {}
            }
        }
    }

    fn keeps_session(&self) -> bool {
        !self.options.session_expiry.is_zero()
    }

    /// One connection, from its try to its end.
    async fn once(&mut self) -> End {
        self.set_state(State::Connecting);
        self.tell(Event::Connecting {
            failed: self.failed,
        });
        // Later connections of this client go on with its session.
        let clean = self.options.clean_start && (self.generation == 0 || !self.keeps_session());
        let mut opening =
            opening::open(Arc::clone(&self.connector), self.options.clone(), clean).boxed();
        let opened = self.attend(&mut opening).await;
        drop(opening);
        let (mut line, welcome) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(lost)) => {
                self.takeovers.failed();
                return End::Lost(lost);
            }
            Err(stop) => return End::Stopped(stop),
        };
        self.connected(&welcome, welcome.session_present && !clean);
        let end = self.serve(&mut line).await;
        match &end {
            End::Lost(lost) => self.note_end(&line, lost),
            End::Stopped(_) => {
                // It ends by our own wish, which says nothing against it.
                let stood = self.stood();
                self.backoff.stood_for(stood);
                self.takeovers.stood_for(stood);
                self.say_goodbye(&mut line).await;
            }
        }
        self.settle(&line, matches!(end, End::Stopped(Stop::Close)));
        end
    }

    /// Does whatever is due, but over no connection, until `future` is ready.
    async fn attend<F: Future + Unpin>(&mut self, future: &mut F) -> Result<F::Output, Stop> {
        loop {
            let now = self.shared.clock.monotonic();
            if let Some(stop) = self.due(now, false) {
                return Err(stop);
            }
            self.set_timer(self.closing.as_ref().map(|closing| closing.deadline), now);
            let timer = self.timer.as_mut().map(|(_, sleep)| sleep);
            let is_timed = timer.is_some();
            tokio::select! {
                output = &mut *future => return Ok(output),
                command = self.commands.recv(), if !self.orphaned => self.commanded(command),
                // Of connections that are gone.
                Some(_) = self.acks.recv() => {}
                () = self.shared.outbox.work.notified(), if self.closing.is_some() => {}
                () = async { if let Some(timer) = timer { timer.await } }, if is_timed => self.timer = None,
            }
        }
    }

    /// Does whatever is due over a connection, until it ends.
    async fn serve(&mut self, line: &mut Line) -> End {
        loop {
            let now = self.shared.clock.monotonic();
            self.note_life(line, now);
            if let Some(stop) = self.due(now, true) {
                return End::Stopped(stop);
            }
            self.send(line);
            let next = match self.look_after(line, now).await {
                Ok(next) => next,
                Err(Some(end)) => return end,
                Err(None) => continue,
            };
            self.set_timer(next, now);
            let listens = self.wants_work(line) || self.closing.is_some();
            let timer = self.timer.as_mut().map(|(_, sleep)| sleep);
            let is_timed = timer.is_some();
            tokio::select! {
                progress = poll_fn(|cx| line.poll(cx)) => {
                    if let Err(lost) = self.progressed(line, progress) {
                        return End::Lost(lost);
                    }
                }
                command = self.commands.recv(), if !self.orphaned => self.commanded(command),
                Some(ack) = self.acks.recv() => self.acknowledge(line, ack),
                () = self.shared.outbox.work.notified(), if listens => {}
                () = async { if let Some(timer) = timer { timer.await } }, if is_timed => self.timer = None,
            }
        }
    }

    /// What time or progress makes due.
    fn due(&mut self, now: Duration, connected: bool) -> Option<Stop> {
        if let Some(closing) = &self.closing
            && (now >= closing.deadline || self.is_done())
        {
            return Some(Stop::Close);
        }
        if !connected {
            // Asked for while waiting for the next try, it is that try which is made.
            let is_asked = self.replacing.take().is_some();
            return (is_asked && matches!(*self.state.borrow(), State::Waiting { .. }))
                .then_some(Stop::Replace);
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
        let is_idle = self.in_flight.is_empty() && self.handing.is_empty();
        (self.replacing.is_some_and(|at| is_idle || now >= at)).then_some(Stop::Replace)
    }

    /// What the connection shows of being alive.
    fn note_life(&mut self, line: &mut Line, now: Duration) {
        if line.has_heard() {
            self.pulse.heard(now);
        }
        let touched = line.touched();
        self.pulse.left(touched, now);
        self.in_flight.left(touched, now);
        for asked in &mut self.asked {
            asked.left(touched, now);
        }
    }

    /// Asks a server that is silent whether it is there. When that, or anything else, is due next;
    /// or the connection's end; or nothing, when something has come after all.
    async fn look_after(
        &mut self,
        line: &mut Line,
        now: Duration,
    ) -> Result<Option<Duration>, Option<End>> {
        let since = self.waits_since();
        let (pulse, watch) = (self.pulse.due(now), self.watch.due(since, now));
        if pulse == Due::Dead || watch == Due::Dead {
            // What has come by now is read first.
            if let Poll::Ready(progress) = poll_fn(|cx| Poll::Ready(line.poll(cx))).await {
                return Err(self.progressed(line, progress).err().map(End::Lost));
            }
            if line.has_heard() {
                self.pulse.heard(now);
                return Err(None);
            }
            let endpoint = &self.connector.endpoint.host;
            if pulse == Due::Dead {
                return Err(Some(End::Lost(Lost::with_reason(lost::dead(endpoint)))));
            }
            let waited = now.saturating_sub(since.unwrap_or(now));
            let count = self.in_flight.current() + self.asked.len();
            self.tell(Event::Unanswered { count, waited });
            return Err(Some(End::Lost(Lost::with_reason(lost::unanswered(
                endpoint, count, waited,
            )))));
        }
        if watch == Due::Ask {
            self.watch.warn(since, now);
        }
        if pulse == Due::Ask {
            self.ping(line);
        }
        let renewal = self.replacing.or_else(|| self.renewal());
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        let at = |due| if let Due::Nothing(at) = due { at } else { None };
        let alive = [at(self.pulse.due(now)), at(self.watch.due(since, now))];
        Ok(alive
            .into_iter()
            .chain([renewal, closing, self.claim_until])
            .flatten()
            .min())
    }

    /// Since when the oldest question to the server waits for its answer.
    fn waits_since(&self) -> Option<Duration> {
        let asked = self.asked.iter().filter_map(|asked| asked.since);
        asked.chain(self.in_flight.waits_since()).min()
    }

    /// When the connection is to be replaced.
    fn renewal(&self) -> Option<Duration> {
        self.connector
            .is_signed()
            .then(|| self.connected_at + self.stands_for)
    }

    /// One timer for whatever is next: one that is up sooner only has it looked at again.
    fn set_timer(&mut self, next: Option<Duration>, now: Duration) {
        let Some(next) = next else {
            self.timer = None;
            return;
        };
        if self
            .timer
            .as_ref()
            .is_none_or(|(at, _)| *at > next || *at < now)
        {
            self.timer = Some((next, self.shared.clock.sleep(next.saturating_sub(now))));
        }
    }

    fn connected(&mut self, welcome: &Welcome, session_present: bool) {
        self.generation += 1;
        self.failed = 0;
        let now = self.shared.clock.monotonic();
        self.connected_at = now;
        // What an outage has brought into step is not to stay so.
        self.stands_for = self
            .options
            .renew_after
            .mul_f64(1.0 - RENEWAL_SPREAD * fastrand::f64());
        self.limits = Limits {
            window: usize::from(welcome.window.clamp(1, wire::MAX_IN_FLIGHT)),
            packet: welcome
                .max_packet
                .unwrap_or(usize::MAX)
                .min(self.options.max_outgoing()),
            retained: welcome.takes_retained,
            identifiers: welcome.takes_identifiers,
        };
        let keep_alive = welcome.keep_alive.map_or(self.options.keep_alive, |given| {
            Duration::from_secs(given.into())
        });
        (self.pulse, self.watch) = (Pulse::new(keep_alive, now), Watch::new(keep_alive, now));
        // A server's own window is mostly as wide as the one it gives; MQTT 3.1.1 tells neither.
        let most = match self.options.protocol {
            Protocol::V5 => welcome.window,
            Protocol::V311 if self.connector.endpoint.is_aws() => wire::MAX_IN_FLIGHT,
            Protocol::V311 => WINDOW_OF_MOSQUITTO,
        };
        self.routes.begin_connection(
            self.generation,
            session_present,
            most.min(self.options.receive_maximum).into(),
        );
        self.shared.outbox.go_online();
        if self.claim_until.is_none() && self.routes.keeps_unclaimed() {
            self.claim_until = Some(now + TO_CLAIM);
        }
        self.set_state(State::Connected);
        self.tell(Event::Connected { session_present });
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
        if !session_present {
            for entry in self.in_flight.clear() {
                self.session_lost(entry);
            }
            let again = self.subscriptions.lost();
            self.resubscribing = (!again.is_empty()).then_some(Resubscribing {
                left: again,
                granted: 0,
            });
            for (_, reply) in self.unsubscribes.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        (self.asks, self.begins) = (true, true);
    }

    fn set_state(&self, state: State) {
        self.state.send_replace(state);
    }

    fn tell(&self, event: Event) {
        self.shared.events.send(&self.shared.client_id, event);
    }
}
