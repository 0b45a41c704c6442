//! A device's key in a PKCS#11 token: a TPM, a secure element, a smart card, an HSM. It never
//! leaves the token.
//!
//! [`Pkcs11`] states where the key is: the module (the vendor's library), the token, the key, the
//! PIN. The certificate is given beside it, or read from the token.
//!
//! ```
//! # mod brs { pub use brs_core::*; pub use brs_iot as iot; }
//! use brs::iot::{Pkcs11, SecretSource};
//!
//! let key = Pkcs11::new("/usr/lib/softhsm/libsofthsm2.so")
//!     .token_label("device")
//!     .key_label("iot")
//!     .pin(SecretSource::file("/run/secrets/pin"));
//! // The same as a URI of RFC 7512.
//! let key = Pkcs11::from_uri(
//!     "pkcs11:token=device;object=iot?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/secrets/pin",
//! )?;
//! # Ok::<_, brs::Error>(())
//! ```
//!
//! # How it behaves
//!
//! - Keys are RSA of 2048 to 4096 bits, P-256 or P-384. When a token is opened, the key signs a
//!   test message with each scheme that TLS is then offered (with the first of each kind if each
//!   signature requires a login), and the signatures must match the certificate. A token that
//!   cannot make RSA-PSS signatures is used with TLS 1.2 only. If the reason may have been
//!   temporary, the next refresh tries again.
//! - Nothing is guessed: if the selection matches no token or key, or several, the error lists what
//!   there is. Of several matching certificates on the token, brs uses the one that belongs to the
//!   key and is valid; of those that renew each other (one subject, one authority), the one that
//!   expires last. In the last 30 days before expiration, each refresh opens the token again and
//!   looks for a renewed certificate.
//! - One thread per token serves all sessions of the process. A signature has a time limit; while a
//!   token hangs, further attempts fail at once. A file or a function that gives a PIN is read
//!   elsewhere, when a login is due, so waiting for a person stops no other session. A PIN pad,
//!   however, is waited for on the token's thread.
//! - A token that was unplugged and is back works at the next signature.
//! - A text that cannot be the token's PIN, because of its length or a control character, is not
//!   sent. A PIN that a token refused is never tried on it again. Logins and keys that require a PIN
//!   for each signature share that memory, since many tokens count both kinds of mistakes together;
//!   a PIN that one of them accepted is still tried there. If a login fails and the token reports
//!   neither why nor that it counted an attempt (`CKR_GENERAL_ERROR` or similar, and no flag that
//!   changed), that PIN has one more attempt. The memory ends with the process: a supervisor that
//!   restarts a program with a wrong PIN uses up the token's attempts. brs never uses the last one.
//! - A signature blocks the thread that makes the TLS handshake; brs makes such handshakes where
//!   they stall no task. If your runtime shuts down meanwhile, it waits for them, at most for a
//!   call's time limit.
//! - A module is loaded once, never unloaded and never finalised, and its thread is not joined when
//!   the process ends. Other code that uses the module must initialise it with locking
//!   (`CKF_OS_LOCKING_OK`): the first to initialise it decides for all. If a module's exit handlers
//!   cannot bear running calls, drop the sessions before the process ends.
//! - A key with `CKA_ALWAYS_AUTHENTICATE` needs its PIN between a signature's beginning and its
//!   end, so the module must sign in steps: with a mechanism that digests, such as
//!   `CKM_ECDSA_SHA256`, or by accepting the plain one's data in steps, too. SoftHSM2 up to 2.6 does
//!   so for RSA keys but not for EC keys, which are rejected then.
//! - A session whose PIN differs from the one that another session on the same token is logged in
//!   with is rejected. If other code in the process has logged in, PKCS#11 checks no PIN, and
//!   neither can brs.

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
mod select;
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
use select::{Id, ObjectSelector, TokenSelector};

use brs_core::SecretSource;
use brs_core::kit::files::{Unread, no_file};
use brs_core::kit::path;

const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(10);
/// As for commands: 12 hours.
const MAX_TIMEOUT: Duration = Duration::from_secs(43_200);

/// Where a device's key is on a PKCS#11 token.
#[derive(Clone)]
#[must_use = "a token's parameters do nothing until they are given to something"]
pub struct Pkcs11 {
    module_path: PathBuf,
    token: TokenSelector,
    key: ObjectSelector,
    certificate: ObjectSelector,
    pin: Option<SecretSource>,
    signature_timeout: Duration,
    /// Where files are checked: they may be on a network file system that hangs.
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
    /// Padding at a name's end, `%20` or `%00`, is ignored. brs knows `token`, `serial`,
    /// `manufacturer`, `model`, `slot-id`, `object`, `id`, `type=private`, and after the `?`
    /// `module-path`, `pin-source` (a file, never a command) and `pin-value`. Any other attribute
    /// before the `?`, including a vendor's, is an error, since it may narrow the selection; after
    /// it, it is ignored with a warning.
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
        read.token = uri.token;
        read.key = uri.key;
        read.pin = uri
            .pin_value
            .map(SecretSource::value)
            .or(uri.pin_file.map(SecretSource::file));
        Ok(read)
    }

    /// The number of the slot that the token is in. Numbers may change when tokens come and go:
    /// prefer a label or a serial number.
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

    /// The private key's id (`CKA_ID`). With a label, both must match.
    pub fn key_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.key.id = Some(Id(id.into()));
        self
    }

    /// The label of the certificate on the token, if it is read from there. Default: the
    /// certificate with the key's id, else the one with the key's label.
    pub fn certificate_label(mut self, label: impl Into<String>) -> Self {
        self.certificate.label = Some(label.into());
        self
    }

    /// The id of the certificate on the token, if it is read from there.
    pub fn certificate_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.certificate.id = Some(Id(id.into()));
        self
    }

    /// The PIN, or where it comes from. Default: none, for tokens without login or with their own
    /// PIN pad.
    ///
    /// It is fetched when a login is due and not for each signature (unless the key requires that),
    /// within the time limit of a signature. Sessions that share clones of one source ask once for
    /// one login.
    pub fn pin(mut self, pin: impl Into<SecretSource>) -> Self {
        self.pin = Some(pin.into());
        self
    }

    /// The time limit of a signature, including the wait for the token: above 0, at most 12 hours.
    /// Default: 10 s, far above what a TPM or a smart card needs.
    ///
    /// Opening the token, including its PIN, has the same limit: set a larger one, such as two
    /// minutes, if a function or a PIN pad asks a person. Within a call of the method `iot` a
    /// signature also ends before the call does; a limit above the default makes calls and
    /// refreshes longer.
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
            // A bare name would be searched for wherever the environment says.
            return Err(Error::validation(
                "`module_path` must be an absolute path of a PKCS#11 library",
            )
            .unrecoverable()
            .with_param("module_path"));
        }
        Ok(())
    }

    /// The module's real path, so that one module under two names is one module.
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
    // The loader reports less about why a file cannot be read.
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
