//! What goes out: commands, subscribes, unsubscribes, publishes, acknowledgements.
//!
//! Keeps invariants 2 and 4 of the driver: what the outbox has given out is answered or goes back,
//! and subscriptions are sent first.

use super::asked::{Asked, What};
use super::{Ack, BATCH, DRAIN, Driver};
use crate::api::connection::Command;
use crate::api::message::{Publish, Qos};
use crate::api::outbox::Entry;
use crate::api::topic::Id;
use crate::driver::line::Line;
use crate::error::{self, reason};
use crate::wire::{Codec, Malformed};

/// How much may wait on a line before more is given to it.
const BACKLOG: usize = 64 * 1024;

/// Why a message was not queued.
enum Unfit {
    Large(usize),
    Malformed,
}

impl From<Malformed> for Unfit {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Driver {
    /// Queues whatever may go out.
    pub(super) fn send(&mut self, line: &mut Line) {
        if std::mem::take(&mut self.asks) {
            let begins = std::mem::take(&mut self.begins);
            // In this order: what was unsubscribed from may have been subscribed to since.
            self.unsubscribe(line);
            self.ask(line, begins);
        }
        if self.before > 0 {
            return;
        }
        while line.backlog() < BACKLOG && self.in_flight.current() < self.limits.window {
            let Some(sent) = self.in_flight.next_again() else {
                break;
            };
            let (id, number) = (sent.id, sent.entry.number());
            match queue(line, &sent.entry.publish, id, true, self.limits.packet) {
                Ok(place) => self.in_flight.sent_again(place),
                Err(unfit) => {
                    if let Some(entry) = self.in_flight.give_up(number) {
                        unfit.finish(entry, self.limits.packet);
                    }
                }
            }
        }
        if self.replacing.is_some() || self.in_flight.next_again().is_some() {
            return;
        }
        let bytes = BACKLOG.saturating_sub(line.backlog());
        let room = self.limits.window.saturating_sub(self.in_flight.len());
        let mut taken = std::mem::take(&mut self.taken);
        self.shared.outbox.take_some(room, bytes, &mut taken);
        for entry in taken.drain(..) {
            self.publish(line, entry);
        }
        self.taken = taken;
    }

    /// Whether a message that is published now would go out.
    pub(super) fn wants_work(&self, line: &Line) -> bool {
        self.before == 0 && self.replacing.is_none() && line.backlog() < BACKLOG
    }

    fn publish(&mut self, line: &mut Line, entry: Entry) {
        if entry.publish.retain && !self.limits.retained {
            let error = reason::publish_refused(0x9A, &entry.publish.topic);
            return entry.finish(Err(error));
        }
        let is_at_most_once = entry.publish.qos == Qos::AtMostOnce;
        let id = if is_at_most_once { 0 } else { self.next_id() };
        match queue(line, &entry.publish, id, false, self.limits.packet) {
            Ok((begin, end)) if is_at_most_once => self.handing.push_back((begin, end, entry)),
            Ok(place) => self.in_flight.push(id, entry, place),
            Err(unfit) => unfit.finish(entry, self.limits.packet),
        }
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let id = self.last_id;
            if !self.in_flight.has(id) && self.asked.iter().all(|asked| asked.id != id) {
                return id;
            }
        }
    }

    fn ask(&mut self, line: &mut Line, before: bool) {
        for (identifier, batch) in self
            .subscriptions
            .due(self.generation, self.limits.identifiers)
        {
            let ids: Vec<Id> = batch.iter().map(|(id, ..)| *id).collect();
            let filters: Vec<(String, Qos)> = batch
                .into_iter()
                .map(|(_, filter, qos)| (filter, qos))
                .collect();
            let id = self.next_id();
            let queued =
                line.queue(|codec, output| codec.subscribe(&filters, id, identifier, output));
            match queued {
                Ok((_, end)) => {
                    let filters = filters.into_iter().map(|(filter, _)| filter).collect();
                    self.asked.push(Asked {
                        id,
                        what: What::Subscribe(ids, filters),
                        end,
                        since: None,
                        before,
                    });
                    self.before += usize::from(before);
                }
                Err(_) => {
                    for (id, (filter, _)) in ids.into_iter().zip(filters) {
                        self.subscribed(id, Err(reason::subscribe_refused(0x8F, &filter)));
                    }
                }
            }
        }
        self.routes.know(self.subscriptions.identifiers());
    }

