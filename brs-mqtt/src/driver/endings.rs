//! Endings: of a connection, of a try, and of the task.
//!
//! Keeps invariant 5 of the driver: whatever way the task ends, everybody who waits is told.

use std::future::poll_fn;
use std::time::Duration;

use brs_core::Sleep;

use super::asked::What;
use super::{Closing, Driver, MAX_CLOSED, Reply};
use crate::api::connection::Command;
use crate::api::events::{Event, State};
use crate::api::options::WhenSessionLost;
use crate::api::outbox::{Closed, Entry};
use crate::driver::backoff::STABLE;
use crate::driver::line::Line;
use crate::driver::takeover::Verdict;
use crate::error;
use crate::error::lost::Lost;
use crate::wire::{Codec, Incoming};

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

impl Driver {
    /// The connection is to end within the limit, or that of an earlier call where that is up
    /// sooner.
    pub(super) fn close(&mut self, limit: Duration, reply: Option<Reply>) {
        self.shared.outbox.refuse();
        let deadline = self.shared.clock.monotonic().saturating_add(limit);
        let closing = self.closing.get_or_insert_with(|| Closing {
            limit,
            deadline,
            replies: Vec::new(),
        });
        if deadline < closing.deadline {
            (closing.limit, closing.deadline) = (limit, deadline);
        }
        closing.replies.extend(reply);
    }

    /// Whether nothing is outstanding for which a connection that is to end would stand.
    pub(super) fn is_done(&self) -> bool {
        self.in_flight.is_empty()
            && self.handing.is_empty()
            && self.asked.is_empty()
            && !self.owes_unsubscribes()
            && !self.subscriptions.owes()
            && self.shared.outbox.is_done()
    }

    /// Whether an unsubscribe waits for a connection: with a session that is not kept, its end was
    /// that of its subscriptions.
    fn owes_unsubscribes(&self) -> bool {
        !self.unsubscribes.is_empty() && (self.generation == 0 || self.keeps_session())
    }

    /// What the end of a connection says about the next.
    pub(super) fn note_end(&mut self, line: &Line, lost: &Lost) {
        let stood = self.stood();
        self.backoff.stood_for(stood);
        // A server reads in order: were it a message at which it closed, then the oldest that is
        // not acknowledged. What the network does says nothing of any.
        if !lost.may_be_a_message {
            return;
        }
        let oldest = self
            .in_flight
            .suspect(line.touched())
            .filter(|_| stood < STABLE);
        self.suspect = oldest.map(|oldest| match self.suspect {
            Some((number, times)) if number == oldest => (number, times + 1),
            _ => (oldest, 1),
        });
    }

    /// Takes back what a connection that is gone had, and forgets what it had asked. What the last
    /// one had in flight is told at the task's end.
    pub(super) fn settle(&mut self, line: &Line, is_last: bool) {
        let touched = line.touched();
        for (begin, end, entry) in std::mem::take(&mut self.handing) {
            if begin >= touched {
                self.shared.outbox.put_back(entry);
            } else {
                // Whether the rest of them went out is nobody's to know; they are not sent twice.
                entry.finish(if end <= line.sent() {
                    Ok(())
                } else {
                    Err(error::unsure())
                });
            }
        }
        for entry in self.in_flight.cut(touched) {
            self.shared.outbox.put_back(entry);
        }
        // Sent again and again, it would end each connection, and nothing else would be sent any
        // more.
        if let Some((number, times)) = self.suspect.filter(|(_, times)| *times >= MAX_CLOSED)
            && let Some(entry) = self.in_flight.give_up(number)
        {
            self.suspect = None;
            let error = error::closed_at_message(&entry.publish.topic, times);
            entry.finish(Err(error));
        }
        if !self.keeps_session() && !is_last {
            for entry in self.in_flight.clear() {
                self.session_lost(entry);
            }
        }
        self.before = 0;
        for asked in std::mem::take(&mut self.asked) {
            match asked.what {
                What::Subscribe(ids, _) => self.subscriptions.unanswered(self.generation, &ids),
                What::Unsubscribe(filters, reply) => self.unsubscribes.push((filters, reply)),
            }
        }
    }

    /// A publish whose session is gone, and with it what was known of it.
    pub(super) fn session_lost(&self, entry: Entry) {
        match self.options.when_session_lost {
            WhenSessionLost::Fail => entry.finish(Err(error::session_lost())),
            WhenSessionLost::Requeue => self.shared.outbox.put_back(entry),
        }
    }

    pub(super) fn stood(&self) -> Duration {
        self.shared
            .clock
            .monotonic()
            .saturating_sub(self.connected_at)
    }

    /// A connection or a try is lost: the wait before the next; `None` where there is none.
    pub(super) fn lost(&mut self, lost: Lost) -> Option<Sleep> {
        let was_connected = *self.state.borrow() == State::Connected;
        let mut error = lost.error;
        if was_connected
            && let Some(verdict) = self
                .takeovers
                .lost(self.stood(), lost.taken_over, lost.silent)
        {
            let certain = verdict == Verdict::Certain;
            error = error::duplicate_client_id(&self.shared.client_id, certain, error);
            self.tell(Event::DuplicateClientId { certain });
        }
        if let Some(first) = self.first.take() {
            let _ = first.send(Err(error));
            return None;
        }
        self.failed = self.failed.saturating_add(1);
        self.shared.outbox.go_offline();
        let wait = self.backoff.wait(fastrand::f64());
        // Begun before it is reported: a manual clock that is moved at the news moves this.
        let sleep = self.shared.clock.sleep(wait);
        let next_try = self.shared.clock.now() + wait;
        self.set_state(State::Waiting { next_try });
        self.tell(Event::Lost { error, next_try });
        Some(sleep)
    }

    /// Says goodbye over a connection that stands, for as long as that may take: without it the
    /// server would publish the last will.
    pub(super) async fn say_goodbye(&mut self, line: &mut Line) {
        while let Ok((generation, ack)) = self.acks.try_recv() {
            if generation == self.generation {
                line.put(|output| Codec::acknowledge(ack, output));
            }
        }
        line.put(Codec::disconnect);
        let mut time_is_up = self.shared.clock.sleep(GOODBYE);
        loop {
            tokio::select! {
                received = poll_fn(|cx| line.poll_close(cx)) => match received {
                    // Not acknowledged any more: of a session that is kept it comes again.
                    Ok(Incoming::Message(received, ack)) => self.message(*received, ack),
                    Ok(Incoming::Taken { id, code }) => self.taken(id, code),
                    Ok(_) => {}
                    Err(_) => return,
                },
                () = &mut time_is_up => return,
            }
        }
    }

    /// The end, when the line is gone: everybody who waits is told.
    pub(super) fn end(mut self) {
        let closing = self.closing.take();
        let closed = closing
            .as_ref()
            .map_or_else(Closed::plainly, |closing| Closed {
                sent: error::unfinished(closing.limit),
                unsent: error::unsent(closing.limit),
            });
        let mut left = self.shared.outbox.close(&closed);
        for entry in self.in_flight.clear() {
            left = true;
            entry.finish(Err(closed.sent.clone()));
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
        let (limit, replies) = closing
            .map(|closing| (closing.limit, closing.replies))
            .unwrap_or_default();
        // Code that hears that it ended sees it, too.
        self.set_state(State::Closed);
        for reply in replies.into_iter().chain(late) {
            let _ = reply.send(if left {
                Err(error::left_over(limit))
            } else {
                Ok(())
            });
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
