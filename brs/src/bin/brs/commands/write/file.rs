//! The file on disk: read, changed and replaced, so that a reader sees the old file or the new one.
//!
//! The new content is in a file beside it, on the disk, before it takes the name. Processes of brs
//! take turns by a lock. Other tools take none, so two things are done about them: the files swap
//! names in one step, and if what comes back is not what was read, the change is made to that, too.
//! A tool that writes in place has a moment to finish before its file is let go.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use brs::{Clock as _, SystemClock};
use rustix::fs::{CWD, Gid, OFlags, RenameFlags, Uid, fchown, renameat_with};
use rustix::io::Errno;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// More is no credentials file.
const MAX_BYTES: u64 = 1 << 20;
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;
/// How often another tool may come in between.
const MAX_ROUNDS: usize = 100;
/// A file that changed within this time may be one that a tool is writing.
const RECENT: Duration = Duration::from_secs(1);
/// How long such a tool has to finish.
const SETTLE: Duration = Duration::from_millis(10);

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// The file was as it should be.
    Unchanged,
}

/// Why a file was not changed: what, where, and what to do.
pub(super) type Problem = String;

/// Changes a file; one that is missing is empty, and is made. Blocks.
pub(super) fn change(
    path: &Path,
    edit: impl Fn(&[u8]) -> Zeroizing<Vec<u8>>,
) -> Result<Outcome, Problem> {
    let place = Place::of(path)?;
    let _lock = place.lock()?;
    place.remove_leftovers();
    place.change(edit).map_err(|error| place.problem(&error))
}

/// Where the file is, behind all links.
struct Place {
    path: PathBuf,
    directory: PathBuf,
    name: OsString,
}

/// A file as it was read.
struct Content {
    bytes: Zeroizing<Vec<u8>>,
    metadata: Metadata,
}

impl Place {
    fn of(path: &Path) -> Result<Self, Problem> {
        let path = behind_links(path)
            .map_err(|error| format!("the file `{}` cannot be found: {error}", path.display()))?;
        let (Some(name), Some(directory)) = (path.file_name(), path.parent()) else {
            return Err(format!("`{}` is not a file: give a file", path.display()));
        };
        let (name, directory) = (name.to_owned(), directory.to_owned());
        let place = Self {
            path,
            directory,
            name,
        };
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&place.directory);
        made.map_err(|error| place.problem(&error))?;
        Ok(place)
    }

    /// `.credentials.brs-…`.
    fn beside(&self, end: &str) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".brs-");
        name.push(end);
        name
    }

    /// This process's turn; it ends when the file is closed.
    fn lock(&self) -> Result<File, Problem> {
        let path = self.directory.join(self.beside("lock"));
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
            .open(&path);
        let locked = open.and_then(|file| {
            // Made by root, it must not lock the user out.
            if let Ok(directory) = self.directory.metadata() {
                let _ = give_to(&file, &directory);
            }
            file.lock()?;
            Ok(file)
        });
        locked.map_err(|error| self.problem(&error))
    }

    /// Removes what a process left behind that was killed: it holds keys. The lock is held, so
    /// no process is at work.
    fn remove_leftovers(&self) {
        let prefix = self.beside("new-");
        let begins = |name: &OsStr| {
            name.as_encoded_bytes()
                .starts_with(prefix.as_encoded_bytes())
        };
        let entries = std::fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten();
        for entry in entries.filter(|entry| begins(&entry.file_name())) {
            let _ = std::fs::remove_file(entry.path());
        }
    }

    fn change(&self, edit: impl Fn(&[u8]) -> Zeroizing<Vec<u8>>) -> io::Result<Outcome> {
        let mut base = self.read()?;
        for _ in 0..MAX_ROUNDS {
            let Some(mut old) = base else {
                let file = self.prepare(&edit(b""), None)?;
                match file.persist_noclobber(&self.path) {
                    Ok(_) => return Ok(self.written()),
                    Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error.error),
                }
                base = self.read()?;
                continue;
            };
            let mut new = edit(&old.bytes);
            if new == old.bytes {
                return Ok(Outcome::Unchanged);
            }
            // What the name is expected to give back: what was read, then what was put there.
            let mut expected = (old.number(), old.bytes.clone());
            // Another tool's file, while this process's own has its name.
            let mut parked: Option<NamedTempFile> = None;
            for _ in 0..MAX_ROUNDS {
                let swapped = self.prepare(&new, &old).and_then(|file| {
                    let number = number(&file.as_file().metadata()?);
                    let is_swapped = self.swap(&file, &expected)?;
                    Ok(is_swapped.then_some((file, number)))
                });
                let swapped = swapped.inspect_err(|_| self.give_back(parked.as_ref()))?;
                let Some((file, number)) = swapped else {
                    break;
                };
                let displaced = displaced(file.path());
                let displaced = displaced.inspect_err(|_| self.give_back(Some(&file)))?;
                let Some(displaced) = displaced.filter(|displaced| !displaced.is(&expected)) else {
                    return Ok(self.written());
                };
                // It gets the change, too, and the name again.
                expected = (number, new);
                new = edit(&displaced.bytes);
                old = displaced;
                parked = Some(file);
            }
            base = self.read()?;
        }
        Err(io::Error::other("other programs change it all the time"))
    }

    fn read(&self) -> io::Result<Option<Content>> {
        match read(&self.path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The new file, on the disk.
    fn prepare<'a>(
        &self,
        content: &[u8],
        old: impl Into<Option<&'a Content>>,
    ) -> io::Result<NamedTempFile> {
        let old = old.into();
        let mode = old.map_or(0o600, |old| old.metadata.mode() & 0o600 | 0o400);
        let mut file = tempfile::Builder::new()
            .prefix(&self.beside("new-"))
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
            .tempfile_in(&self.directory)?;
        match old {
            Some(old) => give_to(file.as_file(), &old.metadata)?,
            // Root makes it for the one whose directory it is.
            None => give_to(file.as_file(), &self.directory.metadata()?)?,
        }
        file.write_all(content)?;
        file.as_file().sync_all()?;
        Ok(file)
    }

    /// Lets the files swap names; `false`: the name has another file by now.
    fn swap(&self, file: &NamedTempFile, expected: &State) -> io::Result<bool> {
        match renameat_with(CWD, file.path(), CWD, &self.path, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(true),
            // Removed by now.
            Err(Errno::NOENT) => return Ok(false),
            // The file system cannot.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
        if !self.read()?.is_some_and(|content| content.is(expected)) {
            return Ok(false);
        }
        std::fs::rename(file.path(), &self.path).map(|()| true)
    }

    /// Gives the name back to another tool's file.
    fn give_back(&self, parked: Option<&NamedTempFile>) {
        if let Some(parked) = parked {
            let _ = renameat_with(CWD, parked.path(), CWD, &self.path, RenameFlags::EXCHANGE);
        }
    }

    fn written(&self) -> Outcome {
        // Not every file system can sync a directory; the file itself is there.
        let _ = File::open(&self.directory).and_then(|directory| directory.sync_all());
        Outcome::Written
    }

    fn problem(&self, error: &io::Error) -> Problem {
        let directory = self.directory.display();
        let remedy = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                format!("make room on the disk of `{directory}`")
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                format!("allow this user to write to the directory `{directory}`")
            }
            _ => "check the path".to_owned(),
        };
        format!(
            "the file `{}` was not changed: {error}; {remedy}",
            self.path.display()
        )
    }
}

