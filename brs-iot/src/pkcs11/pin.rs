//! Where a token's PIN comes from, and which PINs a token has refused.
//!
//! A PIN is fetched when the token is logged in to, and again when the token was away: a file or a function may give
//! another one then. Files and functions are asked on threads of their own, one call at a time: neither the token's
//! thread nor a runtime's worker waits for a person. A token counts wrong PINs and locks itself after a few. So each
//! PIN that a token refused is remembered for the life of the process, as a keyed hash under a key that exists in this
//! process only, and never tried on that token again. What it accepted is remembered the same way.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use aws_lc_rs::{hmac, rand::SystemRandom};
use brs_core::{Blocking, Error, SecretString};
use tokio::sync::{Mutex as Turns, MutexGuard as Turn};
use zeroize::Zeroizing;

use super::find::Identity;
use crate::passphrase::{shown_name, shown_path};
use crate::path;

/// PKCS#11 has no limit of its own; tokens allow 4 to 255 bytes.
const MAX_LENGTH: usize = 255;

/// Where a token's PIN comes from: a value, a file, an environment variable or a function.
///
/// `From` is implemented for texts: `.pin("1234")` is the value.
#[derive(Clone)]
pub struct Pin(Arc<Asked>);

struct Asked {
    source: Source,
    place: Blocking,
    /// Whoever shares this PIN waits for the one who is asking, and need not ask once that one is logged in.
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
        Self(Arc::new(Asked { source, place: Blocking::new(), turns: Turns::new(()) }))
    }

    /// The PIN itself.
    pub fn value(pin: impl Into<SecretString>) -> Self {
        Self::new(Source::Value(pin.into()))
    }

    /// A file that holds the PIN, in UTF-8; one line feed at its end is not part of it. `~` stands for the home
    /// directory.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Source::File(path.into()))
    }

    /// An environment variable that holds the PIN.
    pub fn environment(name: impl Into<String>) -> Self {
        Self::new(Source::Environment(name.into()))
    }

    /// A function that gives the PIN. It is called when a login is due and not for each signature (unless the key wants
    /// that), and where another session is logged in with a PIN of its own, on a thread of its own, one call at a time,
    /// within the time limit of a signature. Sessions with clones of this PIN ask once for one login.
    pub fn function(function: impl Fn() -> Result<SecretString, Error> + Send + Sync + 'static) -> Self {
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
        asked.map_err(|error| Error::connection(format!("the PIN cannot be asked for: {error}")).with_param("pin"))?
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
        let wrong = |problem: String| Error::configuration(problem).unrecoverable().with_param("pin");
        let (pin, place) = match &self.0.source {
            Source::Value(pin) => (pin.clone(), "the PIN".to_owned()),
            Source::File(file) => {
                let place = format!("PIN file{}", shown_path(file));
                (read(file).map_err(|error| wrong(format!("{place} cannot be read")).with_source(error))?, place)
            }
            Source::Environment(name) => {
                let place = format!("environment variable{}", shown_name(name));
                // `VarError` holds the value, so that it is not kept as the source.
                let pin = std::env::var(name).map_err(|_| wrong(format!("{place} holds no PIN: it is not set")))?;
                (SecretString::new(pin), place)
            }
            Source::Function(function) => (function()?, "what the PIN function returned".to_owned()),
        };
        match pin.expose().len() {
            0 => Err(wrong(format!("{place} is empty"))),
            length if length > MAX_LENGTH => {
                Err(wrong(format!("{place} is longer than a PIN can be: at most {MAX_LENGTH} bytes")))
            }
            _ => Ok(pin),
        }
    }
}

