//! The server: listeners, their tasks, and the end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use brs_core::{Error, RefreshableSession, SecretString};
use http::request::Parts;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::answer::Reply;
use super::builder::ServerBuilder;
use super::connection::{self, Connections};
use super::guard::{Door, Ends};
use super::imds::Metadata;
use super::shared::Shared;
use super::{admin, endpoint, systemd};

/// How long requests have to be answered once the server is told to end.
const ENDING: Duration = Duration::from_secs(5);
/// After an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// A server that is bound and not yet running.
///
/// Dropping it, or the future of [`run`](Self::run), ends it at once.
#[derive(Debug)]
pub struct Server {
    pub(super) shared: Arc<Shared>,
    pub(super) bound: Vec<Bound>,
    pub(super) metadata: Option<Arc<Metadata>>,
    pub(super) admin_addr: Option<SocketAddr>,
    pub(super) imds_addr: Option<SocketAddr>,
}

/// A listener, and what it answers.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) listener: std::net::TcpListener,
    pub(super) address: SocketAddr,
    pub(super) door: Door,
    pub(super) is_open: bool,
}

impl Server {
    /// Options of a server.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    /// Where the container credentials endpoint listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.addresses[0]
    }

    /// The endpoint as `AWS_CONTAINER_CREDENTIALS_FULL_URI` takes it: `http://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.local_addr())
    }

    /// The token of the only consumer, for `AWS_CONTAINER_AUTHORIZATION_TOKEN`; `None` if there are
    /// several.
    pub fn token(&self) -> Option<SecretString> {
        match &self.shared.offer().clients[..] {
            [only] => Some(only.token.clone()),
            _ => None,
        }
    }

    /// Where the status page is, if there is one.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The token of the status page and its metrics: a browser's password, a program's bearer
    /// token.
    pub fn admin_token(&self) -> SecretString {
        self.shared.admin_token.clone()
    }

    /// Where the metadata service listens, if there is one.
    pub fn imds_addr(&self) -> Option<SocketAddr> {
        self.imds_addr
    }

    /// What ends and changes the server while it runs.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Serves until [`Handle::shutdown`]: then there are no new connections, requests that have
    /// begun are answered within five seconds, and token files are removed.
    ///
    /// The first credentials of every session are fetched at the beginning; a failure is logged,
    /// and requests get it until there are some.
    ///
    /// # Errors
    ///
    /// A configuration error if a listener cannot be used.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the server without waiting for requests.
    pub async fn run(mut self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let mut accepting = JoinSet::new();
        let mut all = Vec::new();
        for bound in std::mem::take(&mut self.bound) {
            let listener = listener(bound.listener)?;
            let connections = Connections::new(match bound.door {
                Door::Endpoint => 1024,
                Door::Metadata => 256,
                Door::Admin => 64,
            });
            all.push(Arc::clone(&connections));
            let accept = Accept {
                shared: Arc::clone(&shared),
                metadata: self.metadata.clone(),
                connections,
                door: bound.door,
                is_open: bound.is_open,
            };
            accepting.spawn(accept.run(listener));
        }
        shared.begin();
        if shared.notifies {
            accepting.spawn(systemd::tell(Arc::clone(&shared)));
        }
        let mut stop = shared.stop.subscribe();
        // The sender lives as long as `shared`.
        let _ = stop.wait_for(|stop| *stop).await;
        if shared.notifies {
            systemd::stopping();
        }
        while accepting.join_next().await.is_some() {}
        let answered = async {
            for connections in &all {
                connections.all_ended().await;
            }
        };
        if tokio::time::timeout(ENDING, answered).await.is_err() {
            all.iter().for_each(|connections| connections.end_all());
        }
        Ok(())
    }

    /// Answers what a client sends on one connection, without a network: for tests and fuzzing.
    #[doc(hidden)]
    pub async fn converse<S>(&self, socket: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let ends = Ends {
            peer: (std::net::Ipv4Addr::LOCALHOST, 1).into(),
            local: self.local_addr(),
            is_open: false,
        };
        let pace = Arc::new(super::pace::Pace::new());
        let stop = self.shared.stop.subscribe();
        let shared = &self.shared;
        let answer = |parts: Parts| async move { endpoint::answer(shared, &parts, ends).await };
        connection::serve(socket, pace, stop, answer).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.send_replace(true);
        self.shared.end();
    }
}

