//! An MFA code, and finding one in what a command prints.

use brs_core::SecretString;
use zeroize::Zeroizing;

/// How many digits a code of AWS has.
pub(crate) const DIGITS: usize = 6;

/// Six digits, wiped when dropped and shown nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Code(SecretString);

impl Code {
    /// Takes a text of six digits, blanks around them being no part of it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let code = text.trim();
        is_code(code).then(|| Self(code.into()))
    }

    /// The last number of six digits that stands alone: no letter, digit or underscore beside it.
    pub(crate) fn last_in(output: &[u8]) -> Option<Self> {
        let text = Zeroizing::new(String::from_utf8_lossy(output).into_owned());
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        text.split(|c| !is_word(c))
            .rfind(|word| is_code(word))
            .map(|word| Self(word.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Whether a text is six digits and nothing else.
pub(crate) fn is_code(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_of_six_digits_that_stands_alone_is_the_code() {
        for (output, code) in [
            ("123456\n", Some("123456")),
            ("id=000123", Some("000123")),
            ("111111 222222", Some("222222")),
            ("code: 123456 (valid for 30 s)", Some("123456")),
            ("[123456]\r\n", Some("123456")),
            ("a-123456-b", Some("123456")),
            ("123456.", Some("123456")),
            ("123456 1234567 12345", Some("123456")),
            ("otp123456", None),
            ("123456otp", None),
            ("_123456", None),
            ("é123456", None),
            ("12345", None),
            ("1234567", None),
            ("123 456", None),
            ("١٢٣٤٥٦", None),
            ("", None),
        ] {
            assert_eq!(
                Code::last_in(output.as_bytes()).as_ref().map(Code::expose),
                code,
                "{output}"
            );
        }
        assert_eq!(
            Code::last_in(b"\xff 123456 \xfe").unwrap().expose(),
            "123456"
        );
    }

    #[test]
    fn a_code_is_six_digits_between_blanks() {
        assert_eq!(Code::parse(" 012345\n").unwrap().expose(), "012345");
        for text in ["", "12345", "1234567", "12 3456", "12345a", "１２３４５６"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
        assert!(!format!("{:?}", Code::parse("012345")).contains("012345"));
    }
}