fn read(file: &std::path::Path) -> std::io::Result<SecretString> {
    let mut file = File::open(path::expanded(file))?;
    // One buffer that never grows: growing would leave copies behind. Longer than allowed by a line end and one.
    let mut buffer = Zeroizing::new([0_u8; MAX_LENGTH + 3]);
    let mut length = 0;
    loop {
        match file.read(&mut buffer[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let text = std::str::from_utf8(&buffer[..length])
        .map_err(|_| std::io::Error::new(std::io::ErrorKind::InvalidData, "it is not UTF-8"))?;
    let text = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    Ok(SecretString::new(text))
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

/// Whose PIN it is: a token's, by what it is and not by where it is plugged in, and one of its users'.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Account {
    token: Vec<String>,
    for_one_signature: bool,
}

impl Account {
    pub(super) fn new(token: &Identity, for_one_signature: bool) -> Self {
        let token = match token.serial.is_empty() {
            false => vec![token.serial.clone()],
            true => vec![token.manufacturer.clone(), token.model.clone(), token.label.clone()],
        };
        Self { token, for_one_signature }
    }

    /// The other user of the same token: many tokens, PIV's for one, count both's wrong PINs together.
    fn other(&self) -> Self {
        Self { token: self.token.clone(), for_one_signature: !self.for_one_signature }
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
    tags.iter().any(|tag| hmac::verify(key, pin.expose().as_bytes(), tag.as_ref()).is_ok())
}

/// Whether this PIN may be tried: this account was not refused with it before, nor was the token's other user unless
/// this one was accepted with it, and a refusal could be remembered.
pub(super) fn may_be_tried(account: &Account, pin: &SecretString, token: &Identity) -> Result<(), Error> {
    let wrong = |text: String| Err(Error::configuration(text).unrecoverable().with_param("pin"));
    let Some(key) = &*KEY else {
        return wrong(format!("{token}: no PIN is tried, since the system gives no random numbers to remember it by"));
    };
    let memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |account: &Account, tags: fn(&Memory) -> &Vec<hmac::Tag>| {
        memory.get(account).is_some_and(|memory| holds(tags(memory), key, pin))
    };
    let was_refused = of(account, |memory| &memory.refused);
    if was_refused || of(&account.other(), |memory| &memory.refused) && !of(account, |memory| &memory.accepted) {
        return wrong(format!("{token} has refused this PIN before: it is not tried again; give another PIN"));
    }
    Ok(())
}

/// The token refused this PIN.
pub(super) fn refuse(account: &Account, pin: &SecretString) {
    if let Some(key) = &*KEY {
        let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        memory.entry(account.clone()).or_default().refused.push(hmac::sign(key, pin.expose().as_bytes()));
    }
}

/// A login with this PIN failed, and the token does not say whether for the PIN: the second time, that is a refusal.
pub(super) fn doubt(account: &Account, pin: &SecretString) {
    let Some(key) = &*KEY else { return };
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let was_unclear = memory.get(&account.other()).is_some_and(|other| holds(&other.unclear, key, pin));
    let memory = memory.entry(account.clone()).or_default();
    let tags = if was_unclear || holds(&memory.unclear, key, pin) { &mut memory.refused } else { &mut memory.unclear };
    tags.push(hmac::sign(key, pin.expose().as_bytes()));
}

/// The token accepted this PIN. What it refused of others stays refused.
pub(super) fn accept(account: &Account, pin: &SecretString) {
    let (Some(key), mut memory) = (&*KEY, MEMORY.lock().unwrap_or_else(PoisonError::into_inner)) else { return };
    let memory = memory.entry(account.clone()).or_default();
    memory.unclear.retain(|tag| hmac::verify(key, pin.expose().as_bytes(), tag.as_ref()).is_err());
    if !holds(&memory.accepted, key, pin) {
        memory.accepted.push(hmac::sign(key, pin.expose().as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(content: &[u8]) -> Result<SecretString, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        Pin::file(file.path()).fetch()
    }

    #[test]
    fn a_file_ends_with_one_line_end_at_most() {
        for (content, pin) in [("1234", "1234"), ("1234\n", "1234"), ("1234\r\n", "1234"), (" 12 \n\n", " 12 \n")] {
            assert_eq!(file(content.as_bytes()).unwrap().expose(), pin);
        }
        let longest = "9".repeat(MAX_LENGTH);
        assert_eq!(file(format!("{longest}\r\n").as_bytes()).unwrap().expose(), longest);
    }

    #[test]
    fn what_is_no_pin_is_refused_without_showing_it() {
        let too_long = "9".repeat(MAX_LENGTH + 1);
        for error in [
            file(b"").unwrap_err(),
            file(b"\n").unwrap_err(),
            file(b"\xffhush").unwrap_err(),
            file(too_long.as_bytes()).unwrap_err(),
            file("9".repeat(1 << 16).as_bytes()).unwrap_err(),
            Pin::value(too_long).fetch().unwrap_err(),
            Pin::file("/does/not/exist").fetch().unwrap_err(),
            Pin::environment("BRS_TEST_NO_SUCH_VARIABLE").fetch().unwrap_err(),
            Pin::function(|| Ok("".into())).fetch().unwrap_err(),
        ] {
            let shown = format!("{error} {error:?}");
            assert!(error.is_unrecoverable() && !shown.contains("999") && !shown.contains("hush"), "{shown}");
        }
    }

    #[test]
    fn a_functions_error_is_kept() {
        let error = Pin::function(|| Err(Error::connection("no agent"))).fetch().unwrap_err();
        assert!(error.is_retryable() && error.to_string() == "no agent");
    }

    #[test]
    fn debug_shows_the_place_and_not_the_pin() {
        assert_eq!(format!("{:?}", Pin::value("hush")), "Pin(** redacted **)");
        assert_eq!(format!("{:?}", Pin::file("/run/pin")), "Pin(file `/run/pin`)");
        assert_eq!(format!("{:?}", Pin::environment("PIN")), "Pin(environment `PIN`)");
        assert_eq!(format!("{:?}", Pin::function(|| Ok("hush".into()))), "Pin(function)");
    }

    #[test]
    fn a_pin_in_the_place_of_a_path_or_a_name_is_not_shown() {
        let (file, variable) = (Pin::file("123456"), Pin::environment("123456"));
        let (one, other) = (file.fetch().unwrap_err(), variable.fetch().unwrap_err());
        let shown = format!("{file:?} {one} {one:?} {variable:?} {other} {other:?}");
        assert!(!shown.contains("123456"), "{shown}");
        assert_eq!(one.to_string(), "PIN file cannot be read");
        assert_eq!(other.to_string(), "environment variable holds no PIN: it is not set");
    }

    fn account(serial: &str, slot_id: Option<u64>) -> (Account, Identity) {
        let token = Identity { serial: serial.into(), label: "label".into(), slot_id, ..Identity::default() };
        (Account::new(&token, false), token)
    }

    #[test]
    fn refused_pins_stay_refused_whatever_else_is_accepted() {
        let ((one, token), (other, _)) = (account("refused-1", None), account("refused-2", None));
        let may = |account: &Account, pin: &str| may_be_tried(account, &pin.into(), &token).is_ok();
        for pin in ["1111", "2222"] {
            assert!(may(&one, pin));
            refuse(&one, &pin.into());
        }
        accept(&one, &"3333".into());
        assert!(!may(&one, "1111") && !may(&one, "2222") && may(&one, "3333") && may(&other, "1111"));
    }

    #[test]
    fn what_one_user_was_refused_with_the_other_tries_only_if_it_was_accepted_before() {
        let (user, token) = account("refused-3", None);
        let signer = Account::new(&token, true);
        let may = |account: &Account, pin: &str| may_be_tried(account, &pin.into(), &token).is_ok();
        refuse(&user, &"1111".into());
        assert!(!may(&signer, "1111") && may(&signer, "2222"));
        accept(&user, &"3333".into());
        refuse(&signer, &"3333".into());
        assert!(may(&user, "3333") && !may(&signer, "3333"));
        // One doubt for both.
        doubt(&user, &"4444".into());
        assert!(may(&signer, "4444"));
        doubt(&signer, &"4444".into());
        assert!(!may(&signer, "4444") && !may(&user, "4444"));
    }

    #[test]
    fn a_token_is_known_in_every_slot() {
        assert_eq!(account("", Some(1)).0, account("", Some(2)).0);
        assert_eq!(account("3", None).0, account("3", Some(2)).0);
        assert_ne!(account("3", None).0, account("", None).0);
    }

    #[test]
    fn an_unclear_failure_allows_one_more_try() {
        let (account, token) = account("unclear", None);
        let may = || may_be_tried(&account, &"1111".into(), &token).is_ok();
        doubt(&account, &"1111".into());
        assert!(may());
        accept(&account, &"1111".into());
        doubt(&account, &"1111".into());
        assert!(may());
        doubt(&account, &"1111".into());
        assert!(!may());
    }
}
