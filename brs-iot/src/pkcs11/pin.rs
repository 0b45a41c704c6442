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
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::{hmac, rand::SystemRandom};
use brs_core::{Error, SecretString};

use super::select::Identity;
use brs_core::SecretSource;
use brs_core::kit::{Purpose, mistaken};

/// PKCS#11 has no limit of its own; tokens allow 4 to 255 bytes.
const MAX_LENGTH: usize = 255;

pub(super) const PIN: Purpose = Purpose {
    what: "the PIN",
    param: "pin",
};

/// Asks for the PIN, which may take its time: on a thread of its own.
///
/// # Cancel safety
///
/// Dropping the future leaves a function running; while it runs, another attempt fails with an
/// error.
pub(super) async fn ask(source: &SecretSource) -> Result<SecretString, Error> {
    checked(source.ask(PIN).await?)
}

/// The PIN itself, if it was given as a value.
pub(super) fn at_hand(source: &SecretSource) -> Option<SecretString> {
    checked(source.as_value()?.clone()).ok()
}

fn checked(pin: SecretString) -> Result<SecretString, Error> {
    match problem(pin.expose()) {
        Some(problem) => Err(Error::configuration(format!("the PIN {problem}"))
            .unrecoverable()
            .with_param("pin")),
        None => Ok(pin),
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
            "contains a control character, such as a line break, a tab or a NUL, which no PIN does"
                .into(),
        )
    } else {
        mistaken(pin.as_bytes()).map(str::to_owned)
    }
}

/// Why a PIN cannot be the token's, by the lengths that the token reports, as the end of a
/// sentence. Lengths that make no sense limit nothing.
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
        "accepts PINs of {least}{most} bytes, and the given one is {problem}: it was not sent; \
         give the right PIN"
    ))
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

/// What an account's logins with one PIN have shown.
#[derive(Clone, Copy, Default)]
struct Shown {
    refused: bool,
    accepted: bool,
    /// Failed once, and not clear whether for the PIN.
    unclear: bool,
}

/// A PIN's keyed hash.
type Tag = [u8; 32];

type Memory = HashMap<(Account, Tag), Shown>;

/// Without a lock: a forked child knows what its parent knew, and waits for none of its threads.
static MEMORY: ArcSwapOption<Memory> = ArcSwapOption::const_empty();
/// The key of those hashes, made at the first use.
static KEY: ArcSwapOption<hmac::Key> = ArcSwapOption::const_empty();

/// `None` if the system gives no random numbers.
fn key() -> Option<Arc<hmac::Key>> {
    if let Some(key) = KEY.load_full() {
        return Some(key);
    }
    let made = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok()?;
    // Of two at once, one is kept.
    KEY.compare_and_swap(&None::<Arc<hmac::Key>>, Some(Arc::new(made)));
    KEY.load_full()
}

fn tag(pin: &SecretString) -> Option<Tag> {
    let tag = hmac::sign(&*key()?, pin.expose().as_bytes());
    tag.as_ref().try_into().ok()
}

fn shown(account: Account, tag: Tag) -> Shown {
    let memory = MEMORY.load();
    let shown = memory
        .as_ref()
        .and_then(|memory| memory.get(&(account, tag)));
    shown.copied().unwrap_or_default()
}

fn note(account: &Account, pin: &SecretString, change: impl Fn(&mut Shown)) {
    let Some(tag) = tag(pin) else { return };
    MEMORY.rcu(|memory| {
        let mut memory = memory.as_deref().cloned().unwrap_or_default();
        change(memory.entry((account.clone(), tag)).or_default());
        Some(Arc::new(memory))
    });
}

/// Whether this PIN may be tried: this account was not refused with it before, nor was the token's
/// other user unless this one was accepted with it, and a refusal could be remembered.
pub(super) fn may_be_tried(
    account: &Account,
    pin: &SecretString,
    token: &Identity,
) -> Result<(), Error> {
    let wrong = |text: String| Err(Error::configuration(text).unrecoverable().with_param("pin"));
    let Some(tag) = tag(pin) else {
        return wrong(format!(
            "{token}: no PIN is tried, since the system provides no random numbers to remember it \
             by"
        ));
    };
    let (own, other) = (shown(account.clone(), tag), shown(account.other(), tag));
    if own.refused || other.refused && !own.accepted {
        return wrong(format!(
            "{token} has refused this PIN before: it is not tried again; give another PIN"
        ));
    }
    Ok(())
}

/// The token refused this PIN.
pub(super) fn refuse(account: &Account, pin: &SecretString) {
    note(account, pin, |shown| shown.refused = true);
}

/// A login with this PIN failed, and the token does not report whether for the PIN: the second
/// time, that is a refusal.
pub(super) fn doubt(account: &Account, pin: &SecretString) {
    let other_doubts = tag(pin).is_some_and(|tag| shown(account.other(), tag).unclear);
    note(account, pin, |shown| {
        shown.refused |= shown.unclear || other_doubts;
        shown.unclear = true;
    });
}

/// The token accepted this PIN. What it refused of others stays refused.
pub(super) fn accept(account: &Account, pin: &SecretString) {
    note(account, pin, |shown| {
        shown.accepted = true;
        shown.unclear = false;
    });
}

#[cfg(test)]
mod tests;
