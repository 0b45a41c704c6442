//! Tokens: made at random, kept as hashes, found among all consumers' in constant time.
//!
//! Owns what a token looks like and how a presented one is compared. Only hashes are kept: a dump
//! of the server's memory shows no token that it did not just read. Files are in `token_file`.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64ct::{Base64UrlUnpadded, Encoding};
use zeroize::Zeroizing;

use brs_core::{Error, SecretString};

/// How many random bytes a token has.
const BYTES: usize = 32;
/// The shortest token that a program may choose by itself.
const SHORTEST: usize = 22;
const LONGEST: usize = 1024;

/// Makes tokens.
#[derive(Debug)]
#[non_exhaustive]
pub struct Token;

impl Token {
    /// A new token: 32 random bytes as base64url without padding, 43 characters.
    ///
    /// ```
    /// assert_eq!(brs::serve::Token::random().expose().len(), 43);
    /// ```
    ///
    /// # Panics
    ///
    /// If the system has no random numbers.
    pub fn random() -> SecretString {
        let mut bytes = Zeroizing::new([0; BYTES]);
        aws_lc_rs::rand::fill(&mut bytes[..]).expect("the system has random numbers");
        Base64UrlUnpadded::encode_string(&bytes[..]).into()
    }
}

/// Refuses a chosen token that could be guessed or that no header can carry.
pub(super) fn check(token: &SecretString) -> Result<(), Error> {
    let text = token.expose();
    let is_long_enough = (SHORTEST..=LONGEST).contains(&text.len());
    if is_long_enough && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Error::validation(format!(
        "a token has {SHORTEST} to {LONGEST} visible ASCII characters without blanks: use `Token::random()`"
    ))
    .with_param("token"))
}

/// What is kept of a token.
pub(super) type Hash = [u8; 32];

pub(super) fn hash(token: &[u8]) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, token).as_ref());
    out
}

/// The tokens that are good, and whose they are.
#[derive(Debug, Default)]
pub(super) struct Tokens(Vec<Known>);

#[derive(Debug)]
struct Known {
    hash: Hash,
    owner: usize,
    /// On the monotonic clock; `None`: for as long as the server lives.
    until: Option<Duration>,
}

impl Tokens {
    pub(super) fn add(&mut self, hash: Hash, owner: usize, until: Option<Duration>) {
        self.0.push(Known { hash, owner, until });
    }

    /// Whose token that is. Looks at every token, however early one fits.
    pub(super) fn owner(&self, presented: &[u8], now: Duration) -> Option<usize> {
        let presented = hash(presented);
        let mut owner = None;
        for known in &self.0 {
            let is_equal = verify_slices_are_equal(&presented, &known.hash).is_ok();
            let is_good = known.until.is_none_or(|until| now < until);
            owner = if is_equal & is_good {
                Some(known.owner)
            } else {
                owner
            };
        }
        owner
    }
}

/// The token in an `Authorization` header: `TOKEN` or `Bearer TOKEN`.
pub(super) fn presented(authorization: &[u8]) -> &[u8] {
    let text = authorization.trim_ascii();
    match text.split_at_checked("bearer ".len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_fit_into_a_header() {
        let (one, other) = (Token::random(), Token::random());
        assert_ne!(one, other);
        assert!(check(&one).is_ok());
    }

    #[test]
    fn short_tokens_and_those_with_blanks_are_refused() {
        for text in [
            "",
            "x",
            "0123456789012345678901 ",
            "0123456789\n0123456789012",
        ] {
            assert_eq!(check(&text.into()).unwrap_err().param(), Some("token"));
        }
    }

    #[test]
    fn a_token_is_found_with_and_without_its_scheme() {
        for text in ["abc", " abc ", "Bearer abc", "bearer abc", "BEARER  abc"] {
            assert_eq!(presented(text.as_bytes()), b"abc", "{text}");
        }
        for text in ["Bearer", "Basic abc", "Bearerabc"] {
            assert_ne!(presented(text.as_bytes()), b"abc", "{text}");
        }
        assert_eq!(presented(b""), b"");
    }

    #[test]
    fn a_token_that_ends_is_good_until_then() {
        let mut tokens = Tokens::default();
        tokens.add(hash(b"old"), 0, Some(Duration::from_secs(300)));
        tokens.add(hash(b"new"), 0, None);
        tokens.add(hash(b"other"), 1, None);
        let at =
            |token: &str, seconds| tokens.owner(token.as_bytes(), Duration::from_secs(seconds));
        assert_eq!(
            [
                at("old", 299),
                at("old", 300),
                at("new", 9999),
                at("other", 0),
                at("", 0),
                at("ne", 0)
            ],
            [Some(0), None, Some(0), Some(1), None, None]
        );
    }
}
