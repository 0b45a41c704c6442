//! Private keys: PKCS#8, PKCS#1 and SEC1, in PEM or DER, and PKCS#8 encrypted with a pass phrase.
//!
//! Owns finding the one key in what was given, its decryption, and the signing key that rustls
//! uses; which encryption is supported and bounded is [`encryption`]'s. Decoded keys are in memory
//! that wipes itself. Keys within tokens are `pkcs11.rs`'s.

use std::sync::Arc;

use brs_core::Error;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

use crate::device::pem::blocks::{Content, whole};
use crate::device::pem::kinds::{self, Thing, Wanted, is_der, missing};
use brs_core::SecretSource;
use brs_core::kit::Purpose;

mod encryption;
pub(crate) mod p384;

const PARAM: &str = "private_key";
pub(super) const PASSPHRASE: Purpose = Purpose {
    what: "the pass phrase",
    param: "private_key_passphrase",
};

/// Reads the one private key. Blocks: a pass phrase is asked for, and keys are derived slowly on
/// purpose.
///
/// `named` begins the errors' sentences, as in "the private key `/path`".
pub(crate) fn read(
    bytes: &[u8],
    passphrase: Option<&SecretSource>,
    named: &str,
) -> Result<Arc<dyn SigningKey>, Error> {
    let refused = |problem: String| {
        Error::configuration(format!("{named} {problem}"))
            .with_param(PARAM)
            .unrecoverable()
    };
    let found = find(bytes).map_err(refused)?;
    if found.form == Form::Encrypted {
        encryption::check(&found.der).map_err(refused)?;
    }
    let (form, der) = match (found, passphrase) {
        (
            Found {
                form: Form::Encrypted,
                der,
            },
            Some(passphrase),
        ) => (Form::Pkcs8, decrypt(&der, passphrase, named)?),
        (
            Found {
                form: Form::Encrypted,
                ..
            },
            None,
        ) => {
            return Err(refused(
                "is encrypted: give its pass phrase, `private_key_passphrase`".into(),
            )
            .with_param(PASSPHRASE.param));
        }
        (Found { form, der }, passphrase) => {
            if passphrase.is_some() {
                tracing::warn!(
                    key = named,
                    "the private key is not encrypted: its pass phrase is not used"
                );
            }
            (form, der)
        }
    };
    let typed = match form {
        Form::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der.as_slice())),
        Form::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der.as_slice())),
        Form::Pkcs8 | Form::Encrypted => {
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice()))
        }
    };
    let key = any_supported_type(&typed).map_err(|_| {
        refused(
            "is of an unsupported kind or damaged: give RSA 2048 to 4096, or EC P-256 or P-384"
                .into(),
        )
    })?;
    Ok(p384::with_sha256(key, &der))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Pkcs8,
    Pkcs1,
    Sec1,
    Encrypted,
}

struct Found {
    form: Form,
    der: Zeroizing<Vec<u8>>,
}

/// The one key in PEM or DER, or what is wrong, as the end of a sentence.
fn find(bytes: &[u8]) -> Result<Found, String> {
    if is_der(bytes) {
        return find_der(bytes);
    }
    let mut keys = Vec::new();
    let mut others = Vec::new();
    for block in whole(bytes).map_err(|problem| problem.to_string())? {
        let form = match block.label.as_str() {
            "PRIVATE KEY" => Form::Pkcs8,
            "RSA PRIVATE KEY" => Form::Pkcs1,
            "EC PRIVATE KEY" => Form::Sec1,
            "ENCRYPTED PRIVATE KEY" => Form::Encrypted,
            // OpenSSL writes these before the key.
            "EC PARAMETERS" => continue,
            "OPENSSH PRIVATE KEY" => {
                return Err(
                    "is in OpenSSH's own format: `ssh-keygen -p -m PKCS8 -f <key>` converts it"
                        .into(),
                );
            }
            "DSA PRIVATE KEY" => {
                return Err(
                    "is a DSA key, which is not supported: give RSA 2048 to 4096, or EC \
                            P-256 or P-384"
                        .into(),
                );
            }
            other => {
                others.push(Thing::of_label(other));
                continue;
            }
        };
        match block.content {
            Content::Der(der) => keys.push(Found { form, der }),
            Content::LegacyEncrypted(cipher) => return Err(encryption::legacy(&cipher)),
            Content::Broken(_) => {}
        }
    }
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) => Err(missing(bytes, &others, Wanted::PrivateKey)),
        (many, _) => Err(format!("holds {many} private keys: give one")),
    }
}

fn find_der(bytes: &[u8]) -> Result<Found, String> {
    let (der, rest) = kinds::one(bytes)?;
    let thing = Thing::of_der(der);
    let form = match (&thing, PrivateKeyDer::try_from(der)) {
        (Some(Thing::PrivateKey), _) if encryption::is_encrypted(der) => Form::Encrypted,
        (Some(Thing::PrivateKey), Ok(PrivateKeyDer::Pkcs1(_))) => Form::Pkcs1,
        (Some(Thing::PrivateKey), Ok(PrivateKeyDer::Sec1(_))) => Form::Sec1,
        (Some(Thing::PrivateKey), Ok(PrivateKeyDer::Pkcs8(_))) => Form::Pkcs8,
        _ => {
            return Err(missing(
                bytes,
                thing.filter(|thing| *thing != Thing::PrivateKey).as_slice(),
                Wanted::PrivateKey,
            ));
        }
    };
    if !rest.is_empty() {
        return Err(format!(
            "has {} more bytes after its DER key: give the key alone",
            rest.len()
        ));
    }
    Ok(Found {
        form,
        der: Zeroizing::new(der.to_vec()),
    })
}

fn decrypt(
    der: &[u8],
    passphrase: &SecretSource,
    named: &str,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let refused = |problem: &str| {
        Error::configuration(format!("{named} {problem}"))
            .with_param(PARAM)
            .unrecoverable()
    };
    let damaged = |error: &dyn std::fmt::Display| refused(&encryption::damaged(error));
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| damaged(&error))?;
    let passphrase = passphrase.fetch(PASSPHRASE)?;
    let opened = encrypted
        .decrypt(passphrase.expose())
        .map_err(|error| match error {
            // The padding that comes out of a wrong pass phrase is wrong, or what was within is no
            // key.
            pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed)
            | pkcs8::Error::Asn1(_)
            | pkcs8::Error::KeyMalformed(_) => {
                refused("cannot be decrypted: check the pass phrase").with_param(PASSPHRASE.param)
            }
            error => damaged(&error),
        })?;
    Ok(Zeroizing::new(opened.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests;