fn listener(listener: std::net::TcpListener) -> Result<TcpListener, Error> {
    listener
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(listener))
        .map_err(|error| {
            Error::configuration("a listener cannot be used: give a bound TCP socket that listens")
                .with_param("listener")
                .with_source(error)
                .unrecoverable()
        })
}

/// One listener's task.
struct Accept {
    shared: Arc<Shared>,
    metadata: Option<Arc<Metadata>>,
    connections: Arc<Connections>,
    door: Door,
    is_open: bool,
}

impl Accept {
    async fn run(self, listener: TcpListener) {
        let mut stop = self.shared.stop.subscribe();
        let this = Arc::new(self);
        let accept = async {
            loop {
                match listener.accept().await {
                    Ok((socket, peer)) => Arc::clone(&this).begin(socket, peer).await,
                    Err(error) => this.failed(&error).await,
                }
            }
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = accept => {}
        }
    }

    async fn failed(&self, error: &io::Error) {
        tracing::warn!(%error, "a connection was not accepted");
        tokio::time::sleep(PAUSE).await;
    }

    async fn begin(self: Arc<Self>, socket: tokio::net::TcpStream, peer: SocketAddr) {
        // An answer is one small packet.
        let _ = socket.set_nodelay(true);
        let Ok(local) = socket.local_addr() else {
            return;
        };
        let Some(place) = self.connections.place().await else {
            return;
        };
        let ends = Ends {
            peer,
            local,
            is_open: self.is_open,
        };
        let stop: watch::Receiver<bool> = self.shared.stop.subscribe();
        tokio::spawn(async move {
            let this = &self;
            let answer = |parts: Parts| async move { this.answer(&parts, ends).await };
            connection::serve(socket, Arc::clone(&place.pace), stop, answer).await;
        });
    }

    async fn answer(&self, parts: &Parts, ends: Ends) -> Reply {
        match (self.door, &self.metadata) {
            (Door::Admin, _) => admin::answer(&self.shared, parts, ends).await,
            (Door::Metadata, Some(metadata)) => metadata.answer(&self.shared, parts, ends).await,
            _ => endpoint::answer(&self.shared, parts, ends).await,
        }
    }
}

/// Ends and changes a running [`Server`]. Clones are the same.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

impl Handle {
    /// Ends the server: [`Server::run`] returns once requests that have begun are answered.
    pub fn shutdown(&self) {
        self.0.stop.send_replace(true);
    }

    /// Gives every consumer whose token was not chosen a new one, and writes the token files. The
    /// tokens before are accepted for five more minutes.
    ///
    /// # Errors
    ///
    /// A configuration error if a token file cannot be written; the tokens then stay as they were.
    pub fn renew_tokens(&self) -> Result<(), Error> {
        self.reload(|| self.0.renew_tokens())
    }

    /// Serves these sessions from now on, by their names. One that is a clone of a session that is
    /// served already goes on as it is; roles assumed from it keep their credentials, too.
    ///
    /// # Errors
    ///
    /// A validation error for a name that is none, or twice, or if a rule assumes roles from a
    /// session that is not among them; the sessions then stay as they were.
    pub fn replace_sessions<N: Into<String>>(
        &self,
        sessions: impl IntoIterator<Item = (N, RefreshableSession)>,
    ) -> Result<(), Error> {
        let sessions = sessions
            .into_iter()
            .map(|(name, session)| (name.into(), session));
        let sessions = sessions.collect();
        self.reload(|| self.0.replace_sessions(sessions))
    }

    /// The token of the only consumer; `None` if there are several.
    pub fn token(&self) -> Option<SecretString> {
        match &self.0.offer().clients[..] {
            [only] => Some(only.token.clone()),
            _ => None,
        }
    }

    fn reload(&self, change: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        if !self.0.notifies {
            return change();
        }
        systemd::reloading();
        let changed = change();
        systemd::ready(&self.0);
        changed
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.0).finish()
    }
}
