//! What a store of a fleet can do: four operations on sealed bytes.
//!
//! Implementations know nothing of credentials. Limits of time, pauses after failures and events
//! are their caller's.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

/// More bytes than any sealed entry has: a store need not hand out, and a reader does not open,
/// what is longer.
pub const MAX_SEALED: usize = crate::entry::MAX_BYTES + 256;

/// A refresh may have no time limit; its lease ends all the same.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(15 * 60);

/// A lease that lasts this much longer than the asker's own would is none.
#[cfg(any(feature = "redis", feature = "dynamodb"))]
pub(super) const LEASE_SKEW: Duration = Duration::from_secs(60);

/// A place that hosts share: it keeps sealed bytes and grants leases.
///
/// Keys are texts of at most 67 characters, `v1-` and a hash in hexadecimal. Owners are texts of at
/// most 64 letters, digits and `-`; each refresh has its own.
///
/// # Contract
///
/// 1. Each operation is one atomic step, of which another host sees all or nothing.
/// 2. Operations run on brs's own runtime, several at a time. Each is dropped after half a second;
///    the next one must work all the same.
/// 3. An operation that is repeated with the same arguments does no harm: an owner that asks again
///    for the lease that it holds gets it.
/// 4. Errors, `Debug` and notices hold no secret, such as the password of the store.
///
/// The lease saves calls to the source, and nothing else depends on it: a store that grants one
/// twice causes one call too many.
#[async_trait]
pub trait CredentialStore: fmt::Debug + Send + Sync {
    /// The entry under a key. One whose expiry has passed is absent.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    async fn load(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// Takes the lease of a key for `ttl`, a quarter of an hour at most, if nobody else has it, and
    /// tells the entry in the same step. A lease that lasts a minute longer than the asker's own
    /// would is none: it is that of a host whose clock is wrong.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    async fn lease(&self, key: &str, owner: &str, ttl: Duration) -> Result<Lease, StoreError>;

    /// Puts bytes in the place of the entry, if `owner` still has the lease, which it keeps.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    async fn store(
        &self,
        key: &str,
        owner: &str,
        generation: u64,
        bytes: &[u8],
        expiry: SystemTime,
    ) -> Result<Stored, StoreError>;

    /// Gives the lease back, if `owner` still has it.
    ///
    /// # Errors
    ///
    /// The store could not be asked.
    async fn release(&self, key: &str, owner: &str) -> Result<(), StoreError>;

    /// Gets what the operations need from elsewhere and is not there yet: a connection, credentials
    /// for the store. Called before the operations of each refresh; may take five seconds, and takes
    /// none if all is there. Default: nothing.
    ///
    /// # Errors
    ///
    /// What is needed is not to be had.
    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What an operator should know about the store. Called once a process, after the first
    /// operation and beside whatever follows; what cannot be found out is left out. Default:
    /// nothing.
    async fn notices(&self) -> Vec<Notice> {
        Vec::new()
    }
}

/// Sealed bytes in a store. What is told beside them is not trusted: the bytes are sealed together
/// with their key and generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Sealed.
    pub bytes: Vec<u8>,
    /// Higher at each write.
    pub generation: u64,
    /// From when on the store may forget it.
    pub expiry: SystemTime,
}

/// The answer to a request for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It is the asker's now. With the entry.
    Held(Option<Entry>),
    /// Somebody else has it, for this long at most. With the entry.
    Taken(Duration, Option<Entry>),
}

/// The answer to a request to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    Done,
    /// The lease was lost: nothing was stored.
    Lost,
}

/// Something about a store that an operator should know: an event of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The same for all notices of one sort.
    pub name: &'static str,
    /// What it is and what to do.
    pub message: String,
}

impl Notice {
    /// A notice of the sort `name`.
    pub fn new(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            name,
            message: message.into(),
        }
    }
}

/// A store could not be asked, or refused. Its text says what to do and holds no secret.
#[derive(Clone)]
pub struct StoreError {
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl StoreError {
    /// With what went wrong, where, and what to do.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// The error beneath. It is not shown by `Display`.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("StoreError");
        out.field("message", &self.message);
        if let Some(source) = &self.source {
            // Display, not Debug: foreign errors may hold more than they mean to say.
            out.field("source", &format_args!("{source}"));
        }
        out.finish()
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
