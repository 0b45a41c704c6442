//! The outbox: publishes that are accepted and not finished, bounded in messages and bytes.
//!
//! Invariants:
//! 1. A message takes its room before it is queued and gives it back when its publish ends,
//!    whatever way: what is in flight counts. So memory is bounded, and so is what a lost
//!    connection can bring back.
//! 2. Publishers that wait for room are served in turn; one that leaves first has published nothing.
//! 3. Messages leave in the order in which they came; what comes back from a lost connection goes
//!    to its old place.
//! 4. Every message that was taken ends in exactly one answer to its publisher, also when the
//!    outbox is dropped.
//! 5. Where messages of QoS 0 do not wait for a connection, none is queued while there is none:
//!    whether there is one is changed and looked at under the queue's lock. One that is being
//!    replaced counts until the new one has failed.
//! 6. Who has begun to add when the outbox begins to refuse is served, and counts as not done until
//!    then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use brs_core::Error;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::api::message::{Publish, Qos};
use crate::api::options::WhenFull;
use crate::error;

/// Publishes on their way.
#[derive(Debug)]
pub(crate) struct Outbox {
    when_full: WhenFull,
    /// Whether messages of QoS 0 wait for a connection.
    holds_at_most_once: bool,
    /// What the queue holds, too; here it wakes those who wait for room.
    online: watch::Sender<bool>,
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
    online: bool,
    /// Publishers whose message is neither queued nor given up.
    adding: usize,
    /// Who begins now is sent away.
    refuses: bool,
    closed: Option<Closed>,
}

/// What the outbox says when it is closed.
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    /// Of messages that have been handed to a link: they may have arrived.
    pub(crate) sent: Error,
    /// Of the others.
    pub(crate) unsent: Error,
}

impl Closed {
    /// The same of all.
    pub(crate) fn plainly() -> Self {
        Self {
            sent: error::closed(),
            unsent: error::closed(),
        }
    }

    fn of(&self, entry: &Entry) -> Error {
        if entry.handed {
            self.sent.clone()
        } else {
            self.unsent.clone()
        }
    }
}

/// A publisher that is adding its message, until it has or leaves.
struct Adding<'a>(&'a Outbox);

impl Drop for Adding<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.adding -= 1;
        let is_awaited = queue.refuses && queue.adding == 0;
        drop(queue);
        if is_awaited {
            self.0.work.notify_one();
        }
    }
}

/// One publish.
#[derive(Debug)]
pub(crate) struct Entry {
    number: u64,
    /// Whether it has been given out, perhaps sent.
    handed: bool,
    pub(crate) publish: Publish,
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

    /// The publish has ended. It is fine if the receiver is gone.
    pub(crate) fn finish(self, result: Result<(), Error>) {
        let _ = self.answer.send(result);
    }
}

