//! Connections: how many there are, which goes when there are too many, and how one is served.
//!
//! With all places taken, the connection that has had nothing to answer for longest ends: slow
//! clients make room for others, and requests that are being answered stay.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::Request;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::{Answering, Reply};
use super::pace::{Pace, Timed};

/// How long a head may be, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;
/// How long the search for a place waits for one that was told to end.
const SEARCH: Duration = Duration::from_millis(50);

/// The connections of a listener.
#[derive(Debug)]
pub(super) struct Connections {
    most: u32,
    room: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Pace>>>,
    next: AtomicU64,
}

/// A place for a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    pub(super) pace: Arc<Pace>,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(most: u32) -> Arc<Self> {
        Arc::new(Self {
            most,
            room: Arc::new(Semaphore::new(most as usize)),
            open: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// A place; made free if there is none.
    pub(super) async fn place(self: &Arc<Self>) -> Option<Place> {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
                break permit;
            }
            self.end_least_used();
            let room = Arc::clone(&self.room).acquire_owned();
            match tokio::time::timeout(SEARCH, room).await {
                Ok(permit) => break permit.ok()?,
                Err(_) => continue,
            }
        };
        let (id, pace) = (
            self.next.fetch_add(1, Ordering::Relaxed),
            Arc::new(Pace::new()),
        );
        self.open().insert(id, Arc::clone(&pace));
        Some(Place {
            id,
            pace,
            connections: Arc::clone(self),
            _permit: permit,
        })
    }

    fn end_least_used(&self) {
        let open = self.open();
        let unused = open
            .values()
            .filter_map(|pace| pace.unused_since().map(|since| (since, pace)));
        if let Some((_, pace)) = unused.min_by_key(|(since, _)| *since) {
            pace.end();
        }
    }

    /// Is ready once all have ended.
    pub(super) async fn all_ended(&self) {
        // It is never closed.
        let _ = self.room.acquire_many(self.most).await;
    }

    /// Ends all, whatever they do.
    pub(super) fn end_all(&self) {
        self.open().values().for_each(|pace| pace.end());
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Pace>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(&self.id);
    }
}

/// Serves one connection until it ends.
pub(super) async fn serve<S, F, R>(
    socket: S,
    pace: Arc<Pace>,
    mut stop: watch::Receiver<bool>,
    answer: F,
) where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Fn(Parts) -> R,
    R: Future<Output = Reply>,
{
    let service = service_fn(|request: Request<Incoming>| {
        pace.at_work();
        // There is no body, or the connection ends with the answer.
        let (parts, _) = request.into_parts();
        let (reply, pace) = (answer(parts), Arc::clone(&pace));
        async move {
            let reply = reply.await;
            Ok::<_, Infallible>(reply.map(|content| Answering::new(content, pace)))
        }
    });
    let socket = TokioIo::new(Timed::new(socket, Arc::clone(&pace)));
    let connection = http1::Builder::new()
        // Its limit would be one for waiting and reading: `Timed` has two.
        .header_read_timeout(None)
        .max_header_size(LONGEST_HEAD)
        .max_buf_size(2 * LONGEST_HEAD)
        .serve_connection(socket, service);
    let mut connection = pin!(connection);
    // How a connection ends is the client's affair.
    let mut over = pin!(async {
        tokio::select! {
            () = pace.ended() => {}
            () = pace.overdue() => {}
        }
    });
    tokio::select! {
        _ = &mut connection => return,
        () = &mut over => return,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = &mut connection => {}
        () = over => {}
    }
}
