//! Reading a file: bounded, into memory that wipes itself, and if that fails the reason in words.
//!
//! Owns the sentences about files: one that does not exist, one that this process may not read and
//! a folder are three different mistakes, and the text states which it is.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::kit::error::Error;
use zeroize::Zeroizing;

/// The system's own bundles of authorities have about 200 KiB; a device's certificate and key have
/// a few.
pub const MAX_BYTES: usize = 1024 * 1024;

/// Why a file was not read, as the end of a sentence, with the system's error.
#[derive(Debug)]
pub struct Unread {
    problem: String,
    source: Option<io::Error>,
}

impl Unread {
    /// With a reason of your own.
    pub fn new(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            source: None,
        }
    }

    /// With the reason of the system, made readable.
    pub fn io(error: io::Error, path: &Path) -> Self {
        Self {
            problem: reason(&error, path),
            source: Some(error),
        }
    }

    /// The end of a sentence.
    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// `named` begins the sentence, as in ``the certificate `/path` ``.
    pub fn into_error(self, named: &str, param: &str) -> Error {
        let error = Error::configuration(format!("{named} {}", self.problem))
            .with_param(param)
            .unrecoverable();
        match self.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Reads a file without leaving copies behind.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let failed = |error| Unread::io(error, path);
    // A pipe or a device would block or never end.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if let Some(problem) = no_file(&metadata) {
        return Err(Unread::new(problem));
    }
    let length = usize::try_from(metadata.len())
        .ok()
        .filter(|length| *length <= MAX_BYTES);
    let length = length.ok_or_else(|| Unread::new("has more than 1 MiB: give the right file"))?;
    // With room for one byte more than expected: a vector that grows leaves its old memory as it is,
    // and one of less than 32 bytes is not read into directly.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.max(63) + 1));
    let mut file = File::open(path).map_err(failed)?.take(length as u64 + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > length {
        return Err(Unread::new(
            "grew while it was read: something is writing it",
        ));
    }
    Ok(bytes)
}

/// What is wrong with something other than a regular file, as the end of a sentence.
pub fn no_file(metadata: &Metadata) -> Option<&'static str> {
    match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => None,
        (false, true) => Some("is a folder: give a file"),
        (false, false) => Some("is a pipe, a device or a socket: give a regular file"),
    }
}

/// The end of a sentence.
fn reason(error: &io::Error, path: &Path) -> String {
    let text = path.to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound if path.symlink_metadata().is_ok() => {
            "is a link to something that does not exist: check where it leads".into()
        }
        ErrorKind::NotFound if text.trim() != text => {
            "does not exist: the path begins or ends with a blank: check whether it should".into()
        }
        ErrorKind::NotFound if path.is_relative() => match std::env::current_dir() {
            Ok(folder) => format!(
                "does not exist in `{}`: check the path, or give an absolute one",
                folder.display()
            ),
            Err(_) => {
                "does not exist, nor does this process's current folder: give an absolute path"
                    .into()
            }
        },
        ErrorKind::NotFound => "does not exist: check the path".into(),
        ErrorKind::NotADirectory => {
            "does not exist: part of its path is a file, not a folder".into()
        }
        ErrorKind::PermissionDenied => {
            "cannot be read by this process's user (permission denied): check the owner and mode \
             of the file and of each folder above it"
                .into()
        }
        ErrorKind::IsADirectory => "is a folder: give a file".into(),
        _ => format!("cannot be read ({error}): check the path and the file system"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &Path) -> String {
        read(path)
            .unwrap_err()
            .into_error("the file", "param")
            .to_string()
    }

    #[test]
    fn a_file_is_read_whole_and_may_be_empty() {
        let directory = tempfile::tempdir().unwrap();
        for content in [b"".as_slice(), b"one", &[7; 5000]] {
            let path = directory.path().join("file");
            std::fs::write(&path, content).unwrap();
            assert_eq!(read(&path).unwrap().as_slice(), content);
        }
    }

    #[test]
    fn missing_files_folders_and_long_files_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        std::fs::write(at("long"), vec![0; MAX_BYTES + 1]).unwrap();
        for (path, words) in [
            (at("absent"), "the file does not exist: check the path"),
            (at("absent "), "begins or ends with a blank"),
            (at("file/below"), "part of its path is a file"),
            (directory.path().to_owned(), "is a folder: give a file"),
            (at("long"), "more than 1 MiB"),
            ("absent".into(), "give an absolute one"),
            ("nul\0".into(), "cannot be read"),
        ] {
            let problem = problem(&path);
            assert!(problem.contains(words), "{path:?}: {problem}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_that_lead_nowhere_and_sockets_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let (link, socket) = (
            directory.path().join("link"),
            directory.path().join("socket"),
        );
        std::os::unix::fs::symlink("nowhere", &link).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(problem(&link).contains("is a link to something that does not exist"));
        assert!(problem(&socket).contains("is a pipe, a device or a socket"));
    }

    #[test]
    fn a_file_without_permission_is_no_missing_one() {
        let unread = Unread::io(ErrorKind::PermissionDenied.into(), Path::new("/a"));
        let error = unread.into_error("the file `/a`", "param");
        assert!(
            error
                .to_string()
                .starts_with("the file `/a` cannot be read"),
            "{error}"
        );
        assert!(error.to_string().contains("permission denied") && error.is_unrecoverable());
        assert!(std::error::Error::source(&error).is_some());
    }
}
