//! Values that stand behind names of secrets in foreign texts: `"SecretAccessKey": "…"`, `export
//! AWS_SESSION_TOKEN=…`.
//!
//! A tool that fails may print what it was about to hand over. What brs gave it is hidden by value;
//! what the tool knows by itself can be told by its name only. Names are compared without case, `_`,
//! `-` and blanks. The rule prefers to hide too much. Where the end of a value is certain, it ends
//! there: at its quote, at its closing tag, at the end of a word in a URL. Otherwise it is the rest
//! of its line with the indented lines that follow, and the rest of the text if the line is empty or
//! opens a block. Only what begins like a reason (`password: no such file`) is shown.

use std::ops::Range;

/// A name that ends like one of these is that of a secret.
const NAMES: [&str; 23] = [
    "secretaccesskey",
    "secretkey",
    "sessiontoken",
    "securitytoken",
    "accesstoken",
    "refreshtoken",
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
const REASONS: [&str; 35] = [
    "access is",
    "access denied",
    "authentication failed",
    "bad",
    "cannot",
    "command",
    "connection",
    "could not",
    "denied",
    "empty",
    "error",
    "exit",
    "expired",
    "failed",
    "file not",
    "incorrect",
    "invalid",
    "is a directory",
    "locked",
    "missing",
    "must",
    "no",
    "not",
    "operation not",
    "permission denied",
    "required",
    "rpc error",
    "timed out",
    "timeout",
    "too long",
    "too short",
    "unauthorized",
    "unknown",
    "unsupported",
    "wrong",
];

/// What stands around names in quotes, itself escaped or not.
const QUOTES: [&str; 11] = [
    "\\u0022", "\\u0027", "\\", "\"", "'", "`", "%22", "%27", "%5C", "%5c", "&quot;",
];
const BLANKS: [&str; 4] = [" ", "\t", "\u{a0}", "%20"];

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

/// The value behind a name, if the name is a secret's and has one.
fn value(text: &str, name: &Range<usize>) -> Option<Range<usize>> {
    let kind = kind(text, name)?;
    if let Some(range) = paired(text, name.end).or_else(|| element(text, name)) {
        return Some(range);
    }
    let (start, link, is_quoted) = link(text, name.end)?;
    let start = start + length_of(&text[start..], &BLANKS);
    let line = start..end_of_line(text, start);
    let shown = text[line.clone()].trim();
    if is_reason(shown) {
        return None;
    }
    let word = || {
        let word = text[start..].split(char::is_whitespace).next();
        let word = word.unwrap_or_default().trim_end_matches(['"', '\'', '`']);
        some(start..start + word.len())
    };
    if link == Link::Blank && !text[name.clone()].starts_with("--") {
        // Prose, unless it is a word that no language has: `login me password k3y+…`.
        let is_value = |word: &str| !word.starts_with(['"', '\'']) && looks_random(word);
        return word().filter(|word| kind != Kind::Words && is_value(&text[word.clone()]));
    }
    if let Some(quoted) = quoted(text, start) {
        return Some(quoted);
    }
    if link != Link::Sign || text[..name.start].ends_with(['?', '&']) {
        return word();
    }
    if kind == Kind::OfSentences && !is_quoted {
        // `could not load credentials: the instance has none`, or with that on the next line.
        let said = if shown.is_empty() {
            text[line.end..].trim()
        } else {
            shown
        };
        if said.is_empty() || said.contains(char::is_whitespace) || is_reason(said) {
            return None;
        }
    }
    let opens_a_block = shown.is_empty()
        || shown.starts_with(['|', '>', '&', '!', '{', '[', '<'])
        || shown.starts_with("\"\"\"")
        || shown.starts_with("'''");
    let end = if opens_a_block {
        text.len()
    } else {
        with_indented(text, line.end)
    };
    let value = text[start..end].trim_end_matches(['"', '\'', '`']);
    some(start..start + value.len())
}

/// What a name is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A secret's.
    Secret,
    /// A secret's, of several words: `Secret Access Key`.
    Words,
    /// A word that sentences have, too.
    OfSentences,
}

fn kind(text: &str, name: &Range<usize>) -> Option<Kind> {
    let written = &text[name.clone()];
    let plain = plain(written);
    if NAMES.iter().any(|known| plain.ends_with(known))
        || SHORT_NAMES.contains(&&*last_word(written))
    {
        return Some(Kind::Secret);
    }
    let mut words = text[..name.start].rsplit(' ');
    let mut joined = plain.clone();
    // What stands directly before the name is no word of it.
    if words.next() == Some("") {
        for word in words.take(2) {
            joined.insert_str(0, &self::plain(word));
            if NAMES.contains(&&*joined) {
                return Some(Kind::Words);
            }
        }
    }
    let is_word = WORDS.iter().any(|known| plain.ends_with(known));
    is_word.then_some(Kind::OfSentences)
}

/// A name without case, digits and signs, and in the singular: `PASSWORDS_2` is `password`.
fn plain(name: &str) -> String {
    let letters = name.chars().filter(char::is_ascii_alphabetic);
    let mut plain = letters.collect::<String>().to_ascii_lowercase();
    let is_plural = plain.ends_with('s') && !plain.ends_with("ss");
    if is_plural && !WORDS.iter().any(|known| plain.ends_with(known)) {
        plain.pop();
    }
    plain
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

/// How a value stands behind its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// `=`, `:`, `=>`, `->`, the comma of a pair, the rule of a table.
    Sign,
    /// The same, percent-encoded.
    Encoded,
    /// Nothing but blanks.
    Blank,
}

