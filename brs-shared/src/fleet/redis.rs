//! A store in Redis or Valkey.
//!
//! An entry is the string `brs:{key}:set`, which ends at its expiry (`PXAT`); a lease the string
//! `brs:{key}:lease`, its owner, which ends after its time (`NX PX`). The braces keep both in one
//! slot of a cluster, so that a script may use both; scripts are one atomic step and are sent as
//! texts, so that a server that has forgotten them (a restart, a promoted replica) knows them all
//! the same.
//!
//! `server` has the servers' addresses and the connection, `refusal` the texts of what went wrong.

mod connection;
mod refusal;
mod server;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use brs_core::{Error, SecretSource};
use redis::{Cmd, Value};

use self::connection::Connection;
use self::server::Server;
use super::store::{
    CredentialStore, Entry, LEASE_SKEW, LONGEST_LEASE, Lease, MAX_SEALED, StoreError, Stored,
};

/// Before the bytes of an entry: its generation and expiry, 8 bytes each.
const HEAD: usize = 16;

/// Takes the lease if nobody has it, or its owner asks again; tells what is left of it (-1: it is
/// the asker's) and the entry. What somebody else has put in their places is no reason to fail: a
/// value that is no string is an entry that does not open, and a lease without an end, or with one
/// that is far away, is none.
const LEASE: &str = "\
local lease = redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2])
local left = -1
if not lease then
  left = redis.call('PTTL', KEYS[2])
  if left < 0 or left > tonumber(ARGV[4]) or redis.pcall('GET', KEYS[2]) == ARGV[1] then
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
    left = -1
  end
end
local set = redis.pcall('GETRANGE', KEYS[1], 0, ARGV[3])
if type(set) ~= 'string' then set = '?' end
return {left, set}";

/// Puts an entry there if the owner has the lease.
const STORE: &str = "\
if redis.pcall('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1";

/// Gives the lease back if the owner has it.
const RELEASE: &str = "\
if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1";

/// A store in Redis 6.2 or newer, or Valkey: one server, or a cluster.
///
/// Keys begin with `brs:`. The server's user needs the commands `EVAL`, `GETRANGE`, `GET`, `SET`,
/// `PTTL` and `DEL` on `brs:*`, in a cluster `CLUSTER` too. Whatever the server evicts or forgets
/// costs a call to the source.
///
/// Behind one address may be several servers, of which one is the primary: when it answers that it
/// is a replica, or the connection ends, the address is looked up and connected to again.
///
/// ```no_run
/// # fn main() -> Result<(), brs_core::Error> {
/// use brs_core::SecretSource;
/// use brs_shared::{Fleet, RedisStore, Seal};
///
/// let store = RedisStore::new("rediss://cache.example.com:6380")?
///     .user("brs")
///     .password(SecretSource::file("/run/secrets/redis"));
/// let fleet = Fleet::new(store, Seal::from_file("/run/secrets/seal-keys")?);
/// # Ok(())
/// # }
/// ```
pub struct RedisStore {
    server: Server,
    connection: Connection,
}

impl RedisStore {
    /// One server: `redis://HOST[:PORT][/DATABASE]`, `rediss://` for TLS, or `unix:///PATH`; the
    /// schemes `valkey` and `valkeys` are as good. The port is 6379 where none is named.
    ///
    /// A user and a password in the URL are used and never shown; better are
    /// [`user`](Self::user) and [`password`](Self::password). Other settings in it, such as
    /// `protocol`, are ignored.
    ///
    /// # Errors
    ///
    /// A validation error for a text that is no such URL.
    pub fn new(url: impl AsRef<str>) -> Result<Self, Error> {
        Ok(Self::of(Server::one(url.as_ref())?))
    }

    /// A cluster, by some of its nodes: URLs as for [`new`](Self::new), without Unix sockets.
    ///
    /// # Errors
    ///
    /// A validation error for no URL at all, and as [`new`](Self::new).
    pub fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, Error> {
        Ok(Self::of(Server::cluster(urls)?))
    }

    fn of(server: Server) -> Self {
        Self {
            server,
            connection: Connection::default(),
        }
    }

    /// The user. Default: the one in the URL, else the server's `default`.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.server.user = Some(user.into());
        self
    }

    /// The password; it is fetched for each connection, and may take four seconds before the first
    /// operation. Default: the one in the URL, else none.
    #[must_use]
    pub fn password(mut self, password: impl Into<SecretSource>) -> Self {
        self.server.password = Some(password.into());
        self
    }

    /// A PEM file with the authorities that the server's certificate may be of, for `rediss://`; it
    /// is read for each connection. Default: the system's.
    #[must_use]
    pub fn trust_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.server.trust_store = Some(path.into());
        self
    }

    /// Whether the settings fit together.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.server.check()
    }

    async fn ask(&self, command: Cmd) -> Result<Value, StoreError> {
        self.connection.ask(&self.server, command).await
    }
}

