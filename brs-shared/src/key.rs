//! The name of an entry in a store: a digest of the fingerprint.

use std::fmt::{self, Write};

use aws_lc_rs::digest::{SHA256, digest};
use brs_core::Fingerprint;

/// The name of an entry: `v1-` and the SHA-256 of the fingerprint's canonical JSON in hexadecimal.
/// Not secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key(String);

impl Key {
    pub(crate) fn of(fingerprint: &Fingerprint) -> Self {
        let digest = digest(&SHA256, fingerprint.canonical().as_bytes());
        let mut key = String::from("v1-");
        for byte in digest.as_ref() {
            let _ = write!(key, "{byte:02x}");
        }
        Self(key)
    }

    /// The key that has this name.
    #[cfg(unix)]
    pub(crate) fn named(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("v1-")?;
        let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| Self(name.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_digest_of_the_canonical_json() {
        // printf '{"method":"x"}' | sha256sum
        let key = Key::of(&Fingerprint::new("x"));
        assert!(key.as_str().starts_with("v1-") && key.as_str().len() == 67);
        assert_eq!(
            key,
            Key::of(&Fingerprint::new("x").with("absent", None::<&str>))
        );
        assert_ne!(key, Key::of(&Fingerprint::new("y")));
    }
}
