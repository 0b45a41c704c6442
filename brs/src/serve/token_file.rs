//! Token files: written whole or not at all, for one user, and known to the server that comes next.
//!
//! A file holds the token without a newline: several SDKs put what they read into a header as it
//! is. It is made beside its place with mode 0600, given to its user, and renamed. A server that
//! ends removes it and leaves the hash of its token in `FILE.before`, so that clients that have read
//! the token go on for five minutes across a restart; a server that was killed leaves the token
//! file itself, which does the same.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64ct::{Base64UrlUnpadded, Encoding};
use brs_core::kit::files;
use brs_core::{Error, SecretString};

use super::token::{self, Hash, Token};

/// How long the token before is accepted.
pub(super) const OVERLAP: Duration = Duration::from_secs(300);

/// Where a consumer finds its token.
#[derive(Clone, Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    user: Option<String>,
}

impl TokenFile {
    pub(super) fn new(path: &Path, user: Option<&str>) -> Self {
        Self {
            path: path.to_owned(),
            user: user.map(str::to_owned),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a token in place of the one that is there.
    pub(super) fn write(&self, token: &SecretString) -> Result<(), Error> {
        let owner = self.user.as_deref().map(user_id).transpose()?;
        write(&self.path, token.expose().as_bytes(), owner)
            .map_err(|(problem, error)| self.failed(problem, error))
    }

    fn failed(&self, problem: &str, error: io::Error) -> Error {
        let path = self.path.display();
        let message = match (&self.user, error.kind()) {
            (Some(user), io::ErrorKind::PermissionDenied) if problem == OWNER => format!(
                "the token file `{path}` cannot be given to the user `{user}`: run the server as root or with the \
                 capability CAP_CHOWN, or leave `user` out"
            ),
            (_, io::ErrorKind::NotFound) => format!(
                "the token file `{path}` cannot be written: its folder does not exist: create it for the server's user"
            ),
            _ => {
                format!("the token file `{path}` {problem}: check the owner and mode of its folder")
            }
        };
        Error::configuration(message)
            .with_param("token_file")
            .with_source(error)
            .unrecoverable()
    }

    /// The hashes of tokens that a server before this one gave out here, and how long they are
    /// still good.
    pub(super) fn before(&self, now: SystemTime) -> Vec<(Hash, Duration)> {
        let mut hashes = Vec::new();
        if let Ok(text) = files::read(&self.path)
            && let Ok(text) = std::str::from_utf8(&text)
            && token::check(&text.into()).is_ok()
        {
            hashes.push((token::hash(text.as_bytes()), OVERLAP));
        }
        hashes.extend(self.left_behind(now));
        hashes
    }

    /// Removes the file, and leaves the token's hash for the next server.
    pub(super) fn remove(&self, hash: Hash, now: SystemTime) {
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let text = format!("{} {seconds}\n", Base64UrlUnpadded::encode_string(&hash));
        // Without it, clients read the new token a moment later.
        let _ = write(&self.path_before(), text.as_bytes(), None);
        let _ = fs::remove_file(&self.path);
    }

    fn left_behind(&self, now: SystemTime) -> Option<(Hash, Duration)> {
        let path = self.path_before();
        let metadata = fs::symlink_metadata(&path).ok()?;
        // Others must not be able to name a token.
        let is_own = metadata.is_file() && metadata.permissions().mode() & 0o077 == 0;
        if !is_own || metadata.uid() != own_user_id()? {
            return None;
        }
        let text = files::read(&path).ok()?;
        let (hash, seconds) = std::str::from_utf8(&text)
            .ok()?
            .trim_end()
            .split_once(' ')?;
        let ended = UNIX_EPOCH + Duration::from_secs(seconds.parse().ok()?);
        let left = OVERLAP.checked_sub(now.duration_since(ended).unwrap_or_default())?;
        let mut bytes = [0; 32];
        Base64UrlUnpadded::decode(hash, &mut bytes).ok()?;
        Some((bytes, left))
    }

    fn path_before(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".before");
        name.into()
    }
}

/// What the system's error was about.
const OWNER: &str = "cannot be given to its user";
const WRITE: &str = "cannot be written";

/// Writes a file of mode 0600 beside its place, gives it to its owner, and renames it.
fn write(path: &Path, content: &[u8], owner: Option<u32>) -> Result<(), (&'static str, io::Error)> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder
        .unwrap_or(Path::new("."))
        .join(format!(".{name}.{}", Token::random().expose()));
    let written = fill(&temporary, content, owner)
        .and_then(|()| fs::rename(&temporary, path).map_err(|error| (WRITE, error)));
    if written.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn fill(path: &Path, content: &[u8], owner: Option<u32>) -> Result<(), (&'static str, io::Error)> {
    let create = || -> io::Result<File> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content)?;
        Ok(file)
    };
    let file = create().map_err(|error| (WRITE, error))?;
    match owner {
        Some(owner) => {
            std::os::unix::fs::fchown(&file, Some(owner), None).map_err(|error| (OWNER, error))
        }
        None => Ok(()),
    }
}

/// The user that this process acts as: that of its files below `/proc`.
fn own_user_id() -> Option<u32> {
    fs::metadata("/proc/self")
        .ok()
        .map(|metadata| metadata.uid())
}

/// The number of a user, by `/etc/passwd` or by what the system asks beside it.
fn user_id(user: &str) -> Result<u32, Error> {
    if let Ok(number) = user.parse() {
        return Ok(number);
    }
    let unknown = || {
        Error::configuration(format!(
            "the user `{user}` of a token file does not exist on this system: check `user`"
        ))
        .with_param("user")
        .unrecoverable()
    };
    let is_name = user
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-$@".contains(&byte));
    if user.is_empty() || user.starts_with('-') || !is_name {
        return Err(unknown());
    }
    let listed = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if let Some(number) = number_in(&listed, user) {
        return Ok(number);
    }
    let asked = std::process::Command::new("getent")
        .args(["passwd", user])
        .output();
    let answer = asked.map(|output| output.stdout).unwrap_or_default();
    number_in(&String::from_utf8_lossy(&answer), user).ok_or_else(unknown)
}

fn number_in(passwd: &str, user: &str) -> Option<u32> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(user)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:998:997::/:/usr/sbin/nologin\n";
        assert_eq!(number_in(passwd, "web"), Some(998));
        assert_eq!(number_in(passwd, "we"), None);
        assert_eq!(user_id("1234").unwrap(), 1234);
        assert_eq!(user_id("root").unwrap(), 0);
    }

    #[test]
    fn users_that_do_not_exist_are_named() {
        for user in ["", "-n", "no such user", "nobody:x", "brs-does-not-exist"] {
            let error = user_id(user).unwrap_err();
            assert_eq!(error.param(), Some("user"));
        }
    }
}
