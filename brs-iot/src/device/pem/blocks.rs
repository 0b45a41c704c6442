//! PEM taken apart: labels and their bytes, each in memory that wipes itself.
//!
//! Follows RFC 7468, leniently: text around blocks, line breaks of any system, or `\n` in two
//! characters as environment variables have them, lines of any length. One unreadable block does
//! not hide the others: the caller decides whether they are used. Errors never show a block's
//! content. `rustls_pki_types::pem` does not serve here: it skips labels that it does not know,
//! which errors name, stops at a broken block, and leaves decoded keys in memory.

use zeroize::{Zeroize, Zeroizing};

const BEGIN: &[u8] = b"-----BEGIN ";

/// One block: `-----BEGIN LABEL-----` to its end.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Der(Zeroizing<Vec<u8>>),
    /// OpenSSL's own encryption, marked by headers within the block (`Proc-Type: 4,ENCRYPTED`),
    /// with the cipher's name.
    LegacyEncrypted(String),
    Broken(Broken),
}

/// What is wrong with one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    NoEnd,
    Base64,
}

/// Why text is not PEM, as the end of a sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPem {
    #[error("is not text: give PEM or plain DER")]
    NotText,
    #[error("is UTF-16 text: save it as UTF-8 or ASCII")]
    Utf16,
    #[error("has a block without an end, number {0}: it was cut off")]
    NoEnd(usize),
    #[error("has a damaged block, number {0}: its Base64 cannot be read")]
    Damaged(usize),
}

/// The blocks in some text, all of which must be whole.
pub(crate) fn whole(bytes: &[u8]) -> Result<Vec<Block>, NotPem> {
    let blocks = blocks(bytes)?;
    for (number, block) in (1..).zip(&blocks) {
        match block.content {
            Content::Broken(Broken::NoEnd) => return Err(NotPem::NoEnd(number)),
            Content::Broken(Broken::Base64) => return Err(NotPem::Damaged(number)),
            Content::Der(_) | Content::LegacyEncrypted(_) => {}
        }
    }
    Ok(blocks)
}

/// The blocks in some text; none if it contains no PEM. Text around them may be in any encoding. A
/// last block without an end is an error: the file may still be being written.
pub(crate) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, NotPem> {
    let mut rest = bytes;
    let mut blocks = Vec::new();
    while let Some((_, begun)) = split(rest, BEGIN) {
        // Another block begins within this one: any end after it belongs to that.
        let (own, next) = begun.split_at(find(begun, BEGIN).unwrap_or(begun.len()));
        let block = match parts(own) {
            Some((name, body)) => {
                let content = std::str::from_utf8(body).ok().and_then(content);
                Block {
                    label: label(name),
                    content: content.unwrap_or(Content::Broken(Broken::Base64)),
                }
            }
            None if next.is_empty() => return Err(NotPem::NoEnd(blocks.len() + 1)),
            None => Block {
                label: label(own),
                content: Content::Broken(Broken::NoEnd),
            },
        };
        blocks.push(block);
        rest = next;
    }
    if !blocks.is_empty() {
        return Ok(blocks);
    }
    // Bytes that are not text were meant to be something else.
    match is_utf16(bytes) {
        true => Err(NotPem::Utf16),
        false if std::str::from_utf8(bytes).is_err() => Err(NotPem::NotText),
        false => Ok(blocks),
    }
}

/// Whether bytes are PEM, and not DER that may hold anything.
pub(crate) fn has_begin(bytes: &[u8]) -> bool {
    find(bytes, BEGIN).is_some()
}

/// Label and body, of what follows `-----BEGIN `.
fn parts(begun: &[u8]) -> Option<(&[u8], &[u8])> {
    let (label, after) = split(begun, b"-----")?;
    let (body, _) = split(after, &[b"-----END ", label, b"-----"].concat())?;
    Some((label, body))
}

/// What can be shown of a label.
fn label(bytes: &[u8]) -> String {
    let line = bytes
        .split(|&byte| byte == b'\n' || byte == b'-')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(line)
        .chars()
        .filter(|c| !c.is_control())
        .take(40)
        .collect()
}

/// Whether it begins as UTF-16 does: with its mark, or with ASCII that has a zero in every other
/// place.
fn is_utf16(bytes: &[u8]) -> bool {
    let has_zeros =
        |at: usize| bytes.len() > 8 && bytes[..8].iter().skip(at).step_by(2).all(|&byte| byte == 0);
    bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || has_zeros(0) || has_zeros(1)
}

/// What is before and after the first `mark`.
fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    find(bytes, mark).map(|at| (&bytes[..at], &bytes[at + mark.len()..]))
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|part| part == mark)
}

fn content(body: &str) -> Option<Content> {
    if body.contains("Proc-Type:") {
        return body
            .contains("ENCRYPTED")
            .then(|| Content::LegacyEncrypted(cipher(body)));
    }
    // Allocated once, at its full size: a text that grows leaves copies behind.
    let mut packed = Zeroizing::new(String::with_capacity(body.len()));
    let mut characters = body.chars();
    while let Some(c) = characters.next() {
        match c {
            // Neither is in Base64: a line break that was written as two characters.
            '\\' if characters.as_str().starts_with(['n', 'r']) => drop(characters.next()),
            c if c.is_ascii_whitespace() => {}
            c => packed.push(c),
        }
    }
    let mut der = Zeroizing::new(vec![0; packed.len() / 4 * 3]);
    use base64ct::Encoding as _;
    let length = base64ct::Base64::decode(packed.as_bytes(), &mut der)
        .ok()?
        .len();
    der[length..].zeroize();
    der.truncate(length);
    (length > 0).then_some(Content::Der(der))
}

