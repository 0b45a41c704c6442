//! A device's key in a PKCS#11 token: a TPM, a secure element, a smart card, an HSM. It never
//! leaves the token.
//!
//! [`Pkcs11`] says where the key is: the module (the vendor's library), the token, the key, the
//! PIN. Which certificate belongs to it is said elsewhere, or it is read from the token.
//!
//! ```
//! use brs_iot::{Pkcs11, SecretSource};
//!
//! let key = Pkcs11::new("/usr/lib/softhsm/libsofthsm2.so")
//!     .token_label("device")
//!     .key_label("iot")
//!     .pin(SecretSource::file("/run/secrets/pin"));
//! // The same as a URI of RFC 7512.
//! let key = Pkcs11::from_uri(
//!     "pkcs11:token=device;object=iot?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/secrets/pin",
//! )?;
//! # Ok::<_, brs_core::Error>(())
//! ```
//!
//! # How it behaves
//!
//! - Keys are RSA of 2048 to 4096 bits, P-256 or P-384. When a token is opened, the key signs a
//!   test message by each scheme that TLS is then offered (by the first of each kind where each
//!   signature wants a login), and the signatures must fit the certificate. A token that cannot
//!   make RSA-PSS signatures is used with TLS 1.2 only; where that may have been something passing,
//!   it is tried again at the next refresh.
//! - Nothing is guessed: if what was said fits no token or key or several, the error lists what
//!   there is. Of several certificates of that name on the token, the one is used that fits the key
//!   and is valid; of those that renew each other (one subject, one authority), the one that ends
//!   last. From 30 days before its end on, each refresh looks whether the token has a renewed one.
//! - One thread per token serves all sessions of the process. A signature has a time limit; while a
//!   token hangs, further tries fail at once. A file or a function that gives a PIN is asked
//!   elsewhere, when a login is due: whoever waits for a person stops no other session. A PIN pad's
//!   person, however, is waited for on the token's thread.
//! - A token that was unplugged and is back works at the next signature.
//! - What cannot be the token's PIN, by its length or for a control character in it, is not sent. A
//!   PIN that a token refused is never tried on it again. Logins and keys that want a PIN for each
//!   signature share that memory, since many tokens count the mistakes of both together; only where
//!   a PIN was accepted before does the other's refusal not count. Where a login fails and the
//!   token tells neither why nor that it counted a try (`CKR_GENERAL_ERROR` or its like, and no
//!   flag that changed), that PIN has one more try. The memory ends with the process: a supervisor
//!   that restarts a program with a wrong PIN uses up the token's tries. The last one is left
//!   alone: with it, brs does not log in.
//! - A signature blocks the thread that makes the TLS handshake; brs makes such handshakes where
//!   that stalls no task. A runtime of yours that is shut down meanwhile waits for them, a call's
//!   time limit at most.
//! - A module is loaded once, never unloaded and never finalised, and at the process's end nobody
//!   waits for its thread. Other code that uses it must initialise it with locking
//!   (`CKF_OS_LOCKING_OK`): whoever is first decides for all. Modules whose exit handlers mind
//!   calls that still run want the sessions dropped before the process ends.
//! - A key with `CKA_ALWAYS_AUTHENTICATE` wants its PIN between a signature's beginning and its
//!   end, so that the module must sign in steps: by a mechanism that digests, such as
//!   `CKM_ECDSA_SHA256`, or by taking the plain one's data in steps, too. SoftHSM2 up to 2.6 does
//!   so for RSA keys and not for EC keys, which are refused then.
//! - A session whose PIN is not the one that another session on the same token is logged in with is
//!   refused. Where other code in the process has logged in, PKCS#11 looks at no PIN, and nor can
//!   brs.

mod asking;
mod certificates;
mod data;
mod failure;
mod find;
#[cfg(feature = "test-util")]
#[doc(hidden)]
pub mod hook;
mod key;
mod kind;
mod login;
mod open;
mod pin;
mod prove;
mod sign;
mod thread;
mod token;
mod uri;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use brs_core::{Blocking, Error};

pub use open::Opened;

use asking::Until;
use find::{Id, ObjectSelector, TokenSelector};

use crate::device::path;
use crate::device::reading::{Unread, no_file};
use crate::device::secret::SecretSource;

const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(10);
/// As for commands: 12 hours.
const MAX_TIMEOUT: Duration = Duration::from_secs(43_200);

/// Where a device's key is.
#[derive(Clone)]
#[must_use = "a token's parameters do nothing until they are given to something"]
pub struct Pkcs11 {
    module_path: PathBuf,
    token: TokenSelector,
    key: ObjectSelector,
    certificate: ObjectSelector,
    pin: Option<SecretSource>,
    signature_timeout: Duration,
    /// Where files are looked at: they may be on a network's file system that hangs.
    place: Blocking,
}

impl Pkcs11 {
    /// A key on a token of this module: the absolute path of the vendor's library; `~` stands for
    /// the home directory.
    pub fn new(module_path: impl Into<PathBuf>) -> Self {
        Self {
            module_path: module_path.into(),
            token: TokenSelector::default(),
            key: ObjectSelector::default(),
            certificate: ObjectSelector::default(),
            pin: None,
            signature_timeout: SIGNATURE_TIMEOUT,
            place: Blocking::new(),
        }
    }

