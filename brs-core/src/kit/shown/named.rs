//! Values that stand behind names of secrets in foreign texts: `"SecretAccessKey": "…"`, `export
//! AWS_SESSION_TOKEN=…`.
//!
//! A tool that fails may print what it was about to hand over. What brs gave it is hidden by value;
//! what the tool knows by itself can be told by its name only. Names are compared without case, `_`
//! and `-`. The rule prefers to hide too much: a value in quotes ends with its quote, one behind a
//! tight `=` with its word, and any other with its line; with nothing on its line it is the rest of
//! the text. Only what begins like a reason (`password: no such file`) is shown.

use std::ops::Range;

/// A name that ends like one of these is that of a secret.
const NAMES: [&str; 24] = [
    "secretaccesskey",
    "secretkey",
    "sessiontoken",
    "securitytoken",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "secret",
    "secretstring",
    "secretbinary",
    "privatekey",
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "tokencode",
    "authorization",
    "apikey",
    "cookie",
    "hmackey",
    "samlassertion",
    "samlresponse",
    "clientassertion",
    "devicecode",
];

/// Short names, which end other words, too: the last word of a name.
const SHORT_NAMES: [&str; 7] = ["pass", "pwd", "pw", "psk", "pin", "otp", "creds"];

/// These are words of sentences, too: with a colon, only a single word behind them is hidden.
const WORDS: [&str; 4] = ["token", "credential", "credentials", "signature"];

/// How a reason begins that stands where a value could: it is shown.
const REASONS: [&str; 29] = [
    "access is",
    "access denied",
    "bad",
    "bytes",
    "cannot",
    "ckr_",
    "command",
    "connection",
    "could not",
    "denied",
    "error",
    "exit",
    "expired",
    "failed",
    "file not",
    "incorrect",
    "invalid",
    "is a dir",
    "missing",
    "must",
    "no such",
    "not ",
    "operation",
    "permission denied",
    "required",
    "timed out",
    "unauthorized",
    "unknown",
    "wrong",
];

