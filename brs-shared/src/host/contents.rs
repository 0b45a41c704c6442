//! What the cache holds, for people and for commands: looked at without a session.
//!
//! Everything here blocks.

use std::path::Path;
use std::time::SystemTime;

use brs_core::{Clock as _, Error, Fingerprint, RefreshReason, SystemClock, TemporaryCredentials};

use super::HostCache;
use super::directory::Directory;
use super::files::{self, Tried};
use super::place::Place;
use super::problem::Problem;
use crate::entry::{Entry, Own, Wanted};
use crate::key::Key;

/// An entry of a host cache. Holds no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CachedSet {
    /// The name of the entry: a digest of what decides the credentials.
    pub key: String,
    /// The access key id of the credential set, if there is one.
    pub access_key_id: Option<String>,
    /// When its source gave it.
    pub obtained: Option<SystemTime>,
    /// When it expires.
    pub expiration: Option<SystemTime>,
    /// A service has rejected it.
    pub invalidated: bool,
    /// The last failure of its source, if nothing has succeeded since.
    pub failure: Option<String>,
    /// Why the entry is not used.
    pub problem: Option<String>,
}

impl HostCache {
    /// The valid credential set of the sessions with this fingerprint, however little is left of it
    /// and without asking its source. Blocks.
    pub fn valid(&self, fingerprint: &Fingerprint) -> Option<TemporaryCredentials> {
        let (place, key) = (self.place(), Key::of(fingerprint));
        let look = files::look(place.directory().ok()?, &key, 0).ok()?;
        look.entry?.fallback(Wanted {
            reason: RefreshReason::Mandatory,
            previous_access_key_id: None,
            own: Own::Absent,
            now: SystemClock::new().now(),
        })
    }

    /// What the cache holds. Blocks.
    ///
    /// # Errors
    ///
    /// A configuration error if there is no directory, or one that is not this user's alone.
    pub fn entries(&self) -> Result<Vec<CachedSet>, Error> {
        let place = self.place();
        let path = place.directory().map_err(Problem::into_error)?;
        let keys = keys(path)?;
        keys.iter()
            .map(|key| {
                let look = files::look(path, key, 0).map_err(Problem::into_error)?;
                Ok(CachedSet::of(
                    key,
                    look.entry.as_ref(),
                    look.problems.first(),
                ))
            })
            .collect()
    }

    /// Removes every credential set, and says how many there were. A refresh that is running puts
    /// its own back. Blocks.
    ///
    /// # Errors
    ///
    /// As [`entries`](Self::entries), or that of a file that could not be removed.
    pub fn clear(&self) -> Result<usize, Error> {
        let place = self.place();
        let path = place.directory().map_err(Problem::into_error)?;
        let keys = keys(path)?;
        for key in &keys {
            let (tried, _) = files::try_lock(path, key, 0).map_err(Problem::into_error)?;
            let directory = Directory::open(path).map_err(Problem::into_error)?;
            files::remove(&directory, key, matches!(tried, Tried::Held(_))).map_err(|error| {
                let text = format!(
                    "an entry of the host cache `{}` was not removed ({error})",
                    path.display()
                );
                Error::configuration(text)
            })?;
        }
        Ok(keys.len())
    }

    fn place(&self) -> Place {
        Place::of(self.directory.clone())
    }
}

impl CachedSet {
    fn of(key: &Key, entry: Option<&Entry>, problem: Option<&Problem>) -> Self {
        let set = entry.and_then(|entry| entry.set.as_ref());
        Self {
            key: key.as_str().to_owned(),
            access_key_id: set.map(|set| set.credentials.access_key_id().to_owned()),
            obtained: set.map(|set| set.obtained),
            expiration: set.and_then(|set| set.credentials.expiration()),
            invalidated: set.is_some_and(|set| set.invalidated),
            failure: entry.and_then(Entry::failure_text),
            problem: problem.map(|problem| problem.text.clone()),
        }
    }
}

/// The keys that have an entry, in order; none if there is no directory yet.
fn keys(path: &Path) -> Result<Vec<Key>, Error> {
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(Vec::new());
    }
    // Whose it is, and whether it is a link.
    Directory::open(path).map_err(Problem::into_error)?;
    let unread = |error: std::io::Error| {
        Error::configuration(format!(
            "the host cache `{}` cannot be read ({error})",
            path.display()
        ))
    };
    let mut keys = Vec::new();
    for file in path.read_dir().map_err(unread)? {
        let name = file.map_err(unread)?.file_name();
        let key = name.to_str().and_then(|name| name.strip_suffix(".json"));
        keys.extend(key.and_then(Key::named));
    }
    keys.sort_by(|a: &Key, b| a.as_str().cmp(b.as_str()));
    Ok(keys)
}
