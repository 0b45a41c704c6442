//! The keys of a seal, and the texts that hold them.
//!
//! A text has one key a line, `kid:base64`: an id, and 32 bytes. The first key seals, all open.
//! Empty lines and those that begin with `#` are skipped. What is wrong with a line is told with
//! its number and without any of it but the id.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The longest id.
pub(super) const MAX_ID: usize = 64;

/// More keys than any rotation needs.
const MAX_KEYS: usize = 64;

/// Keys, at least one. The first seals.
pub(super) struct Keys(Vec<SealKey>);

/// One key and its id, which is not secret.
pub(super) struct SealKey {
    pub(super) id: String,
    pub(super) key: RandomizedNonceKey,
}

impl Keys {
    /// Reads a text; the error is the end of a sentence.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text)
            .map_err(|_| "is not UTF-8: give a text of `kid:base64` lines".to_owned())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut keys: Vec<SealKey> = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = read_line(line)
                .map_err(|problem| format!("has a problem in line {number}: {problem}"))?;
            if let Some(at) = keys.iter().position(|known| known.id == key.id) {
                return Err(format!(
                    "has a problem in line {number}: the id `{}` is that of key {} too: give each \
                     key an id of its own",
                    key.id,
                    at + 1
                ));
            }
            if keys.len() == MAX_KEYS {
                return Err(format!(
                    "has more than {MAX_KEYS} keys: remove those that seal nothing any more"
                ));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(format!(
                "has no key: write a line `kid:base64`, such as the output of `echo \
                 \"k1:$(openssl rand -base64 {KEY_BYTES})\"`"
            ));
        }
        Ok(Self(keys))
    }

    /// The one that seals.
    pub(super) fn first(&self) -> &SealKey {
        &self.0[0]
    }

    /// The one with this id.
    pub(super) fn by_id(&self, id: &str) -> Option<&SealKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

fn read_line(line: &str) -> Result<SealKey, String> {
    let (id, text) = line
        .split_once(':')
        .ok_or_else(|| "it has no `:`: write `kid:base64`".to_owned())?;
    let (id, text) = (id.trim_end(), text.trim_start());
    if !is_id(id) {
        return Err(format!(
            "what stands before `:` is no id: use 1 to {MAX_ID} letters, digits, `.`, `_` and `-`"
        ));
    }
    let wrong = || {
        format!(
            "the key `{id}` is not base64 of {KEY_BYTES} bytes: make one with `openssl rand \
             -base64 {KEY_BYTES}`"
        )
    };
    // One byte more than needed shows that there is too much.
    let mut bytes = Zeroizing::new([0; KEY_BYTES + 1]);
    let decoded = Base64::decode(text, bytes.as_mut()).map_err(|_| wrong())?;
    if decoded.len() != KEY_BYTES {
        return Err(wrong());
    }
    let key = RandomizedNonceKey::new(&AES_256_GCM, decoded).map_err(|_| wrong())?;
    Ok(SealKey {
        id: id.to_owned(),
        key,
    })
}

/// Whether a text may be the id of a key.
pub(super) fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(|key| &key.id);
        f.debug_list().entries(ids).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn the_first_key_seals_and_all_are_known() {
        let text = format!("\u{feff}# ours\r\n\n b.2-x : {ONE}\r\n{}:{ONE}", "a");
        let keys = Keys::read(text.as_bytes()).unwrap();
        assert_eq!(keys.first().id, "b.2-x");
        assert!(keys.by_id("a").is_some() && keys.by_id("c").is_none());
        assert_eq!(format!("{keys:?}"), r#"["b.2-x", "a"]"#);
    }

    #[test]
    fn what_is_wrong_is_told_with_the_line_and_without_the_key() {
        let many: String = (0..65).map(|n| format!("k{n}:{ONE}\n")).collect();
        for (text, words) in [
            (String::new(), "has no key"),
            ("# k1:hush".into(), "has no key"),
            ("\nhush".into(), "line 2: it has no `:`"),
            (format!("k1:{ONE}\nhush hush:{ONE}"), "line 2: what stands"),
            (format!(":{ONE}"), "line 1: what stands"),
            ("k1:hush".into(), "line 1: the key `k1` is not base64"),
            ("k1:aHVzaA==".into(), "line 1: the key `k1` is not base64"),
            (format!("k1:{ONE}hush"), "line 1: the key `k1`"),
            (
                // 33 bytes.
                format!("k1:{}", Base64::encode_string(&[7; 33])),
                "line 1: the key `k1`",
            ),
            (
                format!("k1:{ONE}\nk1:{ONE}"),
                "line 2: the id `k1` is that of key 1",
            ),
            (many, "more than 64 keys"),
        ] {
            let problem = Keys::read(text.as_bytes()).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
            assert!(
                !problem.contains("hush") && !problem.contains(ONE),
                "{problem}"
            );
        }
        assert!(Keys::read(b"k1:\xff").unwrap_err().contains("not UTF-8"));
    }
}
