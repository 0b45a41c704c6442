//! The outbox case by case, and by properties of whatever happens to it in whatever order.

use super::*;
use crate::error::outcome::Outcome;
use std::pin::Pin;

use futures_util::FutureExt as _;
use proptest::prelude::*;

/// With a connection.
fn online(messages: usize, bytes: usize, when_full: WhenFull) -> Outbox {
    let outbox = Outbox::new(messages, bytes, when_full, false);
    outbox.go_online();
    outbox
}

fn message(text: &'static str) -> Publish {
    Publish::new("t", text)
}

async fn texts(outbox: &Outbox) -> Vec<String> {
    let entries: Vec<_> = std::iter::from_fn(|| outbox.take(|_| true)).collect();
    entries
        .iter()
        .map(|entry| String::from_utf8(entry.publish.payload.to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn messages_leave_in_the_order_in_which_they_came() {
    let outbox = online(8, 1 << 20, WhenFull::Block);
    for text in ["a", "b", "c"] {
        drop(outbox.add(message(text)).await.unwrap());
    }
    assert_eq!(texts(&outbox).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn nothing_overtakes_a_message_that_is_not_wanted_yet() {
    let outbox = online(8, 1 << 20, WhenFull::Block);
    drop(outbox.add(message("a").qos(Qos::AtMostOnce)).await.unwrap());
    drop(outbox.add(message("b")).await.unwrap());
    assert!(outbox.take(|qos| qos == Qos::AtLeastOnce).is_none());
    assert_eq!(texts(&outbox).await, ["a", "b"]);
}

#[tokio::test]
async fn what_comes_back_goes_to_its_old_place() {
    let outbox = online(8, 1 << 20, WhenFull::Block);
    for text in ["a", "b", "c", "d"] {
        drop(outbox.add(message(text)).await.unwrap());
    }
    let (a, b, c) = (
        outbox.take(|_| true).unwrap(),
        outbox.take(|_| true).unwrap(),
        outbox.take(|_| true).unwrap(),
    );
    for entry in [b, c, a] {
        outbox.put_back(entry);
    }
    assert_eq!(texts(&outbox).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn who_waits_for_room_is_served_when_a_publish_ends() {
    let outbox = online(1, 1 << 20, WhenFull::Block);
    let first = outbox.add(message("a")).await.unwrap();
    let mut second = Box::pin(outbox.add(message("b")));
    assert!(second.as_mut().now_or_never().is_none());
    let taken = outbox.take(|_| true).unwrap();
    assert!(
        second.as_mut().now_or_never().is_none(),
        "what is in flight still has its room"
    );
    taken.finish(Ok(()));
    first.await.unwrap().unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn who_leaves_while_waiting_has_published_nothing() {
    let outbox = online(1, 1 << 20, WhenFull::Block);
    drop(outbox.add(message("a")).await.unwrap());
    assert!(outbox.add(message("b")).now_or_never().is_none());
    outbox.take(|_| true).unwrap().finish(Ok(()));
    assert!(outbox.is_done());
    drop(outbox.add(message("c")).await.unwrap());
    assert_eq!(texts(&outbox).await, ["c"]);
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let one = message("a").size();
    let outbox = online(100, 2 * one, WhenFull::Error);
    let _first = outbox.add(message("a")).await.unwrap();
    let _second = outbox.add(message("b")).await.unwrap();
    assert_eq!(
        Outcome::of(&outbox.add(message("c")).await.unwrap_err()),
        Some(Outcome::Full)
    );
    let error = outbox
        .add(Publish::new("t", vec![0; 2 * one]))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("larger than the whole outbox"),
        "{error}"
    );
}

#[tokio::test]
async fn the_oldest_is_dropped_and_told_so() {
    let outbox = online(2, 1 << 20, WhenFull::DropOldest);
    let first = outbox.add(message("a")).await.unwrap();
    let _second = outbox.add(message("b")).await.unwrap();
    let _third = outbox.add(message("c")).await.unwrap();
    assert_eq!(
        Outcome::of(&first.await.unwrap().unwrap_err()),
        Some(Outcome::Dropped)
    );
    assert_eq!(texts(&outbox).await, ["b", "c"]);
}

#[tokio::test]
async fn what_is_in_flight_is_not_dropped() {
    let outbox = online(1, 1 << 20, WhenFull::DropOldest);
    let _first = outbox.add(message("a")).await.unwrap();
    let _in_flight = outbox.take(|_| true).unwrap();
    assert_eq!(
        Outcome::of(&outbox.add(message("b")).await.unwrap_err()),
        Some(Outcome::Full)
    );
}

#[tokio::test]
async fn nothing_is_dropped_for_a_message_that_would_not_fit_even_then() {
    let outbox = online(8, 1000, WhenFull::DropOldest);
    let _first = outbox.add(Publish::new("t", vec![0; 500])).await.unwrap();
    let _in_flight = outbox.take(|_| true).unwrap();
    let mut second = outbox.add(message("b")).await.unwrap();
    let large = Publish::new("t", vec![0; 500]);
    assert_eq!(
        Outcome::of(&outbox.add(large).await.unwrap_err()),
        Some(Outcome::Full)
    );
    assert!(second.try_recv().is_err(), "it still waits");
    assert_eq!(texts(&outbox).await, ["b"]);
}

#[tokio::test]
async fn closing_answers_everybody() {
    let outbox = online(1, 1 << 20, WhenFull::Block);
    let first = outbox.add(message("a")).await.unwrap();
    let waiting = outbox.add(message("b"));
    let close = async { assert!(outbox.close(&Closed::plainly()), "somebody had to be told") };
    let (waited, ()) = tokio::join!(waiting, close);
    assert_eq!(Outcome::of(&waited.unwrap_err()), Some(Outcome::Closed));
    assert_eq!(
        Outcome::of(&first.await.unwrap().unwrap_err()),
        Some(Outcome::Closed)
    );
    assert_eq!(
        Outcome::of(&outbox.add(message("c")).await.unwrap_err()),
        Some(Outcome::Closed)
    );
    assert!(!outbox.close(&Closed::plainly()));
}

#[tokio::test]
async fn what_has_been_given_out_is_told_something_else_at_the_end() {
    let outbox = online(4, 1 << 20, WhenFull::Block);
    let (first, second) = (
        outbox.add(message("a")).await.unwrap(),
        outbox.add(message("b")).await.unwrap(),
    );
    let third = outbox.add(message("c")).await.unwrap();
    let (a, b) = (
        outbox.take(|_| true).unwrap(),
        outbox.take(|_| true).unwrap(),
    );
    outbox.put_back(a);
    outbox.close(&Closed {
        sent: Error::request("perhaps"),
        unsent: Error::request("never"),
    });
    outbox.put_back(b);
    let said = async |answer: oneshot::Receiver<Result<(), Error>>| {
        answer.await.unwrap().unwrap_err().to_string()
    };
    assert_eq!(
        [said(first).await, said(second).await, said(third).await],
        ["perhaps", "perhaps", "never"]
    );
}

#[tokio::test]
async fn what_does_not_wait_for_a_connection_ends_with_it_wherever_it_waits() {
    let no_wait = |text| message(text).qos(Qos::AtMostOnce);
    for when_full in [WhenFull::Block, WhenFull::DropOldest, WhenFull::Error] {
        let outbox = online(3, 1 << 20, when_full);
        let first = outbox.add(no_wait("a")).await.unwrap();
        let mut second = outbox.add(message("b")).await.unwrap();
        outbox.go_offline();
        assert_eq!(
            Outcome::of(&first.await.unwrap().unwrap_err()),
            Some(Outcome::Offline)
        );
        assert_eq!(
            Outcome::of(&outbox.add(no_wait("c")).await.unwrap_err()),
            Some(Outcome::Offline)
        );
        assert!(second.try_recv().is_err(), "it waits for a connection");
        outbox.go_online();
        drop(outbox.add(no_wait("d")).await.unwrap());
        assert_eq!(texts(&outbox).await, ["b", "d"]);
    }
    let outbox = online(1, 1 << 20, WhenFull::Block);
    let _first = outbox.add(message("a")).await.unwrap();
    let (mut second, mut third) = (
        Box::pin(outbox.add(no_wait("b"))),
        Box::pin(outbox.add(message("c"))),
    );
    assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
    outbox.go_offline();
    assert_eq!(
        Outcome::of(&second.await.unwrap_err()),
        Some(Outcome::Offline)
    );
    assert!(third.as_mut().now_or_never().is_none());
    outbox.take(|_| true).unwrap().finish(Ok(()));
    drop(third.await.unwrap());
}

#[tokio::test]
async fn an_outbox_that_may_holds_everything_for_a_connection() {
    let outbox = Outbox::new(2, 1 << 20, WhenFull::Block, true);
    drop(outbox.add(message("a").qos(Qos::AtMostOnce)).await.unwrap());
    outbox.go_online();
    outbox.go_offline();
    assert_eq!(texts(&outbox).await, ["a"]);
}

#[tokio::test]
async fn an_outbox_that_refuses_serves_who_waits_and_is_done_then() {
    let outbox = online(1, 1 << 20, WhenFull::Block);
    drop(outbox.add(message("a")).await.unwrap());
    let (mut second, mut third) = (
        Box::pin(outbox.add(message("b"))),
        Box::pin(outbox.add(message("c"))),
    );
    assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
    outbox.refuse();
    assert_eq!(
        Outcome::of(&outbox.add(message("d")).await.unwrap_err()),
        Some(Outcome::Closed)
    );
    outbox.take(|_| true).unwrap().finish(Ok(()));
    assert!(!outbox.is_done(), "two wait");
    drop(second.await.unwrap());
    outbox.take(|_| true).unwrap().finish(Ok(()));
    assert!(!outbox.is_done(), "one has its room");
    outbox.work.notified().now_or_never();
    drop(third);
    assert!(outbox.is_done());
    assert!(
        outbox.work.notified().now_or_never().is_some(),
        "who waits for that is told"
    );
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(usize, Qos),
    GoOnline,
    GoOffline,
    /// Looks after the publishers that wait for room.
    Look,
    /// The publisher that has waited for the longest time leaves.
    Leave,
    Take,
    /// The first that was taken ends.
    Finish,
    /// The last that was taken comes back.
    PutBack,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..900_usize, prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce)])
            .prop_map(|(size, qos)| Step::Add(size, qos)),
        1 => Just(Step::GoOnline),
        1 => Just(Step::GoOffline),
        2 => Just(Step::Look),
        1 => Just(Step::Leave),
        2 => Just(Step::Take),
        2 => Just(Step::Finish),
        1 => Just(Step::PutBack),
    ]
}

type Answer = Result<oneshot::Receiver<Result<(), Error>>, Error>;
type Waiting<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

/// What publishers and driver hold, and what has become of the messages.
struct Run<'a> {
    outbox: &'a Outbox,
    waiting: VecDeque<Waiting<'a>>,
    accepted: Vec<oneshot::Receiver<Result<(), Error>>>,
    taken: VecDeque<Entry>,
    refused: usize,
}

impl Run<'_> {
    fn settle(&mut self, answer: Answer) {
        match answer {
            Ok(answered) => self.accepted.push(answered),
            Err(_) => self.refused += 1,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::GoOnline => self.outbox.go_online(),
            Step::GoOffline => self.outbox.go_offline(),
            Step::Add(size, qos) => {
                let mut adding: Waiting<'_> =
                    Box::pin(self.outbox.add(Publish::new("t", vec![0; size]).qos(qos)));
                match adding.as_mut().now_or_never() {
                    Some(answer) => self.settle(answer),
                    None => self.waiting.push_back(adding),
                }
            }
            Step::Look => {
                for _ in 0..self.waiting.len() {
                    let Some(mut adding) = self.waiting.pop_front() else {
                        return;
                    };
                    match adding.as_mut().now_or_never() {
                        Some(answer) => self.settle(answer),
                        None => self.waiting.push_back(adding),
                    }
                }
            }
            Step::Leave => drop(self.waiting.pop_front()),
            Step::Take => self.taken.extend(self.outbox.take(|_| true)),
            Step::Finish => {
                if let Some(entry) = self.taken.pop_front() {
                    entry.finish(Ok(()));
                }
            }
            Step::PutBack => {
                // As the driver does: of QoS 0 nothing comes back.
                match self.taken.pop_back() {
                    Some(entry) if entry.publish.qos == Qos::AtMostOnce => {
                        entry.finish(Err(error::unsure()))
                    }
                    Some(entry) => self.outbox.put_back(entry),
                    None => {}
                }
            }
        }
    }

    /// Messages and bytes that are accepted and not finished, and whether what is queued is in
    /// order and none of it in vain.
    fn held(&self) -> (usize, usize, bool) {
        let queue = self.outbox.lock();
        let all = || queue.entries.iter().chain(&self.taken);
        let in_order = queue.entries.iter().map(|entry| entry.number).is_sorted();
        let in_vain = queue
            .entries
            .iter()
            .any(|entry| !queue.online && entry.publish.qos == Qos::AtMostOnce);
        (
            all().count(),
            all().map(|entry| entry.publish.size()).sum(),
            in_order && !in_vain,
        )
    }
}

proptest! {
    #[test]
    fn the_outbox_is_bounded_in_order_and_answers_everybody_once(
        steps in proptest::collection::vec(step(), 0..120),
        when_full in prop_oneof![Just(WhenFull::Block), Just(WhenFull::DropOldest), Just(WhenFull::Error)],
        (messages, bytes) in (1..6_usize, 300..3000_usize),
    ) {
        let outbox = online(messages, bytes, when_full);
        let mut run = Run {
            outbox: &outbox,
            waiting: VecDeque::new(),
            accepted: Vec::new(),
            taken: VecDeque::new(),
            refused: 0,
        };
        for step in steps {
            run.step(step);
            let (held, size, is_right) = run.held();
            prop_assert!(held <= messages && size <= bytes && is_right, "{:?}: {} of {} bytes", step, held, size);
        }
        outbox.close(&Closed::plainly());
        // What is in flight at the end comes back or ends.
        for (place, entry) in std::mem::take(&mut run.taken).into_iter().enumerate() {
            if place % 2 == 0 { outbox.put_back(entry) } else { entry.finish(Ok(())) }
        }
        run.step(Step::Look);
        prop_assert!(run.waiting.is_empty() && outbox.is_done(), "a closed outbox has no waiters");
        for mut answered in run.accepted {
            prop_assert!(answered.try_recv().is_ok(), "every message has its answer");
        }
        prop_assert_eq!(outbox.messages.available_permits(), messages, "all room is given back");
        prop_assert_eq!(outbox.bytes.available_permits(), bytes);
    }
}
