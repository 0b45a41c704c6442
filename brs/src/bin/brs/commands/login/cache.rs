//! The AWS CLI's own file of a login: `~/.aws/sso/cache/<SHA-1 of the session's name>.json`.
//!
//! Its names and forms are the CLI's and botocore's, which every SDK reads and renews.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use zeroize::Zeroizing;

use super::SsoSession;
use super::device::Token;
use crate::exit::Failure;
use crate::output::timestamp;

/// A login that expires sooner counts as expired, as for the CLI.
const LEAST: Duration = Duration::from_secs(15 * 60);

/// The file of a session.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    digest: String,
}

/// The turn to log in; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "held for the kernel's lock")] File);

/// Whether this process may log in now.
#[derive(Debug)]
pub(super) enum Lock {
    Held(Held),
    /// Another process is doing so.
    Busy,
}

impl Cache {
    /// In the home directory; it is made if it is missing.
    pub(super) fn of(session_name: &str) -> Result<Self, Failure> {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let home = home.ok_or_else(|| {
            Failure::Usage("there is no home directory for the login: set `HOME`".to_owned())
        })?;
        let cache = Self {
            directory: home.join(".aws").join("sso").join("cache"),
            digest: digest_of(session_name),
        };
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&cache.directory);
        made.map_err(|error| cache.problem(&error))?;
        Ok(cache)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.json", self.digest))
    }

    /// Takes the lock, if it is free.
    pub(super) fn try_lock(&self) -> Result<Lock, Failure> {
        // Other tools read every `.json` of the directory.
        let path = self.directory.join(format!(".{}.brs-lock", self.digest));
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let file = options.open(path).map_err(|error| self.problem(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock::Held(Held(file))),
            Err(TryLockError::WouldBlock) => Ok(Lock::Busy),
            Err(TryLockError::Error(error)) => Err(self.problem(&error)),
        }
    }

    /// What is in the file, if it can be read.
    pub(super) fn content(&self) -> Option<Zeroizing<Vec<u8>>> {
        brs::kit::files::read(&self.path()).ok()
    }

    /// The end of the login in the file, unless it is near.
    pub(super) fn valid_until(&self, now: SystemTime) -> Option<String> {
        let content = self.content()?;
        let mut value: serde_json::Value = serde_json::from_slice(&content).ok()?;
        let expires_at = value
            .get("expiresAt")
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned);
        brs::kit::zeroize_value(&mut value);
        // Times of this form are in the order of their texts.
        expires_at.filter(|at| at.len() == 20 && *at > timestamp(now + LEAST))
    }

    /// Keeps a login.
    pub(super) fn write(&self, session: &SsoSession, token: &Token) -> Result<(), Failure> {
        let json = json(session, token);
        let replace = || -> io::Result<()> {
            // Its mode is 0600.
            let mut file = tempfile::Builder::new()
                .suffix(".tmp")
                .tempfile_in(&self.directory)?;
            file.write_all(json.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(self.path())?;
            Ok(())
        };
        replace().map_err(|error| self.problem(&error))
    }

    fn problem(&self, error: &io::Error) -> Failure {
        Failure::Machine(format!(
            "the login cannot be kept in `{}`: {error}; allow this user to write there",
            self.directory.display()
        ))
    }
}

fn digest_of(session_name: &str) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, session_name.as_bytes());
    digest
        .as_ref()
        .iter()
        .fold(String::with_capacity(40), |mut out, byte| {
            // Writing to a string does not fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn json(session: &SsoSession, token: &Token) -> Zeroizing<String> {
    let (expires_at, registration) = (
        timestamp(token.expires_at),
        timestamp(token.registration_expires_at),
    );
    let values = [
        ("startUrl", Some(session.start_url.as_str())),
        ("region", Some(session.region.as_str())),
        ("accessToken", Some(token.access_token.as_str())),
        ("expiresAt", Some(expires_at.as_str())),
        ("clientId", Some(token.client_id.as_str())),
        ("clientSecret", Some(token.client_secret.as_str())),
        ("registrationExpiresAt", Some(registration.as_str())),
        (
            "refreshToken",
            token.refresh_token.as_ref().map(|token| token.as_str()),
        ),
    ];
    let mut out = Zeroizing::new(String::with_capacity(16 << 10));
    for (name, value) in values {
        let Some(value) = value else {
            continue;
        };
        let separator = if out.is_empty() { "{" } else { ", " };
        out.push_str(separator);
        let quoted = Zeroizing::new(serde_json::Value::from(value).to_string());
        out.push('"');
        out.push_str(name);
        out.push_str("\": ");
        out.push_str(&quoted);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn the_file_is_named_as_the_aws_cli_names_it() {
        // The case of the AWS SDK for Rust.
        assert_eq!(
            digest_of("admin"),
            "d033e22ae348aeb5660fc2140aec35850c4da997"
        );
    }

    #[test]
    fn the_json_is_that_of_the_aws_cli() {
        let session = SsoSession {
            name: "corp".into(),
            region: "eu-west-1".into(),
            start_url: "https://brs.awsapps.com/start".into(),
            scopes: vec![],
        };
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let text = |text: &str| Zeroizing::new(text.to_owned());
        let mut token = Token {
            access_token: text("a\"b"),
            expires_at: at(1_800_000_000),
            client_id: "id".into(),
            client_secret: text("secret"),
            registration_expires_at: at(1_900_000_000),
            refresh_token: Some(text("refresh")),
        };
        let expected = "{\"startUrl\": \"https://brs.awsapps.com/start\", \"region\": \"eu-west-1\", \
                        \"accessToken\": \"a\\\"b\", \"expiresAt\": \"2027-01-15T08:00:00Z\", \
                        \"clientId\": \"id\", \"clientSecret\": \"secret\", \
                        \"registrationExpiresAt\": \"2030-03-17T17:46:40Z\"";
        assert_eq!(
            *json(&session, &token),
            format!("{expected}, \"refreshToken\": \"refresh\"}}")
        );
        token.refresh_token = None;
        assert_eq!(*json(&session, &token), format!("{expected}}}"));
    }
}
