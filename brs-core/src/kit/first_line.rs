//! Secrets in files: pass phrases and PINs. One rule for all of them.
//!
//! A secret is the first line of a regular file of at most 4 KiB. The line ends at the first line
//! feed; a carriage return before it is not part of it, nor is a UTF-8 byte order mark at the
//! file's start. Blanks belong to the secret. What follows the first line is ignored, in whatever
//! encoding it is. The line must be UTF-8 text without NUL and must not be empty, and the file must
//! not be PEM: that would be another file, given by mistake. These are the rules of `openssl
//! -passin file:`, except that OpenSSL takes a carriage return for a part of the secret.

use std::path::Path;

use super::files::{self, Unread};
use super::secret::SecretString;

/// A secret is a line; a longer file is another one.
const MAX_BYTES: usize = 4096;
const MARK: &[u8] = b"\xef\xbb\xbf";
/// The marks of UTF-16, which PowerShell writes.
const UTF16: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// Reads the secret. Blocks.
pub(crate) fn read(path: &Path) -> Result<SecretString, Unread> {
    let bytes = files::read(path)?;
    let refused = |problem: &str| Err(Unread::new(problem));
    if bytes.len() > MAX_BYTES {
        return refused("has more than 4 KiB: give the file whose first line is the secret");
    }
    if UTF16.iter().any(|mark| bytes.starts_with(mark)) {
        return refused("is UTF-16 text: save it as UTF-8");
    }
    let text = bytes.strip_prefix(MARK).unwrap_or(&bytes);
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return refused(if text.is_empty() {
            "is empty"
        } else {
            "has an empty first line: put the secret there"
        });
    }
    if line.contains(&0) {
        return refused("has a NUL in its first line: save it as UTF-8 text");
    }
    if line.starts_with(b"-----BEGIN") {
        return refused("holds PEM, not a secret: give the file whose first line is the secret");
    }
    match std::str::from_utf8(line) {
        Ok(line) => Ok(line.into()),
        Err(_) => refused("has a first line that is not UTF-8 text"),
    }
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
