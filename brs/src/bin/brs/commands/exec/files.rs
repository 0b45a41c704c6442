//! The files that the program sees in place of the user's: an empty credentials file, and the
//! settings of the profile in use without what leads to credentials.
//!
//! They are in a directory of this user's alone, which is removed when the program has ended.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::profile;
use crate::exit::Failure;

/// A directory for the program, with what is in it.
#[derive(Debug, Default)]
pub(super) struct Files {
    directory: Option<TempDir>,
    pub(super) credentials: Option<PathBuf>,
    pub(super) config: Option<PathBuf>,
    pub(super) token: Option<PathBuf>,
}

impl Files {
    /// Writes the token, if it goes into a file, and whatever else `fill` writes.
    pub(super) fn make(
        token: Option<&str>,
        fill: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<Self, Failure> {
        let mut files = Self::default();
        let written = match token {
            // Without a newline: clients would send it along.
            Some(token) => files
                .write("token", token)
                .map(|path| files.token = Some(path)),
            None => Ok(()),
        };
        written.and_then(|()| fill(&mut files)).map_err(|error| {
            Failure::Machine(format!(
                "the files for the program were not written to `$XDG_RUNTIME_DIR` or the temporary directory: {error}"
            ))
        })?;
        Ok(files)
    }

    /// Writes what the program sees in place of the user's files.
    pub(super) fn hide_credentials(&mut self, profile: Option<&str>) -> io::Result<()> {
        let in_use = profile.map_or_else(profile_in_use, str::to_owned);
        // A file that cannot be read has no settings for the program either.
        let config = read(config_file().as_deref()).unwrap_or_default();
        let config = profile::without_credentials(&config, &in_use);
        self.config = Some(self.write("config", &config)?);
        self.credentials = Some(self.write("credentials", "")?);
        Ok(())
    }

    fn write(&mut self, name: &str, content: &str) -> io::Result<PathBuf> {
        let directory = match &self.directory {
            Some(directory) => directory,
            None => self.directory.insert(directory()?),
        };
        let path = directory.path().join(name);
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(path)
    }
}

/// What would take precedence over the endpoint if the program sees the user's files.
pub(super) fn taking_precedence() -> Vec<String> {
    let files = [
        ("credentials file", credentials_file()),
        ("config file", config_file()),
    ];
    let found = files.into_iter().filter_map(|(what, path)| {
        let path = path?;
        let key = profile::credential_key(&read(Some(&path))?)?;
        Some(format!(
            "the {what} `{}` has `{key}` in its default profile: programs use that instead of the session; leave out \
             `--keep-files`",
            path.display()
        ))
    });
    found.collect()
}

/// In memory where the system has a place for it.
fn directory() -> io::Result<TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute() && path.is_dir());
    let make = |parent: &Path| {
        tempfile::Builder::new()
            .prefix("brs-exec-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
    };
    match runtime.map(|parent| make(&parent)) {
        Some(Ok(directory)) => Ok(directory),
        Some(Err(_)) | None => make(&std::env::temp_dir()),
    }
}

/// The profile that the program would use by itself.
fn profile_in_use() -> String {
    let named = ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    named.unwrap_or_else(|| profile::DEFAULT.to_owned())
}

fn config_file() -> Option<PathBuf> {
    file("AWS_CONFIG_FILE", "config")
}

fn credentials_file() -> Option<PathBuf> {
    file("AWS_SHARED_CREDENTIALS_FILE", "credentials")
}

fn file(variable: &str, name: &str) -> Option<PathBuf> {
    match std::env::var_os(variable).filter(|value| !value.is_empty()) {
        Some(path) => Some(brs::kit::path::expanded(Path::new(&path)).into_owned()),
        None => Some(std::env::home_dir()?.join(".aws").join(name)),
    }
}

/// A file's text, if it can be read.
fn read(path: Option<&Path>) -> Option<String> {
    let bytes = brs::kit::files::read(path?).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
