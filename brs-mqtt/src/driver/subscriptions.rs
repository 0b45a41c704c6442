//! What is subscribed to, and what has to be asked for after a connection has been made.
//!
//! Owns the list of wanted filters and the answers to them. A server that has kept the session
//! knows the subscriptions it has granted; one that has not is asked again for all of them, at most
//! eight in a packet. Nothing here touches a socket: the driver sends what is due and brings the
//! answers back.
//!
//! A server of MQTT 5 sends a message once for each of a client's subscriptions that it matches, or
//! once with the identifiers of all. So each packet has an identifier, and filters that one topic
//! can match are in different packets.

use brs_core::Error;
use tokio::sync::oneshot;

use crate::api::message::Qos;
use crate::api::topic::{Id, MAX_FILTERS, overlap};
use crate::error;

/// Filters to ask for in one packet.
pub(crate) type Batch = Vec<(Id, String, Qos)>;

/// The largest identifier of a subscription (MQTT 5, 3.8.2.1.2).
const MAX_IDENTIFIER: u32 = 268_435_455;

/// The wanted subscriptions.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    wanted: Vec<Wanted>,
    last_identifier: u32,
}

impl Default for Subscriptions {
    fn default() -> Self {
        // A session that an earlier process has left may have subscriptions with identifiers of
        // their own.
        Self {
            wanted: Vec::new(),
            last_identifier: fastrand::u32(1..=MAX_IDENTIFIER),
        }
    }
}

#[derive(Debug)]
struct Wanted {
    id: Id,
    filter: String,
    qos: Qos,
    state: State,
    /// The same for all to one filter.
    identifier: Option<u32>,
    /// Who waits for the first answer.
    reply: Option<oneshot::Sender<Result<Qos, Error>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be asked for.
    Due,
    /// Asked for over that connection.
    Asked(u64),
    Granted,
}

/// What an answer means for a subscription.
#[derive(Debug)]
pub(crate) enum Answered {
    /// Nothing, or the subscriber has been told.
    Settled,
    /// Granted once, refused now.
    Withdrawn(String, Error),
}

impl Subscriptions {
    /// One more filter.
    pub(crate) fn want(
        &mut self,
        id: Id,
        filter: String,
        qos: Qos,
        reply: oneshot::Sender<Result<Qos, Error>>,
    ) {
        let same = self.wanted.iter().find(|wanted| wanted.filter == filter);
        let identifier = same.and_then(|wanted| wanted.identifier);
        self.wanted.push(Wanted {
            id,
            filter,
            qos,
            state: State::Due,
            identifier,
            reply: Some(reply),
        });
    }

    /// Forgets those to a filter that is subscribed to again and whose streams are not read any
    /// more: else a program that subscribes and lets go in a loop would collect them. Returns them.
    pub(crate) fn forget(&mut self, filter: &str, is_left: impl Fn(Id) -> bool) -> Vec<Id> {
        let is_forgotten = |wanted: &mut Wanted| wanted.filter == filter && is_left(wanted.id);
        self.wanted
            .extract_if(.., is_forgotten)
            .map(|wanted| wanted.id)
            .collect()
    }

    /// Forgets all subscriptions to those filters; who still waits for one is told. Which they
    /// were.
    pub(crate) fn unwant(&mut self, filters: &[String]) -> Vec<Id> {
        let mut ids = Vec::new();
        for wanted in self
            .wanted
            .extract_if(.., |wanted| filters.contains(&wanted.filter))
        {
            ids.push(wanted.id);
            if let Some(reply) = wanted.reply {
                let _ = reply.send(Err(error::unsubscribed(&wanted.filter)));
            }
        }
        ids
    }

    /// Whether somebody wants that filter.
    pub(crate) fn wants(&self, filter: &str) -> bool {
        self.wanted.iter().any(|wanted| wanted.filter == filter)
    }

    /// Whether somebody waits for an answer.
    pub(crate) fn owes(&self) -> bool {
        self.wanted.iter().any(|wanted| {
            wanted
                .reply
                .as_ref()
                .is_some_and(|reply| !reply.is_closed())
        })
    }

    /// The server has not kept the session: everything is to be asked for again. Which of it had
    /// been granted.
    pub(crate) fn lost(&mut self) -> Vec<Id> {
        let granted = self
            .wanted
            .iter()
            .filter(|wanted| wanted.reply.is_none())
            .map(|wanted| wanted.id)
            .collect();
        self.wanted
            .iter_mut()
            .for_each(|wanted| (wanted.state, wanted.identifier) = (State::Due, None));
        granted
    }

