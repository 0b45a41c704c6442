//! One connection to a server: bytes in, bytes out, packets.
//!
//! Invariants:
//! 1. What is queued leaves in the order in which it was queued, in pieces that a WebSocket may
//!    carry.
//! 2. Positions count the bytes that were ever queued: what ends at or before [`sent`](Line::sent)
//!    has been handed to the socket, and of what begins at or after [`touched`](Line::touched)
//!    nothing has.
//! 3. What the server has said is read to the end before a failed write is told: it may say why.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use zeroize::Zeroize as _;

use crate::api::options::Options;
use crate::transport::Stream;
use crate::wire::{Codec, Incoming, Malformed};

/// What is read at once.
const PIECE: usize = 16 * 1024;
/// What is written at once: over a WebSocket it becomes one frame.
const FRAME: usize = 32 * 1024;
/// A buffer that has grown beyond this is let go once it is empty.
const LARGE: usize = 256 * 1024;

/// A connection.
pub(crate) struct Line {
    stream: Stream,
    pub(crate) codec: Codec,
    input: BytesMut,
    output: BytesMut,
    /// Positions: handed to the stream, and known to have left it.
    touched: u64,
    sent: u64,
    /// Whether it is to be told that everything was sent.
    flushed: bool,
    /// Whether anything has come since that was last asked.
    heard: bool,
    failed: Option<io::Error>,
    closed: bool,
}

/// What a line has done.
#[derive(Debug)]
pub(crate) enum Progress {
    Received(Incoming),
    /// What was queued has been handed to the socket, up to [`Line::sent`].
    Flushed,
}

/// Why there is nothing more to come.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The server has closed in an orderly way: by TLS's `close_notify`, or a WebSocket's close
    /// frame. Nobody else can.
    Ended,
    /// The network, or either end of it.
    Cut(io::Error),
    Malformed(Malformed),
}

impl Line {
    pub(crate) fn new(stream: Stream, codec: Codec) -> Self {
        Self {
            stream,
            codec,
            input: BytesMut::new(),
            output: BytesMut::new(),
            touched: 0,
            sent: 0,
            flushed: false,
            heard: false,
            failed: None,
            closed: false,
        }
    }

    /// Sends CONNECT and gives what the server answers first. What is sent may hold a password.
    pub(crate) async fn introduce(
        &mut self,
        options: &Options,
        clean: bool,
    ) -> Result<Incoming, Broken> {
        let mut packet = BytesMut::with_capacity(4096);
        self.codec
            .connect(options, clean, &mut packet)
            .map_err(Broken::Malformed)?;
        let written = match self.stream.write_all(&packet).await {
            Ok(()) => self.stream.flush().await,
            Err(error) => Err(error),
        };
        packet.as_mut().zeroize();
        self.failed = written.err();
        loop {
            if let Progress::Received(incoming) = poll_fn(|cx| self.poll(cx)).await? {
                return Ok(incoming);
            }
        }
    }

    /// Queues what `write` writes, which is all or nothing: where it began and ended.
    pub(crate) fn queue<E>(
        &mut self,
        write: impl FnOnce(&Codec, &mut BytesMut) -> Result<(), E>,
    ) -> Result<(u64, u64), E> {
        let (begin, length) = (self.queued(), self.output.len());
        if let Err(error) = write(&self.codec, &mut self.output) {
            self.output.truncate(length);
            return Err(error);
        }
        Ok((begin, self.queued()))
    }

    /// Queues what always can be written: where it ends.
    pub(crate) fn put(&mut self, write: impl FnOnce(&mut BytesMut)) -> u64 {
        write(&mut self.output);
        self.queued()
    }

    fn queued(&self) -> u64 {
        self.touched + self.output.len() as u64
    }

    pub(crate) fn touched(&self) -> u64 {
        self.touched
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// How much waits to be handed to the socket.
    pub(crate) fn backlog(&self) -> usize {
        self.output.len()
    }

    /// Whether anything has come since the last time that was asked, be it a part of a packet.
    pub(crate) fn has_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Sends what is queued and gives what comes: neither keeps the other from its turn.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Progress, Broken>> {
        if std::mem::take(&mut self.flushed) {
            return Poll::Ready(Ok(Progress::Flushed));
        }
        if self.failed.is_none() {
            match self.poll_send(cx) {
                Poll::Ready(Ok(flushed)) => self.flushed = flushed,
                Poll::Ready(Err(error)) => self.failed = Some(error),
                Poll::Pending => {}
            }
        }
        match self.poll_receive(cx) {
            Poll::Ready(received) => Poll::Ready(received.map(Progress::Received)),
            Poll::Pending if std::mem::take(&mut self.flushed) => {
                Poll::Ready(Ok(Progress::Flushed))
            }
            Poll::Pending => match self.failed.take() {
                Some(error) => Poll::Ready(Err(Broken::Cut(error))),
                None => Poll::Pending,
            },
        }
    }

    /// The next packet of what has been read already.
    pub(crate) fn next_read(&mut self) -> Result<Option<Incoming>, Broken> {
        self.codec.read(&mut self.input).map_err(Broken::Malformed)
    }

    /// Whether something was sent to the end.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.sent == self.queued() {
            return Poll::Ready(Ok(false));
        }
        while !self.output.is_empty() {
            let piece = &self.output[..self.output.len().min(FRAME)];
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, piece))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.output.advance(count);
            self.touched += count as u64;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.sent = self.touched;
        if self.output.capacity() > LARGE {
            self.output = BytesMut::new();
        }
        Poll::Ready(Ok(true))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Broken>> {
        loop {
            if let Some(incoming) = self.next_read()? {
                return Poll::Ready(Ok(incoming));
            }
            self.input.reserve(PIECE);
            // Cancel safe, and of no state between two polls.
            let reading = pin!(self.stream.read_buf(&mut self.input));
            if ready!(reading.poll(cx)).map_err(Broken::Cut)? == 0 {
                return Poll::Ready(Err(Broken::Ended));
            }
            self.heard = true;
        }
    }

    /// Sends what is queued and closes this end; the other one is read until it is closed, too,
    /// since a socket that is closed with something unread tears away what it has sent.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, Broken>> {
        if !self.closed {
            let closing = match self.poll_send(cx) {
                Poll::Ready(Ok(_)) => Pin::new(&mut self.stream).poll_shutdown(cx),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
            self.closed = closing.is_ready();
        }
        self.poll_receive(cx)
    }
}
