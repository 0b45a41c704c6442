//! The table: on a terminal drawn in place, elsewhere a line for each change.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::output;
use crate::terminal;

/// How wide the bar of what is left is.
const BAR: u64 = 20;

/// A session.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) method: String,
    pub(super) state: State,
    /// Seconds; `None`: the credentials do not expire, or there are none.
    pub(super) left: Option<u64>,
    pub(super) lifetime: Option<u64>,
    pub(super) refreshes: u64,
    pub(super) failures: u64,
    pub(super) error: Option<String>,
}

/// As the server has it in `/status.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ready,
    Failing,
    Starting,
    NoCredentials,
    NeedsPerson,
    /// Of a newer server.
    #[serde(other)]
    Other,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Failing => "source fails",
            Self::Starting => "starting",
            Self::NoCredentials => "no credentials",
            Self::NeedsPerson => "needs a person",
            Self::Other => "unknown",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Ready => "32",
            Self::Failing | Self::Starting | Self::Other => "33",
            Self::NoCredentials | Self::NeedsPerson => "31",
        }
    }
}

/// A terminal that is drawn over and over.
#[derive(Debug)]
pub(super) struct Screen {
    colours: bool,
    is_clear: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            colours: terminal::has_colours(),
            is_clear: false,
        }
    }

    /// What to print for the current state.
    pub(super) fn drawn(&mut self, title: &str, rows: &[Row], problem: Option<&str>) -> String {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let (width, height) =
            size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
        // The whole screen once, then only what is behind each line.
        let mut out = if self.is_clear {
            "\u{1b}[H"
        } else {
            "\u{1b}[2J\u{1b}[H"
        }
        .to_owned();
        self.is_clear = true;
        let lines = lines(title, rows, problem);
        for (line, state) in lines.iter().take(height - 1) {
            let line: String = line.chars().take(width).collect();
            match state.filter(|_| self.colours) {
                Some(state) => out += &format!("\u{1b}[{}m{line}\u{1b}[0m", state.colour()),
                None => out += &line,
            }
            out += "\u{1b}[K\r\n";
        }
        out += "\u{1b}[J";
        out
    }
}

/// The lines, some in the colour of a state.
fn lines(title: &str, rows: &[Row], problem: Option<&str>) -> Vec<(String, Option<State>)> {
    let head = [
        "SESSION",
        "METHOD",
        "STATE",
        "LEFT",
        "",
        "REFRESHES",
        "FAILURES",
    ]
    .map(str::to_owned);
    let cells = rows.iter().map(|row| {
        [
            row.name.clone(),
            row.method.clone(),
            row.state.words().to_owned(),
            bar(row),
            row.left.map_or_else(String::new, short),
            row.refreshes.to_string(),
            row.failures.to_string(),
        ]
    });
    let table = output::table(std::iter::once(head).chain(cells));
    let states = std::iter::once(None).chain(rows.iter().map(|row| Some(row.state)));
    let mut lines = vec![(title.to_owned(), None), (String::new(), None)];
    lines.extend(table.lines().map(str::to_owned).zip(states));
    let errors = rows
        .iter()
        .filter_map(|row| Some((format!("{}: {}", row.name, row.error.as_ref()?), None)));
    let mut errors: Vec<_> = errors
        .chain(problem.map(|problem| (problem.to_owned(), None)))
        .collect();
    if !errors.is_empty() {
        lines.push((String::new(), None));
        lines.append(&mut errors);
    }
    lines
}

/// What is left of the lifetime.
fn bar(row: &Row) -> String {
    let (Some(left), Some(lifetime)) = (row.left, row.lifetime) else {
        return String::new();
    };
    let full = left
        .min(lifetime)
        .saturating_mul(BAR)
        .div_ceil(lifetime.max(1));
    (0..BAR)
        .map(|at| if at < full { '█' } else { '░' })
        .collect()
}

/// `59m 12s`, `11h 3m`.
fn short(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// What was printed of each session, where there is no terminal.
#[derive(Debug, Default)]
pub(super) struct Changes {
    rows: BTreeMap<String, Row>,
    problem: Option<String>,
}

impl Changes {
    /// The lines of what has changed, but for the passing of time.
    pub(super) fn lines(&mut self, rows: &[Row], problem: Option<&str>) -> String {
        let mut out = String::new();
        if self.problem.is_some() && problem.is_none() {
            // The server answers again: all sessions are printed.
            self.rows.clear();
        }
        for row in rows {
            let timeless = Row {
                left: None,
                ..row.clone()
            };
            if self.rows.get(&row.name) == Some(&timeless) {
                continue;
            }
            let left = row
                .left
                .map_or_else(String::new, |left| format!(", {} left", short(left)));
            let error = row
                .error
                .as_ref()
                .map_or_else(String::new, |error| format!(": {error}"));
            out += &format!(
                "{} ({}): {}{left}, {} refreshes, {} failures{error}\n",
                row.name,
                row.method,
                row.state.words(),
                row.refreshes,
                row.failures
            );
            self.rows.insert(row.name.clone(), timeless);
        }
        let gone = |name: &String| !rows.iter().any(|row| row.name == *name);
        for name in self
            .rows
            .keys()
            .filter(|name| gone(name))
            .cloned()
            .collect::<Vec<_>>()
        {
            self.rows.remove(&name);
            out += &format!("{name}: no longer there\n");
        }
        if self.problem.as_deref() != problem {
            self.problem = problem.map(str::to_owned);
            out += &problem.map_or_else(String::new, |problem| format!("{problem}\n"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(left: u64) -> Row {
        Row {
            name: "app".to_owned(),
            method: "sts".to_owned(),
            state: State::Ready,
            left: Some(left),
            lifetime: Some(3600),
            refreshes: 1,
            failures: 0,
            error: None,
        }
    }

    #[test]
    fn a_line_is_printed_for_each_change_and_not_for_time() {
        let mut changes = Changes::default();
        let first = changes.lines(&[row(3600)], None);
        assert_eq!(
            first,
            "app (sts): ready, 1h 0m left, 1 refreshes, 0 failures\n"
        );
        assert_eq!(changes.lines(&[row(3599)], None), "");
        assert_eq!(changes.lines(&[row(3599)], Some("gone")), "gone\n");
        let failing = Row {
            state: State::Failing,
            failures: 1,
            error: Some("no answer".to_owned()),
            ..row(59)
        };
        let line = "app (sts): source fails, 59s left, 1 refreshes, 1 failures: no answer\n";
        assert_eq!(changes.lines(&[failing], None), line);
        assert_eq!(changes.lines(&[], None), "app: no longer there\n");
    }

    #[test]
    fn the_bar_shows_what_is_left() {
        let full = |left| bar(&row(left)).chars().filter(|c| *c == '█').count();
        for (left, expected) in [(3600, 20), (9000, 20), (1800, 10), (1, 1), (0, 0)] {
            assert_eq!(full(left), expected, "{left}");
        }
        assert_eq!(
            bar(&Row {
                lifetime: Some(0),
                ..row(10)
            })
            .chars()
            .count(),
            20
        );
    }

    #[test]
    fn the_screen_is_cleared_once() {
        let mut screen = Screen::new();
        let first = screen.drawn("title", &[row(10)], Some("problem"));
        assert!(
            first.starts_with("\u{1b}[2J") && first.contains("app") && first.contains("problem")
        );
        assert!(
            screen
                .drawn("title", &[row(9)], None)
                .starts_with("\u{1b}[H")
        );
    }
}
