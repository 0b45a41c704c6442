//! Endings: of a connection, of a try, and of the task.
//!
//! Keeps invariant 5 of the driver: whatever way the task ends, everybody who waits is told.

use std::time::Duration;

use brs_core::Sleep;
use futures_util::StreamExt as _;

use super::{Closing, Driver, MAX_CLOSED, Polling, Reply};
use crate::backoff::STABLE;
use crate::connection::Command;
use crate::error;
use crate::error::lost::Lost;
use crate::events::{Event, State};
use crate::outbox::Closed;
use crate::takeover::Verdict;
use crate::wire::{GOODBYE, Incoming, Published};

impl Driver {
    /// The connection is to end within the limit, or that of an earlier call where that is up sooner.
    pub(super) fn close(&mut self, limit: Duration, reply: Option<Reply>) {
        self.shared.outbox.refuse();
        let deadline = self.shared.clock.monotonic().saturating_add(limit);
        let closing = self.closing.get_or_insert_with(|| Closing { limit, deadline, replies: Vec::new() });
        if deadline < closing.deadline {
            (closing.limit, closing.deadline) = (limit, deadline);
        }
        closing.replies.extend(reply);
    }

    /// Whether nothing is outstanding for which a connection that is to end would stand.
    pub(super) fn is_done(&self) -> bool {
        self.publishes.is_empty()
            && self.asked.is_empty()
            && !self.owes_unsubscribes()
            && !self.subscriptions.owes()
            && self.shared.outbox.is_done()
    }

    /// Whether an unsubscribe waits for a connection: with a session that is not kept, its end was that of its
    /// subscriptions.
    fn owes_unsubscribes(&self) -> bool {
        !self.unsubscribes.is_empty() && (self.generation == 0 || self.keeps_session())
    }

    /// What the end of a connection says about the next.
    pub(super) fn note_end(&mut self, connected: bool, lost: &Lost) {
        if !connected {
            self.takeovers.failed();
            return;
        }
        let stood = self.stood();
        self.backoff.stood_for(stood);
        // A server reads in order: were it a message at which it closed, then the oldest that is not acknowledged.
        let oldest = self.in_flight.first().copied().filter(|_| lost.may_be_a_message && stood < STABLE);
        self.suspect = oldest.map(|oldest| match self.suspect {
            Some((number, times)) if number == oldest => (number, times + 1),
            _ => (oldest, 1),
        });
        if lost.silent || lost.taken_over {
            tracing::debug!(?stood, "the connection stood for that long");
        }
    }

    /// Whether one connection after the other has ended at a message that is still in flight.
    pub(super) fn is_stuck(&self) -> bool {
        self.suspect.is_some_and(|(number, times)| times >= MAX_CLOSED && self.in_flight.contains(&number))
    }

    pub(super) fn stood(&self) -> Duration {
        self.shared.clock.monotonic().saturating_sub(self.connected_at)
    }

    /// A connection or a try is lost: the wait before the next; `None` where there is none.
    pub(super) fn lost(&mut self, lost: Lost) -> Option<Sleep> {
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
        self.shared.outbox.go_offline();
        let wait = self.backoff.wait(fastrand::f64());
        // Begun before it is told: whoever moves a manual clock at the news moves this.
        let sleep = self.shared.clock.sleep(wait);
        let next_try = self.shared.clock.now() + wait;
        self.set_state(State::Waiting { next_try });
        self.tell(Event::Lost { error, next_try });
        Some(sleep)
    }

    /// Says goodbye over a connection that stands, for as long as that may take: without it the server would publish
    /// the last will.
    pub(super) async fn say_goodbye(&mut self, mut polling: Polling) {
        let is_done = self.publishes.is_empty() && self.asked.is_empty();
        let Some(handle) = &self.handle else { return };
        while let Ok((generation, ack)) = self.acks.try_recv() {
            if generation == self.generation {
                handle.ack(ack);
            }
        }
        // What is not done by now has had its time; the library sends nothing before that goodbye, acknowledgements
        // included, so that such messages come again.
        handle.disconnect(!is_done);
        let mut time_is_up = self.shared.clock.sleep(GOODBYE);
        loop {
            tokio::select! {
                (link, happened) = &mut polling => {
                    match happened {
                        // Not acknowledged any more: of a session that is kept it comes again.
                        Ok(Incoming::Message(received, ack)) => self.message(*received, ack),
                        Ok(_) => {}
                        Err(_) => return,
                    }
                    polling = link.poll();
                },
                () = &mut time_is_up => return,
            }
        }
    }

    /// The end, when the link is gone: everybody who waits is told.
    pub(super) async fn end(mut self) {
        let closing = self.closing.take();
        let closed = closing.as_ref().map_or_else(Closed::plainly, |closing| Closed {
            sent: error::unfinished(closing.limit),
            unsent: error::unsent(closing.limit),
        });
        self.handle = None;
        let mut left = self.shared.outbox.close(&closed);
        // Without link and handle each of them ends.
        while let Some((entry, ended)) = self.publishes.next().await {
            let result = match ended {
                Published::Done => Ok(()),
                Published::Refused(error) => Err(error),
                Published::SessionLost | Published::Unsure | Published::NotSent => {
                    left = true;
                    Err(closed.sent.clone())
                }
            };
            entry.finish(result);
        }
        while let Some(asked) = self.asked.next().await {
            self.answered(asked);
        }
        left |= self.subscriptions.owes() || self.owes_unsubscribes();
        if !self.owes_unsubscribes() {
            for (_, reply) in self.unsubscribes.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
        // Those who have asked for it while goodbye was said, too.
        self.commands.close();
        let late = std::iter::from_fn(|| self.commands.try_recv().ok());
        let late: Vec<Reply> = late.filter_map(Command::into_disconnect).collect();
        let (limit, replies) = closing.map(|closing| (closing.limit, closing.replies)).unwrap_or_default();
        // Whoever hears that it has ended sees it, too.
        self.set_state(State::Closed);
        for reply in replies.into_iter().chain(late) {
            let _ = reply.send(if left { Err(error::left_over(limit)) } else { Ok(()) });
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.outbox.close(&Closed::plainly());
        self.subscriptions.close(&error::closed());
        self.set_state(State::Closed);
        self.tell(Event::Closed);
    }
}