/// Where the value begins, and how; also whether the name stands in quotes.
fn link(text: &str, end: usize) -> Option<(usize, Link, bool)> {
    let after = end + length_of(&text[end..], &QUOTES);
    let after = after + length_of(&text[after..], &["**", "]", ")"]);
    let is_quoted = after > end;
    let blanks = length_of(&text[after..], &BLANKS);
    // A remark may stand in between: `Secret Access Key [None]: `, `password (hidden): `.
    let remark = remark(&text[after + blanks..]);
    let sign = after + blanks + remark;
    let folds = length_of(&text[sign..], &["\r", "\n", " "]);
    let sign = if is_quoted { sign + folds } else { sign };
    let rest = &text[sign..];
    let encoded = length_of(rest, &["%3D", "%3d", "%3A", "%3a"]);
    if encoded > 0 {
        return Some((sign + encoded, Link::Encoded, false));
    }
    let signs = length_of(rest, &[":=", "=>", "->", ":", "=", "："]);
    if signs > 0 {
        return Some((sign + signs, Link::Sign, is_quoted));
    }
    let value = rest.strip_prefix([',', ';']).map(str::trim_start);
    let is_pair = value.is_some_and(|value| is_quoted || value.starts_with(['"', '\'']));
    if is_pair {
        return Some((sign + 1, Link::Sign, true));
    }
    let row = text[..end].rfind('\n').map_or(0, |at| at + 1);
    let rule = rest.chars().next().filter(|rule| "|│".contains(*rule));
    if let Some(rule) = rule.filter(|rule| text[row..].trim_start().starts_with(*rule)) {
        return Some((sign + rule.len_utf8(), Link::Sign, true));
    }
    (blanks > 0 && remark == 0 && sign == after + blanks).then_some((sign, Link::Blank, is_quoted))
}

/// The length of `[…]` or `(…)` before a sign.
fn remark(text: &str) -> usize {
    let brackets = [('[', ']'), ('(', ')')];
    let opened = brackets.iter().find(|(open, _)| text.starts_with(*open));
    let end = opened.and_then(|(_, close)| text.find(*close));
    end.map(|end| end + 1)
        .filter(|end| *end < 40 && text[*end..].starts_with([':', '=']))
        .unwrap_or(0)
}

/// The value of a pair that is written as two: `{"name": "PASSWORD", "value": "…"}`.
fn paired(text: &str, end: usize) -> Option<Range<usize>> {
    let gap = |from: usize, parts: &[&str]| from + length_of(&text[from..], parts);
    let key = gap(
        end,
        &["\\", "\"", "'", ",", " ", "\t", "\r", "\n", "{", "}"],
    );
    let word = text.get(key..key + "value".len())?;
    if key == end || !word.eq_ignore_ascii_case("value") {
        return None;
    }
    let sign = gap(key + word.len(), &["\\", "\"", "'", " "]);
    let start = text[sign..].strip_prefix([':', '=']).map(|_| sign + 1)?;
    let start = gap(start, &BLANKS);
    quoted(text, start).or_else(|| some(start..end_of_line(text, start)))
}

/// The content of an XML element, itself escaped or not, if the name is that of its start tag.
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
            let end = format!("{open}/{}", &text[before..name.end]);
            let end = || text[start..].find(&end).map(|length| start + length);
            is_tag.then(|| start..end().unwrap_or(text.len()))
        })
}

/// The inside of a value in quotes, if the quotes end it: `"…"`, `Some("…")`, `$'…'`.
fn quoted(text: &str, start: usize) -> Option<Range<usize>> {
    let opener = start + text[start..].find(['"', '\''])?;
    let before = text[start..opener].trim_end_matches('\\');
    let wraps = match before {
        "" | "$" | "b" | "r" | "u" => true,
        _ => before.len() < 12 && before.ends_with('('),
    };
    let is_plain = before
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "($".contains(c));
    if !wraps || !is_plain {
        return None;
    }
    let inside = opener + 1;
    let quote = &text[start + before.len()..inside];
    // Three of them open a block.
    if text[inside..].starts_with(&quote.repeat(2)) {
        return None;
    }
    let end = closed(text, inside, quote);
    // A string that follows belongs to it: `'a'\''b'`, `"a" "b"`.
    let after = &text[(end + quote.len()).min(text.len())..];
    let after = after.trim_start_matches([' ', '\t']);
    let goes_on = after.starts_with(['"', '\'']) || (quote.len() == 1 && after.starts_with('\\'));
    some(inside..if goes_on { end_of_line(text, end) } else { end })
}

fn some(range: Range<usize>) -> Option<Range<usize>> {
    (!range.is_empty()).then_some(range)
}

fn end_of_line(text: &str, from: usize) -> usize {
    text[from..]
        .find('\n')
        .map_or(text.len(), |length| from + length)
}

/// The end of the indented lines behind `end`: they go on with the line before.
fn with_indented(text: &str, mut end: usize) -> usize {
    while text[end..].starts_with("\n ") || text[end..].starts_with("\n\t") {
        end = end_of_line(text, end + 1);
    }
    end
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
    let code = text.split([':', ' ']).next().unwrap_or_default();
    let code = code.trim_end_matches(['.', ',', ')', '`']);
    let begins = |reason: &&str| {
        let rest = text.strip_prefix(*reason);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ',', '.', ':', ';', ')']))
    };
    code.ends_with("exception")
        || code.ends_with("error")
        || code.starts_with("ckr_")
        || REASONS.iter().any(begins)
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
mod tests;
