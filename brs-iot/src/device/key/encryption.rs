//! How a private key is encrypted: by its algorithms' own names, whether that is supported, and
//! what it costs to open.
//!
//! Supported is PBES2 with PBKDF2 or scrypt and with AES, triple DES or DES: a file may also hold a
//! key that is not encrypted at all, so a weak cipher is no reason to refuse it. PBES1 and
//! PKCS#12's encryptions are not supported: they are refused by name, with a command that every
//! OpenSSL understands. All lengths are checked here, before `pkcs5` sees them.

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use pkcs8::pkcs5::pbes2::Kdf;
use pkcs8::spki::ObjectIdentifier;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Tag, Tagged as _};

use crate::device::pem::kinds::parts;

/// Its result is read by brs, and by OpenSSL from 1.0 on.
const CONVERT: &str = "`openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 \
                       -in <key> -out <new key>` converts it";
/// What OpenSSL 3 has moved out of sight.
const LEGACY: &str = " (OpenSSL 3 also wants `-provider legacy -provider default` for this cipher)";
/// Twice what is advised for people's passwords (OWASP: 600,000 to 1,400,000); OpenSSL's own
/// default is 2048. Some seconds on a small device.
const MAX_ITERATIONS: u32 = 2_000_000;
/// RFC 7914: `128 * N * r` bytes of memory, and `p` times the work. OpenSSL's own default is 16
/// MiB, once.
const MAX_SCRYPT_BYTES: u64 = 256 * 1024 * 1024;
/// What `pkcs5` has room for.
const MAX_SALT: usize = 32;

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
const SCRYPT: &str = "1.3.6.1.4.1.11591.4.11";

/// Ciphers that are supported, with the length of their initialization vectors.
const CIPHERS: [(&str, usize); 7] = [
    ("2.16.840.1.101.3.4.1.2", 16),
    ("2.16.840.1.101.3.4.1.22", 16),
    ("2.16.840.1.101.3.4.1.42", 16),
    ("2.16.840.1.101.3.4.1.6", 12),
    ("2.16.840.1.101.3.4.1.46", 12),
    ("1.2.840.113549.3.7", 8),
    ("1.3.14.3.2.7", 8),
];

/// Pseudo-random functions that are supported: HMAC with SHA-1 (the default), SHA-224, SHA-256,
/// SHA-384, SHA-512.
const FUNCTIONS: [&str; 5] = [
    "1.2.840.113549.2.7",
    "1.2.840.113549.2.8",
    "1.2.840.113549.2.9",
    "1.2.840.113549.2.10",
    "1.2.840.113549.2.11",
];

