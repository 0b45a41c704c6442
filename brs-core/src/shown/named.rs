//! Values that stand behind names of secrets in foreign texts: `"SecretAccessKey": "…"`, `export AWS_SESSION_TOKEN=…`.
//!
//! A tool that fails may print what it was about to hand over. What brs gave it is hidden by value; what the tool knows
//! by itself can be told by its name only. Names are compared without case, `_` and `-`. A value in quotes ends with
//! its quote, or with the text, which may have been cut; another one ends with its word.

use std::ops::Range;

/// A name that ends like one of these is that of a secret.
const NAMES: [&str; 15] = [
    "secretaccesskey",
    "secretkey",
    "sessiontoken",
    "securitytoken",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "clientsecret",
    "privatekey",
    "password",
    "passwd",
    "passphrase",
    "tokencode",
    "authorization",
    "apikey",
];

/// These are words of sentences, too: `token: expired` hides nothing.
const WORDS: [&str; 4] = ["token", "secret", "pin", "otp"];

/// The values in `text`, in order.
pub(crate) fn values(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = key_blocks(text);
    let mut at = 0;
    while let Some((name, end)) = next_name(text, at) {
        at = end;
        if let Some(value) = value(text, &name, end) {
            at = value.end.max(end);
            found.push(value);
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

/// `text` with a mask over each value.
pub(super) fn without_values(text: &str, mask: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for Range { start, end } in values(text) {
        if start >= from {
            out.push_str(&text[from..start]);
            out.push_str(mask);
        }
        from = from.max(end);
    }
    out.push_str(&text[from..]);
    out
}

/// Private keys in PEM.
fn key_blocks(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("PRIVATE KEY-----") {
        let start = from + at + "PRIVATE KEY-----".len();
        let end = text[start..].find("-----END").map_or(text.len(), |length| start + length);
        found.push(start..end);
        from = text[end..].find("KEY-----").map_or(text.len(), |length| end + length + "KEY-----".len());
    }
    found
}

/// The next word that can be a name, and where it ends.
fn next_name(text: &str, from: usize) -> Option<(Range<usize>, usize)> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let start = from + text[from..].find(part)?;
    let end = text[start..].find(|c| !part(c)).map_or(text.len(), |length| start + length);
    Some((start..end, end))
}

/// The value behind a name, if the name is a secret's and has one.
fn value(text: &str, name: &Range<usize>, end: usize) -> Option<Range<usize>> {
    let written = &text[name.clone()];
    let plain: String = written.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let is_name = NAMES.iter().any(|known| plain.ends_with(known));
    let is_word = WORDS.iter().any(|known| plain.ends_with(known));
    if !is_name && !is_word {
        return None;
    }
    let closing = quotes(&text[end..]);
    let after = end + closing;
    let spaces = blanks(&text[after..]);
    let (start, prose) = match text[after + spaces..].chars().next() {
        Some('=') => (after + spaces + 1, false),
        Some(':') => (after + spaces + 1, closing == 0),
        Some('>') if spaces == 0 => return Some(xml(text, after + 1)),
        _ if written.starts_with("--") && spaces > 0 => (after, false),
        _ => return None,
    };
    let start = start + blanks(&text[start..]);
    let opening = quotes(&text[start..]);
    let value = if opening > 0 {
        let inside = start + opening;
        inside..closed(text, inside, &text[start..inside])
    } else if plain.ends_with("authorization") {
        start..text[start..].find(['\n', ';']).map_or(text.len(), |length| start + length)
    } else {
        let ends = |c: char| c.is_whitespace() || ",;&\"'<>{}[]()".contains(c);
        start..text[start..].find(ends).map_or(text.len(), |length| start + length)
    };
    let shown = &text[value.clone()];
    let is_sentence =
        prose && opening == 0 && is_word && shown.chars().all(|c| c.is_ascii_alphabetic() || ".!?`".contains(c));
    (!shown.is_empty() && !is_sentence).then_some(value)
}

fn xml(text: &str, start: usize) -> Range<usize> {
    start..text[start..].find('<').map_or(text.len(), |length| start + length)
}

fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches([' ', '\t']).len()
}

/// How long a quote at the beginning is: `"`, `'`, or one that was escaped, `\"`.
fn quotes(text: &str) -> usize {
    let escapes = text.len() - text.trim_start_matches('\\').len();
    if text[escapes..].starts_with(['"', '\'']) { escapes + 1 } else { 0 }
}

/// Where the value that `quote` opened ends: at the same quote, not escaped any further, or at the end of the text.
fn closed(text: &str, from: usize, quote: &str) -> usize {
    let mut at = from;
    while let Some(length) = text[at..].find(quote) {
        let found = at + length;
        let before = text[from..found].len() - text[from..found].trim_end_matches('\\').len();
        if before.is_multiple_of(2) {
            return found;
        }
        at = found + quote.len();
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY=";

    #[test]
    fn a_value_behind_a_secrets_name_is_hidden_however_it_is_written() {
        for form in [
            r#"{"AccessKeyId":"AKIA","SecretAccessKey":"S","SessionToken":"S"}"#,
            r#"{"SecretAccessKey" : "S", "x": 1}"#,
            r#"{'secret_access_key': 'S'}"#,
            r#"{\"SecretAccessKey\": \"S\"}"#,
            r#""{\\\"SecretAccessKey\\\":\\\"S\\\"}""#,
            "aws_secret_access_key = S",
            "export AWS_SECRET_ACCESS_KEY=S",
            "AWS_SESSION_TOKEN='S' aws s3 ls",
            "secretAccessKey: S",
            "password: hunter-S",
            "<SecretAccessKey>S</SecretAccessKey>",
            "https://host/?X-Amz-Security-Token=S&x=1",
            "tool --session-token S --verbose",
            "tool --password=S",
            r#"{"SecretAccessKey":"S"#,
            r#"{"password":"a\"S"}"#,
            "Authorization: Bearer S",
            "token=S",
            r#"{"token": "S"}"#,
            "PIN: 1234S",
            "-----BEGIN EC PRIVATE KEY----- S -----END EC PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nS",
        ] {
            let text = with_secret(form);
            let shown = without_values(&text, "***");
            assert!(!shown.contains(&SECRET[..8]) && shown.contains("***"), "{text}: {shown}");
        }
    }

    /// Puts the secret where the letter `S` stands alone.
    fn with_secret(form: &str) -> String {
        let chars: Vec<char> = form.chars().collect();
        let mut out = String::new();
        for (at, c) in chars.iter().enumerate() {
            let next = chars.get(at + 1).is_some_and(|c| c.is_ascii_alphanumeric());
            let before = at > 0 && chars[at - 1].is_ascii_alphabetic();
            if *c == 'S' && !next && !before { out.push_str(SECRET) } else { out.push(*c) }
        }
        out
    }

    #[test]
    fn sentences_stay_readable() {
        for text in [
            "The security token included in the request is invalid",
            "ExpiredToken: The provided token has expired.",
            "could not refresh the SSO token: InvalidGrantException",
            "wrong PIN",
            "the token: expired",
            "MultiFactorAuthentication failed with invalid MFA one time pass code",
            "AccessKeyId: AKIAIOSFODNN7EXAMPLE",
        ] {
            assert_eq!(without_values(text, "***"), text);
        }
    }
}
