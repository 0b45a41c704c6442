//! Where a token's PIN comes from, and which PINs a token has refused.
//!
//! A PIN is fetched when the token is logged in to, and again when the token was away: a file or a
//! function may give another one then. Files and functions are asked on threads of their own, one
//! call at a time: neither the token's thread nor a runtime's worker waits for a person. A token
//! counts wrong PINs and locks itself after a few. So each PIN that a token refused is remembered
//! for the life of the process, as a keyed hash under a key that exists in this process only, and
//! never tried on that token again. What it accepted is remembered the same way. What cannot be a
//! PIN is never sent at all: a try is precious.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::{hmac, rand::SystemRandom};
use brs_core::{Blocking, Error, SecretString};
use tokio::sync::{Mutex as Turns, MutexGuard as Turn};

use super::find::Identity;
use crate::device::passphrase::{environment, shown_name, shown_path};
use crate::device::{first_line, path};

/// PKCS#11 has no limit of its own; tokens allow 4 to 255 bytes.
const MAX_LENGTH: usize = 255;

/// Where a token's PIN comes from: a value, a file, an environment variable or a function.
///
/// `From` is implemented for texts: `.pin("1234")` is the value.
///
/// What cannot be a PIN is not sent to the token, which may count it as a wrong try: an empty one,
/// one with a control character such as a line break, and one that is shorter or longer than the
/// token says its PINs are.
#[derive(Clone)]
pub struct Pin(Arc<Asked>);

struct Asked {
    source: Source,
    place: Blocking,
    /// Whoever shares this PIN waits for the one who is asking, and need not ask once that one is
    /// logged in.
    turns: Turns<()>,
}

enum Source {
    Value(SecretString),
    File(PathBuf),
    Environment(String),
    Function(Box<dyn Fn() -> Result<SecretString, Error> + Send + Sync>),
}

impl Pin {
    fn new(source: Source) -> Self {
        Self(Arc::new(Asked {
            source,
            place: Blocking::new(),
            turns: Turns::new(()),
        }))
    }

    /// The PIN itself.
    pub fn value(pin: impl Into<SecretString>) -> Self {
        Self::new(Source::Value(pin.into()))
    }

    /// A file whose first line is the PIN, without its line break; `~` stands for the home
    /// directory.
    ///
    /// The file is a regular one of at most 4 KiB in UTF-8, a byte order mark is no part of the
    /// line, blanks are, and what follows it is ignored: the same rule as for pass phrases.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::File(path.into()))
    }

    /// An environment variable that holds the PIN.
    pub fn environment(name: impl Into<String>) -> Self {
        Self::new(Source::Environment(name.into()))
    }

    /// A function that gives the PIN. It is called when a login is due and not for each signature
    /// (unless the key wants that), and where another session is logged in with a PIN of its own,
    /// on a thread of its own, one call at a time, within the time limit of a signature. Sessions
    /// with clones of this PIN ask once for one login.
    pub fn function(
        function: impl Fn() -> Result<SecretString, Error> + Send + Sync + 'static,
    ) -> Self {
        Self::new(Source::Function(Box::new(function)))
    }

    /// The PIN itself, where that is what was given.
    pub(super) fn at_hand(&self) -> Option<SecretString> {
        match &self.0.source {
            Source::Value(_) => self.fetch().ok(),
            _ => None,
        }
    }

    /// Fetches the PIN, which may take its time: on a thread of its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves a function running; while it does, another try fails and says so.
    pub(super) async fn ask(&self) -> Result<SecretString, Error> {
        let pin = self.clone();
        let asked = self.0.place.run(move || pin.fetch()).await;
        asked.map_err(|error| {
            Error::connection(format!("the PIN cannot be asked for: {error}")).with_param("pin")
        })?
    }

    /// Waits until nobody else who shares this PIN is logging in with it.
    pub(super) async fn turn(&self) -> Turn<'_, ()> {
        self.0.turns.lock().await
    }

    /// Whether this is a clone of the other.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn fetch(&self) -> Result<SecretString, Error> {
        let wrong = |problem: String| {
            Error::configuration(problem)
                .unrecoverable()
                .with_param("pin")
        };
        let (pin, place) = match &self.0.source {
            Source::Value(pin) => (pin.clone(), "the PIN".to_owned()),
            Source::File(file) => {
                let place = format!("the PIN's file{}", shown_path(file));
                let read = first_line::read(&path::expanded(file));
                (
                    read.map_err(|unread| unread.into_error(&place, "pin"))?,
                    place,
                )
            }
            Source::Environment(name) => {
                let (place, pin) = environment(name, "the PIN");
                (
                    pin.map_err(|problem| wrong(format!("{place} {problem}")))?,
                    place,
                )
            }
            Source::Function(function) => {
                (function()?, "what the PIN function returned".to_owned())
            }
        };
        match problem(pin.expose()) {
            Some(problem) => Err(wrong(format!("{place} {problem}"))),
            None => Ok(pin),
        }
    }
}

/// Why a text cannot be a PIN, as the end of a sentence.
fn problem(pin: &str) -> Option<String> {
    if pin.is_empty() {
        Some("is empty".into())
    } else if pin.len() > MAX_LENGTH {
        Some(format!(
            "is longer than a PIN can be: at most {MAX_LENGTH} bytes"
        ))
    } else if pin.chars().any(char::is_control) {
        Some(
            "holds a control character, such as a line break, a tab or a NUL, which no PIN does"
                .into(),
        )
    } else {
        None
    }
}

