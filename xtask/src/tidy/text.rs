//! Checks of one file's text: header, length, left-over marks, bare attributes, sleeps, secrets.
//!
//! Pure functions over path and content. The patterns are put together from halves, so that this
//! file does not find itself. Text matching is coarse on purpose: a string that looks like a mark
//! is reworded, not exempted.

use super::Finding;

/// A longer Rust file has more than one purpose.
const FILE_LINES: usize = 600;
/// Wider than rustfmt's `max_width`, which leaves strings, tables and examples alone.
const LINE_WIDTH: usize = 120;

/// Macros that must not stay.
const MACROS: [&str; 3] = [
    concat!("to", "do!"),
    concat!("db", "g!"),
    concat!("unimpl", "emented!"),
];
/// Words that promise work instead of doing it.
const MARKS: [&str; 3] = [
    concat!("FIX", "ME"),
    concat!("TO", "DO"),
    concat!("XX", "X"),
];
const ALLOWS: [&str; 2] = [concat!("#[al", "low("), concat!("#![al", "low(")];
const BARE_IGNORE: &str = concat!("#[ig", "nore]");
const SLEEPS: [&str; 2] = [concat!("thread::", "sleep"), concat!("time::", "sleep(")];
/// The MQTT libraries sit behind one private module; beside it, rules name what must not be built,
/// and benchmarks measure what is built on one of them.
const MQTT_LIBRARY: &str = "rumqttc";
const MQTT_HOMES: [&str; 3] = ["brs-mqtt/src/wire", "xtask/src/", "tests/benches/"];
/// What a native reader stumbles over, and what to write; in the crates and the documents.
const WORDS: [(&str, &str); 12] = [
    (concat!("me", "nd"), "fix"),
    (concat!("me", "nds"), "fixes"),
    (concat!("me", "nded"), "fixed"),
    (concat!("an", "ew"), "again"),
    (concat!("who", "ever"), "any caller"),
    (concat!("nobody ", "waits"), "callers do not wait"),
    (concat!("goes ", "before"), "takes precedence over"),
    (concat!("belongs ", "into"), "put it in"),
    (concat!("of ", "yours"), "your"),
    (concat!("truth ", "value"), "a boolean"),
    (concat!("is no ", "json"), "is not JSON"),
    (concat!("may be ", "had"), "is available"),
];
const KEY_PREFIX: &str = concat!("AK", "IA");
/// The one that AWS's own documentation uses.
const EXAMPLE_KEY: &str = concat!("AK", "IAIOSFODNN7EXAMPLE");

/// Checks one file; `path` is relative to the root, with `/`.
pub(super) fn check(path: &str, content: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line, message: String| findings.push(Finding::new(path, line, message));
    let kind = Kind::of(path);

    if kind == Kind::Rust {
        if !content.starts_with("//!") {
            find(
                1,
                "begin with a `//!` header: what the file owns, what it does not, who calls it"
                    .into(),
            );
        }
        let length = content.lines().count();
        if length > FILE_LINES {
            find(0, format!("{length} lines, at most {FILE_LINES}: split it"));
        }
    }
    for (line, number) in content.lines().zip(1..) {
        if let Some(key) = access_key(line) {
            find(
                number,
                format!("{key} looks like a real access key id: use {EXAMPLE_KEY}"),
            );
        }
        if kind == Kind::Verbatim {
            continue;
        }
        if line.ends_with([' ', '\t', '\r']) {
            find(number, "remove the white space at the end".into());
        }
        let width = line.chars().count();
        if width > LINE_WIDTH && !(kind == Kind::Markdown && line.trim_start().starts_with('|')) {
            find(
                number,
                format!("{width} characters, at most {LINE_WIDTH}: break the line"),
            );
        }
        if is_read(path, kind) {
            let lower = line.to_lowercase();
            for (word, better) in WORDS.iter().filter(|(word, _)| has_word(&lower, word)) {
                find(number, format!("`{word}`: write `{better}`"));
            }
        }
        if kind == Kind::Markdown {
            continue;
        }
        if let Some(mark) = MARKS.into_iter().find(|mark| has_word(line, mark)) {
            find(
                number,
                format!("`{mark}`: do it, or file it where it is seen"),
            );
        }
        if kind != Kind::Rust {
            continue;
        }
        if let Some(name) = MACROS.into_iter().find(|name| has_word(line, name)) {
            find(number, format!("`{name}` must not stay"));
        }
        if ALLOWS.into_iter().any(|allow| line.contains(allow)) {
            find(
                number,
                "use `#[expect(…, reason = \"…\")]`: it is reported once it is not needed".into(),
            );
        }
        if line.contains(BARE_IGNORE) {
            find(number, "give the reason: `#[ignore = \"needs …\"]`".into());
        }
        if !MQTT_HOMES.into_iter().any(|home| path.starts_with(home)) && line.contains(MQTT_LIBRARY)
        {
            find(
                number,
                format!("`{MQTT_LIBRARY}` is named within `{}` only", MQTT_HOMES[0]),
            );
        }
        if is_test(path) && SLEEPS.into_iter().any(|sleep| line.contains(sleep)) {
            find(
                number,
                "no sleeps in tests: a manual clock, a barrier, or the harness's polling".into(),
            );
        }
    }
    findings
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rust,
    Markdown,
    /// Manifests, settings and scripts.
    Settings,
    /// Made by a tool or quoted from elsewhere.
    Verbatim,
}

impl Kind {
    fn of(path: &str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("rs") => Self::Rust,
            Some("md") => Self::Markdown,
            Some("toml" | "sh" | "yml" | "yaml" | "json") => Self::Settings,
            None if path.starts_with(".ci/") => Self::Settings,
            _ => Self::Verbatim,
        }
    }
}

