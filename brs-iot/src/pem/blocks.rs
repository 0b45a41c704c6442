//! PEM taken apart: labels and their bytes, each in memory that wipes itself.
//!
//! Follows RFC 7468, leniently: text around blocks, line breaks of any system, lines of any length. Nothing it says
//! about a block shows its content.

use zeroize::{Zeroize, Zeroizing};

const BEGIN: &[u8] = b"-----BEGIN ";

/// One block: `-----BEGIN LABEL-----` to its end.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Der(Zeroizing<Vec<u8>>),
    /// OpenSSL's own encryption, told by headers within the block (`Proc-Type: 4,ENCRYPTED`).
    LegacyEncrypted,
}

/// Why text is not PEM, as the end of a sentence.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotPem {
    #[error("is not text: give PEM, or DER as it is")]
    NotText,
    #[error("has a block without an end, number {0}: it was cut off")]
    NoEnd(usize),
    #[error("has a damaged block, number {0}: its Base64 cannot be read")]
    Damaged(usize),
}

/// Whether bytes are one DER structure and not PEM, which may have a comment that begins with the digit 0.
pub(crate) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && find(bytes, BEGIN).is_none()
}

/// The blocks in some text; none where there is no PEM in it. Text around them may be in any encoding.
pub(crate) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, NotPem> {
    let mut rest = bytes;
    let mut blocks = Vec::new();
    while let Some((_, begun)) = split(rest, BEGIN) {
        let number = blocks.len() + 1;
        let (label, after) = split(begun, b"-----").ok_or(NotPem::NoEnd(number))?;
        let (body, after) = split(after, &[b"-----END ", label, b"-----"].concat()).ok_or(NotPem::NoEnd(number))?;
        // Another block's beginning within this one: the end belongs to that.
        if find(body, BEGIN).is_some() {
            return Err(NotPem::NoEnd(number));
        }
        let label = std::str::from_utf8(label).map_err(|_| NotPem::Damaged(number))?;
        let body = std::str::from_utf8(body).map_err(|_| NotPem::Damaged(number))?;
        blocks.push(Block { label: label.to_owned(), content: content(body).ok_or(NotPem::Damaged(number))? });
        rest = after;
    }
    // What is no text at all was meant to be something else.
    if blocks.is_empty() && std::str::from_utf8(bytes).is_err() {
        return Err(NotPem::NotText);
    }
    Ok(blocks)
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
        return body.contains("ENCRYPTED").then_some(Content::LegacyEncrypted);
    }
    // Allocated once, at its full size: a text that grows leaves copies behind.
    let mut packed = Zeroizing::new(String::with_capacity(body.len()));
    packed.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    let mut der = Zeroizing::new(vec![0; packed.len() / 4 * 3]);
    use base64ct::Encoding as _;
    let length = base64ct::Base64::decode(packed.as_bytes(), &mut der).ok()?.len();
    der[length..].zeroize();
    der.truncate(length);
    (length > 0).then_some(Content::Der(der))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        blocks(text.as_bytes()).unwrap().into_iter().map(|block| block.label).collect()
    }

    #[test]
    fn blocks_are_found_between_other_text_and_with_any_line_breaks() {
        let text = "Bag Attributes\n-----BEGIN A-----\r\nAAECAw==\r\n-----END A-----\r\nfoot\n\
                    -----BEGIN B C-----\nAA\nEC\n-----END B C-----";
        let found = blocks(text.as_bytes()).unwrap();
        let Content::Der(first) = &found[0].content else { panic!("not decoded") };
        assert_eq!(first.as_slice(), [0, 1, 2, 3]);
        assert_eq!(labels(text), ["A", "B C"]);
        assert_eq!(labels("no PEM at all"), [""; 0]);
    }

    #[test]
    fn comments_may_be_in_any_encoding_and_begin_with_any_digit() {
        let text = [&b"0 Z\xfcrich\n"[..], b"-----BEGIN A-----\nAAEC\n-----END A-----\n\xff"].concat();
        let found = blocks(&text).unwrap();
        assert_eq!((found.len(), found[0].label.as_str(), is_der(&text)), (1, "A", false));
        let odd = b"-----BEGIN A-----\nAA\xfcEC\n-----END A-----\n";
        assert_eq!(blocks(odd).err(), Some(NotPem::Damaged(1)));
        assert!(is_der(&[0x30, 0x82, 1, 0]) && !is_der(b"") && !is_der(b"no PEM"));
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_told_by_number() {
        let whole = "-----BEGIN A-----\nAAEC\n-----END A-----\n";
        for (text, expected) in [
            (format!("{whole}-----BEGIN A-----\nAAEC\n"), NotPem::NoEnd(2)),
            (format!("-----BEGIN A-----\nAA\n{whole}"), NotPem::NoEnd(1)),
            ("-----BEGIN A".to_owned(), NotPem::NoEnd(1)),
            ("-----BEGIN A-----\nAAEC\n-----END B-----\n".to_owned(), NotPem::NoEnd(1)),
            (whole.replace("AAEC", "A*EC"), NotPem::Damaged(1)),
            (whole.replace("AAEC", "AAE"), NotPem::Damaged(1)),
            (whole.replace("AAEC\n", ""), NotPem::Damaged(1)),
        ] {
            assert_eq!(blocks(text.as_bytes()).err(), Some(expected), "{text}");
        }
        assert_eq!(blocks(&[0x30, 0x82, 0xff]).err(), Some(NotPem::NotText));
    }

    #[test]
    fn the_encryption_of_old_is_recognised() {
        let text = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAEC\n\
                    -----END RSA PRIVATE KEY-----\n";
        assert!(matches!(blocks(text.as_bytes()).unwrap()[0].content, Content::LegacyEncrypted));
    }
}