    /// A key by its RFC 7512 URI, `pkcs11:token=…;object=…?module-path=…&pin-source=…`.
    ///
    /// Padding at a name's end, `%20` or `%00`, is no part of it. Understood are `token`, `serial`,
    /// `manufacturer`, `model`, `slot-id`, `object`, `id`, `type=private`, and behind the `?`
    /// `module-path`, `pin-source` (a file, never a command) and `pin-value`. Any other attribute
    /// before the `?`, a vendor's too, is refused, since it may narrow what is meant; behind it, it
    /// is ignored with a warning.
    ///
    /// # Errors
    ///
    /// A validation error that names the attribute, never its value.
    pub fn from_uri(uri: &str) -> Result<Self, Error> {
        Self::from_uri_with(uri, None)
    }

    fn from_uri_with(uri: &str, module_path: Option<&Path>) -> Result<Self, Error> {
        let uri = uri::Uri::parse(uri)?;
        let wrong = |problem: &str| Error::validation(problem.to_owned()).unrecoverable();
        let module_path = match (uri.module_path, module_path) {
            (Some(path), None) => path,
            (None, Some(path)) => path.to_owned(),
            (None, None) => {
                return Err(wrong(
                    "the PKCS#11 URI has no `module-path`: add `?module-path=/…`",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(wrong(
                    "`module_path` is given twice: in the URI and beside it",
                ));
            }
        };
        let mut read = Self::new(module_path);
        read.token = TokenSelector {
            slot_id: uri.slot_id,
            label: uri.token,
            serial: uri.serial,
            manufacturer: uri.manufacturer,
            model: uri.model,
        };
        read.key = ObjectSelector {
            label: uri.object,
            id: uri.id.map(Id),
        };
        read.pin = uri
            .pin_value
            .map(SecretSource::value)
            .or(uri.pin_file.map(SecretSource::file));
        Ok(read)
    }

    /// The number of the slot that the token is in. Numbers may change when tokens come and go: a
    /// label or a serial number is the better choice.
    pub fn slot_id(mut self, id: u64) -> Self {
        self.token.slot_id = Some(id);
        self
    }

    /// The token's label (PKCS#11's padding removed).
    pub fn token_label(mut self, label: impl Into<String>) -> Self {
        self.token.label = Some(label.into());
        self
    }

    /// The token's serial number.
    pub fn token_serial(mut self, serial: impl Into<String>) -> Self {
        self.token.serial = Some(serial.into());
        self
    }

    /// The private key's label (`CKA_LABEL`). Default: the token's only private key.
    pub fn key_label(mut self, label: impl Into<String>) -> Self {
        self.key.label = Some(label.into());
        self
    }

    /// The private key's id (`CKA_ID`). With a label, both must fit.
    pub fn key_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.key.id = Some(Id(id.into()));
        self
    }

    /// The label of the certificate on the token, where it is read from there. Default: the
    /// certificate with the key's id, else the one with the key's label.
    pub fn certificate_label(mut self, label: impl Into<String>) -> Self {
        self.certificate.label = Some(label.into());
        self
    }

    /// The id of the certificate on the token, where it is read from there.
    pub fn certificate_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.certificate.id = Some(Id(id.into()));
        self
    }

    /// The PIN. Default: none, for tokens without login or with a PIN pad of their own.
    pub fn pin(mut self, pin: impl Into<SecretSource>) -> Self {
        self.pin = Some(pin.into());
        self
    }

    /// How long a signature may take, waiting for the token included: above 0, at most 12 hours.
    /// Default: 10 s, far above what a TPM or a smart card needs. Opening the token, its PIN
    /// included, has the same limit, so that a function which asks a person, or a PIN pad, wants a
    /// larger one: two minutes, say. Within a call of the method `iot` a signature also ends before
    /// the call does; a limit above the default makes calls and refreshes longer.
    pub fn signature_timeout(mut self, limit: Duration) -> Self {
        self.signature_timeout = limit;
        self
    }

    /// Checks what can be checked without the module.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.signature_timeout.is_zero() || self.signature_timeout > MAX_TIMEOUT {
            return Err(wrong_timeout());
        }
        if !path::expanded(&self.module_path).is_absolute() {
            // A bare name would be looked for wherever the environment says.
            return Err(Error::validation(
                "`module_path` must be an absolute path of a PKCS#11 library",
            )
            .unrecoverable()
            .with_param("module_path"));
        }
        Ok(())
    }

    /// The module's real path: one module under two names is one module.
    async fn module(&self, until: Until) -> Result<PathBuf, Error> {
        let path = path::expanded(&self.module_path).into_owned();
        let late = format!("PKCS#11 module `{}` was not found", path.display());
        until
            .or_late(self.place.run(move || module(&path)), &late)
            .await??
    }
}

fn module(path: &Path) -> Result<PathBuf, Error> {
    let refused = |unread: Unread| {
        unread.into_error(
            &format!("PKCS#11 module `{}`", path.display()),
            "module_path",
        )
    };
    let failed = |error| refused(Unread::io(error, path));
    let real = path.canonicalize().map_err(failed)?;
    if let Some(problem) = no_file(&real.metadata().map_err(failed)?) {
        return Err(refused(Unread::new(problem)));
    }
    // Whoever loads it says less about why it may not be read.
    File::open(&real).map_err(failed)?;
    Ok(real)
}

fn wrong_timeout() -> Error {
    Error::validation("`signature_timeout` must be above 0 and at most 43200 seconds")
        .unrecoverable()
        .with_param("signature_timeout")
}

impl fmt::Debug for Pkcs11 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11")
            .field("module_path", &self.module_path)
            .field("token", &format_args!("{}", self.token))
            .field("key", &format_args!("{}", self.key))
            .field("certificate", &format_args!("{}", self.certificate))
            .field("pin", &self.pin)
            .field("signature_timeout", &self.signature_timeout)
            .finish()
    }
}