#[async_trait]
impl CredentialStore for RedisStore {
    async fn load(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let mut command = redis::cmd("GETRANGE");
        command.arg(set_of(key)).arg(0).arg(HEAD + MAX_SEALED);
        match self.ask(command).await {
            Ok(answer) => self.entry(answer),
            Err(error) if refusal::is_of_another_type(&error) => Ok(Some(foreign())),
            Err(error) => Err(error),
        }
    }

    async fn lease(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lease, StoreError> {
        let mut command = script(LEASE, &[set_of(key), lease_of(key)]);
        let ttl = ttl.min(LONGEST_LEASE);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let (ttl, most) = (millis(ttl), millis(ttl + LEASE_SKEW));
        command.arg(owner).arg(ttl).arg(HEAD + MAX_SEALED).arg(most);
        let Value::Array(answer) = self.ask(command).await? else {
            return Err(self.server.unexpected());
        };
        let Ok([Value::Int(left), set]) = <[Value; 2]>::try_from(answer) else {
            return Err(self.server.unexpected());
        };
        let entry = self.entry(set)?;
        Ok(match u64::try_from(left) {
            Ok(left) => Lease::Taken(Duration::from_millis(left), entry),
            Err(_) => Lease::Held(entry),
        })
    }

    async fn store(
        &self,
        key: &str,
        owner: &str,
        generation: u64,
        bytes: &[u8],
        expiry: SystemTime,
    ) -> Result<Stored, StoreError> {
        let expiry = millis(expiry);
        let mut value = Vec::with_capacity(HEAD + bytes.len());
        value.extend_from_slice(&generation.to_be_bytes());
        value.extend_from_slice(&expiry.to_be_bytes());
        value.extend_from_slice(bytes);
        let mut command = script(STORE, &[set_of(key), lease_of(key)]);
        command.arg(owner).arg(value).arg(expiry);
        match self.ask(command).await? {
            Value::Int(1) => Ok(Stored::Done),
            Value::Int(0) => Ok(Stored::Lost),
            _ => Err(self.server.unexpected()),
        }
    }

    async fn release(&self, key: &str, owner: &str) -> Result<(), StoreError> {
        let mut command = script(RELEASE, &[lease_of(key)]);
        command.arg(owner);
        self.ask(command).await.map(drop)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.connection.ready(&self.server).await
    }
}

impl RedisStore {
    /// The entry in a string; an empty one is that of a key that is not there.
    fn entry(&self, answer: Value) -> Result<Option<Entry>, StoreError> {
        let Value::BulkString(value) = answer else {
            return Err(self.server.unexpected());
        };
        if value.is_empty() {
            return Ok(None);
        }
        Ok(Some(read(&value).unwrap_or_else(foreign)))
    }
}

fn read(value: &[u8]) -> Option<Entry> {
    let (generation, rest) = value.split_first_chunk::<8>()?;
    let (expiry, bytes) = rest.split_first_chunk::<8>()?;
    let expiry = UNIX_EPOCH.checked_add(Duration::from_millis(u64::from_be_bytes(*expiry)))?;
    Some(Entry {
        bytes: bytes.to_vec(),
        generation: u64::from_be_bytes(*generation),
        expiry,
    })
}

/// What stands for something that is not brs's: it does not open.
fn foreign() -> Entry {
    Entry {
        bytes: Vec::new(),
        generation: 0,
        expiry: UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX)),
    }
}

/// At most what a signed number has, as the server reads it.
fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let most = u64::MAX / 4;
    u64::try_from(since.as_millis())
        .unwrap_or(most)
        .clamp(1, most)
}

fn script(text: &str, keys: &[String]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}

fn set_of(key: &str) -> String {
    format!("brs:{{{key}}}:set")
}

fn lease_of(key: &str) -> String {
    format!("brs:{{{key}}}:lease")
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisStore")
            .field(&format_args!("{}", self.server))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written_and_what_is_foreign_does_not_open() {
        let mut value = 7_u64.to_be_bytes().to_vec();
        value.extend_from_slice(&2_000_u64.to_be_bytes());
        value.extend_from_slice(b"sealed");
        let entry = read(&value).unwrap();
        assert_eq!((entry.generation, &*entry.bytes), (7, &b"sealed"[..]));
        assert_eq!(entry.expiry, UNIX_EPOCH + Duration::from_secs(2));
        assert!(read(b"short").is_none());
    }

    #[test]
    fn both_keys_have_the_hash_tag() {
        assert_eq!(set_of("v1-a"), "brs:{v1-a}:set");
        assert_eq!(lease_of("v1-a"), "brs:{v1-a}:lease");
    }

    #[test]
    fn times_are_what_the_server_can_read() {
        assert_eq!(millis(UNIX_EPOCH), 1);
        assert_eq!(millis(UNIX_EPOCH + Duration::from_secs(3)), 3000);
    }
}
