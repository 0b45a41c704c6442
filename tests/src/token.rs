//! A fixture around a PKCS#11 module: new tokens, with keys that never leave them.
//!
//! Speaks to the module through `cryptoki`, as an administrator does with the vendor's tools. Which
//! store the module has is its process's environment's business: that of the caller, never the
//! user's own.

use std::fmt;
use std::path::{Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use rcgen::PublicKeyData;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The PIN of every token's user.
pub const PIN: &str = "hush-4711";
const OFFICERS_PIN: &str = "officer";

/// A PKCS#11 module in this process.
#[derive(Clone, Debug)]
pub struct Module {
    /// The module as the library takes it.
    pub module: Pkcs11,
    /// Its path.
    pub path: PathBuf,
}

impl Module {
    /// Loads and initialises a module.
    ///
    /// # Panics
    ///
    /// If it is none, or is initialised already.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let module = Pkcs11::new(path).expect("the path is that of a PKCS#11 module");
        let module = Self {
            module,
            path: path.to_owned(),
        };
        module.initialize();
        module
    }

    /// Initialises it again, after it was finalised.
    ///
    /// # Panics
    ///
    /// If it is initialised.
    pub fn initialize(&self) {
        let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        self.module
            .initialize(arguments)
            .expect("the module can be initialised");
    }

    /// Initialises a new token, in the first slot that has one without a name.
    ///
    /// # Panics
    ///
    /// If there is no such slot, or the module refuses.
    #[must_use]
    pub fn token(&self, label: &str) -> Token {
        let made = || {
            self.module
                .get_slots_with_initialized_token()
                .expect("the module tells its slots")
        };
        let before = made();
        let all = self
            .module
            .get_slots_with_token()
            .expect("the module tells its slots");
        let empty = all
            .into_iter()
            .find(|slot| !before.contains(slot))
            .expect("there is an empty token");
        self.module
            .init_token(empty, &secret(OFFICERS_PIN), label)
            .expect("a token can be initialised");
        let slot = made()
            .into_iter()
            .find(|slot| !before.contains(slot))
            .expect("the new token is there");
        let session = self
            .module
            .open_rw_session(slot)
            .expect("a session can be opened");
        session
            .login(UserType::So, Some(&secret(OFFICERS_PIN)))
            .expect("the officer can log in");
        session
            .init_pin(&secret(PIN))
            .expect("the user's PIN can be set");
        session.logout().expect("the officer can log out");
        Token {
            label: label.to_owned(),
            path: self.path.clone(),
            slot,
            session,
        }
    }
}

/// A PIN as the library takes it.
#[must_use]
pub fn secret(pin: &str) -> AuthPin {
    AuthPin::new(pin.into())
}

