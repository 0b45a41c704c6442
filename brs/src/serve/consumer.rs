//! Consumers: who may ask for which credentials, and how often.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brs_core::{Error, SecretString};

use super::pattern::Pattern;
use super::tally::Tally;
use super::token;
use super::token_file::TokenFile;

/// Requests a second, and how many may come at once.
const RATE: u64 = 1000;
const BETWEEN: u64 = 1_000_000_000 / RATE;
const BURST: u64 = 1_000_000_000;

/// A program, or a group of programs, that gets credentials from a [`Server`](super::Server).
///
/// Each has a token of its own. Without [`sessions`](Self::sessions), [`roles`](Self::roles) or
/// [`all`](Self::all) it may ask for nothing.
///
/// ```
/// use brs::serve::Consumer;
///
/// let web = Consumer::new("web")
///     .sessions(["app"])
///     .token_file("/run/brs/web.token")
///     .user("web");
/// # let _ = web;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Consumer {
    name: String,
    sessions: Vec<String>,
    roles: Vec<String>,
    all: bool,
    token_file: Option<PathBuf>,
    user: Option<String>,
    token: Option<SecretString>,
}

impl Consumer {
    /// A consumer of that name, which metrics and the status page show.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sessions: Vec::new(),
            roles: Vec::new(),
            all: false,
            token_file: None,
            user: None,
            token: None,
        }
    }

    /// The sessions that it may ask for. With exactly one, `/` is that session.
    pub fn sessions<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.sessions.extend(names.into_iter().map(Into::into));
        self
    }

    /// The roles that it may ask for, where a rule of the server allows them, too
    /// ([`AssumeRule`](super::AssumeRule)): ARNs in which `*` stands for any characters and `?` for
    /// one, neither of them for a colon.
    pub fn roles<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.roles.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// It may ask for every session, and for every role that a rule of the server allows.
    pub fn all(mut self) -> Self {
        self.all = true;
        self
    }

    /// The file that holds the consumer's token, without a newline, mode 0600.
    ///
    /// It is written when the server is built and when tokens are renewed, and removed when the
    /// server ends. The token that it held before is accepted for five more minutes.
    pub fn token_file(mut self, path: impl AsRef<Path>) -> Self {
        self.token_file = Some(path.as_ref().to_owned());
        self
    }

    /// The user that the token file is given to, by name or number. Default: the server's.
    ///
    /// Giving a file away needs root or the capability `CAP_CHOWN`.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// A token of your choice, which renewing tokens does not change. Default: a random one.
    pub fn token(mut self, token: SecretString) -> Self {
        self.token = Some(token);
        self
    }
}

/// A consumer at work.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: Arc<str>,
    sessions: BTreeSet<String>,
    roles: Vec<Pattern>,
    all: bool,
    pub(super) token: SecretString,
    pub(super) is_token_fixed: bool,
    pub(super) token_file: Option<TokenFile>,
    pace: Pace,
    pub(super) tally: Arc<Tally>,
}

impl Client {
    /// Checks what was given.
    pub(super) fn new(consumer: &Consumer) -> Result<Self, Error> {
        check_name("consumer", &consumer.name)?;
        for name in &consumer.sessions {
            check_name("session", name)?;
        }
        let roles = consumer
            .roles
            .iter()
            .map(|role| Pattern::new(role, "roles"))
            .collect::<Result<_, _>>()?;
        if let Some(token) = &consumer.token {
            token::check(token)?;
        }
        let file = consumer.token_file.as_deref();
        Ok(Self {
            name: consumer.name.as_str().into(),
            sessions: consumer.sessions.iter().cloned().collect(),
            roles,
            all: consumer.all,
            token: consumer.token.clone().unwrap_or_else(token::Token::random),
            is_token_fixed: consumer.token.is_some(),
            token_file: file.map(|path| TokenFile::new(path, consumer.user.as_deref())),
            pace: Pace::default(),
            tally: Arc::default(),
        })
    }

