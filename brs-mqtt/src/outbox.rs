//! The outbox: publishes that are accepted and not finished, bounded in messages and bytes.
//!
//! Invariants:
//! 1. A message takes its room before it is queued and gives it back when its publish ends, whatever way: what is in
//!    flight counts. So memory is bounded, and so is what a lost connection can bring back.
//! 2. Whoever waits for room is served in turn; who leaves before has published nothing.
//! 3. Messages leave in the order in which they came; what comes back from a lost connection goes to its old place.
//! 4. Every message that was taken ends in exactly one answer to its publisher, also when the outbox is dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brs_core::Error;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error;
use crate::message::Publish;
use crate::options::WhenFull;

/// Publishes on their way.
#[derive(Debug)]
pub(crate) struct Outbox {
    when_full: WhenFull,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    max_bytes: usize,
    queue: Mutex<Queue>,
    /// Something was queued.
    pub(crate) work: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Entry>,
    next: u64,
    closed: Option<Error>,
}

/// One publish.
#[derive(Debug)]
pub(crate) struct Entry {
    number: u64,
    pub(crate) publish: Arc<Publish>,
    answer: oneshot::Sender<Result<(), Error>>,
    _room: Room,
}

#[derive(Debug)]
struct Room {
    _message: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Entry {
    /// The publish has ended. That nobody waits any more is no matter.
    pub(crate) fn finish(self, result: Result<(), Error>) {
        let _ = self.answer.send(result);
    }
}

impl Outbox {
    pub(crate) fn new(messages: usize, bytes: usize, when_full: WhenFull) -> Self {
        let max_bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            when_full,
            messages: Arc::new(Semaphore::new(messages.min(Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(max_bytes)),
            max_bytes,
            queue: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Takes a message, waiting for room if that is what a full outbox means; its answer comes through the receiver.
    pub(crate) async fn add(&self, publish: Publish) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let size = publish.size();
        let Some(permits) = u32::try_from(size).ok().filter(|_| size <= self.max_bytes) else {
            return Err(error::larger_than_the_outbox(size, self.max_bytes));
        };
        let room = match self.when_full {
            WhenFull::Block => {
                // By invariant 2 dropping the future in here leaves nothing behind.
                let message = Arc::clone(&self.messages).acquire_owned().await;
                let bytes = Arc::clone(&self.bytes).acquire_many_owned(permits).await;
                match (message, bytes) {
                    (Ok(message), Ok(bytes)) => Room { _message: message, _bytes: bytes },
                    _ => return Err(self.closed()),
                }
            }
            WhenFull::Error => self.room(permits).ok_or_else(|| self.full())?,
            WhenFull::DropOldest => loop {
                if let Some(room) = self.room(permits) {
                    break room;
                }
                let oldest = self.lock().entries.pop_front();
                match oldest {
                    Some(oldest) => oldest.finish(Err(error::dropped())),
                    // All of it is in flight, which is nobody's to drop.
                    None => return Err(self.full()),
                }
            },
        };
        let (answer, answered) = oneshot::channel();
        let mut queue = self.lock();
        if let Some(error) = &queue.closed {
            return Err(error.clone());
        }
        let number = queue.next;
        queue.next += 1;
        queue.entries.push_back(Entry { number, publish: Arc::new(publish), answer, _room: room });
        drop(queue);
        self.work.notify_one();
        Ok(answered)
    }

    /// The next message.
    pub(crate) fn take(&self) -> Option<Entry> {
        self.lock().entries.pop_front()
    }

    /// A message that came back, to its old place.
    pub(crate) fn put_back(&self, entry: Entry) {
        let mut queue = self.lock();
        if let Some(error) = queue.closed.clone() {
            drop(queue);
            return entry.finish(Err(error));
        }
        let place = queue.entries.partition_point(|other| other.number < entry.number);
        queue.entries.insert(place, entry);
        drop(queue);
        self.work.notify_one();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// Takes out what is of no use any more.
    pub(crate) fn extract(&self, unwanted: impl Fn(&Publish) -> bool) -> Vec<Entry> {
        let mut queue = self.lock();
        let (out, kept) = queue.entries.drain(..).partition::<Vec<_>, _>(|entry| unwanted(&entry.publish));
        queue.entries = kept.into();
        out
    }

    /// Takes nothing any more and answers what is queued with the error.
    pub(crate) fn close(&self, error: &Error) {
        let entries = {
            let mut queue = self.lock();
            queue.closed.get_or_insert_with(|| error.clone());
            std::mem::take(&mut queue.entries)
        };
        self.messages.close();
        self.bytes.close();
        for entry in entries {
            entry.finish(Err(error.clone()));
        }
    }

    fn room(&self, bytes: u32) -> Option<Room> {
        let message = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some(Room { _message: message, _bytes: bytes })
    }

    fn full(&self) -> Error {
        self.lock().closed.clone().unwrap_or_else(error::full)
    }

    fn closed(&self) -> Error {
        self.lock().closed.clone().unwrap_or_else(error::closed)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

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
}