/// What OpenSSL calls those that are not, and whether OpenSSL 3 wants its legacy provider for it.
const OTHERS: [(&str, &str, bool); 38] = [
    ("1.2.840.113549.1.5.1", "pbeWithMD2AndDES-CBC", true),
    ("1.2.840.113549.1.5.3", "pbeWithMD5AndDES-CBC", true),
    ("1.2.840.113549.1.5.4", "pbeWithMD2AndRC2-CBC", true),
    ("1.2.840.113549.1.5.6", "pbeWithMD5AndRC2-CBC", true),
    ("1.2.840.113549.1.5.10", "pbeWithSHA1AndDES-CBC", true),
    ("1.2.840.113549.1.5.11", "pbeWithSHA1AndRC2-CBC", true),
    ("1.2.840.113549.1.12.1.1", "pbeWithSHA1And128BitRC4", true),
    ("1.2.840.113549.1.12.1.2", "pbeWithSHA1And40BitRC4", true),
    (
        "1.2.840.113549.1.12.1.3",
        "pbeWithSHA1And3-KeyTripleDES-CBC",
        false,
    ),
    (
        "1.2.840.113549.1.12.1.4",
        "pbeWithSHA1And2-KeyTripleDES-CBC",
        false,
    ),
    (
        "1.2.840.113549.1.12.1.5",
        "pbeWithSHA1And128BitRC2-CBC",
        true,
    ),
    (
        "1.2.840.113549.1.12.1.6",
        "pbeWithSHA1And40BitRC2-CBC",
        true,
    ),
    ("1.2.840.113549.2.6", "hmacWithMD5", false),
    ("1.2.840.113549.2.12", "hmacWithSHA512-224", false),
    ("1.2.840.113549.2.13", "hmacWithSHA512-256", false),
    ("1.2.840.113549.3.2", "rc2-cbc", true),
    ("1.2.840.113549.3.4", "rc4", true),
    ("1.3.6.1.4.1.3029.1.2", "bf-cbc", true),
    ("1.2.840.113533.7.66.10", "cast5-cbc", true),
    ("1.2.410.200004.1.4", "seed-cbc", true),
    ("1.2.392.200011.61.1.1.1.2", "camellia-128-cbc", false),
    ("1.2.392.200011.61.1.1.1.3", "camellia-192-cbc", false),
    ("1.2.392.200011.61.1.1.1.4", "camellia-256-cbc", false),
    ("1.2.410.200046.1.1.2", "aria-128-cbc", false),
    ("1.2.410.200046.1.1.7", "aria-192-cbc", false),
    ("1.2.410.200046.1.1.12", "aria-256-cbc", false),
    ("1.2.156.10197.1.104.2", "sm4-cbc", false),
    ("2.16.840.1.101.3.4.1.3", "aes-128-ofb", false),
    ("2.16.840.1.101.3.4.1.4", "aes-128-cfb", false),
    ("2.16.840.1.101.3.4.1.23", "aes-192-ofb", false),
    ("2.16.840.1.101.3.4.1.24", "aes-192-cfb", false),
    ("2.16.840.1.101.3.4.1.43", "aes-256-ofb", false),
    ("2.16.840.1.101.3.4.1.44", "aes-256-cfb", false),
    ("2.16.840.1.101.3.4.1.26", "aes-192-gcm", false),
    ("2.16.840.1.101.3.4.2.13", "hmac-sha3-224", false),
    ("2.16.840.1.101.3.4.2.14", "hmac-sha3-256", false),
    ("2.16.840.1.101.3.4.2.15", "hmac-sha3-384", false),
    ("2.16.840.1.101.3.4.2.16", "hmac-sha3-512", false),
];

/// Whether DER is a PKCS#8 key that is encrypted, in whatever way.
pub(super) fn is_encrypted(der: &[u8]) -> bool {
    algorithm(der).is_some()
}

/// Checks that the encryption is supported and not too much work; what is wrong is the end of a
/// sentence.
pub(super) fn check(der: &[u8]) -> Result<(), String> {
    let (scheme, parameters) =
        algorithm(der).ok_or_else(|| damaged(&"it is not an encrypted PKCS#8 key"))?;
    if scheme != PBES2 {
        return Err(unsupported(&scheme));
    }
    check_parts(parameters)?;
    let key = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|error| damaged(&error))?;
    let EncryptionScheme::Pbes2(scheme) = &key.encryption_algorithm else {
        return Err(damaged(&"it is not PBES2"));
    };
    match excess(&scheme.kdf) {
        Some(excess) => Err(format!("takes too long to decrypt ({excess}): {CONVERT}")),
        None => Ok(()),
    }
}

/// For a key that is encrypted by headers in its PEM.
pub(super) fn legacy(cipher: &str) -> String {
    let note = if ["DES-CBC", "RC2", "IDEA", "BF-", "CAST", "SEED"]
        .iter()
        .any(|old| cipher.starts_with(old))
    {
        LEGACY
    } else {
        ""
    };
    format!(
        "uses OpenSSL's old encryption (`Proc-Type: 4,ENCRYPTED`, {cipher}), which is not \
         supported: {CONVERT}{note}"
    )
}

pub(super) fn damaged(error: &dyn std::fmt::Display) -> String {
    format!("is encrypted with parameters that cannot be read ({error}): {CONVERT}")
}

