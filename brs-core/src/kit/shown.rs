//! Foreign texts, fit to be shown: what the SDK, AWS and providers say about a failure. For brs's
//! own methods.
//!
//! Owns the cleaning, and the one form in which the errors of others become sources of brs's. They
//! are never handed on as they are: some of the SDK's print the whole request with everything that
//! is in it. Hiding knows a value in the forms that it takes on its way: as it is, percent-encoded
//! in a body, escaped in XML or by `Debug`.

pub(crate) mod named;

use std::error::Error as StdError;
use std::io;

use zeroize::Zeroizing;

use crate::kit::error::Error;

/// How much of a foreign text is shown, in characters.
pub const MAX_TEXT: usize = 300;
const MASK: &str = "***";
/// A shorter value is hidden only where it stands alone: a tag's value `a` is not every `a`.
const SHORT: usize = 4;

/// What somebody else's errors said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

/// Adds a foreign error to one of brs's, as text for readers of logs and as source. Where it is
/// itself one of brs's on its way through the SDK, that one is the source.
pub fn with_cause(out: Error, error: &(dyn StdError + 'static), hidden: &[&str]) -> Error {
    let text = causes(error, hidden);
    let out = if text.is_empty() {
        out
    } else {
        out.with_detail("cause", &text)
    };
    match find::<Error>(error) {
        Some(own) => out.with_source(own.clone()),
        None if text.is_empty() => out,
        None => out.with_source(Cause(text)),
    }
}

/// What the errors beneath say, from the outside in.
pub fn causes(error: &(dyn StdError + 'static), hidden: &[&str]) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = beneath(error);
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = beneath(error);
    }
    clean(&texts.join(": "), hidden)
}

/// The first error of that type in a chain.
pub fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = beneath(error);
    }
    None
}

/// Whether any error of a chain is such a one.
pub fn any_in_chain(
    error: &(dyn StdError + 'static),
    is: impl Fn(&(dyn StdError + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if is(error) {
            return true;
        }
        next = beneath(error);
    }
    false
}

/// The next error of a chain. An I/O error made of another one is transparent: its `source()` is
/// that one's.
fn beneath<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// A foreign text on one line, of bounded length, without the values that are to be hidden, those
/// behind a secret's name, and the user information of URLs.
pub fn clean(text: &str, hidden: &[&str]) -> String {
    let mut forms: Vec<String> = hidden
        .iter()
        .filter(|value| !value.is_empty())
        .flat_map(|value| forms(value))
        .collect();
    // The longest first: one value may be a part of another.
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    let mut text = text.to_owned();
    for form in &forms {
        text = if form.chars().count() < SHORT {
            without_word(&text, form)
        } else {
            text.replace(form, MASK)
        };
    }
    let mut shown: String =
        without_user_info(&named::without_values(&without_controls(&text), MASK))
            .chars()
            .map(|c| if c == '\n' { ' ' } else { c })
            .take(MAX_TEXT + 1)
            .collect();
    if shown.chars().count() > MAX_TEXT {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Removes control sequences, and characters that change how others are shown; lines stay.
pub(crate) fn without_controls(text: &str) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.next() {
                Some('[') => skip_csi(&mut rest),
                // Titles, links and other strings for the terminal, up to BEL or ESC \.
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut rest),
                Some(' '..='/') => {
                    rest.next();
                }
                _ => {}
            },
            '\u{9b}' => skip_csi(&mut rest),
            '\n' | '\r' => plain.push('\n'),
            '\t' => plain.push(' '),
            c if c.is_control() => {}
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => {}
            c => plain.push(c),
        }
    }
    plain
}

fn skip_csi(rest: &mut impl Iterator<Item = char>) {
    let _final = rest.find(|c| matches!(c, '@'..='~'));
}

fn skip_string(rest: &mut impl Iterator<Item = char>) {
    while let Some(c) = rest.next() {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                rest.next();
                return;
            }
            _ => {}
        }
    }
}

/// Where a URL leads: scheme and authority, without user and password.
pub fn origin(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |length| start + length);
    without_user_info(&url[..end])
}

