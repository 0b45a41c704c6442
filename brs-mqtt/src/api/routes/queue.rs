//! The queue of one stream: what has come and has not been read.
//!
//! Invariants:
//! 1. Only the driver adds, and looks at the length before: the bound is never passed.
//! 2. Nothing but memory is touched under the lock; wakers and acknowledgements are called without
//!    it.
//! 3. What a server will send again is taken out when it begins to: a reader that is slow, or gone
//!    for good, holds no more after a hundred connections than after one.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::api::message::Message;
use crate::api::process::Process;

#[derive(Default)]
struct Inside {
    messages: VecDeque<Message>,
    waker: Option<Waker>,
    /// No more will come.
    ended: bool,
    /// Nobody reads any more.
    left: bool,
}

type Shared = Arc<Mutex<Inside>>;

/// The driver's side; dropped, the stream ends.
pub(super) struct Sender(Shared);

/// The reader's side.
pub(super) struct Reader {
    shared: Shared,
    /// In a forked child nothing comes any more, and nothing is read.
    process: Process,
}

pub(super) fn queue() -> (Sender, Reader) {
    let shared = Shared::default();
    let process = Process::current();
    (Sender(Arc::clone(&shared)), Reader { shared, process })
}

fn lock(shared: &Shared) -> MutexGuard<'_, Inside> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    pub(super) fn len(&self) -> usize {
        lock(&self.0).messages.len()
    }

    /// Whether nobody reads any more.
    pub(super) fn is_left(&self) -> bool {
        lock(&self.0).left
    }

    /// Gives the message back when nobody reads any more.
    pub(super) fn send(&self, message: Message) -> Result<(), Message> {
        let waker = {
            let mut inside = lock(&self.0);
            if inside.left {
                return Err(message);
            }
            inside.messages.push_back(message);
            inside.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// Takes out what came over connections before that one and is still to be acknowledged.
    pub(super) fn forget_before(&self, generation: u64) {
        let forgotten = {
            let mut inside = lock(&self.0);
            let (forgotten, kept) = inside
                .messages
                .drain(..)
                .partition::<VecDeque<_>, _>(|message| message.comes_again_after(generation));
            inside.messages = kept;
            forgotten
        };
        drop(forgotten);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let waker = {
            let mut inside = lock(&self.0);
            inside.ended = true;
            inside.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Reader {
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Message>> {
        if !self.process.is_here() {
            return Poll::Ready(None);
        }
        let mut inside = lock(&self.shared);
        match inside.messages.pop_front() {
            Some(message) => Poll::Ready(Some(message)),
            None if inside.ended => Poll::Ready(None),
            None => {
                inside.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Reads no more; what is left of the messages.
    pub(super) fn leave(&self) -> VecDeque<Message> {
        if !self.process.is_here() {
            return VecDeque::new();
        }
        let mut inside = lock(&self.shared);
        inside.left = true;
        std::mem::take(&mut inside.messages)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("len", &self.len()).finish()
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = self.process.is_here().then_some(&self.shared);
        f.debug_struct("Reader")
            .field("len", &here.map_or(0, |shared| lock(shared).messages.len()))
            .finish()
    }
}
