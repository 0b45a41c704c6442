//! The seal: what makes an entry unreadable to the store, and unusable in another place.
//!
//! AES-256-GCM with a random nonce. Additional data are the entry's key, the id of the seal's key
//! and the generation, so that bytes that were moved to another key, or told with another
//! generation, do not open. Sealed bytes are: a version (1 byte), the length of the id (1 byte),
//! the id, the nonce (12 bytes), the ciphertext and its tag (16 bytes).

use std::fmt;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce};
use brs_core::kit::{files, path::expanded};
use brs_core::{Error, SecretString};
use zeroize::Zeroizing;

use super::keys::{Keys, SealKey, is_id};
use super::store::MAX_SEALED;
use crate::key::Key;

/// The version of the format of sealed bytes.
const VERSION: u8 = 1;

/// Seals entries of a fleet's store, and opens them. Cheap to clone; its `Debug` shows ids only.
///
/// Keys are lines `kid:base64`, an id and 32 bytes; empty lines and lines with `#` are skipped. The
/// first key seals, all open. To rotate: append the new key on all hosts, then put it first on all
/// hosts, then, an hour or a set's lifetime later, remove the old one. A host that cannot open an
/// entry asks its source by itself.
///
/// A key may seal 2³² times, which a fleet does not reach in its life; change it when somebody who
/// knew it leaves.
#[derive(Clone)]
pub struct Seal(Arc<Inner>);

struct Inner {
    /// Where the keys are read from again when it changes.
    path: Option<PathBuf>,
    current: ArcSwap<Current>,
}

struct Current {
    keys: Keys,
    state: Option<FileState>,
}

/// What tells that a file has been changed or replaced.
#[derive(Clone, PartialEq)]
struct FileState {
    modified: Option<SystemTime>,
    length: u64,
    identity: (u64, u64),
}

/// Why sealed bytes did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unopened {
    #[error("has more bytes than any of brs's")]
    Oversized,
    #[error("is not sealed by brs, or is cut short")]
    Malformed,
    #[error("is sealed with a key that this host does not have: give all hosts the same seal keys")]
    UnknownKey,
    #[error(
        "does not open: it was changed, or is another key's or generation's, or was sealed \
             with another key of the same id"
    )]
    Tampered,
}

