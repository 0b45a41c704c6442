//! The files of a key: the entry `<key>.json`, and its lock `<key>.lock`.
//!
//! An entry is written to a temporary file that takes the entry's place in one step, so a reader
//! sees the old one or the new one. Only the lock's holder writes. It puts its name into the lock:
//! the next holder then knows whose temporary file may have been left behind.
//!
//! Everything here blocks.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{Mode, OFlags};

use super::busy::Busy;
use super::directory::{Directory, Kind};
use super::problem::Problem;
use super::sweep::sweep;
use crate::entry::{Entry, MAX_BYTES, Owner};
use crate::key::Key;

const ENTRY: Kind = Kind {
    what: "an entry",
    link: "host_cache_entry_link",
    owner: "host_cache_entry_owner",
    mode: "host_cache_entry_mode",
    other: "host_cache_entry",
};

pub(super) const LOCK: Kind = Kind {
    what: "a lock",
    link: "host_cache_lock_link",
    owner: "host_cache_lock_owner",
    mode: "host_cache_lock_mode",
    other: "host_cache_lock",
};

/// The longest holder's name.
const MAX_HOLDER: usize = 128;

/// What a look at a key gave.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) entry: Option<Entry>,
    /// What is wrong, but does no harm.
    pub(super) problems: Vec<Problem>,
}

/// What came of the try to take a lock.
#[derive(Debug)]
pub(super) enum Tried {
    Held(Lock),
    Busy(Busy),
}

/// A lock that is held, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    directory: Directory,
    file: File,
    process: u32,
}

/// Reads the entry.
pub(super) fn look(path: &Path, key: &Key, least: u64) -> Result<Look, Problem> {
    Ok(look_of(&Directory::open(path)?, key, least, None))
}

/// Tries to take the lock, and reads the entry.
pub(super) fn try_lock(path: &Path, key: &Key, least: u64) -> Result<(Tried, Look), Problem> {
    let directory = Directory::open(path)?;
    let (file, wrong) = open_lock(&directory, key)?;
    let tried = match file.try_lock() {
        // Somebody has removed it: the next one would lock another file.
        Ok(()) if !directory.leads_to(&lock_name(key), &file) => Tried::Busy(Busy::default()),
        Ok(()) => {
            if let Some(left_by) = owner_in(&file) {
                let _ = directory.remove(&temporary_name(key, &left_by));
            }
            let own = Owner::this();
            // Without it, waiters cannot name the holder.
            let _ = file.set_len(0);
            let _ = file.write_all_at(format!("{} {}\n", own.pid(), own.id()).as_bytes(), 0);
            let look = look_of(&directory, key, least, wrong);
            let lock = Lock {
                directory,
                file,
                process: std::process::id(),
            };
            return Ok((Tried::Held(lock), look));
        }
        Err(TryLockError::WouldBlock) => Tried::Busy(Busy {
            holder: owner_in(&file).map(|owner| owner.pid()),
        }),
        Err(TryLockError::Error(error)) => return Err(Problem::no_locks(&error)),
    };
    Ok((tried, look_of(&directory, key, least, wrong)))
}

/// Removes the entry, and its lock if this process holds it: who waits for one that is gone makes
/// another.
pub(super) fn remove(directory: &Directory, key: &Key, lock_too: bool) -> io::Result<()> {
    directory.remove(&entry_name(key))?;
    if lock_too {
        directory.remove(&lock_name(key))?;
    }
    Ok(())
}

impl Lock {
    /// Puts the entry in place of the one that is there.
    pub(super) fn write(&self, key: &Key, entry: &Entry, now: SystemTime) -> Result<(), Problem> {
        let bytes = entry
            .to_bytes(key)
            .map_err(|unusable| Problem::not_written(&format!("it {unusable}")))?;
        let temporary = temporary_name(key, &Owner::this());
        let put = || {
            self.directory.remove(&temporary)?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            let file = rustix::fs::openat(self.directory.fd(), &temporary, flags, mode)?;
            // Whatever the process's umask took away.
            rustix::fs::fchmod(&file, mode)?;
            let mut file = File::from(file);
            file.write_all(&bytes)?;
            // For sweeps. Where times cannot be set, the entry is swept early, which costs a call.
            let _ = file.set_modified(entry.end(now));
            let (from, to) = (&temporary, entry_name(key));
            rustix::fs::renameat(self.directory.fd(), from, self.directory.fd(), to)?;
            io::Result::Ok(())
        };
        put().map_err(|error| {
            let _ = self.directory.remove(&temporary);
            Problem::not_written(&error.to_string())
        })
    }
}

impl Lock {
    /// Removes the files of other keys that have nothing to say any more.
    pub(super) fn sweep(&self, key: &Key, now: SystemTime) {
        sweep(&self.directory, key.as_str(), now);
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child has it by the fork that it was made by: closing its copy frees nothing.
        if self.process == std::process::id() {
            let _ = self.file.unlock();
        }
    }
}

/// Reads the entry; `wrong` is what was wrong before.
fn look_of(directory: &Directory, key: &Key, least: u64, wrong: Option<Problem>) -> Look {
    let mut look = Look {
        entry: None,
        problems: wrong.into_iter().collect(),
    };
    match directory.read(&entry_name(key), &ENTRY, MAX_BYTES) {
        Ok(None) => {}
        Ok(Some(bytes)) => match Entry::from_bytes(&bytes, key, least) {
            Ok(entry) => look.entry = Some(entry),
            Err(unusable) => look.problems.push(Problem::of_entry(unusable)),
        },
        Err(problem) => look.problems.push(problem),
    }
    look
}

/// The lock's file, after replacing what is none; then with what was wrong.
fn open_lock(directory: &Directory, key: &Key) -> Result<(File, Option<Problem>), Problem> {
    let name = lock_name(key);
    let flags = OFlags::RDWR | OFlags::CREATE;
    let open = |flags| match directory.open_file(&name, flags, &LOCK) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(LOCK.refused(LOCK.other, "cannot be made")),
        Err(problem) => Err(problem),
    };
    match open(flags) {
        Ok(file) => Ok((file, None)),
        Err(wrong) => {
            let _ = directory.remove(&name);
            // Another process may have replaced it meanwhile.
            open(flags).map(|file| (file, Some(wrong)))
        }
    }
}

fn owner_in(file: &File) -> Option<Owner> {
    let mut bytes = [0; MAX_HOLDER];
    let length = file.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let (pid, id) = text.strip_suffix('\n')?.split_once(' ')?;
    Owner::of(pid.parse().ok()?, id)
}

fn entry_name(key: &Key) -> String {
    format!("{}.json", key.as_str())
}

fn lock_name(key: &Key) -> String {
    format!("{}.lock", key.as_str())
}

fn temporary_name(key: &Key, owner: &Owner) -> String {
    format!("{}.{}.tmp", key.as_str(), owner.id())
}
