//! Subscribes and unsubscribes on their way: what was asked over a connection, and since when.

use std::time::Duration;

use super::Reply;
use crate::api::topic::Id;

/// A question that has no answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: u16,
    pub(super) what: What,
    /// Where it ends on its line.
    pub(super) end: u64,
    /// When it has left.
    pub(super) since: Option<Duration>,
    /// Whether nothing is published before its answer.
    pub(super) before: bool,
}

#[derive(Debug)]
pub(super) enum What {
    Subscribe(Vec<Id>, Vec<String>),
    Unsubscribe(Vec<String>, Reply),
}

impl Asked {
    /// Everything before that position has left.
    pub(super) fn left(&mut self, touched: u64, now: Duration) {
        if self.since.is_none() && self.end <= touched {
            self.since = Some(now);
        }
    }
}