/// Why a PIN cannot be the token's, which says how many bytes its PINs have, as the end of a
/// sentence. What says nothing, or makes no sense, limits nothing.
pub(super) fn out_of_range(pin: &SecretString, least: usize, most: usize) -> Option<String> {
    let length = pin.expose().len();
    let most = if most == 0 { usize::MAX } else { most };
    if least > most || (least..=most).contains(&length) || least == usize::MAX {
        return None;
    }
    let (problem, most) = (
        if length < least { "shorter" } else { "longer" },
        if most == usize::MAX {
            ""
        } else {
            &format!(" to {most}")
        },
    );
    Some(format!(
        "has PINs of {least}{most} bytes, and the one that was given is {problem}: it was not sent; give the right PIN"
    ))
}

impl<T: Into<SecretString>> From<T> for Pin {
    fn from(pin: T) -> Self {
        Self::value(pin)
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.source {
            Source::Value(_) => f.write_str("Pin(** redacted **)"),
            Source::File(file) => write!(f, "Pin(file{})", shown_path(file)),
            Source::Environment(name) => write!(f, "Pin(environment{})", shown_name(name)),
            Source::Function(_) => f.write_str("Pin(function)"),
        }
    }
}

/// Whose PIN it is: a token's, by what it is and not by where it is plugged in, and one of its
/// users'.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Account {
    token: Vec<String>,
    for_one_signature: bool,
}

impl Account {
    pub(super) fn new(token: &Identity, for_one_signature: bool) -> Self {
        let token = match token.serial.is_empty() {
            false => vec![token.serial.clone()],
            true => vec![
                token.manufacturer.clone(),
                token.model.clone(),
                token.label.clone(),
            ],
        };
        Self {
            token,
            for_one_signature,
        }
    }

    /// The other user of the same token: many tokens, PIV's for one, count both's wrong PINs
    /// together.
    fn other(&self) -> Self {
        Self {
            token: self.token.clone(),
            for_one_signature: !self.for_one_signature,
        }
    }
}

/// What an account's logins with these PINs have shown, as keyed hashes.
#[derive(Default)]
struct Memory {
    refused: Vec<hmac::Tag>,
    accepted: Vec<hmac::Tag>,
    /// Failed once, and not clear whether for the PIN.
    unclear: Vec<hmac::Tag>,
}

static MEMORY: LazyLock<Mutex<HashMap<Account, Memory>>> = LazyLock::new(Mutex::default);
/// The key of those hashes; `None` if the system gives no random numbers.
static KEY: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok());

fn holds(tags: &[hmac::Tag], key: &hmac::Key, pin: &SecretString) -> bool {
    tags.iter()
        .any(|tag| hmac::verify(key, pin.expose().as_bytes(), tag.as_ref()).is_ok())
}

/// Whether this PIN may be tried: this account was not refused with it before, nor was the token's
/// other user unless this one was accepted with it, and a refusal could be remembered.
pub(super) fn may_be_tried(
    account: &Account,
    pin: &SecretString,
    token: &Identity,
) -> Result<(), Error> {
    let wrong = |text: String| Err(Error::configuration(text).unrecoverable().with_param("pin"));
    let Some(key) = &*KEY else {
        return wrong(format!(
            "{token}: no PIN is tried, since the system gives no random numbers to remember it by"
        ));
    };
    let memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |account: &Account, tags: fn(&Memory) -> &Vec<hmac::Tag>| {
        memory
            .get(account)
            .is_some_and(|memory| holds(tags(memory), key, pin))
    };
    let was_refused = of(account, |memory| &memory.refused);
    if was_refused
        || of(&account.other(), |memory| &memory.refused) && !of(account, |memory| &memory.accepted)
    {
        return wrong(format!(
            "{token} has refused this PIN before: it is not tried again; give another PIN"
        ));
    }
    Ok(())
}

/// The token refused this PIN.
pub(super) fn refuse(account: &Account, pin: &SecretString) {
    if let Some(key) = &*KEY {
        let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        memory
            .entry(account.clone())
            .or_default()
            .refused
            .push(hmac::sign(key, pin.expose().as_bytes()));
    }
}

/// A login with this PIN failed, and the token does not say whether for the PIN: the second time,
/// that is a refusal.
pub(super) fn doubt(account: &Account, pin: &SecretString) {
    let Some(key) = &*KEY else { return };
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let was_unclear = memory
        .get(&account.other())
        .is_some_and(|other| holds(&other.unclear, key, pin));
    let memory = memory.entry(account.clone()).or_default();
    let tags = if was_unclear || holds(&memory.unclear, key, pin) {
        &mut memory.refused
    } else {
        &mut memory.unclear
    };
    tags.push(hmac::sign(key, pin.expose().as_bytes()));
}

/// The token accepted this PIN. What it refused of others stays refused.
pub(super) fn accept(account: &Account, pin: &SecretString) {
    let (Some(key), mut memory) = (&*KEY, MEMORY.lock().unwrap_or_else(PoisonError::into_inner))
    else {
        return;
    };
    let memory = memory.entry(account.clone()).or_default();
    memory
        .unclear
        .retain(|tag| hmac::verify(key, pin.expose().as_bytes(), tag.as_ref()).is_err());
    if !holds(&memory.accepted, key, pin) {
        memory
            .accepted
            .push(hmac::sign(key, pin.expose().as_bytes()));
    }
}

#[cfg(test)]
mod tests;