impl Outbox {
    /// Bounded in messages and bytes, and offline until [`go_online`](Self::go_online).
    pub(crate) fn new(
        messages: usize,
        bytes: usize,
        when_full: WhenFull,
        holds_at_most_once: bool,
    ) -> Self {
        let max_bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self {
            when_full,
            holds_at_most_once,
            online: watch::Sender::new(false),
            messages: Arc::new(Semaphore::new(messages.min(Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(max_bytes)),
            max_bytes,
            queue: Mutex::default(),
            work: Notify::new(),
        }
    }

    /// Takes a message, waiting for room if that is what a full outbox means; its answer comes
    /// through the receiver.
    pub(crate) async fn add(
        &self,
        publish: Publish,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let size = publish.size();
        let Some(permits) = u32::try_from(size).ok().filter(|_| size <= self.max_bytes) else {
            return Err(error::larger_than_the_outbox(size, self.max_bytes));
        };
        // As long as there is room, no publisher is waiting for it that would have to be served first.
        if let Some(room) = self.room(permits) {
            return self.enqueue(publish, room, None);
        }
        let adding = self.begin(&publish)?;
        let room = match self.when_full {
            WhenFull::Block => self.wait_for_room(&publish, permits).await?,
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
        self.enqueue(publish, room, Some(adding))
    }

    /// Queues a message that has its room; one that has waited for it began before.
    fn enqueue(
        &self,
        publish: Publish,
        room: Room,
        began: Option<Adding<'_>>,
    ) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (answer, answered) = oneshot::channel();
        let mut queue = self.lock();
        if let Some(closed) = &queue.closed {
            return Err(closed.unsent.clone());
        }
        if queue.refuses && began.is_none() {
            return Err(error::closed());
        }
        if !queue.online && !self.waits_for_a_connection(&publish) {
            return Err(error::offline());
        }
        let number = queue.next;
        queue.next += 1;
        queue.entries.push_back(Entry {
            number,
            handed: false,
            publish,
            answer,
            _room: room,
        });
        drop(queue);
        self.work.notify_one();
        drop(began);
        Ok(answered)
    }

    fn begin(&self, publish: &Publish) -> Result<Adding<'_>, Error> {
        let mut queue = self.lock();
        if queue.refuses || queue.closed.is_some() {
            return Err(error::closed());
        }
        if !queue.online && !self.waits_for_a_connection(publish) {
            return Err(error::offline());
        }
        queue.adding += 1;
        Ok(Adding(self))
    }

    fn waits_for_a_connection(&self, publish: &Publish) -> bool {
        publish.qos != Qos::AtMostOnce || self.holds_at_most_once
    }

    /// By invariant 2 dropping the future in here leaves nothing behind.
    async fn wait_for_room(&self, publish: &Publish, bytes: u32) -> Result<Room, Error> {
        let room = async {
            let message = Arc::clone(&self.messages)
                .acquire_owned()
                .await
                .map_err(|_| self.closed())?;
            let bytes = Arc::clone(&self.bytes)
                .acquire_many_owned(bytes)
                .await
                .map_err(|_| self.closed())?;
            Ok(Room {
                _message: message,
                _bytes: bytes,
            })
        };
        tokio::select! {
            room = room => room,
            () = self.offline(publish) => Err(error::offline()),
        }
    }

    /// Ready once there is no connection, for a message that does not wait for one; never for
    /// another.
    pub(crate) fn offline(&self, publish: &Publish) -> impl Future<Output = ()> + Send + use<> {
        let online = (!self.waits_for_a_connection(publish)).then(|| self.online.subscribe());
        async move {
            match online {
                Some(mut online) => {
                    let _ = online.wait_for(|online| !online).await;
                }
                None => std::future::pending().await,
            }
        }
    }

    /// The next message, if one of its QoS is wanted.
    #[cfg(test)]
    pub(crate) fn take(&self, wanted: impl Fn(Qos) -> bool) -> Option<Entry> {
        let mut entry = self
            .lock()
            .entries
            .pop_front_if(|entry| wanted(entry.publish.qos))?;
        entry.handed = true;
        Some(entry)
    }

    /// The next messages in their order: no more of QoS 1 than there is room for, and until they
    /// take so many bytes.
    pub(crate) fn take_some(&self, mut room: usize, bytes: usize, into: &mut Vec<Entry>) {
        let mut queue = self.lock();
        let mut taken = 0;
        while taken < bytes {
            let fits = |entry: &mut Entry| room > 0 || entry.publish.qos == Qos::AtMostOnce;
            let Some(mut entry) = queue.entries.pop_front_if(fits) else {
                return;
            };
            entry.handed = true;
            taken += entry.publish.size();
            room -= usize::from(entry.publish.qos != Qos::AtMostOnce);
            into.push(entry);
        }
    }

    /// A message that came back, to its old place.
    pub(crate) fn put_back(&self, entry: Entry) {
        let mut queue = self.lock();
        if let Some(closed) = queue.closed.clone() {
            drop(queue);
            let error = closed.of(&entry);
            return entry.finish(Err(error));
        }
        let place = queue
            .entries
            .partition_point(|other| other.number < entry.number);
        queue.entries.insert(place, entry);
        drop(queue);
        self.work.notify_one();
    }

    /// Whether there is nothing to send and nobody about to add something.
    pub(crate) fn is_done(&self) -> bool {
        let queue = self.lock();
        queue.entries.is_empty() && queue.adding == 0
    }

    /// There is a connection.
    pub(crate) fn go_online(&self) {
        // In this order, and the other one below: who finds the queue online is not sent away by an
        // older value here.
        self.online.send_replace(true);
        self.lock().online = true;
    }

    /// The connection is gone: messages that do not wait for one end, including those whose
    /// publishers wait for room.
    pub(crate) fn go_offline(&self) {
        let out = {
            let mut queue = self.lock();
            queue.online = false;
            let (kept, out) = std::mem::take(&mut queue.entries)
                .into_iter()
                .partition::<VecDeque<_>, _>(|entry| self.waits_for_a_connection(&entry.publish));
            queue.entries = kept;
            out
        };
        self.online.send_replace(false);
        for entry in out {
            entry.finish(Err(error::offline()));
        }
    }

    /// Rejects messages from now on; callers that already wait are still served.
    pub(crate) fn refuse(&self) {
        self.lock().refuses = true;
    }

    /// Accepts nothing any more and fails what is queued; returns whether there was any.
    pub(crate) fn close(&self, closed: &Closed) -> bool {
        let (entries, adding) = {
            let mut queue = self.lock();
            queue.closed.get_or_insert_with(|| closed.clone());
            (std::mem::take(&mut queue.entries), queue.adding)
        };
        let anybody = adding > 0 || !entries.is_empty();
        self.messages.close();
        self.bytes.close();
        for entry in entries {
            let error = closed.of(&entry);
            entry.finish(Err(error));
        }
        anybody
    }

    fn room(&self, bytes: u32) -> Option<Room> {
        let message = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(bytes).ok()?;
        Some(Room {
            _message: message,
            _bytes: bytes,
        })
    }

    /// Takes out the oldest message, unless even all that is queued would not make room enough.
    fn oldest_if_room_can_be_made(&self, size: usize) -> Option<Entry> {
        let mut queue = self.lock();
        let queued: usize = queue.entries.iter().map(|entry| entry.publish.size()).sum();
        if queue.closed.is_some() || self.bytes.available_permits() + queued < size {
            return None;
        }
        queue.entries.pop_front()
    }

    fn full(&self) -> Error {
        self.lock()
            .closed
            .as_ref()
            .map_or_else(error::full, |closed| closed.unsent.clone())
    }

    fn closed(&self) -> Error {
        self.lock()
            .closed
            .as_ref()
            .map_or_else(error::closed, |closed| closed.unsent.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