/// A token. Nobody is logged in: PKCS#11 looks at no PIN where another in the process is.
pub struct Token {
    /// Its name.
    pub label: String,
    /// The module's path.
    pub path: PathBuf,
    /// Where it is.
    pub slot: Slot,
    /// A session in which nobody is logged in.
    pub session: Session,
}

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// RSA of so many bits.
    Rsa(u64),
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Token {
    /// Logs the user in, unless somebody in the process is.
    ///
    /// # Panics
    ///
    /// If the token refuses.
    #[must_use]
    pub fn log_in(&self) -> LoggedIn<'_> {
        let out = match self.session.login(UserType::User, Some(&secret(PIN))) {
            Ok(()) => true,
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => false,
            Err(error) => panic!("the user can log in: {error}"),
        };
        LoggedIn {
            session: &self.session,
            out,
        }
    }

    /// Makes a key on the token.
    ///
    /// # Panics
    ///
    /// If the token refuses.
    pub fn key(&self, kind: Kind, label: &str, id: &[u8]) -> PublicKey {
        self.key_with(kind, label, id, &[])
    }

    /// The same with further attributes of the private key.
    ///
    /// # Panics
    ///
    /// If the token refuses.
    pub fn key_with(&self, kind: Kind, label: &str, id: &[u8], more: &[Attribute]) -> PublicKey {
        let name = [
            Attribute::Token(true),
            Attribute::Label(label.into()),
            Attribute::Id(id.into()),
        ];
        let mut public = name.to_vec();
        let mut private = name.to_vec();
        private.extend([
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ]);
        if !more
            .iter()
            .any(|attribute| matches!(attribute, Attribute::Sign(_)))
        {
            private.push(Attribute::Sign(true));
        }
        private.extend_from_slice(more);
        // An object identifier of fewer than 128 bytes.
        let curve =
            |last: &[u8]| Attribute::EcParams([&[6, last.len().to_le_bytes()[0]], last].concat());
        let mechanism = match kind {
            Kind::Rsa(bits) => {
                public.extend([
                    Attribute::ModulusBits(Ulong::new(bits)),
                    Attribute::PublicExponent(vec![1, 0, 1]),
                ]);
                Mechanism::RsaPkcsKeyPairGen
            }
            Kind::P256 | Kind::P384 | Kind::P521 => {
                public.push(match kind {
                    Kind::P256 => curve(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
                    Kind::P384 => curve(&[0x2b, 0x81, 4, 0, 0x22]),
                    _ => curve(&[0x2b, 0x81, 4, 0, 0x23]),
                });
                Mechanism::EccKeyPairGen
            }
        };
        let _logged_in = self.log_in();
        let (public, _) = self
            .session
            .generate_key_pair(&mechanism, &public, &private)
            .expect("the token makes a key");
        PublicKey::read(&self.session, public, kind)
    }

    /// Puts a certificate on the token.
    ///
    /// # Panics
    ///
    /// If the token refuses.
    pub fn store(&self, certificate: &CertificateDer<'_>, label: &str, id: &[u8]) -> ObjectHandle {
        let _logged_in = self.log_in();
        let template = [
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::CertificateType(CertificateType::X_509),
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Label(label.into()),
            Attribute::Id(id.into()),
            Attribute::Subject(vec![0x30, 0]),
            Attribute::Value(certificate.to_vec()),
        ];
        self.session
            .create_object(&template)
            .expect("the token takes a certificate")
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("label", &self.label)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// The user is logged in as long as this lives.
#[derive(Debug)]
pub struct LoggedIn<'a> {
    session: &'a Session,
    out: bool,
}

impl Drop for LoggedIn<'_> {
    fn drop(&mut self) {
        if self.out {
            // Fails only where the token was taken away or another logged out meanwhile.
            let _ = self.session.logout();
        }
    }
}

/// A public key, read from the token.
#[derive(Debug)]
pub struct PublicKey {
    der: Vec<u8>,
    kind: Kind,
}

impl PublicKey {
    fn read(session: &Session, handle: ObjectHandle, kind: Kind) -> Self {
        let read = |attribute| {
            session
                .get_attributes(handle, &[attribute])
                .expect("a public key tells its parts")
                .remove(0)
        };
        let der = match kind {
            Kind::Rsa(_) => {
                let Attribute::Modulus(modulus) = read(AttributeType::Modulus) else {
                    panic!("no modulus")
                };
                // The first bit is set, so that a zero goes before it.
                let number = [&[2, 0x82], &length(modulus.len() + 1)[..], &[0], &modulus].concat();
                let body = [&number[..], &[2, 3, 1, 0, 1]].concat();
                [&[0x30, 0x82], &length(body.len())[..], &body].concat()
            }
            _ => {
                let Attribute::EcPoint(point) = read(AttributeType::EcPoint) else {
                    panic!("no point")
                };
                // Wrapped in an octet string of less than 128 bytes, or of more for P-521.
                point[if point[1] < 0x80 { 2 } else { 3 }..].to_vec()
            }
        };
        Self { der, kind }
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.der
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.kind {
            Kind::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
            Kind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Kind::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        }
    }
}

/// The two bytes of a DER length from 256 on.
fn length(bytes: usize) -> [u8; 2] {
    u16::try_from(bytes)
        .expect("no key is that long")
        .to_be_bytes()
}