/// Whether a file holds tests: `tests/` inside a package. The package `tests` itself is the
/// harness, which polls.
fn is_test(path: &str) -> bool {
    path.split('/').skip(1).any(|folder| folder == "tests")
}

/// Whether users read the file: sources of the crates, and documents.
fn is_read(path: &str, kind: Kind) -> bool {
    match kind {
        Kind::Rust => path.starts_with("brs") && path.contains("/src/"),
        Kind::Markdown => !path.starts_with("tests/"),
        Kind::Settings | Kind::Verbatim => false,
    }
}

/// Whether `word` occurs with no letter, digit or `_` directly around it.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        // After the `!` of a macro anything may follow.
        !before.is_some_and(is_part) && (word.ends_with('!') || !after.is_some_and(is_part))
    })
}

/// The first access key id of a long-lived key that is not the documented example.
fn access_key(line: &str) -> Option<&str> {
    line.match_indices(KEY_PREFIX).find_map(|(start, _)| {
        let key = line.get(start..start + EXAMPLE_KEY.len())?;
        let is_key = key
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        (is_key && key != EXAMPLE_KEY).then_some(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines at which a Rust file with this body, after a header, has findings.
    fn lines_in(path: &str, body: &str) -> Vec<usize> {
        let header = if path.ends_with(".rs") {
            "//! Header.\n"
        } else {
            "header\n"
        };
        check(path, &format!("{header}{body}"))
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn ordinary_code_is_tidy() {
        let body = "#[ignore = \"needs moto\"]\n#[expect(dead_code, reason = \"x\")]\n\
                    fn todo() { let s = \"TODOS\"; }\n";
        assert_eq!(lines_in("brs/src/lib.rs", body), [0; 0]);
    }

    #[test]
    fn the_mqtt_libraries_stay_within_their_module() {
        let body = "use rumqttc_v5 as rumqttc;\n";
        assert_eq!(lines_in("brs-mqtt/src/driver.rs", body), [2]);
        assert_eq!(lines_in("brs-mqtt/src/wire/v5.rs", body), [0; 0]);
    }

    #[test]
    fn a_missing_header_is_found() {
        assert_eq!(check("a.rs", "fn main() {}\n")[0].line, 1);
        assert_eq!(check("a.rs", "").len(), 1);
        assert_eq!(check("a.md", "text\n"), []);
    }

    #[test]
    fn long_files_and_lines_are_found() {
        assert_eq!(lines_in("a.rs", &"\n".repeat(599)), [0; 0]);
        assert_eq!(lines_in("a.rs", &"\n".repeat(600)), [0]);
        assert_eq!(lines_in("a.rs", &"ä".repeat(120)), [0; 0]);
        assert_eq!(lines_in("a.rs", &"x".repeat(121)), [2]);
    }

    #[test]
    fn markdown_tables_may_be_wide() {
        let row = format!("| {} |", "x".repeat(200));
        assert_eq!(lines_in("a.md", &row), [0; 0]);
        assert_eq!(lines_in("a.rs", &row), [2]);
        assert_eq!(lines_in("a.md", &"x".repeat(121)), [2]);
    }

    #[test]
    fn marks_and_macros_are_found_as_words() {
        for word in MARKS.into_iter().chain(MACROS) {
            assert_eq!(
                lines_in("a.rs", &format!("// {word}: later")),
                [2],
                "{word}"
            );
            assert_eq!(lines_in("a.rs", &format!("// x{word}")), [0; 0], "{word}");
        }
        assert_eq!(lines_in("a.toml", &format!("# {}", MARKS[0])), [2]);
        assert_eq!(lines_in("a.rs", &format!("{}()", MACROS[0])), [2]);
    }

    #[test]
    fn words_that_read_like_german_are_found_where_users_read() {
        let comment = format!("/// {} reads this", WORDS[4].0);
        assert_eq!(lines_in("brs-core/src/a.rs", &comment), [2]);
        assert_eq!(lines_in("README.md", &comment.to_uppercase()), [2]);
        assert_eq!(lines_in("tests/src/a.rs", &comment), [0; 0]);
        assert_eq!(lines_in("README.md", "amended"), [0; 0]);
    }

    #[test]
    fn bare_attributes_are_found() {
        assert_eq!(lines_in("a.rs", &format!("{}dead_code)]", ALLOWS[0])), [2]);
        assert_eq!(lines_in("a.rs", &format!("{}dead_code)]", ALLOWS[1])), [2]);
        assert_eq!(lines_in("a.rs", BARE_IGNORE), [2]);
    }

    #[test]
    fn sleeps_are_found_in_tests_only() {
        for sleep in SLEEPS {
            assert_eq!(lines_in("tests/tests/sts.rs", sleep), [2], "{sleep}");
            assert_eq!(lines_in("brs-core/tests/engine.rs", sleep), [2], "{sleep}");
            assert_eq!(lines_in("tests/src/poll.rs", sleep), [0; 0], "{sleep}");
        }
    }

    #[test]
    fn white_space_at_the_end_is_found() {
        assert_eq!(lines_in("a.md", "text \n"), [2]);
        assert_eq!(lines_in(".ci/run", "text\t\n"), [2]);
        assert_eq!(lines_in("a.rs", "text\n"), [0; 0]);
    }

    #[test]
    fn access_keys_are_found_everywhere_but_the_example() {
        let key = format!("{KEY_PREFIX}{}", "ABCDEFGH12345678");
        assert_eq!(lines_in("a.xml", &key), [2]);
        assert_eq!(lines_in("a.rs", &format!("\"{key}\"")), [2]);
        assert_eq!(lines_in("a.rs", EXAMPLE_KEY), [0; 0]);
        assert_eq!(lines_in("a.rs", &format!("{KEY_PREFIX}SHORT")), [0; 0]);
    }
}