    /// What is to be asked for over that connection, each packet with its identifier if the server
    /// takes such.
    pub(crate) fn due(
        &mut self,
        generation: u64,
        with_identifiers: bool,
    ) -> Vec<(Option<u32>, Batch)> {
        let mut batches: Vec<(Option<u32>, Batch)> = Vec::new();
        for place in 0..self.wanted.len() {
            if self.wanted[place].state != State::Due {
                continue;
            }
            let filter = self.wanted[place].filter.clone();
            let same = |wanted: &&Wanted| wanted.filter == filter && wanted.identifier.is_some();
            let known = self
                .wanted
                .iter()
                .find(same)
                .and_then(|wanted| wanted.identifier);
            let fits = |(identifier, batch): &(Option<u32>, Batch)| {
                let is_apart = || batch.iter().all(|(_, other, _)| !overlap(other, &filter));
                batch.len() < MAX_FILTERS
                    && (!with_identifiers || *identifier == known || known.is_none() && is_apart())
            };
            let batch = match batches.iter().position(fits) {
                Some(batch) => batch,
                None => {
                    let identifier =
                        with_identifiers.then(|| known.unwrap_or_else(|| self.next_identifier()));
                    batches.push((identifier, Batch::new()));
                    batches.len() - 1
                }
            };
            let (identifier, batch) = &mut batches[batch];
            let wanted = &mut self.wanted[place];
            (wanted.state, wanted.identifier) = (State::Asked(generation), *identifier);
            batch.push((wanted.id, filter, wanted.qos));
        }
        batches
    }

    fn next_identifier(&mut self) -> u32 {
        self.last_identifier = self.last_identifier % MAX_IDENTIFIER + 1;
        self.last_identifier
    }

    /// The filters with their identifiers.
    pub(crate) fn identifiers(&self) -> Vec<(String, u32)> {
        let identifier = |wanted: &Wanted| Some((wanted.filter.clone(), wanted.identifier?));
        self.wanted.iter().filter_map(identifier).collect()
    }

    /// The answer for one filter that was asked for over that connection.
    pub(crate) fn answered(
        &mut self,
        generation: u64,
        id: Id,
        answer: Result<Qos, Error>,
    ) -> Answered {
        let Some(place) = self.wanted.iter().position(|wanted| wanted.id == id) else {
            return Answered::Settled;
        };
        let wanted = &mut self.wanted[place];
        // An answer over an older connection says nothing about the session of this one.
        if wanted.state != State::Asked(generation) {
            return Answered::Settled;
        }
        match answer {
            Ok(granted) => {
                wanted.state = State::Granted;
                if let Some(reply) = wanted.reply.take() {
                    let _ = reply.send(Ok(granted));
                }
                Answered::Settled
            }
            Err(error) => {
                let wanted = self.wanted.remove(place);
                match wanted.reply {
                    Some(reply) => {
                        let _ = reply.send(Err(error));
                        Answered::Settled
                    }
                    None => Answered::Withdrawn(wanted.filter, error),
                }
            }
        }
    }

    /// The packet with those filters has not been answered because its connection is gone; the next
    /// one asks again.
    pub(crate) fn unanswered(&mut self, generation: u64, ids: &[Id]) {
        for wanted in self
            .wanted
            .iter_mut()
            .filter(|wanted| ids.contains(&wanted.id))
        {
            if wanted.state == State::Asked(generation) {
                wanted.state = State::Due;
            }
        }
    }

