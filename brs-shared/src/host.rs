//! The host cache: one credential set for all processes of a user on a host.
//!
//! A directory of the user's holds an entry and a lock for each key (`directory`, `files`). A
//! refresh looks into the entry; if that is not enough it takes the lock, looks again, asks the
//! source, writes the entry and lets go of the lock (`order`). The kernel frees a lock when its holder
//! dies, so a dead process holds up no other, unless it has forked amid a refresh: its lock then lasts
//! until the child ends, too, which only a holder that lives can prevent.
//!
//! Whatever is wrong with directory, lock or entry costs one warning, never an error: the session
//! asks its source by itself.

#[cfg(unix)]
mod busy;
#[cfg(unix)]
mod cache;
#[cfg(unix)]
mod contents;
#[cfg(unix)]
mod directory;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod order;
#[cfg(unix)]
mod place;
#[cfg(unix)]
mod problem;
#[cfg(unix)]
mod sweep;

use std::path::PathBuf;

use crate::shared::Store;
#[cfg(unix)]
use cache::Host;
#[cfg(unix)]
pub use contents::CachedSet;
#[cfg(not(unix))]
use elsewhere::Host;

/// A store in files, for the processes of one user on one host.
///
/// The directory is, in this order, the one that is named in code ([`in_directory`]) or data,
/// `$BRS_CACHE_DIR`, and `$XDG_RUNTIME_DIR/brs`: in memory, gone when the user logs out, the
/// default on Linux. brs puts nothing on a disk unless it is told to.
///
/// The directory must belong to the effective user, have the mode 0700 and be no link; brs makes it
/// if it does not exist. Files have the mode 0600. What does not fit is not used: the session then
/// asks its source by itself, after one [warning](brs_core::Event::Warning).
///
/// A session gets the set that is there if more of it is left than the advisory window that
/// sessions have by default; else the first process to lock the entry renews it for all. What the
/// source says to all alike (that it throttles or has trouble, a refusal of what is asked for) is
/// remembered for up to a minute, so that the next process does not ask in vain: its error names the
/// process that was told so. Unless the source throttles, a process is held by such a failure once
/// and then asks by itself, and [`refresh`](brs_core::RefreshableSession::refresh) always asks. A
/// process's own faults, such as files that it cannot read or a wrong proxy, are told to nobody.
/// A set that a service has rejected is marked, and nobody gets it any more. What has expired is
/// removed when something is written, once a minute at most. If the source asks a
/// person, one process asks, and the others wait and say for which one.
///
/// The names of the warnings begin with `host_cache_`, and each is given once while it holds:
/// `unset`, `relative` and `directory…` (where the directory should be, and what is wrong with it),
/// `entry…` and `lock…` (a file that is not used: `…_link`, `…_owner`, `…_mode`, `…_malformed`,
/// `…_oversized`, `…_other_version`, `…_foreign`, `…_replayed`), `no_locks`, `not_written` and
/// `slow` (the file system); at each refresh `lock_busy` (the lock was not to be had in time, and
/// the source was asked without it: the process that it names hangs, or was killed amid a refresh
/// and has left a forked child, which has to end first), `waiting` (for a process that asks a person) and
/// `source_failed` (a set that is about to expire was used).
///
/// Owners and modes are Unix's. On other systems nothing can be said about who reads the files, so
/// nothing is shared there, after one warning.
///
/// ```
/// use brs_shared::HostCache;
///
/// let default = HostCache::new();
/// let on_disk = HostCache::in_directory("~/.cache/brs");
/// ```
///
/// [`in_directory`]: Self::in_directory
#[derive(Clone, Debug, Default)]
pub struct HostCache {
    directory: Option<PathBuf>,
}

impl HostCache {
    /// In `$BRS_CACHE_DIR`, or `$XDG_RUNTIME_DIR/brs`.
    pub fn new() -> Self {
        Self::default()
    }

    /// In this directory: absolute, or below the home directory (`~`). `~/.cache/brs` keeps the
    /// sets over a logout, on a disk.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: Some(directory.into()),
        }
    }
}

impl From<HostCache> for Store {
    fn from(cache: HostCache) -> Self {
        Store::new(Host::new(cache.directory))
    }
}
