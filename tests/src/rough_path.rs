//! A way to a server that is cut and slowed down on request: what a network does to a device.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use crate::served::Served;

/// A running proxy for TCP; its connections end when the handle is dropped.
pub struct RoughPath {
    served: Served,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    tunnel: bool,
    delay_micros: AtomicU64,
    connections: AtomicUsize,
    cut: Notify,
}

impl RoughPath {
    /// A way to `target`.
    ///
    /// # Panics
    ///
    /// If no port of 127.0.0.1 can be bound.
    #[must_use]
    pub fn start(target: SocketAddr) -> Self {
        Self::open(target, false)
    }

    /// An HTTP proxy that opens tunnels to `target`, and nowhere else, for clients that have the
    /// password: `me:hush`.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_tunnel(target: SocketAddr) -> Self {
        Self::open(target, true)
    }

    fn open(target: SocketAddr, tunnel: bool) -> Self {
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            tunnel,
            delay_micros: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            cut: Notify::new(),
        });
        let serving = Arc::clone(&shared);
        Self {
            served: Served::start(move |stream| serve(stream, Arc::clone(&serving))),
            shared,
        }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.served.address()
    }

    /// What to give to a client as its endpoint: `localhost:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.served.endpoint()
    }

    /// Connections lead to another server from now on; those that stand are not touched.
    pub fn redirect(&self, target: SocketAddr) {
        let place = &self.shared.target;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// Cuts all connections that stand.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Delays whatever is read from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay_micros.store(
            u64::try_from(delay.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// How many connections have come this way.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn target(&self) -> SocketAddr {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RoughPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoughPath")
            .field("address", &self.address())
            .finish_non_exhaustive()
    }
}

async fn serve(mut client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    if shared.tunnel && !open_tunnel(&mut client).await? {
        return Ok(());
    }
    let server = TcpStream::connect(shared.target()).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        done = copy(from_client, to_server, &shared) => done,
        done = copy(from_server, to_client, &shared) => done,
        () = shared.cut.notified() => Ok(()),
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.shutdown().await;
        }
        match shared.delay_micros.load(Ordering::Relaxed) {
            0 => {}
            delay => tokio::time::sleep(Duration::from_micros(delay)).await,
        }
        to.write_all(&buffer[..count]).await?;
    }
}

async fn open_tunnel(client: &mut TcpStream) -> io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let is_known = head.contains("proxy-authorization: basic bwu6ahvzaa==");
    let answer = match (head.starts_with("connect "), is_known) {
        (true, true) => "HTTP/1.1 200 OK\r\n\r\n",
        (true, false) => "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
        _ => "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n",
    };
    client.write_all(answer.as_bytes()).await?;
    Ok(answer.contains(" 200 "))
}
