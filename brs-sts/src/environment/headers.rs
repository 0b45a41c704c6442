//! The section headers of a profile file, those too that the AWS SDK ignores.
//!
//! Used for errors only. What the SDK reads: a header begins its line; the config file names a
//! profile `[profile x]`, or `[default]`, the credentials file names it `[x]`; letter case counts,
//! and a name is an identifier, so that quotes and spaces make it none. botocore takes more: quotes
//! around a name, white space before a header, and `[profiles x]`. So files that work for the AWS
//! CLI hold profiles that the SDK does not see.

use aws_runtime::env_config::file::EnvConfigFileKind;

use super::profiles::{DEFAULT, shown_name};

/// What a name may hold, in words.
const NAME: &str = "a name may hold only letters, digits and any of `_-/.%@:+`";
const QUOTES: [char; 11] = ['"', '\'', '`', '“', '”', '„', '‘', '’', '‚', '«', '»'];
/// What people put between prefix and name.
const SEPARATORS: [char; 7] = [' ', ':', '-', '_', '=', '.', '/'];
/// Other sections of the config file; what they are named is no profile.
const OTHERS: [&str; 2] = ["sso-session", "services"];

/// What a header is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Profile,
    SsoSession,
}

/// A line that begins a section, or was meant to.
struct Header<'a> {
    line: usize,
    inside: &'a str,
    is_indented: bool,
}

/// The header that comes nearest to the one of that name, and what to write instead.
pub(super) fn near_miss(
    wanted: Wanted,
    kind: &EnvConfigFileKind,
    file: &str,
    text: &str,
    name: &str,
) -> Option<String> {
    let asked = wanted.folded(name).unwrap_or_else(|| unquoted(name));
    let near = |same: fn(&str, &str) -> bool| {
        headers(text).find(|header| {
            let named = wanted.named(header.inside);
            named.iter().any(|named| same(named, &asked))
        })
    };
    let header = near(|a, b| a == b).or_else(|| near(|a, b| lower(a) == lower(b)))?;
    let (line, shown) = (header.line, shown_name(header.inside));
    let place = format!("line {line} of `{file}` has `[{shown}]`");
    if let Some(read) = header.read(wanted, kind) {
        let ask = format!("{place}, which is `{read}`: ask for `{read}`");
        return Some(match is_name(name) {
            true => format!("{ask}, or write `{}` there", wanted.header(kind, name)),
            false => ask,
        });
    }
    let usable: String = asked
        .chars()
        .map(|c| if is_name_char(c) { c } else { '-' })
        .collect();
    let write = wanted.header(kind, &usable);
    if usable != name {
        return Some(format!(
            "{place}, which is ignored: {NAME}, write `{write}` and ask for `{usable}`"
        ));
    }
    Some(match (header.is_indented, wanted, kind) {
        (_, Wanted::SsoSession, EnvConfigFileKind::Credentials) => {
            format!("{place}: move it to the config file, as `{write}`")
        }
        (true, ..) => format!(
            "{place} after white space, so it continues the line above: write `{write}` at the beginning of the line"
        ),
        _ => format!("{place}: write `{write}`"),
    })
}

/// Why the SDK cannot read a file at all, if it is the way that a header is written.
pub(super) fn broken(file: &str, text: &str) -> Option<String> {
    if text.starts_with('\u{feff}') {
        return Some(format!(
            "`{file}` begins with a byte order mark: save it as UTF-8 without one"
        ));
    }
    // The SDK refuses white space before a header where there is no value that it could continue.
    let mut lines = text.lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with(['#', ';'])
    });
    let mut after_header = true;
    let header = lines.find(|line| {
        let is_header = line.trim_start().starts_with('[');
        let is_wrong = is_header && line.starts_with([' ', '\t']) && after_header;
        after_header = is_header;
        is_wrong
    })?;
    let line = text.lines().position(|line| std::ptr::eq(line, header))? + 1;
    Some(format!(
        "line {line} of `{file}` has white space before its `[`: a header must be at the beginning of the line"
    ))
}

