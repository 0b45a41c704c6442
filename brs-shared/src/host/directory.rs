//! The directory: whose it is, and opening files in it.
//!
//! It is opened once for each look, and files only by it: what has been checked cannot be replaced
//! under way. No link is followed, neither for the directory nor for a file.

use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use super::problem::Problem;

/// A directory that only this user can read and write.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

/// A kind of file, with the names of what can be wrong with one.
#[derive(Debug)]
pub(super) struct Kind {
    pub(super) what: &'static str,
    pub(super) link: &'static str,
    pub(super) owner: &'static str,
    pub(super) mode: &'static str,
    pub(super) other: &'static str,
}

impl Directory {
    /// Opens the directory, after making it if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let open = || {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(CWD, path, flags, Mode::empty())
        };
        let opened = match open() {
            Err(Errno::NOENT) => {
                let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
                made.map_err(|error| {
                    refused(path, "host_cache_directory", &cannot_be_made(&error))
                })?;
                open()
            }
            opened => opened,
        };
        let directory = opened.map_err(|error| match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => refused(
                path,
                "host_cache_directory_link",
                "is a link: name the directory itself",
            ),
            Ok(found) if !found.is_dir() => refused(
                path,
                "host_cache_directory_file",
                "is not a directory: name another one",
            ),
            _ => refused(
                path,
                "host_cache_directory",
                &format!("cannot be opened ({error})"),
            ),
        })?;
        let stat = rustix::fs::fstat(&directory).map_err(|error| {
            refused(
                path,
                "host_cache_directory",
                &format!("cannot be looked at ({error})"),
            )
        })?;
        if stat.st_uid != geteuid().as_raw() {
            let problem = "belongs to another user: name one of this process's user";
            return Err(refused(path, "host_cache_directory_owner", problem));
        }
        let mode = Mode::from_raw_mode(stat.st_mode) & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
        if mode != Mode::RWXU {
            let problem = format!(
                "has the mode {:04o}, not 0700: change it with `chmod 0700`",
                mode.as_raw_mode()
            );
            return Err(refused(path, "host_cache_directory_mode", &problem));
        }
        Ok(Self(directory))
    }

    /// Opens a file that only this user can read and write; `None` if there is none.
    pub(super) fn open_file(
        &self,
        name: &str,
        flags: OFlags,
        kind: &Kind,
    ) -> Result<Option<File>, Problem> {
        // A pipe would wait for somebody who writes.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::MLINK) => return Err(kind.refused(kind.link, "is a link")),
            Err(error) => {
                return Err(kind.refused(kind.other, &format!("cannot be opened ({error})")));
            }
        };
        let stat = rustix::fs::fstat(&file)
            .map_err(|error| kind.refused(kind.other, &format!("cannot be looked at ({error})")))?;
        kind.check(&stat)?;
        Ok(Some(file))
    }

    /// Reads up to `most` bytes of a file, and one more if there are more.
    pub(super) fn read(
        &self,
        name: &str,
        kind: &Kind,
        most: usize,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
        let Some(file) = self.open_file(name, OFlags::RDONLY, kind)? else {
            return Ok(None);
        };
        let failed =
            |error: io::Error| kind.refused(kind.other, &format!("cannot be read ({error})"));
        let length = file.metadata().map_err(failed)?.len();
        let length = usize::try_from(length).unwrap_or(most).clamp(63, most);
        // A vector that grows leaves its old memory as it is.
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        let mut file = file.take(length as u64 + 1);
        file.read_to_end(&mut bytes).map_err(failed)?;
        Ok(Some(bytes))
    }

    /// Removes a file; that there is none is fine.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a name still leads to this file.
    pub(super) fn leads_to(&self, name: &str, file: &File) -> bool {
        let there = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW);
        let same = |a: &Stat, b: &Stat| a.st_ino == b.st_ino && a.st_dev == b.st_dev;
        matches!((there, rustix::fs::fstat(file)), (Ok(there), Ok(here)) if same(&there, &here))
    }

    /// The directory as system calls take it.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Kind {
    fn check(&self, stat: &Stat) -> Result<(), Problem> {
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(self.refused(self.other, "is not a regular file"));
        }
        if stat.st_uid != geteuid().as_raw() {
            return Err(self.refused(self.owner, "belongs to another user"));
        }
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode.intersects(Mode::RWXG | Mode::RWXO) {
            return Err(self.refused(self.mode, "can be read or written by other users"));
        }
        // It would be another file of the user's, by a second name.
        if stat.st_nlink > 1 {
            return Err(self.refused(self.link, "is a link"));
        }
        Ok(())
    }

    pub(super) fn refused(&self, name: &'static str, problem: &str) -> Problem {
        let text = format!(
            "{} of the host cache {problem}: it is ignored and replaced",
            self.what
        );
        Problem::of_key(name, text)
    }
}

fn cannot_be_made(error: &io::Error) -> String {
    format!("cannot be made ({error}): make it with the mode 0700, or name another one")
}

fn refused(path: &Path, name: &'static str, problem: &str) -> Problem {
    let text = format!(
        "credentials are not shared: the host cache's directory `{}` {problem}",
        path.display()
    );
    Problem::of_directory(name, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_user_is_refused() {
        let kind = Kind {
            what: "an entry",
            link: "link",
            owner: "owner",
            mode: "mode",
            other: "other",
        };
        let file = tempfile::tempfile().unwrap();
        let mut stat = rustix::fs::fstat(&file).unwrap();
        stat.st_mode = (FileType::RegularFile.as_raw_mode()) | 0o600;
        stat.st_nlink = 1;
        assert_eq!(kind.check(&stat), Ok(()));
        stat.st_uid += 1;
        assert_eq!(kind.check(&stat).unwrap_err().name, "owner");
    }
}
