//! The connection of a process to Redis: one, shared by all operations.
//!
//! It is made before the first operation, in a time of its own: the password may come from far away.
//! Whatever shows that it is of no use (it ended, the server is a
//! replica now, an operation was given up while it waited) takes it away, and the next operation
//! makes another one. An operation that met a connection that had ended in the meantime tries once
//! more: all of them may be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brs_core::kit::PerProcess;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, RedisError, TlsCertificates, Value,
};
use tokio::sync::Mutex;

use super::refusal;
use super::server::{Hidden, Server, Way};
use crate::fleet::store::StoreError;

/// An operation is given up sooner by who asks for it.
const LIMIT: Duration = Duration::from_secs(1);

/// How long the password may take before the first operation, which leaves a second to connect.
const PASSWORD: Duration = Duration::from_secs(4);

/// The same within an operation, for a connection in place of one that ended.
const PASSWORD_AGAIN: Duration = Duration::from_millis(300);

#[derive(Debug, Default)]
pub(super) struct Connection(PerProcess<Slot>);

#[derive(Debug, Default)]
struct Slot {
    open: Mutex<Option<Open>>,
    /// The number of the connection that is of no use.
    useless: AtomicU64,
}

#[derive(Clone)]
struct Open {
    number: u64,
    wire: Wire,
    hidden: Hidden,
}

#[derive(Clone)]
enum Wire {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Takes a connection away unless an answer came.
struct Suspect<'a> {
    slot: &'a Slot,
    number: u64,
}

impl Drop for Suspect<'_> {
    fn drop(&mut self) {
        self.slot.useless.fetch_max(self.number, Ordering::AcqRel);
    }
}

impl Connection {
    /// Makes the connection if there is none.
    pub(super) async fn ready(&self, server: &Server) -> Result<(), StoreError> {
        self.0.get().open(server, PASSWORD).await.map(drop)
    }

    pub(super) async fn ask(&self, server: &Server, command: Cmd) -> Result<Value, StoreError> {
        let slot: Arc<Slot> = self.0.get();
        let mut tries = 0..2;
        loop {
            tries.next();
            let (open, is_new) = slot.open(server, PASSWORD_AGAIN).await?;
            let suspect = Suspect {
                slot: &slot,
                number: open.number,
            };
            let error = match open.wire.clone().ask(&command).await {
                Ok(answer) => {
                    std::mem::forget(suspect);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            if !refusal::ends_connection(&error) {
                std::mem::forget(suspect);
                return Err(refusal::of(server, &open.hidden, &error));
            }
            drop(suspect);
            if is_new || tries.is_empty() {
                return Err(refusal::of(server, &open.hidden, &error));
            }
        }
    }
}

impl Slot {
    /// The connection, and whether it has just been made.
    async fn open(&self, server: &Server, password: Duration) -> Result<(Open, bool), StoreError> {
        // All operations that need it wait for the one that makes it.
        let mut open = self.open.lock().await;
        let useless = self.useless.load(Ordering::Acquire);
        if let Some(open) = open.as_ref().filter(|open| open.number > useless) {
            return Ok((open.clone(), false));
        }
        let number = open.as_ref().map_or(useless, |open| open.number) + 1;
        *open = None;
        let Way {
            nodes,
            authorities,
            hidden,
        } = server.enter(password).await?;
        let wire = connect(server, nodes, authorities)
            .await
            .map_err(|error| refusal::of(server, &hidden, &error))?;
        let new = Open {
            number,
            wire,
            hidden,
        };
        *open = Some(new.clone());
        Ok((new, true))
    }
}

async fn connect(
    server: &Server,
    mut nodes: Vec<ConnectionInfo>,
    authorities: Option<TlsCertificates>,
) -> Result<Wire, RedisError> {
    // The process's provider of cryptography; where it has none it gets this one.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    if server.is_cluster {
        let mut builder = ClusterClient::builder(nodes)
            .connection_timeout(LIMIT)
            .response_timeout(LIMIT)
            .retries(1);
        if let Some(authorities) = authorities {
            builder = builder.certs(authorities);
        }
        let client = builder.build()?;
        return Ok(Wire::Cluster(client.get_async_connection().await?));
    }
    let node = nodes.remove(0);
    let client = match authorities {
        Some(authorities) => Client::build_with_tls(node, authorities),
        None => Client::open(node),
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(LIMIT))
        .set_response_timeout(Some(LIMIT));
    let client = client?;
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    Ok(Wire::One(connection.await?))
}

impl Wire {
    async fn ask(self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(mut connection) => connection.req_packed_command(command).await,
            Self::Cluster(mut connection) => connection.req_packed_command(command).await,
        }
        .and_then(|value| value.extract_error())
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}
