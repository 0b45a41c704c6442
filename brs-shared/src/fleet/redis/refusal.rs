//! What Redis answers when it does not do what it is asked, in words with a remedy.

use std::error::Error;
use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::server::{Hidden, Server};
use crate::fleet::store::StoreError;

/// Whether the connection is of no use after it: it ended, or leads to a server that cannot help.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    let is_elsewhere = matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown
        ) | ErrorKind::Parse
            | ErrorKind::ClusterConnectionNotFound
    );
    is_elsewhere || error.is_io_error() || error.is_unrecoverable_error()
}

/// A key has a value that is no string.
pub(super) fn is_of_another_type(error: &StoreError) -> bool {
    let source = error.source();
    source
        .and_then(|source| source.downcast_ref::<Said>())
        .is_some_and(|said| said.code.as_deref() == Some("WRONGTYPE"))
}

/// The server's own words. It may quote what it was sent, with user and password: those are hidden.
#[derive(Debug)]
struct Said {
    code: Option<String>,
    text: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Said {}

pub(super) fn of(server: &Server, hidden: &Hidden, error: &RedisError) -> StoreError {
    let said = hidden.clean(&error.to_string());
    let text = match (error.code().unwrap_or_default(), error.kind()) {
        ("WRONGPASS" | "NOAUTH", _) | (_, ErrorKind::AuthenticationFailed) => {
            format!("Redis at {server} refuses user or password: check both")
        }
        (_, ErrorKind::InvalidClientConfig) => {
            format!("the settings for Redis at {server} do not fit ({said}): check the URL")
        }
        _ if said.contains("refused to switch database") => format!(
            "Redis at {server} does not have the database that the URL names ({said}): name one of \
             its `databases`, or none"
        ),
        // Within a script it has no code of its own.
        _ if said.contains("can't run this command") => not_allowed(server, &said),
        ("NOPERM", _) => not_allowed(server, &said),
        ("OOM", _) => format!(
            "Redis at {server} is full: raise its `maxmemory`, or give it a policy that evicts"
        ),
        ("READONLY", _) => format!(
            "Redis at {server} is a replica and takes no writes: give the address of the primary"
        ),
        ("MOVED" | "CROSSSLOT" | "ASK", _) => {
            format!("Redis at {server} is a node of a cluster: give it as a cluster")
        }
        ("LOADING" | "BUSY" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN", _) => {
            format!("Redis at {server} is not ready ({said}): check its state if that stays")
        }
        ("MISCONF", _) => format!(
            "Redis at {server} takes no writes since it cannot save ({said}): check its disk"
        ),
        (_, ErrorKind::Io) => format!(
            "Redis at {server} cannot be reached ({said}): check that it runs, the address, and \
             with `rediss` its certificate"
        ),
        _ if said.contains("unknown command") || said.contains("syntax error") => {
            format!("Redis at {server} refuses ({said}): check its version, 6.2 or newer")
        }
        _ => format!("Redis at {server} refuses ({said}): check its settings and its log"),
    };
    let code = error.code().map(|code| hidden.clean(code));
    StoreError::new(text).with_source(Said { code, text: said })
}

fn not_allowed(server: &Server, said: &str) -> String {
    format!(
        "Redis at {server} does not let its user do it ({said}): allow EVAL, GETRANGE, GET, SET, \
         PTTL and DEL on `brs:*`"
    )
}