/// Which file it is, and what is in it.
type State = ((u64, u64), Zeroizing<Vec<u8>>);

fn number(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Content {
    fn number(&self) -> (u64, u64) {
        number(&self.metadata)
    }

    fn is(&self, state: &State) -> bool {
        (self.number(), &self.bytes) == (state.0, &state.1)
    }
}

/// The file that had the name before; `None` where the system did not swap. Somebody who writes it
/// in place has a moment to finish.
fn displaced(path: &Path) -> io::Result<Option<Content>> {
    let content = match read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let now = SystemClock::new().now();
    let age = content
        .metadata
        .modified()
        .ok()
        .and_then(|at| now.duration_since(at).ok());
    if age.is_some_and(|age| age >= RECENT) {
        return Ok(Some(content));
    }
    wait(SETTLE);
    read(path).map(Some)
}

fn read(path: &Path) -> io::Result<Content> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NONBLOCK))
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(io::Error::other("it has more than 1 MiB"));
    }
    let size = usize::try_from(metadata.len()).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    (&file).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Content { bytes, metadata })
}

/// The file that a path leads to, whether it exists or not.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        match std::fs::read_link(&path) {
            Ok(target) => {
                let directory = path.parent().unwrap_or(Path::new("/"));
                path = directory.join(target);
            }
            // No link, or nothing there.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("the links lead in a circle"))
}

/// Gives a file the owner and group of another one, where this process may. An owner is needed, or
/// it could not read its own file; a group is not.
fn give_to(file: &File, other: &Metadata) -> io::Result<()> {
    let own = file.metadata()?;
    if own.gid() != other.gid() {
        let _ = fchown(file, None, Some(Gid::from_raw(other.gid())));
    }
    if own.uid() != other.uid() {
        let given = fchown(file, Some(Uid::from_raw(other.uid())), None);
        given.map_err(|_| {
            io::Error::new(ErrorKind::PermissionDenied, "it belongs to another user")
        })?;
    }
    Ok(())
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

#[expect(
    clippy::disallowed_methods,
    reason = "on a blocking thread, and the other writer does not say when it has finished"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
