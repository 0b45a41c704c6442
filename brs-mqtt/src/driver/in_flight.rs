//! Publishes of QoS 1 that have been given to a connection and are not acknowledged.
//!
//! Invariants:
//! 1. In the order in which they were first sent, which is that of the outbox: they are sent again
//!    in that order, each under its old packet id (MQTT 5, 4.4 and 4.6).
//! 2. How many are on their way is what a server's window bounds (4.9); which packet ids they have
//!    is nobody's limit.
//! 3. Those that are on their way over the current connection come before those that it has yet to
//!    send again.

use std::collections::VecDeque;
use std::time::Duration;

use crate::api::outbox::Entry;

/// The publishes.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    all: VecDeque<Sent>,
    /// How many of them the current connection has.
    current: usize,
    /// How many of these have been seen to leave.
    timed: usize,
}

/// One publish.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) id: u16,
    pub(crate) entry: Entry,
    /// Whether an earlier connection may have sent it.
    pub(crate) again: bool,
    /// Where it begins and ends on its line.
    place: (u64, u64),
    since: Duration,
}

impl InFlight {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn has(&self, id: u16) -> bool {
        self.all.iter().any(|sent| sent.id == id)
    }

    /// How many the current connection has.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// One more, sent for the first time; all others have been sent again.
    pub(crate) fn push(&mut self, id: u16, entry: Entry, place: (u64, u64)) {
        self.all.push_back(Sent {
            id,
            entry,
            again: false,
            place,
            since: Duration::ZERO,
        });
        self.current += 1;
    }

    /// The next that is to be sent again.
    pub(crate) fn next_again(&self) -> Option<&Sent> {
        self.all.get(self.current)
    }

    /// That one is sent.
    pub(crate) fn sent_again(&mut self, place: (u64, u64)) {
        if let Some(sent) = self.all.get_mut(self.current) {
            sent.place = place;
            self.current += 1;
        }
    }

    /// Takes out the one that was acknowledged.
    pub(crate) fn take(&mut self, id: u16) -> Option<Sent> {
        let place = self.all.iter().position(|sent| sent.id == id)?;
        self.current -= usize::from(place < self.current);
        self.timed -= usize::from(place < self.timed);
        self.all.remove(place)
    }

    /// Everything before that position has left.
    pub(crate) fn left(&mut self, touched: u64, now: Duration) {
        while self.timed < self.current && self.all[self.timed].place.1 <= touched {
            self.all[self.timed].since = now;
            self.timed += 1;
        }
    }

    /// Since when the oldest waits for its acknowledgement.
    pub(crate) fn waits_since(&self) -> Option<Duration> {
        (self.timed > 0).then(|| self.all[0].since)
    }

    /// The oldest that the server may have had over the current connection.
    pub(crate) fn suspect(&self, touched: u64) -> Option<u64> {
        let first = self
            .all
            .front()
            .filter(|sent| self.current > 0 && sent.place.0 < touched)?;
        Some(first.entry.number())
    }

    /// The connection is gone, and of what begins at that position or later it has sent nothing:
    /// those that were never sent at all.
    pub(crate) fn cut(&mut self, touched: u64) -> Vec<Entry> {
        for (place, sent) in self.all.iter_mut().enumerate() {
            sent.again |= place < self.current && sent.place.0 < touched;
        }
        (self.current, self.timed) = (0, 0);
        let unsent = self
            .all
            .iter()
            .position(|sent| !sent.again)
            .unwrap_or(self.all.len());
        self.all.drain(unsent..).map(|sent| sent.entry).collect()
    }

    /// All of them, whose session is gone.
    pub(crate) fn clear(&mut self) -> Vec<Entry> {
        (self.current, self.timed) = (0, 0);
        self.all.drain(..).map(|sent| sent.entry).collect()
    }

    /// Takes out the one with that number.
    pub(crate) fn give_up(&mut self, number: u64) -> Option<Entry> {
        let id = self
            .all
            .iter()
            .find(|sent| sent.entry.number() == number)?
            .id;
        self.take(id).map(|sent| sent.entry)
    }
}
