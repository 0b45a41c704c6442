//! Removing the files of keys that nobody uses any more: credentials do not stay on a disk for longer
//! than they are good for.
//!
//! An entry's modification time is set to the end of what it says, so that a sweep reads none. A
//! key's files are removed under its lock, the lock last: who waits for it notices that. Everything
//! here blocks, and what cannot be removed is left for the next sweep.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, OFlags};

use super::directory::Directory;
use super::files::LOCK;

/// A lock and temporary files without an entry are older than any refresh.
const NO_ENTRY: Duration = Duration::from_secs(24 * 3600);

/// What is there of a key.
#[derive(Default)]
struct Found {
    names: Vec<String>,
    /// When the entry ends.
    entry: Option<SystemTime>,
    /// The last change of anything else.
    others: Option<SystemTime>,
}

impl Found {
    fn is_over(&self, now: SystemTime) -> bool {
        match (self.entry, self.others) {
            (Some(end), _) => end < now,
            (None, Some(last)) => last + NO_ENTRY < now,
            (None, None) => false,
        }
    }
}

/// Removes the files of all keys but this one that have nothing to say any more.
pub(super) fn sweep(directory: &Directory, own: &str, now: SystemTime) {
    for (key, found) in list(directory) {
        if key != own && found.is_over(now) {
            clear(directory, &key, &found.names, now);
        }
    }
}

fn list(directory: &Directory) -> BTreeMap<String, Found> {
    let mut keys: BTreeMap<String, Found> = BTreeMap::new();
    let Ok(entries) = Dir::read_from(directory.fd()) else {
        return keys;
    };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        let Some((key, kind)) = name.split_once('.').filter(|_| name.starts_with("v1-")) else {
            continue;
        };
        let modified = modified(directory, name);
        let found = keys.entry(key.to_owned()).or_default();
        found.names.push(name.to_owned());
        if kind == "json" {
            found.entry = modified;
        } else {
            found.others = found.others.max(modified);
        }
    }
    keys
}

/// The modification time of a file.
fn modified(directory: &Directory, name: &str) -> Option<SystemTime> {
    let stat = rustix::fs::statat(directory.fd(), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn clear(directory: &Directory, key: &str, names: &[String], now: SystemTime) {
    let (entry, lock) = (format!("{key}.json"), format!("{key}.lock"));
    let flags = OFlags::RDWR | OFlags::CREATE;
    let Ok(Some(file)) = directory.open_file(&lock, flags, &LOCK) else {
        return;
    };
    if file.try_lock().is_err() {
        return;
    }
    // It may have been renewed since the look.
    let is_over = modified(directory, &entry).is_none_or(|end| end < now);
    if is_over && directory.leads_to(&lock, &file) {
        for name in names.iter().filter(|name| **name != lock) {
            let _ = directory.remove(name);
        }
        let _ = directory.remove(&lock);
    }
    let _ = file.unlock();
}
