//! Endings: of a connection, of a try, and of the task.
//!
//! Keeps invariant 5 of the driver: whatever way the task ends, everybody who waits is told.

use std::time::Duration;

use brs_core::{Error, Sleep};
use futures_util::StreamExt as _;
use futures_util::future::FutureExt as _;

use super::{Closing, Driver, Polling, Reply};
use crate::backoff::STABLE;
use crate::error;
use crate::error::lost::Lost;
use crate::events::{Event, State};
use crate::message::Qos;
use crate::takeover::Verdict;
use crate::wire::GOODBYE;

impl Driver {
    pub(super) fn close(&mut self, limit: Duration, reply: Option<Reply>) {
        let deadline = self.shared.clock.monotonic().saturating_add(limit);
        let closing = self.closing.get_or_insert_with(|| Closing { limit, deadline, replies: Vec::new() });
        closing.replies.extend(reply);
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
    pub(super) async fn say_goodbye(&mut self, mut polling: Polling) {
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

    /// What those are told whose publishes are left over.
    fn last_word(&self) -> Error {
        self.closing.as_ref().map_or_else(error::closed, |closing| error::unfinished(closing.limit))
    }

    /// The end: everybody who waits is told.
    pub(super) fn end(mut self) {
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