fn headers(text: &str) -> impl Iterator<Item = Header<'_>> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let header = line.trim_start_matches(|c: char| c.is_whitespace() || is_invisible(c));
        let inside = header.strip_prefix('[')?;
        Some(Header {
            line: index + 1,
            inside: inside.split_once(']').map_or(inside, |(inside, _)| inside),
            is_indented: header.len() != line.len(),
        })
    })
}

impl Header<'_> {
    /// The name that the SDK reads, if it does.
    fn read(&self, wanted: Wanted, kind: &EnvConfigFileKind) -> Option<&str> {
        let inside = self.inside.trim_matches([' ', '\t']);
        let in_config = matches!(kind, EnvConfigFileKind::Config);
        let name = match (inside.split_once([' ', '\t']), wanted) {
            (Some(("profile", name)), Wanted::Profile) if in_config => name.trim(),
            (Some(("sso-session", name)), Wanted::SsoSession) if in_config => name.trim(),
            (None, Wanted::Profile) if !in_config || inside == DEFAULT => inside,
            _ => return None,
        };
        (!self.is_indented && is_name(name)).then_some(name)
    }
}

impl Wanted {
    /// How the header is written.
    fn header(self, kind: &EnvConfigFileKind, name: &str) -> String {
        let name = shown_name(name);
        match (self, kind) {
            (Self::SsoSession, _) => format!("[sso-session {name}]"),
            (Self::Profile, EnvConfigFileKind::Config) if name != DEFAULT => {
                format!("[profile {name}]")
            }
            (Self::Profile, _) => format!("[{name}]"),
        }
    }

    /// The names that a header may be meant to give.
    fn named(self, inside: &str) -> Vec<String> {
        let bare = unquoted(inside);
        let prefixed = self.folded(inside);
        if self == Self::SsoSession {
            return prefixed.into_iter().collect();
        }
        // A prefix of any other spelling: `[porfile x]`.
        let last = bare
            .split_once(' ')
            .filter(|(first, _)| !OTHERS.contains(first));
        let last = last.map(|(_, name)| name.trim().to_owned());
        prefixed.into_iter().chain(last).chain([bare]).collect()
    }

    /// The name without quotes and without the prefix, however often and in which case it is there;
    /// `None` without a prefix.
    fn folded(self, text: &str) -> Option<String> {
        let text = unquoted(text);
        let mut rest = text.as_str();
        while let Some(after) = self.without_prefix(rest) {
            rest = after;
        }
        (rest.len() < text.len()).then(|| rest.to_owned())
    }

    fn without_prefix(self, text: &str) -> Option<&str> {
        let words: &[&str] = match self {
            Self::Profile => &["profile"],
            Self::SsoSession => &["sso", "session"],
        };
        let mut rest = text;
        for word in words {
            let (head, tail) = rest.split_at_checked(word.len())?;
            if !head.eq_ignore_ascii_case(word) {
                return None;
            }
            rest = tail.trim_start_matches(SEPARATORS);
        }
        let rest = rest
            .strip_prefix(['s', 'S'])
            .filter(|rest| rest.starts_with(SEPARATORS))
            .unwrap_or(rest)
            .trim_start_matches(SEPARATORS);
        (!rest.is_empty()).then_some(rest)
    }
}

/// Without quotes, and with a space where there is any white space.
fn unquoted(text: &str) -> String {
    let plain = text
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !QUOTES.contains(c) && !is_invisible(*c) && !['[', ']'].contains(c));
    plain.collect::<String>().trim().to_owned()
}

fn lower(text: &str) -> String {
    text.to_lowercase()
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}'
        )
}

/// Whether the SDK takes it as a name.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_name_char)
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-/.%@:+".contains(c)
}