/// The algorithm of PBES2's two parts, and their lengths.
fn check_parts(parameters: Option<AnyRef<'_>>) -> Result<(), String> {
    let damaged = || damaged(&"PBES2 needs a key derivation and a cipher");
    let parameters = parameters
        .and_then(|parameters| within(&parameters))
        .ok_or_else(damaged)?;
    let [derivation, cipher] = &parameters[..] else {
        return Err(damaged());
    };
    let (derivation, its) = identifier(derivation).ok_or_else(damaged)?;
    let its = its.and_then(|its| within(&its)).ok_or_else(damaged)?;
    if derivation == PBKDF2 {
        // What comes after salt and count: a length, which is an integer, and the function, if it
        // is not the default.
        let function = its.iter().skip(2).find(|part| part.tag() == Tag::Sequence);
        if let Some((function, _)) = function.and_then(identifier)
            && !FUNCTIONS.contains(&function.as_str())
        {
            return Err(unsupported(&function));
        }
    } else if derivation != SCRYPT {
        return Err(unsupported(&derivation));
    }
    match its.first() {
        Some(salt) if salt.tag() == Tag::OctetString && salt.value().len() <= MAX_SALT => {}
        Some(salt) if salt.tag() == Tag::OctetString => {
            let found = salt.value().len();
            return Err(format!(
                "is encrypted with a salt of {found} bytes, more than {MAX_SALT}: {CONVERT}"
            ));
        }
        _ => return Err(damaged()),
    }
    let (cipher, vector) = identifier(cipher).ok_or_else(damaged)?;
    let Some((_, length)) = CIPHERS.iter().find(|(known, _)| *known == cipher) else {
        return Err(unsupported(&cipher));
    };
    match vector {
        Some(vector) if vector.tag() == Tag::OctetString && vector.value().len() == *length => {
            Ok(())
        }
        _ => Err(damaged()),
    }
}

fn unsupported(algorithm: &str) -> String {
    let (name, note) = match OTHERS.iter().find(|(known, ..)| *known == algorithm) {
        Some((_, name, true)) => (*name, LEGACY),
        Some((_, name, false)) => (*name, ""),
        None => (algorithm, ""),
    };
    format!("is encrypted with `{name}`, which is not supported: {CONVERT}{note}")
}

/// The outer algorithm of an encrypted PKCS#8 key.
fn algorithm(der: &[u8]) -> Option<(String, Option<AnyRef<'_>>)> {
    match &parts(der)?[..] {
        [algorithm, data] if data.tag() == Tag::OctetString => identifier(algorithm),
        _ => None,
    }
}

/// An `AlgorithmIdentifier`.
fn identifier<'a>(value: &AnyRef<'a>) -> Option<(String, Option<AnyRef<'a>>)> {
    let parts = within(value)?;
    let name: ObjectIdentifier = parts.first()?.decode_as().ok()?;
    Some((name.to_string(), parts.get(1).copied()))
}

/// The parts of a sequence.
fn within<'a>(value: &AnyRef<'a>) -> Option<Vec<AnyRef<'a>>> {
    if value.tag() == Tag::Sequence {
        crate::device::pem::kinds::all(value.value())
    } else {
        None
    }
}

/// The key's file determines how much work it is to open it: what is too much about that.
fn excess(kdf: &Kdf) -> Option<String> {
    match (kdf.pbkdf2(), kdf.scrypt()) {
        (Some(pbkdf2), _) if pbkdf2.iteration_count <= MAX_ITERATIONS => None,
        (Some(pbkdf2), _) => Some(format!(
            "PBKDF2 with {} iterations, more than {MAX_ITERATIONS}",
            pbkdf2.iteration_count
        )),
        (_, Some(scrypt)) => {
            let work = [
                u64::from(scrypt.block_size),
                u64::from(scrypt.parallelization),
                128,
            ];
            let work = work
                .into_iter()
                .fold(scrypt.cost_parameter, u64::saturating_mul);
            let most = MAX_SCRYPT_BYTES / (1024 * 1024);
            (work > MAX_SCRYPT_BYTES)
                .then(|| format!("scrypt over {} MiB, more than {most}", work / (1024 * 1024)))
        }
        _ => Some("an unknown key derivation".to_owned()),
    }
}