    fn unsubscribe(&mut self, line: &mut Line) {
        for (mut filters, reply) in std::mem::take(&mut self.unsubscribes) {
            // What has been subscribed to since stays.
            filters.retain(|filter| !self.subscriptions.wants(filter));
            if filters.is_empty() {
                let _ = reply.send(Ok(()));
                continue;
            }
            let id = self.next_id();
            match line.queue(|codec, output| codec.unsubscribe(&filters, id, output)) {
                Ok((_, end)) => {
                    let what = What::Unsubscribe(filters, reply);
                    self.asked.push(Asked {
                        id,
                        what,
                        end,
                        since: None,
                        before: false,
                    });
                }
                Err(_) => drop(reply.send(Err(reason::unsubscribe_refused(0x8F)))),
            }
        }
    }

    pub(super) fn acknowledge(&mut self, line: &mut Line, first: Ack) {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some((generation, ack)) = next else {
                return;
            };
            if generation == self.generation {
                line.put(|output| Codec::acknowledge(ack, output));
                self.routes.acknowledged();
            }
            next = self.acks.try_recv().ok();
        }
        if let Some(ack) = next {
            let _ = self.ack_sender.send(ack);
        }
    }

    pub(super) fn ping(&mut self, line: &mut Line) {
        self.pulse.asked(line.put(Codec::ping));
    }

    pub(super) fn commanded(&mut self, command: Option<Command>) {
        match command {
            // Dropped, what answers says that the connection is closed.
            Some(Command::Subscribe(_) | Command::Unsubscribe(..)) if self.closing.is_some() => {}
            Some(Command::Subscribe(wanted)) => {
                self.routes.forget_left();
                for wanted in wanted {
                    for id in self
                        .subscriptions
                        .forget(&wanted.filter, |id| !self.routes.has(id))
                    {
                        self.resubscribed(id, false);
                    }
                    self.routes.add(wanted.route, &self.ack_sender);
                    self.subscriptions
                        .want(wanted.id, wanted.filter, wanted.qos, wanted.reply);
                }
                self.asks = true;
            }
            Some(Command::Listen(route)) => self.routes.add(route, &self.ack_sender),
            Some(Command::Unsubscribe(filters, reply)) => {
                self.routes.remove(&filters);
                for id in self.subscriptions.unwant(&filters) {
                    self.resubscribed(id, false);
                }
                self.unsubscribes.push((filters, reply));
                self.asks = true;
            }
            Some(Command::Reconnect) => {
                let until = self.shared.clock.monotonic() + DRAIN;
                self.replacing.get_or_insert(until);
            }
            Some(Command::Disconnect(limit, reply)) => self.close(limit, Some(reply)),
            None => {
                self.orphaned = true;
                if self.closing.is_none() {
                    self.close(crate::api::connection::TO_DISCONNECT, None);
                }
            }
        }
    }
}

/// Queues a PUBLISH: where it begins and ends.
fn queue(
    line: &mut Line,
    publish: &Publish,
    id: u16,
    again: bool,
    most: usize,
) -> Result<(u64, u64), Unfit> {
    line.queue(|codec, output| {
        let length = output.len();
        codec.publish(publish, id, again, output)?;
        let size = output.len() - length;
        if size > most {
            Err(Unfit::Large(size))
        } else {
            Ok(())
        }
    })
}

impl Unfit {
    fn finish(self, entry: Entry, most: usize) {
        let error = match self {
            Self::Large(size) => error::larger_than_a_packet(&entry.publish.topic, size, most),
            Self::Malformed => error::not_sendable(&entry.publish.topic),
        };
        entry.finish(Err(error));
    }
}