/// The values in `text`, in order; they may overlap.
pub(crate) fn values(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = key_blocks(text);
    let mut at = 0;
    while let Some(name) = next_name(text, at) {
        at = name.end;
        if let Some(value) = value(text, &name) {
            at = value.end.max(at);
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

/// Private keys in PEM, also one whose beginning or end was cut off.
fn key_blocks(text: &str) -> Vec<Range<usize>> {
    const LABEL: &str = "PRIVATE KEY-----";
    let mut found = Vec::new();
    let (mut from, mut open) = (0, None);
    while let Some(at) = text[from..].find(LABEL) {
        let label = from + at;
        from = label + LABEL.len();
        match text[..label]
            .rfind("-----")
            .map(|dashes| &text[dashes..label])
        {
            Some(begin) if begin.starts_with("-----BEGIN") => open = Some(from),
            _ => found.push(open.take().unwrap_or(0)..label),
        }
    }
    found.extend(open.map(|start| start..text.len()));
    found
}

/// The next word that can be a name.
fn next_name(text: &str, from: usize) -> Option<Range<usize>> {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let start = from + text[from..].find(part)?;
    let end = text[start..]
        .find(|c| !part(c))
        .map_or(text.len(), |length| start + length);
    Some(start..end)
}

/// How a value stands behind its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// `=` without blanks, or what encodes it: the value is a word.
    Tight,
    /// `:`, ` = `, `=>` or the comma of a pair.
    Loose,
    /// Nothing but blanks.
    Blank,
}

/// The value behind a name, if the name is a secret's and has one.
fn value(text: &str, name: &Range<usize>) -> Option<Range<usize>> {
    let written = &text[name.clone()];
    // `password1` is one as well, and so are several.
    let plain: String = written
        .chars()
        .filter(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_lowercase();
    let plain = plain
        .strip_suffix('s')
        .filter(|one| !WORDS.contains(one))
        .unwrap_or(&plain);
    let is_word = WORDS.iter().any(|known| plain.ends_with(known));
    let is_name = || NAMES.iter().any(|known| plain.ends_with(known));
    if !is_word && !is_name() && !SHORT_NAMES.contains(&&*last_word(written)) {
        return None;
    }
    if let Some(range) = paired(text, name.end) {
        return Some(range);
    }
    if let Some(element) = element(text, name) {
        return Some(element);
    }
    let (start, link, is_quoted) = link(text, name.end)?;
    let start = start + length_of(&text[start..], &[" ", "\t"]);
    // What a language writes before a value: `Some("`, `$'`, `b"`, `["`.
    let wraps = text[start..].find(['"', '\'']).filter(|length| {
        let before = &text[start..start + length];
        let opens = before.trim_end_matches('\\').ends_with(['(', '[', '$'])
            || before.trim_matches('\\').len() < 2;
        *length < 12
            && opens
            && before
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "($[\\".contains(c))
    });
    if let Some(length) = wraps {
        let escapes =
            text[..start + length].len() - text[..start + length].trim_end_matches('\\').len();
        let (opening, inside) = (start + length - escapes, start + length + 1);
        return some(inside..closed(text, inside, &text[opening..inside]));
    }
    let line = start
        ..text[start..]
            .find('\n')
            .map_or(text.len(), |length| start + length);
    let shown = text[line.clone()].trim();
    let word = text[start..]
        .split(char::is_whitespace)
        .next()
        .unwrap_or_default();
    let word = start..start + word.trim_end_matches(['"', '\'', '`']).len();
    match link {
        Link::Tight if plain.ends_with("authorization") => some(line),
        Link::Tight => some(word),
        Link::Blank if written.starts_with("--") => some(word),
        Link::Blank => some(word).filter(|word| looks_random(&text[word.clone()])),
        Link::Loose if is_reason(shown) => None,
        // On the next lines, of which YAML may say how they are joined.
        Link::Loose
            if shown
                .trim_start_matches(['|', '>', '-', '+', '"', '\''])
                .is_empty() =>
        {
            // A sentence ends with a colon, too: `could not load credentials:`.
            (!is_word || is_quoted).then_some(start..text.len())
        }
        Link::Loose if is_word && !is_quoted && shown.contains(char::is_whitespace) => None,
        Link::Loose => some(line),
    }
}

/// The last word of `DB_PASS`, `user-pin` and `userPin`, in lower case.
fn last_word(name: &str) -> String {
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let last = name.rsplit(['_', '-']).next().unwrap_or(name);
    let is_camel = last.contains(|c: char| c.is_ascii_lowercase());
    let start = last
        .rfind(|c: char| c.is_ascii_uppercase())
        .filter(|_| is_camel);
    last[start.unwrap_or(0)..].to_ascii_lowercase()
}

/// The value of a pair that is written as two: `{"name": "PASSWORD", "value": "…"}`.
fn paired(text: &str, end: usize) -> Option<Range<usize>> {
    let gap = |from: usize, parts: &[&str]| from + length_of(&text[from..], parts);
    let key = gap(end, &["\\", "\"", "'", ",", " ", "\t", "\r", "\n", "{"]);
    let word = text.get(key..key + "value".len())?;
    if key == end || !word.eq_ignore_ascii_case("value") {
        return None;
    }
    let sign = gap(key + word.len(), &["\\", "\"", "'", " "]);
    let start = text[sign..].strip_prefix([':', '=']).map(|_| sign + 1)?;
    let start = gap(start, &[" ", "\t"]);
    let quote = length_of(&text[start..], &["\\", "\"", "'"]);
    if quote > 0 {
        let inside = start + quote;
        return some(inside..closed(text, inside, &text[start..inside]));
    }
    some(
        start
            ..text[start..]
                .find('\n')
                .map_or(text.len(), |length| start + length),
    )
}

fn some(range: Range<usize>) -> Option<Range<usize>> {
    (!range.is_empty()).then_some(range)
}

/// The text of an XML element, itself escaped or not, if the name is that of its start tag.
fn element(text: &str, name: &Range<usize>) -> Option<Range<usize>> {
    [("<", ">"), ("&lt;", "&gt;")]
        .iter()
        .find_map(|(open, close)| {
            // A prefix may stand before the name, attributes behind it.
            let before = text[..name.start].rfind(open)? + open.len();
            let is_prefix = text[before..name.start]
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == ':');
            let after = text[name.end..].find(close)? + name.end;
            let attributes = &text[name.end..after];
            let is_tag =
                is_prefix && !attributes.contains(['<', '\n']) && !attributes.ends_with('/');
            let start = after + close.len();
            is_tag.then(|| {
                start
                    ..text[start..]
                        .find(open)
                        .map_or(text.len(), |length| start + length)
            })
        })
}

/// Where the value begins, and how; also whether the name stands in quotes.
fn link(text: &str, end: usize) -> Option<(usize, Link, bool)> {
    let closing = length_of(
        &text[end..],
        &["\\", "\"", "'", "%22", "%27", "%5C", "%5c", "&quot;", "]"],
    );
    let after = end + closing;
    let blanks = length_of(&text[after..], &[" ", "\t", "%20"]);
    let sign = after + blanks;
    let rest = &text[sign..];
    let encoded = length_of(rest, &["%3D", "%3d", "%3A", "%3a"]);
    if encoded > 0 {
        return Some((sign + encoded, Link::Tight, false));
    }
    let signs = length_of(rest, &[":=", "=>", "->", ":", "="]);
    if signs > 0 {
        let start = sign + signs;
        let is_tight =
            &rest[..signs] == "=" && blanks == 0 && !text[start..].starts_with([' ', '\t']);
        return Some((
            start,
            if is_tight { Link::Tight } else { Link::Loose },
            closing > 0,
        ));
    }
    if closing > 0 && rest.starts_with(',') {
        return Some((sign + 1, Link::Loose, true));
    }
    (blanks > 0).then_some((sign, Link::Blank, closing > 0))
}

/// How much of the beginning of a text consists of these.
fn length_of(text: &str, parts: &[&str]) -> usize {
    let mut rest = text;
    while let Some(part) = parts.iter().find(|part| rest.starts_with(*part)) {
        rest = &rest[part.len()..];
    }
    text.len() - rest.len()
}

/// Whether a word is none of a language: keys and tokens have digits or signs.
fn looks_random(word: &str) -> bool {
    word.len() >= 8 && word.contains(|c: char| c.is_ascii_digit() || "+/=".contains(c))
}

/// Whether a text behind a name tells why something failed.
fn is_reason(text: &str) -> bool {
    let text = text.trim_start_matches(['`', '(']).to_ascii_lowercase();
    let code = text
        .split([':', ' '])
        .next()
        .unwrap_or_default()
        .trim_end_matches(['.', ',', ')']);
    code.ends_with("exception")
        || code.ends_with("error")
        || REASONS.iter().any(|reason| text.starts_with(reason))
}

/// Where the value that `quote` opened ends: at the same quote, not escaped any further, or at the
/// end of the text.
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
            "-----BEGIN PRIVATE KEY-----\nS\n-----END PRIVATE KEY-----\n-----BEGIN RSA PRIVATE KEY-----\nS",
            "S\n-----END RSA PRIVATE KEY-----\nno access",
            "password: (S-S",
            "password=ab,S",
            "password=ab&S",
            "passphrase: correct horse S",
            "pwd: correct horse S",
            "SecretAccessKey:\n  S",
            "password: |\n  S\n  S",
            "password: >-\n  S",
            r#"Options { password: Some("S"), host: "h" }"#,
            r#"Options { password: Some(\"S\"), host: "h" }"#,
            r#"{"password" => "S"}"#,
            "password => S",
            r#"("password", "S")"#,
            r#"[["token", "S"]]"#,
            "env['PASSWORD'] = 'S'",
            "login me password S",
            "password := S",
            "password=$'S x'",
            r#"<Password xsi:type="xsd:string">S</Password>"#,
            "<aws:SessionToken>S</aws:SessionToken>",
            "&lt;SessionToken&gt;S&lt;/SessionToken&gt;",
            "Action=x&Token%3DS%26x",
            "%7B%22password%22%3A%22S%22%7D",
            "Set-Cookie: id=S; secure",
            "aws_credentials=S",
            "one-time passcode: S",
            "Authorization: AWS4-HMAC-SHA256 Credential=x, Signature=S",
            "token: S",
            r#"{"name": "AWS_SECRET_ACCESS_KEY", "value": "S"}"#,
            r#"[{\"Name\":\"password\",\"Value\":\"S\"}]"#,
            "- name: DB_PASSWORD\n  value: S",
            "DB_PASS=S",
            "userPin: S",
            "password1=S",
            "PASSWORD_2: S",
            "secrets: S",
            "SAMLAssertion=S",
            "deviceCode: S",
        ] {
            let text = with_secret(form);
            let shown = without_values(&text, "***");
            assert!(
                !shown.contains(&SECRET[..8]) && shown.contains("***"),
                "{text}: {shown}"
            );
        }
        // Letters alone are a value, too.
        for text in [
            "pin: hush",
            "secret: hushhush",
            "password: correct horse hush",
            "token: hush",
            "otp=hush",
        ] {
            assert!(!without_values(text, "***").contains("hush"), "{text}");
        }
    }

    #[test]
    fn what_follows_a_value_is_shown_where_its_end_is_known() {
        for (text, expected) in [
            (
                "AWS_SESSION_TOKEN=x aws s3 ls: no access",
                "AWS_SESSION_TOKEN=*** aws s3 ls: no access",
            ),
            (
                r#"{"SecretAccessKey": "x"}: no access"#,
                r#"{"SecretAccessKey": "***"}: no access"#,
            ),
            ("password: x y\nno access", "password: ***\nno access"),
            (
                "x\n-----END PRIVATE KEY-----\nno access",
                "***PRIVATE KEY-----\nno access",
            ),
            (
                "<Password>x</Password> no access",
                "<Password>***</Password> no access",
            ),
        ] {
            assert_eq!(without_values(text, "***"), expected);
        }
    }

    /// Puts the secret where the letter `S` stands alone.
    fn with_secret(form: &str) -> String {
        let chars: Vec<char> = form.chars().collect();
        let mut out = String::new();
        for (at, c) in chars.iter().enumerate() {
            let next = chars.get(at + 1).is_some_and(|c| c.is_ascii_alphanumeric());
            let before = at > 0 && chars[at - 1].is_ascii_alphabetic();
            if *c == 'S' && !next && !before {
                out.push_str(SECRET)
            } else {
                out.push(*c)
            }
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
            "could not read the password: No such file or directory (os error 2)",
            "PIN: CKR_PIN_INCORRECT",
            "could not load credentials: the instance has none",
            "The request signature we calculated does not match the signature you provided.",
            "Signature expired: 20260101T000000Z is now earlier than 20260101T000100Z",
            "SignatureDoesNotMatch: check the secret access key",
            "the password is wrong, and the pin as well",
            "InvalidToken: The provided token is malformed",
            "spin: 3",
            "bypass: on",
            "could not load credentials: no such host",
        ] {
            assert_eq!(without_values(text, "***"), text);
        }
    }
}
