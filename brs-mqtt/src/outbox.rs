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
    /// Its place among all, from 0 on.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

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
                let oldest = self.oldest_if_room_can_be_made(size);
                match oldest {
                    Some(oldest) => oldest.finish(Err(error::dropped())),
                    // Too much of it is in flight, which is nobody's to drop.
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

    /// Takes out the oldest message, unless even all that is queued would not make room enough.
    fn oldest_if_room_can_be_made(&self, size: usize) -> Option<Entry> {
        let mut queue = self.lock();
        let queued: usize = queue.entries.iter().map(|entry| entry.publish.size()).sum();
        if self.bytes.available_permits() + queued < size {
            return None;
        }
        queue.entries.pop_front()
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
mod tests;