/// The cipher of `DEK-Info: AES-256-CBC,…`.
fn cipher(body: &str) -> String {
    let info = body.split_once("DEK-Info:").map_or("", |(_, info)| info);
    let name = info
        .split([',', '\r', '\n'])
        .next()
        .unwrap_or_default()
        .trim();
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '-';
    let name: String = name.chars().take_while(is_name).take(40).collect();
    if name.is_empty() {
        "unknown cipher".into()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        blocks(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(|block| block.label)
            .collect()
    }

    #[test]
    fn blocks_are_found_between_other_text_and_with_any_line_breaks() {
        let text = "\u{feff}Bag Attributes\n-----BEGIN A-----\r\nAAECAw==\r\n-----END A-----\r\nfoot\n\
                    -----BEGIN B C-----\nAA\nEC\n-----END B C-----";
        let found = blocks(text.as_bytes()).unwrap();
        let Content::Der(first) = &found[0].content else {
            panic!("not decoded")
        };
        assert_eq!(first.as_slice(), [0, 1, 2, 3]);
        assert_eq!(labels(text), ["A", "B C"]);
        for line_break in ["\r", " ", "\\n", "\\r\\n"] {
            let text = text.replace("\r\n", "\n").replace('\n', line_break);
            let found = blocks(text.as_bytes()).unwrap();
            let Content::Der(second) = &found[1].content else {
                panic!("not decoded: {text}")
            };
            assert_eq!(
                (labels(&text), &second[..]),
                (vec!["A".to_owned(), "B C".to_owned()], &[0, 1, 2][..])
            );
        }
        assert_eq!(labels("no PEM at all"), [""; 0]);
    }

    #[test]
    fn comments_may_be_in_any_encoding_and_begin_with_any_digit() {
        let text = [
            &b"0 Z\xfcrich\n"[..],
            b"-----BEGIN A-----\nAAEC\n-----END A-----\n\xff",
        ]
        .concat();
        let found = blocks(&text).unwrap();
        assert_eq!(
            (found.len(), found[0].label.as_str(), has_begin(&text)),
            (1, "A", true)
        );
        let odd = b"-----BEGIN A-----\nAA\xfcEC\n-----END A-----\n";
        assert_eq!(whole(odd).err(), Some(NotPem::Damaged(1)));
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_told_by_number() {
        let whole_block = "-----BEGIN A-----\nAAEC\n-----END A-----\n";
        for (text, expected) in [
            (
                format!("{whole_block}-----BEGIN A-----\nAAEC\n"),
                NotPem::NoEnd(2),
            ),
            (
                format!("-----BEGIN A-----\nAA\n{whole_block}"),
                NotPem::NoEnd(1),
            ),
            ("-----BEGIN A".to_owned(), NotPem::NoEnd(1)),
            (
                "-----BEGIN A-----\nAAEC\n-----END B-----\n".to_owned(),
                NotPem::NoEnd(1),
            ),
            (whole_block.replace("AAEC", "A*EC"), NotPem::Damaged(1)),
            (whole_block.replace("AAEC", "AAE"), NotPem::Damaged(1)),
            (whole_block.replace("AAEC\n", ""), NotPem::Damaged(1)),
        ] {
            assert_eq!(whole(text.as_bytes()).err(), Some(expected), "{text}");
        }
        assert_eq!(whole(&[0x30, 0x82, 0xff]).err(), Some(NotPem::NotText));
    }

    #[test]
    fn a_broken_block_does_not_hide_the_others() {
        let text = "-----BEGIN A-----\nAAEC\n-----BEGIN B-----\nA*EC\n-----END B-----\n\
                    -----BEGIN C-----\nAAEC\n-----END C-----\n";
        let found = blocks(text.as_bytes()).unwrap();
        let states = found.iter().map(|block| match block.content {
            Content::Broken(broken) => (block.label.as_str(), Some(broken)),
            _ => (block.label.as_str(), None),
        });
        let expected = [
            ("A", Some(Broken::NoEnd)),
            ("B", Some(Broken::Base64)),
            ("C", None),
        ];
        assert_eq!(states.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn utf_16_is_told_from_what_is_no_text() {
        let text = "-----BEGIN A-----\nAAEC\n-----END A-----\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [b"\xff\xfe", &little[..]].concat();
        for text in [little, big, marked] {
            assert_eq!(blocks(&text).err(), Some(NotPem::Utf16));
        }
    }

    #[test]
    fn the_encryption_of_old_is_recognised_with_its_cipher() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAEC\n\
                    -----END RSA PRIVATE KEY-----\n";
        for (text, name) in [
            (text.to_owned(), "AES-256-CBC"),
            (text.replace("DEK", "D"), "unknown cipher"),
        ] {
            let Content::LegacyEncrypted(cipher) = &blocks(text.as_bytes()).unwrap()[0].content
            else {
                panic!("not")
            };
            assert_eq!(cipher, name);
        }
    }
}