    /// The same consumer with another token, and with the requests that were counted.
    pub(super) fn renewed(&self) -> Self {
        let token = if self.is_token_fixed {
            self.token.clone()
        } else {
            token::Token::random()
        };
        Self {
            name: Arc::clone(&self.name),
            sessions: self.sessions.clone(),
            roles: self.roles.clone(),
            all: self.all,
            token,
            is_token_fixed: self.is_token_fixed,
            token_file: self.token_file.clone(),
            pace: Pace::default(),
            tally: Arc::clone(&self.tally),
        }
    }

    pub(super) fn may_use(&self, session: &str) -> bool {
        self.all || self.sessions.contains(session)
    }

    pub(super) fn may_assume(&self, role_arn: &str) -> bool {
        self.all || self.roles.iter().any(|role| role.matches(role_arn))
    }

    pub(super) fn may_use_all(&self) -> bool {
        self.all
    }

    pub(super) fn named(&self) -> &BTreeSet<String> {
        &self.sessions
    }

    /// Counts a request; `Err` when there are too many: how long to wait.
    pub(super) fn pace(&self, now: Duration) -> Result<(), Duration> {
        self.pace.pass(now)
    }
}

/// A name that fits into paths, labels and files.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let rest =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let is_name =
        (1..=64).contains(&name.len()) && name.bytes().all(rest) && !name.starts_with(['_', '-']);
    if is_name {
        return Ok(());
    }
    let shown: String = name.chars().take(64).collect();
    Err(Error::validation(format!(
        "`{shown}` cannot be the name of a {what}: use 1 to 64 of a-z, 0-9, `_` and `-`, the first a letter or a digit"
    ))
    .with_param(what))
}

/// Lets so many requests through a second: the time until which the second's worth is used up, in
/// nanoseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    pub(super) fn pass(&self, now: Duration) -> Result<(), Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let next = |used: u64| used.max(now).saturating_add(BETWEEN);
        let passed = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                Some(next(used)).filter(|next| *next <= now.saturating_add(BURST))
            });
        passed.map(drop).map_err(|used| {
            Duration::from_nanos(next(used).saturating_sub(now.saturating_add(BURST)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_a_second_pass_however_they_come() {
        let pace = Pace::default();
        let start = Duration::from_secs(100);
        let at_once = (0..1500).filter(|_| pace.pass(start).is_ok()).count();
        assert_eq!(at_once, 1000);
        assert_eq!(pace.pass(start), Err(Duration::from_millis(1)));
        assert!(pace.pass(start + Duration::from_millis(1)).is_ok());
        assert!(pace.pass(start + Duration::from_millis(1)).is_err());
        let later = start + Duration::from_secs(60);
        assert_eq!((0..1500).filter(|_| pace.pass(later).is_ok()).count(), 1000);
    }

    #[test]
    fn names_fit_into_paths_and_labels() {
        for name in ["a", "app", "0-9_z", &"x".repeat(64)] {
            assert!(check_name("session", name).is_ok(), "{name}");
        }
        for name in [
            "",
            "-a",
            "_a",
            "A",
            "a b",
            "a/b",
            "..",
            "ä",
            &"x".repeat(65),
        ] {
            assert_eq!(
                check_name("session", name).unwrap_err().param(),
                Some("session")
            );
        }
    }

    #[test]
    fn a_consumer_may_ask_for_what_it_was_given() {
        let client = |consumer: Consumer| Client::new(&consumer).unwrap();
        let web = client(
            Consumer::new("web")
                .sessions(["app"])
                .roles(["arn:aws:iam::*:role/d-*"]),
        );
        assert!(web.may_use("app") && !web.may_use("hub"));
        assert!(web.may_assume("arn:aws:iam::123456789012:role/d-1"));
        assert!(!web.may_assume("arn:aws:iam::123456789012:role/e-1"));
        let all = client(Consumer::new("all").all());
        assert!(all.may_use("hub") && all.may_assume("arn:aws:iam::123456789012:role/e-1"));
        let none = client(Consumer::new("none"));
        assert!(!none.may_use("app") && !none.may_assume("arn:aws:iam::123456789012:role/d-1"));
    }
}
