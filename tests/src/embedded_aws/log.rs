//! What the server was asked: the log that tests count calls in.
//!
//! An entry is written when a request has arrived and completed when it is answered, so a request
//! in flight is visible, without a status. Secrets never enter the log.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::watch;

/// One request that reached the server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestLog {
    /// The `Action` parameter, empty when the request named none.
    pub action: String,
    /// The access key id that signed the request, whether or not the server knows it.
    pub access_key_id: Option<String>,
    /// The region that the request was signed for.
    pub region: Option<String>,
    /// The form's parameters without `Action` and `Version`. `TokenCode` and identity tokens keep
    /// their name and lose their value.
    pub parameters: BTreeMap<String, String>,
    /// The HTTP status answered; `None` while the request is in flight and for a dropped
    /// connection.
    pub status: Option<u16>,
    /// The AWS error code answered, if it was an error.
    pub error_code: Option<String>,
    /// The `x-amz-user-agent` header.
    pub user_agent: Option<String>,
    /// When the request arrived, by the server's clock.
    pub time: SystemTime,
}

/// What a log is made of.
pub(crate) trait Entry: Clone {
    /// What [`calls`](Journal::calls) counts by.
    fn action(&self) -> &str;

    /// Completes the entry.
    fn answered(&mut self, status: u16, error_code: Option<&str>);
}

impl Entry for RequestLog {
    fn action(&self) -> &str {
        &self.action
    }

    fn answered(&mut self, status: u16, error_code: Option<&str>) {
        self.status = Some(status);
        self.error_code = error_code.map(str::to_owned);
    }
}

/// The log of one server.
#[derive(Debug)]
pub(crate) struct Journal<E> {
    entries: Mutex<Vec<E>>,
    arrivals: watch::Sender<usize>,
}

impl<E: Entry> Journal<E> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Mutex::new(Vec::new()),
            arrivals: watch::Sender::new(0),
        }
    }

    /// Notes an arrival and returns the entry's number for [`answered`](Self::answered).
    pub(crate) fn arrived(&self, entry: E) -> usize {
        let mut entries = self.entries();
        entries.push(entry);
        let count = entries.len();
        drop(entries);
        self.arrivals
            .send_modify(|arrivals| *arrivals = (*arrivals).max(count));
        count - 1
    }

    pub(crate) fn answered(&self, number: usize, status: u16, error_code: Option<&str>) {
        self.entries()[number].answered(status, error_code);
    }

    pub(crate) fn snapshot(&self) -> Vec<E> {
        self.entries().clone()
    }

    pub(crate) fn calls(&self, action: &str) -> usize {
        self.entries()
            .iter()
            .filter(|entry| entry.action() == action)
            .count()
    }

    /// Changes with every arrival.
    pub(crate) fn arrivals(&self) -> watch::Receiver<usize> {
        self.arrivals.subscribe()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<E>> {
        self.entries
            .lock()
            .expect("nothing panics while it holds the log")
    }
}
