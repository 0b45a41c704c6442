//! A way to a server that is cut and slowed down on request: what a network does to a device.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// A running proxy for TCP; its connections end when the handle is dropped.
pub struct RoughPath {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

struct Shared {
    target: SocketAddr,
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

    /// An HTTP proxy that opens tunnels to `target`, and nowhere else, for whoever has the password: `me:hush`.
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
            target,
            tunnel,
            delay_micros: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
            cut: Notify::new(),
        });
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port of 127.0.0.1 can be bound");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be so");
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop) }
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to give to a client as its endpoint: `localhost:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("localhost:{}", self.address.port())
    }

    /// Cuts all connections that stand.
    pub fn cut(&self) {
        self.shared.cut.notify_waiters();
    }

    /// Delays whatever is read from now on.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay_micros.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How many connections have come this way.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for RoughPath {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

impl fmt::Debug for RoughPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoughPath").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("the socket is non-blocking");
    while let Ok((stream, _)) = listener.accept().await {
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            // What either end breaks off is nobody's error here.
            let _ = serve(stream, &shared).await;
        });
    }
}

async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    if shared.tunnel && !open_tunnel(&mut client).await? {
        return Ok(());
    }
    let server = TcpStream::connect(shared.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        done = copy(from_client, to_server, shared) => done,
        done = copy(from_server, to_client, shared) => done,
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
