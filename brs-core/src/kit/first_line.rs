//! Secrets in files and environment variables: pass phrases and PINs. One rule for all of them.
//!
//! A secret is the first line. It ends at the first line feed; a carriage return before it is not
//! part of it, nor is a UTF-8 byte order mark at the start. Blanks belong to the secret. What
//! follows the first line is ignored, in whatever encoding it is. The line must be UTF-8 text
//! without NUL and must not be empty. Keys, certificates and containers are recognised and refused:
//! that would be another file, given by mistake, and a PIN that a token refuses is a lost try. A
//! file has at most 4 KiB. These are the rules of `openssl -passin file:`, except that OpenSSL
//! takes a carriage return for a part of the secret.

use std::path::Path;

use super::files::{self, Unread};
use super::secret::SecretString;

/// A secret is a line; a longer file is another one.
const MAX_BYTES: usize = 4096;
const MARK: &[u8] = b"\xef\xbb\xbf";
/// The marks of UTF-16, which PowerShell writes.
const UTF16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];
/// How OpenSSL begins what it prints; what belongs to it is indented.
const DUMPS: [&str; 10] = [
    "Certificate:",
    "Certificate Request:",
    "Certificate Revocation List (CRL):",
    "Private-Key:",
    "RSA Private-Key:",
    "Public-Key:",
    "RSA Public-Key:",
    "Bag Attributes",
    "Key Attributes",
    "PKCS7:",
];

/// Reads the secret of a file. Blocks.
pub(crate) fn read(path: &Path) -> Result<SecretString, Unread> {
    let bytes = files::read(path)?;
    if bytes.len() > MAX_BYTES {
        let problem = mistaken(&bytes);
        let long = "has more than 4 KiB: give the file whose first line is the secret";
        return Err(Unread::new(problem.unwrap_or(long)));
    }
    of(&bytes).map_err(Unread::new)
}

/// The secret that a text is given for, or the end of a sentence.
pub(crate) fn of(bytes: &[u8]) -> Result<SecretString, &'static str> {
    if UTF16.iter().any(|mark| bytes.starts_with(mark)) {
        return Err("is UTF-16 text: save it as UTF-8");
    }
    if let Some(other) = mistaken(bytes) {
        return Err(other);
    }
    let text = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let line = first(text);
    if line.is_empty() {
        return Err(if text.is_empty() {
            "is empty"
        } else {
            "has an empty first line: put the secret there"
        });
    }
    if line.contains(&0) {
        return Err("has a NUL in its first line: save it as UTF-8 text");
    }
    match std::str::from_utf8(line) {
        Ok(line) => Ok(line.into()),
        Err(_) => Err("has a first line that is not UTF-8 text"),
    }
}

/// What was given in place of a secret, as the end of a sentence; `None` if it may be one.
pub fn mistaken(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let mut lines = text
        .split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii_start);
    if lines.any(|line| line.starts_with(b"-----BEGIN ") || line.starts_with(b"---- BEGIN ")) {
        return Some("holds PEM, not a secret: give the secret alone, as the first line");
    }
    let line = first(text);
    let begins = |words: &str| line.starts_with(words.as_bytes());
    if DUMPS.into_iter().any(begins) && is_indented(text) {
        return Some(
            "holds what OpenSSL prints of a key or certificate, not a secret: give the secret alone, as the first line",
        );
    }
    let is_public = ["ssh-", "ecdsa-sha2-", "sk-ssh-"].into_iter().any(begins)
        && line.windows(5).any(|part| part == b" AAAA");
    if is_public || begins("PuTTY-User-Key-File-") {
        return Some("holds a key, not a secret: give the secret alone, as the first line");
    }
    if is_structure(bytes, bytes.len()) || is_base64(line) && is_structure(&decoded(line), 0) {
        return Some(
            "holds a key, a certificate or a PKCS#12 container, not a secret: give the secret alone, as the first line",
        );
    }
    None
}

/// Whether the second line is.
fn is_indented(text: &[u8]) -> bool {
    let second = text.split(|&byte| byte == b'\n').nth(1);
    second.is_some_and(|line| line.starts_with(b" "))
}

fn first(text: &[u8]) -> &[u8] {
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn is_base64(line: &[u8]) -> bool {
    line.len() >= 40
        && line
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte))
}

/// The first bytes of Base64.
fn decoded(line: &[u8]) -> Vec<u8> {
    let begin = std::str::from_utf8(&line[..line.len().min(12)]);
    let decoded = begin.map(aws_smithy_types::base64::decode);
    decoded.ok().and_then(Result::ok).unwrap_or_default()
}

