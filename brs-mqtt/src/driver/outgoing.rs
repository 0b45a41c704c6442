//! What goes out: publishes, subscribes, unsubscribes, and how each of them ended.
//!
//! Keeps invariants 3 and 4 of the driver: what the outbox has given out is answered or goes back, and an answer of an
//! older connection counts for nothing.

use futures_util::StreamExt as _;
use futures_util::future::FutureExt as _;

use super::asked::{self, Asked};
use super::{DRAIN, Driver, MAX_CLOSED};
use crate::connection::Command;
use crate::error;
use crate::events::{Event, State};
use crate::message::Qos;
use crate::options::WhenSessionLost;
use crate::outbox::Entry;
use crate::subscriptions::{Answered, Id};
use crate::wire::{Answer, MAX_IN_FLIGHT, Published};

impl Driver {
    /// Hands messages to the link, as many as may be in flight.
    pub(super) fn send(&mut self) {
        let Some(handle) = &self.handle else { return };
        while self.publishes.len() < usize::from(MAX_IN_FLIGHT) {
            let handing_over = self.handing_over;
            let wanted = |qos| qos != Qos::AtMostOnce || !handing_over;
            let Some(entry) = self.shared.outbox.take(wanted) else { return };
            let size = entry.publish.packet_size();
            if size > self.max_packet {
                let error = error::larger_than_a_packet(&entry.publish.topic, size, self.max_packet);
                entry.finish(Err(error));
                continue;
            }
            self.in_flight.insert(entry.number());
            self.handing_over |= entry.publish.qos == Qos::AtMostOnce;
            let ended = handle.publish(&entry.publish);
            let offline = self.shared.outbox.offline(&entry.publish);
            let ended = async move {
                tokio::select! {
                    biased;
                    ended = ended => (entry, ended),
                    // The library may keep it for the next connection, whenever that is.
                    () = offline => (entry, Published::Unsure),
                }
            };
            self.publishes.push(ended.boxed());
        }
    }

    /// A publish has ended; `goes_on` is whether another link goes on with the session.
    pub(super) fn published(&mut self, entry: Entry, ended: Published, goes_on: bool) {
        self.in_flight.remove(&entry.number());
        let is_at_most_once = entry.publish.qos == Qos::AtMostOnce;
        self.handing_over &= !is_at_most_once;
        match ended {
            Published::Done => entry.finish(Ok(())),
            Published::Refused(error) => entry.finish(Err(error)),
            // Whether a message of QoS 0 went out is nobody's to know; it is not sent twice.
            Published::SessionLost | Published::Unsure if is_at_most_once => entry.finish(Err(error::unsure())),
            Published::NotSent if is_at_most_once && !self.options.hold_at_most_once => {
                entry.finish(Err(error::offline()));
            }
            Published::NotSent => self.shared.outbox.put_back(entry),
            Published::SessionLost | Published::Unsure => match self.suspect {
                // Sent again and again, it would end each connection, and nothing else would be sent any more.
                Some((number, times)) if number == entry.number() && times >= MAX_CLOSED => {
                    self.suspect = None;
                    let error = error::closed_at_message(&entry.publish.topic, times);
                    entry.finish(Err(error));
                }
                _ if !goes_on && self.options.when_session_lost == WhenSessionLost::Fail => {
                    entry.finish(Err(error::session_lost()));
                }
                _ => self.shared.outbox.put_back(entry),
            },
        }
    }

    pub(super) fn command(&mut self, command: Command, connected: bool) {
        match command {
            // Dropped, what answers says that the connection is closed.
            Command::Subscribe(_) | Command::Unsubscribe(..) if self.closing.is_some() => {}
            Command::Subscribe(wanted) => {
                self.routes.forget_left();
                for wanted in wanted {
                    for id in self.subscriptions.forget(&wanted.filter, |id| !self.routes.has(id)) {
                        self.resubscribed(id, false);
                    }
                    self.routes.add(wanted.route, &self.ack_sender);
                    self.subscriptions.want(wanted.id, wanted.filter, wanted.qos, wanted.reply);
                }
                if connected {
                    self.ask();
                }
            }
            Command::Listen(route) => self.routes.add(route, &self.ack_sender),
            Command::Unsubscribe(filters, reply) => {
                self.routes.remove(&filters);
                for id in self.subscriptions.unwant(&filters) {
                    self.resubscribed(id, false);
                }
                self.unsubscribes.push((filters, reply));
                if connected {
                    self.unsubscribe();
                }
            }
            Command::Reconnect => {
                let until = self.shared.clock.monotonic() + DRAIN;
                self.replacing.get_or_insert(until);
            }
            Command::Disconnect(limit, reply) => self.close(limit, Some(reply)),
        }
    }

    pub(super) fn ask(&mut self) {
        let Some(handle) = &self.handle else { return };
        for batch in self.subscriptions.due(self.generation, &self.leaving) {
            let ids: Vec<Id> = batch.iter().map(|(id, ..)| *id).collect();
            let filters: Vec<(String, Qos)> = batch.into_iter().map(|(_, filter, qos)| (filter, qos)).collect();
            self.asked.push(asked::subscribe(handle.subscribe(&filters), self.generation, ids));
        }
    }

    pub(super) fn unsubscribe(&mut self) {
        let Some(handle) = &self.handle else { return };
        for (mut filters, reply) in self.unsubscribes.drain(..) {
            // What has been subscribed to since stays.
            filters.retain(|filter| !self.subscriptions.wants(filter));
            if filters.is_empty() {
                let _ = reply.send(Ok(()));
                continue;
            }
            self.leaving.extend_from_slice(&filters);
            self.asked.push(asked::unsubscribe(handle.unsubscribe(&filters), filters, reply));
        }
    }

    pub(super) fn answered(&mut self, asked: Asked) {
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
                    self.resubscribed(id, granted);
                }
            }
            Asked::Unsubscribe { filters, reply, answer } => {
                for filter in &filters {
                    if let Some(place) = self.leaving.iter().position(|other| other == filter) {
                        self.leaving.swap_remove(place);
                    }
                }
                match answer {
                    Answer::Given(answer) => drop(reply.send(answer)),
                    Answer::Lost => self.unsubscribes.push((filters, reply)),
                }
                // As above: what is due at a connection's begin may be over already.
                if self.state.borrow().eq(&State::Connected) {
                    self.unsubscribe();
                    self.ask();
                }
            }
        }
    }

    fn resubscribed(&mut self, id: Id, granted: bool) {
        let Some(resubscribing) = &mut self.resubscribing else { return };
        let Some(place) = resubscribing.left.iter().position(|other| *other == id) else { return };
        resubscribing.left.swap_remove(place);
        resubscribing.granted += usize::from(granted);
        if resubscribing.left.is_empty() {
            let filters = resubscribing.granted;
            self.resubscribing = None;
            self.tell(Event::Resubscribed { filters });
        }
    }

    /// Takes back what a link that is gone had in flight.
    pub(super) async fn settle(&mut self) {
        let goes_on = self.keeps_session();
        while let Some((entry, ended)) = self.publishes.next().await {
            self.published(entry, ended, goes_on);
        }
        while let Some(asked) = self.asked.next().await {
            self.answered(asked);
        }
    }
}
