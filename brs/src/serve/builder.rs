//! The options of a server, checked before anything is bound or written.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brs_core::{Clock, Error, RefreshableSession, SystemClock};

use super::assume::{self, AssumeRule};
use super::consumer::{Client, Consumer, check_name};
use super::guard::{Door, is_harmless};
use super::imds::Metadata;
use super::server::{Bound, Server};
use super::shared::{Given, Shared, listed};
use super::systemd;
use super::token_file::TokenFile;

/// The AWS SDK for JavaScript 2 gives up after a second.
const ANSWER_WITHIN: Duration = Duration::from_millis(800);

/// Options of a [`Server`].
#[must_use]
pub struct ServerBuilder {
    sessions: Vec<(String, RefreshableSession)>,
    consumers: Vec<Consumer>,
    listen: Vec<SocketAddr>,
    listeners: Vec<TcpListener>,
    danger_listen: bool,
    answer_within: Duration,
    admin: Option<SocketAddr>,
    admin_token_file: Option<PathBuf>,
    imds: Option<(SocketAddr, String)>,
    assume: Vec<AssumeRule>,
    systemd: bool,
    strict: bool,
    clock: Arc<dyn Clock>,
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            sessions: Vec::new(),
            consumers: Vec::new(),
            listen: Vec::new(),
            listeners: Vec::new(),
            danger_listen: false,
            answer_within: ANSWER_WITHIN,
            admin: None,
            admin_token_file: None,
            imds: None,
            assume: Vec::new(),
            systemd: false,
            strict: false,
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// A session to serve, and its name in paths: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
    ///
    /// The server keeps it fresh, deferred or not.
    pub fn session(mut self, name: impl Into<String>, session: RefreshableSession) -> Self {
        self.sessions.push((name.into(), session));
        self
    }

    /// Who may ask. Default: one consumer, `all`, that may use every session, with a random
    /// [token](Server::token).
    pub fn consumer(mut self, consumer: Consumer) -> Self {
        self.consumers.push(consumer);
        self
    }

    /// Where to listen; may be said more than once. Default: a free port of 127.0.0.1.
    ///
    /// It must be a loopback address, or one of those where containers find their credentials:
    /// 169.254.170.2, 169.254.170.23, fd00:ec2::23.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// A socket that listens already, on such an address.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Whether any address may be listened on, and requests from other machines are answered.
    /// Default: no.
    ///
    /// Tokens and credentials then cross the network in the clear.
    pub fn danger_listen(mut self, danger_listen: bool) -> Self {
        self.danger_listen = danger_listen;
        self
    }

