//! What the demo shows: a live table on a terminal, a line a second elsewhere.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, SystemTime};

use brs::{Clock, SystemClock};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Row, Table};
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::messages::Link;
use crate::sessions::Watched;

/// The wide tables' columns and the blanks between them, of which messages have the more.
const WIDE: u16 = 101;

/// How wide the bar of the time left is.
const BAR: usize = 16;

/// Where the demo draws.
pub(crate) enum Screen {
    Live(Box<Terminal<CrosstermBackend<std::io::Stdout>>>),
    /// The second that was printed last.
    Plain(Option<u64>),
}

/// One row, ready to be shown.
struct Shown {
    name: &'static str,
    access_key_id: String,
    left: Duration,
    /// What is left as a part of the longest life seen.
    part: f64,
    refreshing: bool,
    refreshes: u64,
    calls: u64,
    failures: u64,
    longest_wait: Duration,
}

impl Screen {
    /// A live table where standard output is a terminal that can show one.
    pub(crate) fn open(sessions: usize, links: usize) -> Self {
        if !stdout().is_terminal() {
            return Self::Plain(None);
        }
        let messages = if links == 0 { 0 } else { links + 1 };
        let height = u16::try_from(sessions + messages)
            .unwrap_or(u16::MAX)
            .saturating_add(2);
        let options = TerminalOptions {
            viewport: Viewport::Inline(height),
        };
        match Terminal::with_options(CrosstermBackend::new(stdout()), options) {
            Ok(terminal) => Self::Live(Box::new(terminal)),
            Err(_) => Self::Plain(None),
        }
    }

    pub(crate) fn draw(&mut self, elapsed: Duration, watched: &[Watched], links: &[Link]) {
        let rows: Vec<_> = watched.iter().map(Shown::of).collect();
        match self {
            Self::Live(terminal) => {
                // A terminal that cannot be drawn on any more is no reason to end the calls.
                let _ = terminal.draw(|frame| {
                    let above = u16::try_from(rows.len())
                        .unwrap_or(u16::MAX)
                        .saturating_add(1);
                    let [sessions, messages, time] = Layout::vertical([
                        Constraint::Length(above),
                        Constraint::Fill(1),
                        Constraint::Length(1),
                    ])
                    .areas(frame.area());
                    frame.render_widget(table(&rows, sessions.width), sessions);
                    if !links.is_empty() {
                        frame.render_widget(messages_table(links, messages.width), messages);
                    }
                    let time_text =
                        Line::styled(format!("{:.0} s", elapsed.as_secs_f64()), Color::DarkGray);
                    frame.render_widget(time_text, time);
                });
            }
            Self::Plain(last) => {
                let second = elapsed.as_secs();
                if last.replace(second) != Some(second) {
                    rows.iter()
                        .for_each(|row| say(&format!("{second:>4} s  {}", row.line())));
                    links
                        .iter()
                        .for_each(|link| say(&format!("{second:>4} s  {}", link_line(link))));
                }
            }
        }
    }
}

/// Prints a line; ends the demo quietly when nobody reads on, as `head` does.
pub(crate) fn say(line: &str) {
    if writeln!(stdout().lock(), "{line}").is_err() {
        std::process::exit(0);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Self::Live(terminal) = self {
            let _ = terminal.show_cursor();
            println!();
        }
    }
}

impl Shown {
    fn of(watched: &Watched) -> Self {
        let (status, stats) = (watched.session().status(), watched.stats());
        let now = SystemClock::new().now();
        let until = |at: Option<SystemTime>| {
            at.and_then(|at| at.duration_since(now).ok())
                .unwrap_or_default()
        };
        let left = until(status.expiration());
        let since = status
            .last_success()
            .and_then(|at| now.duration_since(at).ok())
            .unwrap_or_default();
        let life = (left + since).as_secs_f64().max(0.001);
        Self {
            name: watched.name(),
            access_key_id: status.access_key_id().unwrap_or("-").to_owned(),
            left,
            part: left.as_secs_f64() / life,
            refreshing: status.is_refreshing(),
            refreshes: status.refreshes(),
            calls: stats.calls,
            failures: stats.failures,
            longest_wait: stats.longest_wait,
        }
    }

    fn line(&self) -> String {
        format!(
            "{:<7} {:<20}  {:>6.1} s left  refreshes {:>3}  calls {:>5}  failures {}  longest wait {} ms",
            self.name,
            self.access_key_id,
            self.left.as_secs_f64(),
            self.refreshes,
            self.calls,
            self.failures,
            self.longest_wait.as_millis()
        )
    }

