//! How long a connection may take: for the next request to begin, for its head, for reading the
//! answer.
//!
//! hyper has one limit for waiting and reading together; here they are two. [`Pace`] is what the
//! connection does at the moment, which its socket and its requests both tell. [`Timed`] is the
//! socket: a read that waits for the rest of a head ends after 2 s, a write that waits for the client
//! after 30 s. A connection that waits for a request may have no read that waits, so its 30 s are
//! watched beside it ([`Pace::overdue`]), by one timer that is set again only when it is over.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// From the first byte of a head to its last.
const HEAD: Duration = Duration::from_secs(2);
/// Between requests, and for a client that does not read its answers.
const IDLE: Duration = Duration::from_secs(30);

/// What a connection is doing, and since when.
#[derive(Debug)]
pub(super) struct Pace {
    phase: Mutex<Phase>,
    ended: Notify,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Waits for the next request.
    Idle(Instant),
    /// Has a part of a head.
    Head(Instant),
    /// Its request is being answered.
    AtWork,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            phase: Mutex::new(Phase::Idle(Instant::now())),
            ended: Notify::new(),
        }
    }

    /// The request's head has arrived.
    pub(super) fn at_work(&self) {
        *self.phase() = Phase::AtWork;
    }

    /// The answer has been handed over.
    pub(super) fn idle(&self) {
        *self.phase() = Phase::Idle(Instant::now());
    }

    fn has_read(&self) {
        let mut phase = self.phase();
        if matches!(*phase, Phase::Idle(_)) {
            *phase = Phase::Head(Instant::now());
        }
    }

    /// When the rest of a head must be there.
    fn head_limit(&self) -> Option<Instant> {
        match *self.phase() {
            Phase::Head(since) => Some(since + HEAD),
            Phase::Idle(_) | Phase::AtWork => None,
        }
    }

    /// Is ready once the connection has waited for a request for too long.
    pub(super) async fn overdue(&self) {
        loop {
            let limit = match self.unused_since() {
                Some(since) => since + IDLE,
                None => Instant::now() + IDLE,
            };
            if limit <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(limit).await;
        }
    }

    /// Since when the connection has had no request to answer; `None` while it has.
    pub(super) fn unused_since(&self) -> Option<Instant> {
        match *self.phase() {
            Phase::Idle(since) | Phase::Head(since) => Some(since),
            Phase::AtWork => None,
        }
    }

    /// Ends the connection.
    pub(super) fn end(&self) {
        self.ended.notify_one();
    }

    /// Is ready once the connection is to end.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket whose reads and writes end when their time is over.
#[derive(Debug)]
pub(super) struct Timed<S> {
    socket: S,
    pace: Arc<Pace>,
    /// While a read waits for the rest of a head.
    reading: Option<Pin<Box<Sleep>>>,
    /// While a write waits for the client.
    writing: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(super) fn new(socket: S, pace: Arc<Pace>) -> Self {
        Self {
            socket,
            pace,
            reading: None,
            writing: None,
        }
    }

    fn write_waits<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        let writing = self
            .writing
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + IDLE)));
        ready!(writing.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.has_read();
        }
        let limit = match read {
            Poll::Pending => self.pace.head_limit(),
            Poll::Ready(_) => None,
        };
        let Some(limit) = limit else {
            self.reading = None;
            return read;
        };
        let reading = self
            .reading
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(limit)));
        ready!(reading.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write(cx, bytes) {
            Poll::Pending => self.write_waits(cx),
            written => {
                self.writing = None;
                written
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.socket).poll_write_vectored(cx, parts) {
            Poll::Pending => self.write_waits(cx),
            written => {
                self.writing = None;
                written
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