    /// How long a request waits for a refresh before it is told to come back. Default: 800 ms.
    ///
    /// More than a client waits makes it count a failure: the AWS SDK for JavaScript 2 waits one
    /// second, boto3 two.
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit;
        self
    }

    /// Where the status page and metrics are. Default: nowhere.
    pub fn admin(mut self, address: SocketAddr) -> Self {
        self.admin = Some(address);
        self
    }

    /// A file for the [token](Server::admin_token) of the status page, mode 0600, removed when the
    /// server ends. Default: none.
    pub fn admin_token_file(mut self, path: impl AsRef<Path>) -> Self {
        self.admin_token_file = Some(path.as_ref().to_owned());
        self
    }

    /// Serves that session as the metadata service of an EC2 instance, on a listener of its own.
    /// Any local process that reaches the address gets the session's credentials: it has no consumers. Default: no.
    pub fn imds(mut self, address: SocketAddr, session: impl Into<String>) -> Self {
        self.imds = Some((address, session.into()));
        self
    }

    /// Which roles may be asked for by their ARN; may be said more than once. Default: none.
    pub fn assume(mut self, rule: AssumeRule) -> Self {
        self.assume.push(rule);
        self
    }

    /// Whether systemd's sockets are taken (`LISTEN_FDS`; `FileDescriptorName=` is `admin`, `imds`
    /// or anything else for the endpoint) and systemd is told what happens (`Type=notify`,
    /// `WatchdogSec=`). Default: no, since a program tells systemd by itself.
    pub fn systemd(mut self, systemd: bool) -> Self {
        self.systemd = systemd;
        self
    }

    /// Whether [`build`](Self::build) fetches the credentials of every session and fails if some
    /// cannot be fetched. Default: no, they are fetched when the server runs.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// The source of time. Default: the system's clocks.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Binds the addresses and writes the token files. Nothing is served before
    /// [`Server::run`].
    ///
    /// # Errors
    ///
    /// A validation error for names, addresses, rules and consumers that do not fit together; a
    /// configuration error for an address that cannot be bound or a token file that cannot be
    /// written; with [`strict`](Self::strict) that of a session.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: what was bound and written is given up.
    pub async fn build(mut self) -> Result<Server, Error> {
        if self.consumers.is_empty() {
            self.consumers.push(Consumer::new("all").all());
        }
        let clients = self.check()?;
        let bound = self.bind()?;
        if self.strict {
            for (name, session) in &self.sessions {
                let first = session.credentials().await;
                first.map_err(|error| error.with_detail("session", name))?;
            }
        }
        let of = |door| {
            let mut bound = bound.iter().filter(move |bound| bound.door == door);
            bound.next().map(|bound| bound.address)
        };
        let endpoints = bound.iter().filter(|bound| bound.door == Door::Endpoint);
        let (admin_addr, imds_addr) = (of(Door::Admin), of(Door::Metadata));
        let shared = Shared::new(Given {
            sessions: self.sessions,
            clients,
            rules: self.assume,
            runtime: tokio::runtime::Handle::current(),
            clock: self.clock,
            answer_within: self.answer_within,
            admin_token_file: self
                .admin_token_file
                .map(|path| TokenFile::new(&path, None)),
            addresses: endpoints.map(|bound| bound.address).collect(),
            notifies: self.systemd,
        })?;
        Ok(Server {
            shared,
            bound,
            metadata: self
                .imds
                .map(|(_, session)| Arc::new(Metadata::new(&session))),
            admin_addr,
            imds_addr,
        })
    }

    fn check(&self) -> Result<Vec<Client>, Error> {
        let names: Vec<_> = self.sessions.iter().map(|(name, _)| name.clone()).collect();
        for (at, name) in names.iter().enumerate() {
            check_name("session", name)?;
            if names[..at].contains(name) {
                let message =
                    format!("two sessions are named `{name}`: give each a name of its own");
                return Err(Error::validation(message).with_param("session"));
            }
        }
        let exists = |name: &String, what: &str, param: &str| {
            if names.contains(name) {
                return Ok(());
            }
            let shown: String = name.chars().take(64).collect();
            Err(Error::validation(format!(
                "{what} names the session `{shown}`, which does not exist: it is one of {}",
                listed(&names)
            ))
            .with_param(param))
        };
        for rule in &self.assume {
            assume::check(rule)?;
            exists(&rule.from, "a rule for roles", "assume.from")?;
        }
        if let Some((_, session)) = &self.imds {
            exists(session, "the metadata service", "imds")?;
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&self.answer_within) {
            let message = "`answer_within` must be 1 ms to 60 s";
            return Err(Error::validation(message).with_param("answer_within"));
        }
        let mut clients: Vec<Client> = Vec::new();
        for consumer in &self.consumers {
            let client = Client::new(consumer)?;
            for name in client.named() {
                exists(
                    name,
                    &format!("the consumer `{}`", client.name),
                    "consumer.sessions",
                )?;
            }
            if clients.iter().any(|other| other.name == client.name) {
                let message = format!(
                    "two consumers are named `{}`: give each a name of its own",
                    client.name
                );
                return Err(Error::validation(message).with_param("consumer"));
            }
            let file = |client: &Client| {
                client
                    .token_file
                    .as_ref()
                    .map(|file| file.path().to_owned())
            };
            if let Some(path) = file(&client)
                && let Some(other) = clients
                    .iter()
                    .find(|other| file(other).as_ref() == Some(&path))
            {
                let message = format!(
                    "the consumers `{}` and `{}` have one token file, `{}`: give each a file of its own",
                    other.name,
                    client.name,
                    path.display()
                );
                return Err(Error::validation(message).with_param("consumer.token_file"));
            }
            let same = |other: &&Client| other.token == client.token;
            if let Some(other) = clients.iter().find(same) {
                let message = format!(
                    "the consumers `{}` and `{}` have one token: give each a token of its own",
                    other.name, client.name
                );
                return Err(Error::validation(message).with_param("consumer.token"));
            }
            clients.push(client);
        }
        Ok(clients)
    }

    fn bind(&mut self) -> Result<Vec<Bound>, Error> {
        let mut sockets: Vec<_> = std::mem::take(&mut self.listeners)
            .into_iter()
            .map(|listener| (Door::Endpoint, listener))
            .collect();
        if self.systemd {
            sockets.extend(systemd::sockets()?);
        }
        let has = |sockets: &[(Door, TcpListener)], door| sockets.iter().any(|(of, _)| *of == door);
        if has(&sockets, Door::Metadata) && self.imds.is_none() {
            let message = "systemd has a socket `imds`, but no session is named for the metadata service: set `imds`";
            return Err(Error::validation(message).with_param("imds"));
        }
        // A socket of systemd's stands in for the address.
        let mut wanted: Vec<_> = Vec::new();
        if !has(&sockets, Door::Endpoint) {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            match &self.listen[..] {
                [] => wanted.push((Door::Endpoint, free)),
                addresses => wanted.extend(addresses.iter().map(|at| (Door::Endpoint, *at))),
            }
        }
        if let (Some(address), false) = (self.admin, has(&sockets, Door::Admin)) {
            wanted.push((Door::Admin, address));
        }
        if let (Some((address, _)), false) = (&self.imds, has(&sockets, Door::Metadata)) {
            wanted.push((Door::Metadata, *address));
        }
        for (door, address) in wanted {
            self.check_address(address)?;
            let listener = TcpListener::bind(address).map_err(|error| {
                let message = format!(
                    "cannot listen on {address}: {error}: choose another address, or end what listens there"
                );
                Error::configuration(message)
                    .with_param(param(door))
                    .with_source(error)
                    .unrecoverable()
            })?;
            sockets.push((door, listener));
        }
        let mut bound = Vec::new();
        for (door, listener) in sockets {
            let address = listener.local_addr().map_err(|error| {
                Error::configuration("a listener has no address: give a bound TCP socket")
                    .with_param("listener")
                    .with_source(error)
                    .unrecoverable()
            })?;
            self.check_address(address)?;
            bound.push(Bound {
                listener,
                address,
                door,
                is_open: !is_harmless(address.ip()),
            });
        }
        Ok(bound)
    }

    fn check_address(&self, address: SocketAddr) -> Result<(), Error> {
        if self.danger_listen || is_harmless(address.ip()) {
            return Ok(());
        }
        Err(Error::validation(format!(
            "{address} can be reached from other machines: listen on 127.0.0.1, or set `danger_listen`"
        ))
        .with_param("listen"))
    }
}

fn param(door: Door) -> &'static str {
    match door {
        Door::Endpoint => "listen",
        Door::Admin => "admin",
        Door::Metadata => "imds",
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.sessions.iter().map(|(name, _)| name).collect();
        f.debug_struct("ServerBuilder")
            .field("sessions", &names)
            .field("consumers", &self.consumers)
            .field("listen", &self.listen)
            .field("admin", &self.admin)
            .field("imds", &self.imds)
            .finish_non_exhaustive()
    }
}