    fn bar(&self) -> Line<'static> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the bar's width"
        )]
        let full = (self.part.clamp(0.0, 1.0) * BAR as f64).round() as usize;
        let colour = if self.part > 0.5 {
            Color::Green
        } else {
            Color::Yellow
        };
        Line::from(vec![
            Span::styled("█".repeat(full), Style::new().fg(colour)),
            Span::styled("░".repeat(BAR - full), Style::new().fg(Color::DarkGray)),
            Span::raw(format!(" {:>5.1} s", self.left.as_secs_f64())),
        ])
    }

    /// The same where the terminal is narrow: no bar, and the end of the key, which tells sets
    /// apart.
    fn narrow_row(&self) -> Row<'static> {
        let end = self.access_key_id.len().saturating_sub(4);
        Row::new([
            Cell::from(self.name),
            Cell::from(format!(
                "…{}",
                self.access_key_id.get(end..).unwrap_or_default()
            )),
            Cell::from(format!("{:.1} s", self.left.as_secs_f64())),
            Cell::from(self.refreshes.to_string()),
            Cell::from(self.calls.to_string()),
            Cell::from(self.failures.to_string()),
            Cell::from(format!("{} ms", self.longest_wait.as_millis())),
        ])
    }

    fn row(&self) -> Row<'static> {
        let failures = if self.failures == 0 {
            Style::new()
        } else {
            Style::new().fg(Color::Red)
        };
        Row::new([
            Cell::from(self.name),
            Cell::from(self.access_key_id.clone()),
            Cell::from(self.bar()),
            Cell::from(format!(
                "{}{}",
                self.refreshes,
                if self.refreshing { "…" } else { "" }
            )),
            Cell::from(self.calls.to_string()),
            Cell::from(self.failures.to_string()).style(failures),
            Cell::from(format!("{} ms", self.longest_wait.as_millis())),
        ])
    }
}

fn table(rows: &[Shown], width: u16) -> Table<'static> {
    let is_wide = width >= WIDE;
    let header = if is_wide {
        [
            "session",
            "access key id",
            "time left",
            "refreshes",
            "calls",
            "failures",
            "longest wait",
        ]
    } else {
        [
            "session", "key", "left", "sets", "calls", "failed", "longest",
        ]
    };
    let widths = if is_wide {
        [8, 21, 25, 10, 7, 9, 12]
    } else {
        [7, 5, 7, 4, 6, 6, 8]
    }
    .map(Constraint::Length);
    Table::new(
        rows.iter().map(if is_wide {
            Shown::row
        } else {
            Shown::narrow_row
        }),
        widths,
    )
    .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
}

fn link_line(link: &Link) -> String {
    let tally = link.tally();
    format!(
        "{:<7} {:<20}  {:<10}  connections {:>3}  acknowledged {:>5}  received {:>5}  failures {}",
        link.name(),
        link.shows(),
        link.state(),
        tally.connections,
        tally.acknowledged,
        tally.received,
        tally.failures
    )
}

fn messages_table(links: &[Link], width: u16) -> Table<'static> {
    let is_wide = width >= WIDE;
    let rows = links.iter().map(|link| {
        let (tally, shows, state) = (link.tally(), link.shows(), link.state());
        let shown = if is_wide {
            shows
        } else {
            format!("…{}", &shows[shows.len().saturating_sub(4)..])
        };
        let colour = if state == "connected" {
            Color::Green
        } else {
            Color::Yellow
        };
        let failures = if tally.failures == 0 {
            Style::new()
        } else {
            Style::new().fg(Color::Red)
        };
        Row::new([
            Cell::from(link.name()),
            Cell::from(shown),
            Cell::from(state).style(Style::new().fg(colour)),
            Cell::from(tally.connections.to_string()),
            Cell::from(tally.acknowledged.to_string()),
            Cell::from(tally.received.to_string()),
            Cell::from(tally.failures.to_string()).style(failures),
        ])
    });
    let (header, widths) = if is_wide {
        (
            [
                "MQTT",
                "shows",
                "state",
                "connections",
                "acknowledged",
                "received",
                "failures",
            ],
            [8, 21, 24, 11, 13, 9, 9],
        )
    } else {
        (
            ["MQTT", "shows", "state", "conns", "acked", "got", "failed"],
            [7, 5, 10, 5, 6, 6, 6],
        )
    };
    Table::new(rows, widths.map(Constraint::Length))
        .header(Row::new(header).style(Style::new().add_modifier(Modifier::BOLD)))
}
