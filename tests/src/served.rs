//! A listener on 127.0.0.1 with a thread and a runtime of its own, beneath the small servers of
//! this crate.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::thread;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A running listener; it and its connections end when the handle is dropped.
pub(crate) struct Served {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Served {
    /// Serves each connection; how one ends is nobody's error.
    pub(crate) fn start<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))
            .expect("a port of 127.0.0.1 can be bound");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be so");
        let (stop, stopped) = oneshot::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("the socket is non-blocking");
                tokio::select! {
                    () = accept(listener, serve) => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            _stop: stop,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `localhost:PORT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("localhost:{}", self.address.port())
    }
}

async fn accept<S, F>(listener: TcpListener, serve: S)
where
    S: Fn(TcpStream) -> F,
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream));
    }
}
