//! Looks for secrets in what programs leave behind.
//!
//! A secret is found by parts of it, as it is or percent-encoded, so that half of one is found too.
//! A place that must hold none is read as bytes, whatever it is.

use std::collections::HashMap;

/// How long the parts are. Random ones of this length meet by accident never.
const PART: usize = 16;

/// The secrets that are looked for.
#[derive(Debug, Default)]
pub(crate) struct Needles {
    /// Parts, and which secret each is of.
    parts: HashMap<[u8; PART], usize>,
    count: usize,
}

impl Needles {
    /// Adds a secret that has 32 characters at least. Session tokens begin with the same 16.
    pub(crate) fn add(&mut self, secret: &str) {
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for text in [secret, &encoded] {
            let bytes = text.as_bytes();
            let last = bytes.len().saturating_sub(PART);
            for at in [PART, last] {
                if let Some(part) = bytes
                    .get(at..at + PART)
                    .and_then(|part| part.try_into().ok())
                {
                    self.parts.insert(part, self.count);
                }
            }
        }
        self.count += 1;
    }

    pub(crate) fn of(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut needles = Self::default();
        secrets.into_iter().for_each(|secret| needles.add(&secret));
        needles
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The places in `content` where a secret is, told without it.
    pub(crate) fn find(&self, place: &str, content: &[u8]) -> Vec<String> {
        let windows = content.windows(PART).enumerate();
        let found = windows.filter_map(|(at, window)| {
            let secret = self.parts.get(window)?;
            let line = content[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            Some(format!("secret {secret} is in {place}, line {line}"))
        });
        found.take(10).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "abcdefghijklmnopqrstuvwxyz+/ABCDEFGHIJKL";

    fn find(content: &str) -> usize {
        Needles::of([SECRET.to_owned()])
            .find("log", content.as_bytes())
            .len()
    }

    #[test]
    fn a_secret_is_found_whole_in_half_and_encoded() {
        assert!(find(SECRET) > 0);
        assert_eq!(find(&format!("key={}&", &SECRET[16..32])), 1);
        assert_eq!(find(&format!("\n…{}", &SECRET[24..])), 1);
        let encoded: String = form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        assert!(encoded.contains('%') && find(&format!("?token={encoded}")) > 0);
    }

    #[test]
    fn what_is_found_is_told_with_its_line_and_without_the_secret() {
        let needles = Needles::of([SECRET.to_owned()]);
        let found = needles.find("log of a", format!("x\ny {SECRET}").as_bytes());
        assert_eq!(found[0], "secret 0 is in log of a, line 2");
    }

    #[test]
    fn other_text_is_no_secret() {
        assert_eq!(find(&SECRET.to_uppercase()), 0);
        assert_eq!(find(""), 0);
        // A key id is none, nor are the characters that all session tokens begin with.
        assert_eq!(find(&SECRET[..16]), 0);
    }
}