    /// Tells everybody who still waits that there will be no answer.
    pub(crate) fn close(&mut self, error: &Error) {
        for wanted in self.wanted.drain(..) {
            if let Some(reply) = wanted.reply {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::outcome::Outcome;

    fn wanting(count: u64) -> (Subscriptions, Vec<oneshot::Receiver<Result<Qos, Error>>>) {
        let mut subscriptions = Subscriptions::default();
        let replies = (0..count)
            .map(|id| {
                let (reply, replied) = oneshot::channel();
                subscriptions.want(id, format!("f/{id}"), Qos::AtLeastOnce, reply);
                replied
            })
            .collect();
        (subscriptions, replies)
    }

    #[test]
    fn a_packet_holds_at_most_eight_filters() {
        let (mut subscriptions, _replies) = wanting(19);
        assert_eq!(
            subscriptions
                .due(1, false)
                .iter()
                .map(|(_, batch)| batch.len())
                .collect::<Vec<_>>(),
            [8, 8, 3]
        );
        assert!(subscriptions.due(1, false).is_empty(), "asked for once");
    }

    #[test]
    fn filters_that_one_topic_can_match_have_identifiers_of_their_own() {
        let mut subscriptions = Subscriptions::default();
        let mut want = |id, filter: &str| {
            subscriptions.want(
                id,
                filter.to_owned(),
                Qos::AtLeastOnce,
                oneshot::channel().0,
            );
        };
        for (id, filter) in (0..).zip(["a/+", "a/b", "b", "#", "a/b"]) {
            want(id, filter);
        }
        let due = subscriptions.due(1, true);
        let packets: Vec<Vec<Id>> = due
            .iter()
            .map(|(_, batch)| batch.iter().map(|(id, ..)| *id).collect())
            .collect();
        assert_eq!(packets, [vec![0, 2], vec![1, 4], vec![3]]);
        let identifiers: Vec<u32> = due
            .iter()
            .map(|(identifier, _)| identifier.unwrap())
            .collect();
        assert!(
            identifiers
                .iter()
                .all(|one| identifiers.iter().filter(|other| one == *other).count() == 1)
        );
        assert!(
            identifiers
                .iter()
                .all(|identifier| (1..=MAX_IDENTIFIER).contains(identifier))
        );
        // One more stream of a filter does not take its identifier away.
        subscriptions.want(5, "b".to_owned(), Qos::AtLeastOnce, oneshot::channel().0);
        let again = subscriptions.due(1, true);
        assert_eq!((again.len(), again[0].0), (1, Some(identifiers[0])));
        assert!(
            subscriptions
                .identifiers()
                .contains(&("b".to_owned(), identifiers[0]))
        );
        // Without them all of it goes into one packet.
        subscriptions.lost();
        let due = subscriptions.due(2, false);
        assert!(due.len() == 1 && due[0].0.is_none() && subscriptions.identifiers().is_empty());
    }

    #[test]
    fn a_server_without_the_session_is_asked_again() {
        let (mut subscriptions, mut replies) = wanting(2);
        subscriptions.due(1, false);
        for id in 0..2 {
            subscriptions.answered(1, id, Ok(Qos::AtLeastOnce));
        }
        assert_eq!(replies[0].try_recv().unwrap().unwrap(), Qos::AtLeastOnce);
        assert!(
            subscriptions.due(2, false).is_empty(),
            "the session lives on"
        );
        assert_eq!(subscriptions.lost(), [0, 1]);
        assert_eq!(subscriptions.due(3, false)[0].1.len(), 2);
    }

    #[test]
    fn an_answer_of_an_older_connection_counts_for_nothing() {
        let (mut subscriptions, mut replies) = wanting(1);
        subscriptions.due(1, false);
        subscriptions.lost();
        subscriptions.due(2, false);
        subscriptions.answered(1, 0, Err(Error::request("late")));
        subscriptions.unanswered(1, &[0]);
        assert!(replies[0].try_recv().is_err() && subscriptions.due(2, false).is_empty());
        subscriptions.answered(2, 0, Ok(Qos::AtMostOnce));
        assert_eq!(replies[0].try_recv().unwrap().unwrap(), Qos::AtMostOnce);
    }

    #[test]
    fn what_was_not_answered_is_asked_over_the_next_connection() {
        let (mut subscriptions, _replies) = wanting(1);
        subscriptions.due(1, false);
        subscriptions.unanswered(1, &[0]);
        assert_eq!(subscriptions.due(2, false).len(), 1);
    }

    #[test]
    fn who_subscribes_and_lets_go_again_and_again_leaves_one_behind() {
        let (mut subscriptions, replies) = wanting(2);
        drop(replies);
        for id in 2..100 {
            assert_eq!(subscriptions.forget("f/0", |other| other != 1).len(), 1);
            subscriptions.want(id, "f/0".to_owned(), Qos::AtLeastOnce, oneshot::channel().0);
        }
        assert!(
            subscriptions.forget("f/1", |other| other != 1).is_empty(),
            "it is read"
        );
        assert_eq!(
            subscriptions.due(1, false)[0]
                .1
                .iter()
                .map(|(id, ..)| *id)
                .collect::<Vec<_>>(),
            [1, 99]
        );
    }

    #[test]
    fn who_waits_for_what_is_unsubscribed_from_is_told() {
        let (mut subscriptions, mut replies) = wanting(1);
        assert!(subscriptions.owes() && subscriptions.wants("f/0"));
        subscriptions.unwant(&["f/0".to_owned()]);
        assert_eq!(
            Outcome::of(&replies[0].try_recv().unwrap().unwrap_err()),
            Some(Outcome::Unsubscribed)
        );
        assert!(!subscriptions.owes() && !subscriptions.wants("f/0"));
    }

    #[test]
    fn a_refusal_ends_the_subscription() {
        let (mut subscriptions, mut replies) = wanting(1);
        subscriptions.due(1, false);
        assert!(matches!(
            subscriptions.answered(1, 0, Err(Error::request("no"))),
            Answered::Settled
        ));
        assert!(replies[0].try_recv().unwrap().is_err());
        assert!(subscriptions.due(2, false).is_empty());
    }

    #[test]
    fn what_is_refused_after_it_was_granted_is_withdrawn() {
        let (mut subscriptions, _replies) = wanting(1);
        subscriptions.due(1, false);
        subscriptions.answered(1, 0, Ok(Qos::AtLeastOnce));
        subscriptions.lost();
        subscriptions.due(2, false);
        let answered = subscriptions.answered(2, 0, Err(Error::request("no")));
        assert!(matches!(answered, Answered::Withdrawn(filter, _) if filter == "f/0"));
    }
}