/// Whether bytes begin as keys, certificates and containers do in DER or BER: a sequence that
/// begins with a version or with another sequence. A short one has to have the `length` that it
/// declares, if that is known: few bytes are no proof.
fn is_structure(bytes: &[u8], length: usize) -> bool {
    let Some(([0x30, head], content)) = bytes.split_first_chunk() else {
        return false;
    };
    let (size, is_whole) = match *head {
        0x80 => (0, true),
        0x81..=0x83 => (usize::from(head & 0x7f), true),
        short @ ..0x80 => (0, length == 0 || length == 2 + usize::from(short)),
        _ => return false,
    };
    let content = content.get(size..).unwrap_or_default();
    is_whole && (content.starts_with(&[2, 1]) || content.starts_with(&[0x30]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(content: &[u8]) -> Result<SecretString, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        read(file.path()).map_err(|unread| unread.into_error("the file", "param").to_string())
    }

    #[test]
    fn the_first_line_is_the_secret_and_the_rest_is_ignored() {
        for (content, secret) in [
            (&b"hush"[..], "hush"),
            (b"hush\n", "hush"),
            (b"hush\r\n", "hush"),
            (b"hush\r", "hush"),
            (b"hush\nmore\n", "hush"),
            (b"hush\r\n\r\n\r\n", "hush"),
            (b"hush\n\xff\xfe\0", "hush"),
            (b"\xef\xbb\xbfhush\n", "hush"),
            (b" hu sh \n", " hu sh "),
            (b"\t\n", "\t"),
            ("größe\n".as_bytes(), "größe"),
            // What only resembles a key or what OpenSSL prints.
            (b"Certificate:\n", "Certificate:"),
            (b"Bag Attributes\nmore", "Bag Attributes"),
            (b"-----BEGINNING", "-----BEGINNING"),
            (b"ssh-me-in", "ssh-me-in"),
            (b"MIIJqQIBAzCCCW8", "MIIJqQIBAzCCCW8"),
            (
                b"MIGRAINEMIGRAINEMIGRAINEMIGRAINEMIGRAINEMIGRAINE",
                "MIGRAINEMIGRAINEMIGRAINEMIGRAINEMIGRAINEMIGRAINE",
            ),
            (b"0123", "0123"),
        ] {
            assert_eq!(of(content).unwrap().expose(), secret, "{content:?}");
        }
        assert_eq!(of(&[b'x'; MAX_BYTES]).unwrap().expose().len(), MAX_BYTES);
    }

    #[test]
    fn what_is_no_secret_is_refused_unseen() {
        for (content, words) in [
            (&b""[..], "is empty"),
            (b"\xef\xbb\xbf", "is empty"),
            (b"\nhush", "empty first line"),
            (b"\r\nhush", "empty first line"),
            (b"hush\xff\n", "not UTF-8"),
            (b"\xff\xfeh\0u\0s\0h\0", "is UTF-16 text"),
            (b"h\0u\0s\0h\0\n\0", "NUL"),
            (b"-----BEGIN PRIVATE KEY-----\nhush\n", "holds PEM"),
            (
                b"\xef\xbb\xbf-----BEGIN CERTIFICATE-----\r\nhush",
                "holds PEM",
            ),
            (b"\n  -----BEGIN CERTIFICATE-----\nhush", "holds PEM"),
            (b"hush\n-----BEGIN CERTIFICATE-----\n", "holds PEM"),
            (
                b"Bag Attributes\n    localKeyID: 01\nhush\n-----BEGIN CERTIFICATE-----\n",
                "holds PEM",
            ),
            (
                b"subject=CN = hush\n\n-----BEGIN CERTIFICATE-----\n",
                "holds PEM",
            ),
            (b"---- BEGIN SSH2 PUBLIC KEY ----\nhush", "holds PEM"),
            (
                b"Bag Attributes: <Empty>\n    hush: 01\n",
                "what OpenSSL prints",
            ),
            (
                b"Certificate:\r\n    Data:\n        hush",
                "what OpenSSL prints",
            ),
            (
                b"Private-Key: (2048 bit)\n    hush:\n",
                "what OpenSSL prints",
            ),
            (b"ssh-ed25519 AAAAC3hush me@host", "holds a key"),
            (b"PuTTY-User-Key-File-3: hush", "holds a key"),
            // What `openssl pkcs12 -export | base64` prints, in lines or as one, and in BER.
            (
                b"MIIJqQIBAzCCCW8GCSqGSIb3DQEHAaCCCWAEgglcMIIJWDCCBA8Ghushhushhush\nhush\n",
                "PKCS#12",
            ),
            (
                b"MIACAQMwgAYJKoZIhvcNAQcBoIAkgASCA+gwgDCABgkqhkiG9w0BBwGghush",
                "PKCS#12",
            ),
            // A certificate's, a key's and a public key's.
            (b"MIIBkTCB+wIJAKHHIgKqFhushMIIBkTCB+wIJAKHHIgKqF", "PKCS#12"),
            (
                b"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghush",
                "PKCS#12",
            ),
            (
                b"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhushhushhush",
                "PKCS#12",
            ),
            (b"\x30\x82\x09\xa9\x02\x01\x03hush", "PKCS#12"),
            (b"\x30\x05\x02\x01\x03\x05\x00", "PKCS#12"),
            (&[b'x'; MAX_BYTES + 1], "more than 4 KiB"),
        ] {
            let problem = of(content).unwrap_err();
            assert!(
                problem.contains(words) && !problem.contains("hush"),
                "{content:?}: {problem}"
            );
        }
    }
}
