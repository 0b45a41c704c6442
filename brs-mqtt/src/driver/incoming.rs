//! What comes in: messages, answers, and the line's own news.

use brs_core::Error;

use super::asked::What;
use super::{BATCH, Driver, opening};
use crate::api::events::Event;
use crate::api::message::{Qos, Received};
use crate::api::topic::Id;
use crate::driver::line::{Broken, Line, Progress};
use crate::driver::subscriptions::Answered;
use crate::error::lost::{self, Lost};
use crate::error::reason;
use crate::wire::{Codec, Incoming};

impl Driver {
    /// The line has sent or received something, or has broken.
    pub(super) fn progressed(
        &mut self,
        line: &mut Line,
        progress: Result<Progress, Broken>,
    ) -> Result<(), Lost> {
        match progress {
            Ok(Progress::Flushed) => self.flushed(line),
            Ok(Progress::Received(incoming)) => {
                let mut next = Some(incoming);
                for _ in 0..BATCH {
                    let Some(incoming) = next else { break };
                    self.received(line, incoming)?;
                    next = line.next_read().map_err(|broken| self.broken(broken))?;
                }
                if let Some(incoming) = next {
                    self.received(line, incoming)?;
                }
            }
            Err(broken) => return Err(self.broken(broken)),
        }
        Ok(())
    }

    fn broken(&self, broken: Broken) -> Lost {
        opening::broken(&self.connector, broken, true)
    }

    fn flushed(&mut self, line: &Line) {
        self.pulse.sent(self.shared.clock.monotonic());
        while let Some((_, _, entry)) = self.handing.pop_front_if(|(_, end, _)| *end <= line.sent())
        {
            entry.finish(Ok(()));
        }
    }

    fn received(&mut self, line: &mut Line, incoming: Incoming) -> Result<(), Lost> {
        match incoming {
            Incoming::Message(received, ack) => self.message(*received, ack),
            Incoming::TooLarge { topic, size, ack } => self.too_large(line, topic, size, ack),
            Incoming::Taken { id, code } => self.taken(id, code),
            Incoming::Granted { id, answers } => self.granted(id, answers),
            Incoming::Unsubscribed { id, refusal } => self.unsubscribed(id, refusal),
            Incoming::Released { id } => {
                line.put(|output| Codec::complete(id, output));
            }
            Incoming::Goodbye { code, text } => {
                return Err(Lost {
                    taken_over: code == 0x8E,
                    may_be_a_message: reason::may_be_about_a_message(code),
                    ..Lost::with_reason(reason::disconnected(code, text.as_deref()))
                });
            }
            Incoming::Accepted(_) | Incoming::Refused(_) => {
                let twice = std::io::Error::other("a second CONNACK");
                return Err(Lost::with_reason(lost::not_mqtt(
                    &self.connector.endpoint.host,
                    &twice,
                )));
            }
            Incoming::Other => {}
        }
        Ok(())
    }

    pub(super) fn message(&mut self, received: Received, ack: Option<crate::api::message::Ack>) {
        self.routes
            .deliver(received, ack, self.generation, &self.ack_sender);
        for (filter, count) in self.routes.take_dropped() {
            self.tell(Event::MessagesDropped { filter, count });
        }
        if let Some((filter, count)) = self.routes.take_full() {
            self.tell(Event::WindowFull { filter, count });
        }
    }

    /// It is acknowledged: what a server may not send it is to treat as sent (MQTT 5, 3.1.2.11.4),
    /// and one that does not know the limit would send it over each connection.
    fn too_large(
        &mut self,
        line: &mut Line,
        topic: String,
        size: usize,
        ack: Option<crate::api::message::Ack>,
    ) {
        self.tell(Event::TooLarge {
            topic,
            size,
            limit: line.codec.max_incoming,
        });
        if let Some(ack) = ack {
            line.put(|output| Codec::acknowledge(ack, output));
        }
    }

    pub(super) fn taken(&mut self, id: u16, code: u8) {
        let Some(sent) = self.in_flight.take(id) else {
            tracing::debug!(id, "an acknowledgement of nothing that is in flight");
            return;
        };
        self.watch.answered(self.shared.clock.monotonic());
        let result = match code {
            0 => Ok(()),
            code => Err(reason::publish_refused(code, &sent.entry.publish.topic)),
        };
        sent.entry.finish(result);
    }

    fn granted(&mut self, id: u16, answers: Vec<Result<Qos, u8>>) {
        let Some(What::Subscribe(ids, filters)) = self.answer(id) else {
            return;
        };
        // What is refused has no identifier any more.
        self.asks = true;
        for ((id, filter), answer) in ids.into_iter().zip(filters).zip(answers) {
            self.subscribed(
                id,
                answer.map_err(|code| reason::subscribe_refused(code, &filter)),
            );
        }
    }

    pub(super) fn subscribed(&mut self, id: Id, answer: Result<Qos, Error>) {
        let granted = answer.is_ok();
        if !granted {
            self.routes.remove_one(id);
        }
        if let Answered::Withdrawn(filter, error) =
            self.subscriptions.answered(self.generation, id, answer)
        {
            self.tell(Event::SubscriptionRefused { filter, error });
        }
        self.resubscribed(id, granted);
    }

    fn unsubscribed(&mut self, id: u16, refusal: Option<u8>) {
        let Some(What::Unsubscribe(_, reply)) = self.answer(id) else {
            return;
        };
        let _ = reply.send(refusal.map_or(Ok(()), |code| Err(reason::unsubscribe_refused(code))));
    }

    /// What the answer is to.
    fn answer(&mut self, id: u16) -> Option<What> {
        let place = self.asked.iter().position(|asked| asked.id == id)?;
        self.watch.answered(self.shared.clock.monotonic());
        let asked = self.asked.remove(place);
        self.before -= usize::from(asked.before);
        Some(asked.what)
    }

    pub(super) fn resubscribed(&mut self, id: Id, granted: bool) {
        let Some(resubscribing) = &mut self.resubscribing else {
            return;
        };
        let Some(place) = resubscribing.left.iter().position(|other| *other == id) else {
            return;
        };
        resubscribing.left.swap_remove(place);
        resubscribing.granted += usize::from(granted);
        if resubscribing.left.is_empty() {
            let filters = resubscribing.granted;
            self.resubscribing = None;
            self.tell(Event::Resubscribed { filters });
        }
    }
}
