//! What a pool tells those who watch it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::kit::channel::Subscription;
use crate::method::events::Event;

/// Something that happened in a pool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolEvent<K> {
    /// It happened to one of the sessions. The warning `slowed_down` says that the source
    /// throttles and the pool calls it less often for a while.
    Session {
        /// The session's key.
        key: K,
        /// What happened.
        event: Event,
    },
    /// All sessions are in use, and there are more than the pool's capacity. Told once until there
    /// are fewer.
    Grown {
        /// How many there are.
        sessions: usize,
    },
    /// This subscriber was too slow and lost events.
    Missed {
        /// How many.
        count: u64,
    },
}

/// The events of one pool from the moment of subscribing. Ends when the pool is gone, and in a
/// forked child, which subscribes for itself.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is read"]
pub struct PoolEvents<K>(pub(super) Subscription<PoolEvent<K>>);

impl<K: Clone + Send + 'static> PoolEvents<K> {
    /// The next event; `None` when the pool is gone.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no event is lost.
    pub async fn next(&mut self) -> Option<PoolEvent<K>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<PoolEvent<K>>> {
        self.0.poll_next(cx, |count| PoolEvent::Missed { count })
    }
}

impl<K> Unpin for PoolEvents<K> {}

impl<K: Clone + Send + 'static> Stream for PoolEvents<K> {
    type Item = PoolEvent<K>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}
