//! The shared credentials file as lines: the three keys of one profile are set, and every other
//! byte stays.
//!
//! The rules for lines are those of Python's `configparser`, by which botocore reads the file,
//! since they allow the most: keys may be indented, `:` is a `=`, a deeper line continues the value
//! above it. A value is written to each line that has its key, so that it does not matter which of two a
//! program reads. Nothing is decoded: the file may be in any encoding that contains ASCII.

use zeroize::Zeroizing;

/// The values of a credential set.
pub(super) struct Keys<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a str,
    /// `None`: the set has none, and that of an earlier set must go.
    pub(super) session_token: Option<&'a str>,
}

impl<'a> Keys<'a> {
    fn all(&self) -> [(&'static str, Option<&'a str>); 3] {
        [
            ("aws_access_key_id", Some(self.access_key_id)),
            ("aws_secret_access_key", Some(self.secret_access_key)),
            ("aws_session_token", self.session_token),
        ]
    }

    /// Whether each value can stand in a line of the file.
    pub(super) fn are_writable(&self) -> bool {
        let fits = |value: &str| {
            value.bytes().all(|byte| byte.is_ascii_graphic()) && !value.starts_with(['#', ';'])
        };
        let mut values = self.all().into_iter().filter_map(|(_, value)| value);
        values.all(|value| !value.is_empty() && fits(value))
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    /// Blank, or a comment.
    Nothing,
    /// The head of a section, with its name.
    Head(&'a [u8]),
    /// A key, and where its value begins in the line.
    Key(&'a [u8], usize),
    /// More of the value above.
    More,
    /// No parser knows it.
    Unknown,
}

/// A line without its end, the end, and how deep it is indented.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    end: &'a [u8],
    indent: &'a [u8],
    kind: Kind<'a>,
    is_of_profile: bool,
}

/// The file with the three keys of the profile set.
pub(super) fn set_keys(file: &[u8], profile: &str, keys: &Keys<'_>) -> Zeroizing<Vec<u8>> {
    let lines = lines(file, profile);
    let line_end = lines
        .iter()
        .map(|line| line.end)
        .find(|end| !end.is_empty());
    let line_end = line_end.unwrap_or(b"\n");
    let missing: Vec<_> = keys
        .all()
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .filter(|(name, _)| !lines.iter().any(|line| line.is_key(name)))
        .collect();
    let is_property = |line: &Line<'_>| line.is_of_profile && !matches!(line.kind, Kind::Nothing);
    let last = lines.iter().rposition(is_property);

    let mut out = Output(Zeroizing::new(Vec::with_capacity(file.len() + 2048)));
    let mut is_dropped = false;
    for (index, line) in lines.iter().enumerate() {
        let own = keys.all().into_iter().find(|(name, _)| line.is_key(name));
        let (mut kept, mut end) = (true, line.end);
        match (own, line.kind) {
            (Some((_, value)), Kind::Key(_, begin)) => {
                is_dropped = true;
                let (before, old) = line.text.split_at(begin);
                // botocore would read a comment on the same line as part of the key.
                if let Some(comment) = comment(old) {
                    out.add(&[comment, line_end]);
                }
                match value {
                    Some(value) => out.add(&[before, value.as_bytes()]),
                    None => kept = false,
                }
            }
            (_, Kind::More) if is_dropped => kept = false,
            (_, kind) => {
                is_dropped &= kind == Kind::Nothing;
                out.add(&[line.text]);
            }
        }
        if !kept {
            end = b"";
        }
        if Some(index) == last {
            // The file's last line may have no end, and goes on to have none.
            let mut separator = kept;
            for (name, value) in &missing {
                if separator {
                    out.add(&[if end.is_empty() { line_end } else { end }]);
                }
                out.add(&[
                    line.key_indent(&lines, index),
                    name.as_bytes(),
                    b" = ",
                    value.as_bytes(),
                ]);
                separator = true;
            }
            if !missing.is_empty() && !kept {
                end = line.end;
            }
        }
        out.add(&[end]);
    }
    if last.is_none() {
        if !file.is_empty() {
            out.add(&[if file.ends_with(b"\n") { b"" } else { line_end }, line_end]);
        }
        out.add(&[b"[", profile.as_bytes(), b"]", line_end]);
        for (name, value) in missing {
            out.add(&[name.as_bytes(), b" = ", value.as_bytes(), line_end]);
        }
    }
    out.0
}

/// Grows without leaving copies of secrets behind.
struct Output(Zeroizing<Vec<u8>>);

impl Output {
    fn add(&mut self, parts: &[&[u8]]) {
        let more: usize = parts.iter().map(|part| part.len()).sum();
        if self.0.capacity() - self.0.len() < more {
            let mut larger = Zeroizing::new(Vec::with_capacity(2 * (self.0.len() + more)));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }
}

impl<'a> Line<'a> {
    fn is_key(&self, name: &str) -> bool {
        matches!(self.kind, Kind::Key(key, _) if self.is_of_profile && key.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// The indentation of the last key at or before a line: one that is deeper would continue its
    /// value.
    fn key_indent(&self, lines: &[Line<'a>], index: usize) -> &'a [u8] {
        let before = lines.iter().take(index + 1).rev();
        let mut of_section = before.take_while(|line| line.is_of_profile);
        let key = of_section.find(|line| matches!(line.kind, Kind::Key(..) | Kind::Head(_)));
        match key {
            Some(line) if matches!(line.kind, Kind::Key(..)) => line.indent,
            _ => b"",
        }
    }
}

fn lines<'a>(file: &'a [u8], profile: &str) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    let mut reader = Reader::default();
    let mut is_of_profile = false;
    for whole in file.split_inclusive(|byte| *byte == b'\n') {
        let text = whole.strip_suffix(b"\n").unwrap_or(whole);
        let text = text
            .strip_suffix(b"\r")
            .filter(|_| text.len() < whole.len())
            .unwrap_or(text);
        let (text, end) = whole.split_at(text.len());
        // A byte order mark is before the first line, not in it.
        let mark: &[u8] = b"\xef\xbb\xbf";
        let skipped = if lines.is_empty() && text.starts_with(mark) {
            mark.len()
        } else {
            0
        };
        let kind = reader.read(text, skipped);
        if let Kind::Head(name) = kind {
            is_of_profile = name == profile.as_bytes();
        }
        let indent = text.len() - text.trim_ascii_start().len();
        lines.push(Line {
            text,
            end,
            indent: text.get(..indent).unwrap_or_default(),
            kind,
            is_of_profile,
        });
    }
    lines
}

/// What lines before mean for the next.
#[derive(Default)]
struct Reader {
    /// The indentation of the last key or head.
    indent: usize,
    has_section: bool,
    has_key: bool,
}

impl Reader {
    fn read<'a>(&mut self, text: &'a [u8], skipped: usize) -> Kind<'a> {
        let line = text.get(skipped..).unwrap_or_default();
        let content = line.trim_ascii();
        if content.is_empty() || content.starts_with(b"#") || content.starts_with(b";") {
            return Kind::Nothing;
        }
        let indent = line.len() - line.trim_ascii_start().len();
        if self.has_key && indent > self.indent {
            return Kind::More;
        }
        self.indent = indent;
        if let Some(name) = head(content) {
            (self.has_section, self.has_key) = (true, false);
            return Kind::Head(name);
        }
        match content.iter().position(|byte| b"=:".contains(byte)) {
            Some(at) if self.has_section => {
                self.has_key = true;
                let (key, value) = content.split_at(at);
                let value = value.get(1..).unwrap_or_default();
                let blanks = value.len() - value.trim_ascii_start().len();
                Kind::Key(key.trim_ascii_end(), skipped + indent + at + 1 + blanks)
            }
            _ => Kind::Unknown,
        }
    }
}

fn head(content: &[u8]) -> Option<&[u8]> {
    let rest = content.strip_prefix(b"[")?;
    let end = rest.iter().position(|byte| *byte == b']')?;
    Some(rest.get(..end)?.trim_ascii())
}

/// The comment behind a value, as the SDKs other than botocore know it.
fn comment(value: &[u8]) -> Option<&[u8]> {
    let begins = |at: &usize| {
        let is_mark = value.get(*at).is_some_and(|byte| b"#;".contains(byte));
        let before = at.checked_sub(1).and_then(|before| value.get(before));
        is_mark && before.is_none_or(u8::is_ascii_whitespace)
    };
    let at = (0..value.len()).find(begins)?;
    value.get(at..).map(<[u8]>::trim_ascii_end)
}

#[cfg(test)]
#[path = "ini_tests.rs"]
mod tests;
