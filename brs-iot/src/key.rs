//! Private keys: PKCS#8, PKCS#1 and SEC1, in PEM or DER, and PKCS#8 encrypted with a pass phrase.
//!
//! Owns finding the one key in what was given, its decryption, bounded in time and memory, and the signing key that
//! rustls uses. Decoded keys are in memory that wipes itself. Keys within tokens are `pkcs11.rs`'s.

use std::sync::Arc;

use brs_core::Error;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

use crate::passphrase::Passphrase;
use crate::pem::blocks::{Content, blocks, is_der};

const PARAM: &str = "private_key";
const PASSPHRASE: &str = "private_key_passphrase";
const CONVERT: &str = "`openssl pkcs8 -topk8 -v2 aes-256-cbc -in <key> -out <new key>` converts it";
/// Twice what is advised for people's passwords (OWASP: 600,000 to 1,400,000); OpenSSL's own default is 2048. Some
/// seconds on a small device.
const MAX_ITERATIONS: u32 = 2_000_000;
/// RFC 7914: `128 * N * r` bytes of memory, and `p` times the work. OpenSSL's own default is 16 MiB, once.
const MAX_SCRYPT_BYTES: u64 = 256 * 1024 * 1024;

/// Reads the one private key. Blocks: a pass phrase is asked for, and keys are derived slowly on purpose.
///
/// `named` begins the errors' sentences, as in "the private key `/path`".
pub(crate) fn read(bytes: &[u8], passphrase: Option<&Passphrase>, named: &str) -> Result<Arc<dyn SigningKey>, Error> {
    let refused =
        |problem: String| Error::configuration(format!("{named} {problem}")).with_param(PARAM).unrecoverable();
    let found = find(bytes).map_err(refused)?;
    let (form, der) = match (found, passphrase) {
        (Found { form: Form::Encrypted, der }, Some(passphrase)) => (Form::Pkcs8, decrypt(&der, passphrase, named)?),
        (Found { form: Form::Encrypted, .. }, None) => {
            return Err(
                refused("is encrypted: give its pass phrase, `private_key_passphrase`".into()).with_param(PASSPHRASE)
            );
        }
        (Found { form, der }, passphrase) => {
            if passphrase.is_some() {
                tracing::warn!(key = named, "the private key is not encrypted: its pass phrase is not used");
            }
            (form, der)
        }
    };
    let der = match form {
        Form::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der.as_slice())),
        Form::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der.as_slice())),
        Form::Pkcs8 | Form::Encrypted => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der.as_slice())),
    };
    any_supported_type(&der).map_err(|_| {
        refused("is of no kind that can be used, or damaged: give RSA 2048 to 4096, or EC P-256 or P-384".into())
    })
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
    for block in blocks(bytes).map_err(|problem| problem.to_string())? {
        let form = match block.label.as_str() {
            "PRIVATE KEY" => Form::Pkcs8,
            "RSA PRIVATE KEY" => Form::Pkcs1,
            "EC PRIVATE KEY" => Form::Sec1,
            "ENCRYPTED PRIVATE KEY" => Form::Encrypted,
            // OpenSSL writes these before the key.
            "EC PARAMETERS" => continue,
            "OPENSSH PRIVATE KEY" => {
                return Err("is in OpenSSH's own form: `ssh-keygen -p -m PKCS8 -f <key>` converts it".into());
            }
            other => {
                others.push(other.chars().filter(|c| !c.is_control()).take(40).collect::<String>());
                continue;
            }
        };
        match block.content {
            Content::Der(der) => keys.push(Found { form, der }),
            Content::LegacyEncrypted => {
                return Err(format!("is encrypted in OpenSSL's old way (`Proc-Type: 4,ENCRYPTED`): {CONVERT}"));
            }
        }
    }
    match (keys.len(), keys.pop()) {
        (1, Some(key)) => Ok(key),
        (0, _) if others.is_empty() => Err("holds no key in PEM or DER".into()),
        (0, _) => Err(format!("holds no private key, but {}", others.join(", "))),
        (many, _) => Err(format!("holds {many} private keys: give one")),
    }
}

fn find_der(bytes: &[u8]) -> Result<Found, String> {
    let form = match PrivateKeyDer::try_from(bytes) {
        Ok(PrivateKeyDer::Pkcs1(_)) => Form::Pkcs1,
        Ok(PrivateKeyDer::Sec1(_)) => Form::Sec1,
        Ok(PrivateKeyDer::Pkcs8(_)) => Form::Pkcs8,
        _ if EncryptedPrivateKeyInfoRef::try_from(bytes).is_ok() => Form::Encrypted,
        _ => return Err("holds no key in PEM or DER".into()),
    };
    Ok(Found { form, der: Zeroizing::new(bytes.to_vec()) })
}

fn decrypt(der: &[u8], passphrase: &Passphrase, named: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let refused = |problem: &str| Error::configuration(format!("{named} {problem}")).with_param(PARAM).unrecoverable();
    let unknown = || refused(&format!("is encrypted in a way that is not supported (PBES2 with AES is): {CONVERT}"));
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unknown())?;
    let EncryptionScheme::Pbes2(scheme) = &encrypted.encryption_algorithm else { return Err(unknown()) };
    if let Some(excess) = excess(&scheme.kdf) {
        return Err(refused(&format!("is encrypted so that it takes too long to open ({excess}): {CONVERT}")));
    }
    let passphrase = passphrase.ask()?;
    let opened = encrypted.decrypt(passphrase.expose()).map_err(|error| match error {
        // The padding that comes out of a wrong pass phrase is wrong, or what was within is no key.
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed)
        | pkcs8::Error::Asn1(_)
        | pkcs8::Error::KeyMalformed(_) => refused("cannot be decrypted: check the pass phrase").with_param(PASSPHRASE),
        _ => unknown(),
    })?;
    Ok(Zeroizing::new(opened.as_bytes().to_vec()))
}

/// Whoever writes the key's file decides how much work it is to open it: what is too much about that.
fn excess(kdf: &Kdf) -> Option<String> {
    match (kdf.pbkdf2(), kdf.scrypt()) {
        (Some(pbkdf2), _) if pbkdf2.iteration_count <= MAX_ITERATIONS => None,
        (Some(pbkdf2), _) => {
            Some(format!("PBKDF2 with {} iterations, of at most {MAX_ITERATIONS}", pbkdf2.iteration_count))
        }
        (_, Some(scrypt)) => {
            let work = [u64::from(scrypt.block_size), u64::from(scrypt.parallelization), 128];
            let work = work.into_iter().fold(scrypt.cost_parameter, u64::saturating_mul);
            let most = MAX_SCRYPT_BYTES / (1024 * 1024);
            (work > MAX_SCRYPT_BYTES).then(|| format!("scrypt over {} MiB, of at most {most}", work / (1024 * 1024)))
        }
        _ => Some("a way of derivation that is not known".to_owned()),
    }
}

#[cfg(test)]
mod tests;
