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
    let length = length.ok_or_else(too_long)?;
    let file = File::open(path).map_err(failed)?;
    let bytes = bounded(file, length).map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        return Err(too_long());
    }
    // Those of `/proc` have a length of 0 whatever they hold.
    if length > 0 && bytes.len() > length {
        return Err(Unread::new(
            "grew while it was read: something is writing it",
        ));
    }
    Ok(bytes)
}

fn too_long() -> Unread {
    Unread::new("has more than 1 MiB: give the right file")
}

/// Reads up to one byte more than is allowed, leaving no copies behind: a vector that grows by
/// itself leaves its old memory as it is.
fn bounded(mut from: impl Read, expected: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; expected.max(63) + 1]);
    let mut length = 0;
    while length <= MAX_BYTES {
        if length == bytes.len() {
            let mut more = Zeroizing::new(vec![0; (2 * length).min(MAX_BYTES + 1)]);
            more[..length].copy_from_slice(&bytes);
            bytes = more;
        }
        match from.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// What is wrong with something other than a regular file, as the end of a sentence. A pipe is one
/// too: it has its content once, and files are read again at each refresh.
pub fn no_file(metadata: &Metadata) -> Option<&'static str> {
    match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => None,
        (false, true) => Some("is a folder: give a file"),
        (false, false) if is_pipe(metadata) => Some(
            "is a pipe, which gives its content only once, and this is read again later: give a regular file",
        ),
        (false, false) => Some("is a device or a socket: give a regular file"),
    }
}

#[cfg(unix)]
fn is_pipe(metadata: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &Metadata) -> bool {
    false
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
        assert!(problem(&socket).contains("is a device or a socket"));
        assert!(problem("/dev/null".as_ref()).contains("is a device or a socket"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_reports_no_length_is_read() {
        for path in ["/proc/self/status", "/proc/self/limits"] {
            assert_eq!(std::fs::metadata(path).unwrap().len(), 0);
            let bytes = read(path.as_ref()).unwrap();
            assert!(bytes.len() > 64 && bytes.ends_with(b"\n"), "{path}");
        }
        // Reports 4096 and holds less.
        assert!(
            !read("/sys/kernel/mm/transparent_hugepage/enabled".as_ref())
                .unwrap()
                .is_empty()
        );
    }

    /// Opening a pipe that nobody writes would wait for ever.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(&reader);
        let problem = problem(format!("/proc/self/fd/{descriptor}").as_ref());
        assert!(
            problem.contains("is a pipe, which gives its content only once"),
            "{problem}"
        );
    }

    #[test]
    fn what_is_read_is_bounded_whatever_length_was_reported() {
        for (reported, length) in [(0, 0), (0, 64), (0, 65), (0, 5000), (10, 5000), (5000, 10)] {
            let bytes = bounded(&*vec![7; length], reported).unwrap();
            assert_eq!(bytes.as_slice(), vec![7; length], "{reported} {length}");
        }
        let endless = bounded(io::repeat(7), 0).unwrap();
        assert_eq!(endless.len(), MAX_BYTES + 1);
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
