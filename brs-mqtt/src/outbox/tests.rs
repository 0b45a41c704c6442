//! The outbox case by case, and by properties of whatever happens to it in whatever order.

use super::*;
use std::pin::Pin;

use futures_util::FutureExt as _;
use proptest::prelude::*;

fn message(text: &'static str) -> Publish {
    Publish::new("t", text)
}

async fn texts(outbox: &Outbox) -> Vec<String> {
    let entries: Vec<_> = std::iter::from_fn(|| outbox.take()).collect();
    entries.iter().map(|entry| String::from_utf8(entry.publish.payload.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn messages_leave_in_the_order_in_which_they_came() {
    let outbox = Outbox::new(8, 1 << 20, WhenFull::Block);
    for text in ["a", "b", "c"] {
        drop(outbox.add(message(text)).await.unwrap());
    }
    assert_eq!(texts(&outbox).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn what_comes_back_goes_to_its_old_place() {
    let outbox = Outbox::new(8, 1 << 20, WhenFull::Block);
    for text in ["a", "b", "c", "d"] {
        drop(outbox.add(message(text)).await.unwrap());
    }
    let (a, b, c) = (outbox.take().unwrap(), outbox.take().unwrap(), outbox.take().unwrap());
    for entry in [b, c, a] {
        outbox.put_back(entry);
    }
    assert_eq!(texts(&outbox).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn who_waits_for_room_is_served_when_a_publish_ends() {
    let outbox = Outbox::new(1, 1 << 20, WhenFull::Block);
    let first = outbox.add(message("a")).await.unwrap();
    let mut second = Box::pin(outbox.add(message("b")));
    assert!(second.as_mut().now_or_never().is_none());
    let taken = outbox.take().unwrap();
    assert!(second.as_mut().now_or_never().is_none(), "what is in flight still has its room");
    taken.finish(Ok(()));
    first.await.unwrap().unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn who_leaves_while_waiting_has_published_nothing() {
    let outbox = Outbox::new(1, 1 << 20, WhenFull::Block);
    drop(outbox.add(message("a")).await.unwrap());
    assert!(outbox.add(message("b")).now_or_never().is_none());
    outbox.take().unwrap().finish(Ok(()));
    assert!(outbox.is_empty());
    drop(outbox.add(message("c")).await.unwrap());
    assert_eq!(texts(&outbox).await, ["c"]);
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let one = message("a").size();
    let outbox = Outbox::new(100, 2 * one, WhenFull::Error);
    let _first = outbox.add(message("a")).await.unwrap();
    let _second = outbox.add(message("b")).await.unwrap();
    assert_eq!(outbox.add(message("c")).await.unwrap_err().code(), Some("Full"));
    let error = outbox.add(Publish::new("t", vec![0; 2 * one])).await.unwrap_err();
    assert!(error.to_string().contains("larger than the whole outbox"), "{error}");
}

#[tokio::test]
async fn the_oldest_is_dropped_and_told_so() {
    let outbox = Outbox::new(2, 1 << 20, WhenFull::DropOldest);
    let first = outbox.add(message("a")).await.unwrap();
    let _second = outbox.add(message("b")).await.unwrap();
    let _third = outbox.add(message("c")).await.unwrap();
    assert_eq!(first.await.unwrap().unwrap_err().code(), Some("Dropped"));
    assert_eq!(texts(&outbox).await, ["b", "c"]);
}

#[tokio::test]
async fn what_is_in_flight_is_not_dropped() {
    let outbox = Outbox::new(1, 1 << 20, WhenFull::DropOldest);
    let _first = outbox.add(message("a")).await.unwrap();
    let _in_flight = outbox.take().unwrap();
    assert_eq!(outbox.add(message("b")).await.unwrap_err().code(), Some("Full"));
}

#[tokio::test]
async fn nothing_is_dropped_for_a_message_that_would_not_fit_even_then() {
    let outbox = Outbox::new(8, 1000, WhenFull::DropOldest);
    let _first = outbox.add(Publish::new("t", vec![0; 500])).await.unwrap();
    let _in_flight = outbox.take().unwrap();
    let mut second = outbox.add(message("b")).await.unwrap();
    assert_eq!(outbox.add(Publish::new("t", vec![0; 500])).await.unwrap_err().code(), Some("Full"));
    assert!(second.try_recv().is_err(), "it still waits");
    assert_eq!(texts(&outbox).await, ["b"]);
}

#[tokio::test]
async fn closing_answers_everybody() {
    let outbox = Outbox::new(1, 1 << 20, WhenFull::Block);
    let first = outbox.add(message("a")).await.unwrap();
    let waiting = outbox.add(message("b"));
    let close = async { outbox.close(&error::closed()) };
    let (waited, ()) = tokio::join!(waiting, close);
    assert_eq!(waited.unwrap_err().code(), Some("Closed"));
    assert_eq!(first.await.unwrap().unwrap_err().code(), Some("Closed"));
    assert_eq!(outbox.add(message("c")).await.unwrap_err().code(), Some("Closed"));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Add(usize),
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
        3 => (0..900_usize).prop_map(Step::Add),
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
            Step::Add(size) => {
                let mut adding: Waiting<'_> = Box::pin(self.outbox.add(Publish::new("t", vec![0; size])));
                match adding.as_mut().now_or_never() {
                    Some(answer) => self.settle(answer),
                    None => self.waiting.push_back(adding),
                }
            }
            Step::Look => {
                for _ in 0..self.waiting.len() {
                    let Some(mut adding) = self.waiting.pop_front() else { return };
                    match adding.as_mut().now_or_never() {
                        Some(answer) => self.settle(answer),
                        None => self.waiting.push_back(adding),
                    }
                }
            }
            Step::Leave => drop(self.waiting.pop_front()),
            Step::Take => self.taken.extend(self.outbox.take()),
            Step::Finish => {
                if let Some(entry) = self.taken.pop_front() {
                    entry.finish(Ok(()));
                }
            }
            Step::PutBack => {
                if let Some(entry) = self.taken.pop_back() {
                    self.outbox.put_back(entry);
                }
            }
        }
    }

    /// Messages and bytes that are accepted and not finished, and whether what is queued is in order.
    fn held(&self) -> (usize, usize, bool) {
        let queue = self.outbox.lock();
        let all = || queue.entries.iter().chain(&self.taken);
        let in_order = queue.entries.iter().map(|entry| entry.number).is_sorted();
        (all().count(), all().map(|entry| entry.publish.size()).sum(), in_order)
    }
}

proptest! {
    #[test]
    fn the_outbox_is_bounded_in_order_and_answers_everybody_once(
        steps in proptest::collection::vec(step(), 0..120),
        when_full in prop_oneof![Just(WhenFull::Block), Just(WhenFull::DropOldest), Just(WhenFull::Error)],
        (messages, bytes) in (1..6_usize, 300..3000_usize),
    ) {
        let outbox = Outbox::new(messages, bytes, when_full);
        let mut run = Run {
            outbox: &outbox,
            waiting: VecDeque::new(),
            accepted: Vec::new(),
            taken: VecDeque::new(),
            refused: 0,
        };
        for step in steps {
            run.step(step);
            let (held, size, in_order) = run.held();
            prop_assert!(held <= messages && size <= bytes && in_order, "{:?}: {} of {} bytes", step, held, size);
        }
        outbox.close(&error::closed());
        // What is in flight at the end comes back or ends.
        for (place, entry) in std::mem::take(&mut run.taken).into_iter().enumerate() {
            if place % 2 == 0 { outbox.put_back(entry) } else { entry.finish(Ok(())) }
        }
        run.step(Step::Look);
        prop_assert!(run.waiting.is_empty(), "nobody waits for a closed outbox");
        for mut answered in run.accepted {
            prop_assert!(answered.try_recv().is_ok(), "every message has its answer");
        }
        prop_assert_eq!(outbox.messages.available_permits(), messages, "all room is given back");
        prop_assert_eq!(outbox.bytes.available_permits(), bytes);
    }
}