/// Replaces what stands before the `@` of each URL in a text.
fn without_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        let end = url
            .find(|c: char| c.is_whitespace() || "/?#\"'`<>".contains(c))
            .unwrap_or(url.len());
        out.push_str(before);
        let (authority, after) = url.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str(MASK);
                out.push('@');
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn without_word(text: &str, word: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, found) = rest.split_at(at);
        let after = &found[word.len()..];
        let part_of_more = before
            .chars()
            .next_back()
            .or(out.chars().next_back())
            .is_some_and(char::is_alphanumeric)
            || after.chars().next().is_some_and(char::is_alphanumeric);
        out.push_str(before);
        out.push_str(if part_of_more { word } else { MASK });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A value as it appears in texts.
fn forms(value: &str) -> [String; 7] {
    let percent = percent_encoded(value);
    [
        value.to_owned(),
        percent.replace("%20", "+"),
        lower_case_escapes(&percent),
        percent,
        value.escape_debug().to_string(),
        value.as_bytes().escape_ascii().to_string(),
        xml_escaped(value),
    ]
}

/// RFC 3986: everything but the unreserved characters, as the query protocol's bodies have it.
fn percent_encoded(value: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn lower_case_escapes(percent: &str) -> String {
    let mut digits = 0;
    percent
        .chars()
        .map(|c| {
            if c == '%' {
                digits = 2;
                return c;
            }
            if digits == 0 {
                return c;
            }
            digits -= 1;
            c.to_ascii_lowercase()
        })
        .collect()
}

fn xml_escaped(value: &str) -> String {
    value
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_hidden_in_every_form_it_takes() {
        let value = r#"{"Effect":"Deny"} & café/hush"#;
        for text in [
            value.to_owned(),
            format!("body: Policy={}&Tags=1", percent_encoded(value)),
            format!(
                "body: Policy={}",
                lower_case_escapes(&percent_encoded(value))
            ),
            format!("{value:?}"),
            format!("b\"{}\"", value.as_bytes().escape_ascii()),
            xml_escaped(value),
        ] {
            let shown = clean(&text, &["other", value]);
            assert!(
                shown.contains(MASK) && !shown.contains("hush"),
                "{text}: {shown}"
            );
        }
    }

    #[test]
    fn short_values_are_hidden_where_they_stand_alone() {
        assert_eq!(
            clean("value 'eu' of region eu-west-1 in europe", &["eu"]),
            "value '***' of region ***-west-1 in europe"
        );
        assert_eq!(clean("aa a", &["a"]), "aa ***");
    }

    #[test]
    fn the_longer_of_two_values_goes_first() {
        assert_eq!(
            clean("external-id-7", &["external", "external-id-7"]),
            "***"
        );
    }

    #[test]
    fn urls_lose_their_user_information() {
        assert_eq!(
            clean("proxy \"http://me:hu/sh@host:1/x\" https://a@b", &[]),
            "proxy \"http://me:hu/sh@host:1/x\" https://***@b"
        );
        assert_eq!(
            clean("proxy http://me:hush@host:1/x is down", &[]),
            "proxy http://***@host:1/x is down"
        );
        assert_eq!(
            origin("https://me:hush@host:8443/path?query"),
            "https://***@host:8443"
        );
        assert_eq!(origin("https://host"), "https://host");
    }

    #[test]
    fn a_text_is_one_line_of_bounded_length() {
        let shown = clean(&format!("one\n two\u{7} {}", "x".repeat(1000)), &[]);
        assert!(
            shown.starts_with("one  two ") && shown.chars().count() == MAX_TEXT + 1,
            "{shown}"
        );
    }

    #[test]
    fn colours_hide_no_name_of_a_secret() {
        let shown = clean("\u{1b}[1mpassword\u{1b}[0m: hush", &[]);
        assert_eq!(shown, "password: ***");
    }

    #[test]
    fn an_error_of_brs_stays_and_others_become_text() {
        let own = Error::configuration("log in").unrecoverable();
        let through = std::io::Error::other(own);
        let error = with_cause(Error::connection("outer"), &through, &[]);
        assert!(
            error
                .source()
                .unwrap()
                .downcast_ref::<Error>()
                .unwrap()
                .is_unrecoverable()
        );
        let foreign = std::io::Error::other(std::io::Error::other("token hush-hush"));
        let error = with_cause(Error::connection("outer"), &foreign, &["hush-hush"]);
        assert_eq!(error.source().unwrap().to_string(), "token ***");
    }
}
