//! The report as Markdown: a table a row, medians with ratios to brs's, then the goals.

use std::fmt::Write as _;

use crate::goals::{Goal, Limit, Verdict};
use crate::plan::ROWS;
use crate::results::{Results, RowResults};

/// Of a line, in characters; tables have none.
const WIDTH: usize = 120;

/// The whole report.
#[must_use]
pub fn render(results: &Results, verdicts: &[Verdict]) -> String {
    let mut out = String::from("# Benchmarks\n\n");
    line(
        &mut out,
        "Written by `cargo xtask bench`; not to be edited by hand. Medians over the rounds; in brackets",
    );
    line(
        &mut out,
        "the least and the most, and how many times brs's figure a peer's is. Each row was measured in one run.\n",
    );
    if results.quick {
        line(
            &mut out,
            "**A quick run: few rounds, short measurements. Not for keeping.**\n",
        );
    }
    if results.profile != "release" {
        let profile = &results.profile;
        line(
            &mut out,
            &format!("**Built with profile `{profile}`, not with `release`: not for keeping.**\n"),
        );
    }
    line(&mut out, "| | |\n|---|---|");
    for (name, value) in &results.machine {
        line(&mut out, &format!("| {name} | {value} |"));
    }
    for row in &results.rows {
        table(&mut out, row);
    }
    goals(&mut out, verdicts);
    let rows = results.rows.iter().flat_map(|row| &row.left_out);
    let mut left_out = results.left_out.iter().chain(rows).peekable();
    if left_out.peek().is_some() {
        line(&mut out, "\n## Left out\n");
        left_out.for_each(|reason| item(&mut out, reason));
    }
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// An item of a list, in lines of the width that all texts here have.
fn item(out: &mut String, text: &str) {
    let options = textwrap::Options::new(WIDTH)
        .initial_indent("- ")
        .subsequent_indent("  ");
    line(out, &textwrap::fill(text, options));
}

fn table(out: &mut String, row: &RowResults) {
    let Some(planned) = ROWS.iter().find(|planned| planned.id == row.id) else {
        return;
    };
    let _ = writeln!(out, "\n## {} (`{}`)\n", planned.title, row.id);
    if !planned.note.is_empty() {
        let _ = writeln!(out, "{}\n", textwrap::fill(planned.note, WIDTH));
    }
    let _ = writeln!(out, "{}.\n", row.taken);
    out.push_str("| figure |");
    for (peer, _) in &row.peers {
        let _ = write!(out, " {peer} |");
    }
    let _ = writeln!(out, "\n|---|{}", "---:|".repeat(row.peers.len()));
    for figure in row.figures() {
        let _ = write!(out, "| `{figure}` |");
        let own = row.median("brs", figure);
        for (peer, figures) in &row.peers {
            let Some(samples) = figures.get(figure) else {
                out.push_str(" – |");
                continue;
            };
            let (median, (low, high)) = (samples.median(), samples.range());
            let _ = write!(out, " {}", number(median));
            if low < high {
                let _ = write!(out, " [{}–{}]", number(low), number(high));
            }
            if let Some(own) = own.filter(|own| peer != "brs" && *own > 0.0) {
                let _ = write!(out, " ({}×)", number(median / own));
            }
            out.push_str(" |");
        }
        out.push('\n');
    }
}

fn goals(out: &mut String, verdicts: &[Verdict]) {
    line(out, "\n## Goals\n");
    line(
        out,
        "Checked are ratios within the run, counts, instructions and allocated bytes; others are only shown.\n",
    );
    line(
        out,
        "| row | whose | figure | goal | measured | |\n|---|---|---|---:|---:|---|",
    );
    for verdict in verdicts {
        let goal = verdict.goal;
        let limit = match goal.limit {
            Limit::AtMost(limit) => format!("≤ {}", number(limit)),
            Limit::AtLeast(limit) => format!("≥ {}", number(limit)),
            Limit::OfPeer(peer, limit) => format!("≤ {} × {peer}", number(limit)),
            Limit::AtLeastOfPeer(peer, limit) => format!("≥ {} × {peer}", number(limit)),
        };
        let value = verdict.value.map_or_else(|| "–".to_owned(), number);
        let word = match (verdict.met, goal.checked) {
            (None, _) => "not measured",
            (Some(true), _) => "met",
            (Some(false), true) => "**missed**",
            (Some(false), false) => "missed (not checked)",
        };
        let (row, peer, figure) = (goal.row, goal.peer, goal.figure);
        line(
            out,
            &format!("| {row} | {peer} | `{figure}` | {limit} | {value} | {word} |"),
        );
    }
    let missed = verdicts
        .iter()
        .filter(|verdict| verdict.met == Some(false) && !verdict.goal.because.is_empty());
    let mut missed = missed.peekable();
    if missed.peek().is_some() {
        line(out, "\n## What stands in the way\n");
    }
    for Goal {
        row,
        peer,
        figure,
        because,
        ..
    } in missed.map(|verdict| verdict.goal)
    {
        item(out, &format!("`{figure}` of {peer} in `{row}`: {because}"));
    }
}

/// Three significant digits, with separators where there are more.
fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1000.0 {
        let whole = format!("{:.0}", size);
        let mut grouped = String::new();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index) % 3 == 0 {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return if value < 0.0 {
            format!("-{grouped}")
        } else {
            grouped
        };
    }
    let decimals = match size {
        _ if value == value.trunc() => 0,
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ if size >= 0.01 => 3,
        _ => 5,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_separators() {
        for (value, text) in [
            (0.0, "0"),
            (0.0048, "0.00480"),
            (0.806, "0.806"),
            (2.345, "2.35"),
            (12.34, "12.3"),
            (123.4, "123"),
            (12_500.0, "12,500"),
            (-1234.0, "-1,234"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