impl Seal {
    /// With the keys in a file, which is read again when it changes; `~/` is the home directory.
    ///
    /// The file must be a regular one of at most 1 MiB, and should be readable by its owner only
    /// (0600): otherwise there is a warning at the first refresh. Reads the file, so call it where
    /// that may take a moment.
    ///
    /// # Errors
    ///
    /// A configuration error for a file that cannot be read, and for a line that is no key, with
    /// its number.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = expanded(&path.into()).into_owned();
        let current = read(&path)?;
        Ok(Self(Arc::new(Inner {
            path: Some(path),
            current: ArcSwap::from_pointee(current),
        })))
    }

    /// With the keys in a text, such as one that a secrets manager gave.
    ///
    /// # Errors
    ///
    /// A configuration error for a line that is no key, with its number.
    pub fn from_keys(text: impl Into<SecretString>) -> Result<Self, Error> {
        let text = text.into();
        let keys = Keys::read(text.expose().as_bytes())
            .map_err(|problem| configuration(format!("the text of the seal keys {problem}")))?;
        Ok(Self(Arc::new(Inner {
            path: None,
            current: ArcSwap::from_pointee(Current { keys, state: None }),
        })))
    }

    /// Reads the file again if it has changed. What it had before stays if that fails. Blocks.
    pub(super) fn look_again(&self) -> Result<(), Error> {
        let Some(path) = &self.0.path else {
            return Ok(());
        };
        let state = std::fs::metadata(path).ok().map(|found| state(&found));
        if state.is_some() && state == self.0.current.load().state {
            return Ok(());
        }
        self.0.current.store(Arc::new(read(path)?));
        Ok(())
    }

    /// What is wrong with the file's mode, as the end of a sentence. Blocks.
    pub(super) fn mode_problem(&self) -> Option<String> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let path = self.0.path.as_deref()?;
            let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
            (mode & 0o077 != 0).then(|| {
                format!(
                    "the file of the seal keys `{}` has the mode {mode:04o}: others can read or \
                     change it; change it with `chmod 0600`",
                    path.display()
                )
            })
        }
        #[cfg(not(unix))]
        None
    }

    /// Whether there is a file to look at.
    pub(super) fn is_of_file(&self) -> bool {
        self.0.path.is_some()
    }

    /// Seals an entry. `None`: the system gives no random bytes.
    pub(super) fn seal(&self, key: &Key, generation: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let current = self.0.current.load();
        let SealKey { id, key: seal_key } = current.keys.first();
        let tag = AES_256_GCM.tag_len();
        // Never grown: that would leave a copy of the plain text.
        let mut bytes = Vec::with_capacity(2 + id.len() + NONCE_LEN + plain.len() + tag);
        bytes.push(VERSION);
        bytes.push(u8::try_from(id.len()).ok()?);
        bytes.extend_from_slice(id.as_bytes());
        let at = bytes.len();
        bytes.extend_from_slice(&[0; NONCE_LEN]);
        bytes.extend_from_slice(plain);
        let data = additional(key, id, generation);
        let (head, text) = bytes.split_at_mut(at + NONCE_LEN);
        let (nonce, tag) = seal_key
            .seal_in_place_separate_tag(Aad::from(data), text)
            .ok()?;
        head[at..].copy_from_slice(nonce.as_ref());
        bytes.extend_from_slice(tag.as_ref());
        Some(bytes)
    }

    /// Opens what a store gave.
    pub(super) fn open(
        &self,
        key: &Key,
        generation: u64,
        bytes: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        if bytes.len() > MAX_SEALED {
            return Err(Unopened::Oversized);
        }
        let (id, nonce, text) = parts(bytes).ok_or(Unopened::Malformed)?;
        let current = self.0.current.load();
        let seal_key = current.keys.by_id(id).ok_or(Unopened::UnknownKey)?;
        let mut plain = Zeroizing::new(text.to_vec());
        let data = Aad::from(additional(key, id, generation));
        let length = seal_key
            .key
            .open_in_place(Nonce::assume_unique_for_key(nonce), data, &mut plain)
            .map_err(|_| Unopened::Tampered)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

/// Id, nonce, and ciphertext with tag.
fn parts(bytes: &[u8]) -> Option<(&str, [u8; NONCE_LEN], &[u8])> {
    let rest = bytes.strip_prefix(&[VERSION])?;
    let (length, rest) = rest.split_first()?;
    let (id, rest) = rest.split_at_checked(usize::from(*length))?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
    let id = std::str::from_utf8(id).ok().filter(|id| is_id(id))?;
    (text.len() >= AES_256_GCM.tag_len()).then_some((id, *nonce, text))
}

/// What is sealed along without being in the bytes. No part has a NUL.
fn additional(key: &Key, id: &str, generation: u64) -> Vec<u8> {
    format!("brs-seal-{VERSION}\0{}\0{id}\0{generation}", key.as_str()).into_bytes()
}

fn read(path: &Path) -> Result<Current, Error> {
    let named = format!("the file of the seal keys `{}`", path.display());
    // Before reading: what is changed under way is read again.
    let state = std::fs::metadata(path).ok().map(|found| state(&found));
    let text = files::read(path).map_err(|unread| unread.into_error(&named, "seal_keys"))?;
    let keys = Keys::read(&text).map_err(|problem| configuration(format!("{named} {problem}")))?;
    Ok(Current { keys, state })
}

fn state(found: &Metadata) -> FileState {
    #[cfg(unix)]
    let identity = {
        use std::os::unix::fs::MetadataExt as _;
        // The change time also tells of a file that was put back with its old times.
        (
            found.ino(),
            found.ctime_nsec().unsigned_abs() ^ found.ctime().unsigned_abs(),
        )
    };
    #[cfg(not(unix))]
    let identity = (0, 0);
    FileState {
        modified: found.modified().ok(),
        length: found.len(),
        identity,
    }
}

fn configuration(text: String) -> Error {
    Error::configuration(text)
        .with_param("seal_keys")
        .unrecoverable()
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Seal");
        if let Some(path) = &self.0.path {
            out.field("path", path);
        }
        out.field("keys", &self.0.current.load().keys).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brs_core::Fingerprint;

    const ONE: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const TWO: &str = "k2:HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

    fn key(name: &str) -> Key {
        Key::of(&Fingerprint::new(name))
    }

    fn seal(text: &str) -> Seal {
        Seal::from_keys(text).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_key_and_generation_only() {
        let one = seal(ONE);
        let bytes = one.seal(&key("x"), 7, b"hush hush").unwrap();
        assert!(!bytes.windows(4).any(|part| part == b"hush"));
        assert_eq!(&**one.open(&key("x"), 7, &bytes).unwrap(), b"hush hush");
        for (key, generation) in [(key("y"), 7), (key("x"), 8), (key("x"), 6)] {
            let opened = one.open(&key, generation, &bytes);
            assert_eq!(opened.unwrap_err(), Unopened::Tampered);
        }
        assert_ne!(bytes, one.seal(&key("x"), 7, b"hush hush").unwrap());
    }

    #[test]
    fn keys_rotate_without_an_outage() {
        let (old, both, new) = (
            seal(ONE),
            seal(&format!("{TWO}\n{ONE}")),
            seal(&format!("{TWO}\n")),
        );
        let of_old = old.seal(&key("x"), 1, b"a").unwrap();
        let of_both = both.seal(&key("x"), 2, b"b").unwrap();
        assert_eq!(&**both.open(&key("x"), 1, &of_old).unwrap(), b"a");
        assert_eq!(&**new.open(&key("x"), 2, &of_both).unwrap(), b"b");
        assert_eq!(
            new.open(&key("x"), 1, &of_old).unwrap_err(),
            Unopened::UnknownKey
        );
    }

    #[test]
    fn another_key_of_the_same_id_does_not_open() {
        let bytes = seal(ONE).seal(&key("x"), 1, b"a").unwrap();
        let other = seal(&TWO.replace("k2", "k1"));
        assert_eq!(
            other.open(&key("x"), 1, &bytes).unwrap_err(),
            Unopened::Tampered
        );
    }

    #[test]
    fn every_change_and_every_cut_is_noticed() {
        let one = seal(ONE);
        let bytes = one.seal(&key("x"), 1, b"hush").unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(one.open(&key("x"), 1, &changed).is_err(), "{at}");
            assert!(one.open(&key("x"), 1, &bytes[..at]).is_err(), "{at}");
        }
        let mut long = bytes;
        long.resize(MAX_SEALED + 1, 0);
        assert_eq!(
            one.open(&key("x"), 1, &long).unwrap_err(),
            Unopened::Oversized
        );
        assert_eq!(
            one.open(&key("x"), 1, b"").unwrap_err(),
            Unopened::Malformed
        );
    }

    #[test]
    fn the_longest_entry_fits() {
        let id = "k".repeat(64);
        let one = seal(&ONE.replace("k1", &id));
        let plain = vec![b'x'; crate::entry::MAX_BYTES];
        let bytes = one.seal(&key("x"), u64::MAX, &plain).unwrap();
        assert_eq!(&**one.open(&key("x"), u64::MAX, &bytes).unwrap(), &plain);
    }

    #[test]
    fn a_file_is_read_again_when_it_changes_and_stays_when_it_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, ONE).unwrap();
        let of_file = Seal::from_file(&path).unwrap();
        std::fs::write(&path, format!("{TWO}\n{ONE}")).unwrap();
        of_file.look_again().unwrap();
        let bytes = of_file.seal(&key("x"), 1, b"a").unwrap();
        assert!(seal(TWO).open(&key("x"), 1, &bytes).is_ok());
        std::fs::write(&path, "k3:hush").unwrap();
        let error = of_file.look_again().unwrap_err().to_string();
        assert!(
            error.contains("line 1") && !error.contains("hush"),
            "{error}"
        );
        assert!(
            of_file.open(&key("x"), 1, &bytes).is_ok(),
            "what it had stays"
        );
        std::fs::remove_file(&path).unwrap();
        let error = of_file.look_again().unwrap_err();
        assert!(error.to_string().contains("does not exist"), "{error}");
        // A new file under the old name.
        std::fs::write(&path, ONE).unwrap();
        of_file.look_again().unwrap();
        assert!(of_file.open(&key("x"), 1, &bytes).is_err());
        assert!(Seal::from_file(directory.path().join("absent")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_noticed() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, ONE).unwrap();
        let of_file = Seal::from_file(&path).unwrap();
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o644, false), (0o660, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(of_file.mode_problem().is_none(), is_fine, "{mode:o}");
        }
    }

    #[test]
    fn whatever_a_store_gives_only_what_was_sealed_opens() {
        let long = vec![1; MAX_SEALED];
        for bytes in [
            &b""[..],
            b"\0\0",
            b"hush",
            &[1, 2, b'k', b'1'],
            ONE.as_bytes(),
            &long,
        ] {
            crate::fleet::fuzz_sealed(bytes);
        }
    }

    #[test]
    fn no_debug_shows_a_key() {
        let shown = format!("{:?}", seal(&format!("{ONE}\n{TWO}")));
        assert_eq!(shown, r#"Seal { keys: ["k1", "k2"] }"#);
    }
}
