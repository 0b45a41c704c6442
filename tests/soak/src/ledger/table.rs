//! The ledger for people: what was done, what was promised, and what became of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{History, Verdict};
use crate::schedule::{Kind, SECOND};

/// So many breaks of one promise are shown.
const SHOWN: usize = 20;

/// The whole text.
pub(crate) fn render(seed: u64, history: &History, verdicts: &[Verdict]) -> String {
    let mut text = format!(
        "seed {seed}, {} s of faults\n\n",
        history.calm_from / SECOND
    );
    let mut faults: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for window in &history.windows {
        let kind = match window.kind {
            Kind::Source(trouble) => format!("{trouble:?}"),
            Kind::Slow(_) => "Slow".to_owned(),
            Kind::Step(_) => "Step".to_owned(),
            kind => format!("{kind:?}"),
        };
        let (count, length) = faults
            .entry(format!("{:?}: {kind}", window.track))
            .or_default();
        *count += 1;
        *length += window.until.unwrap_or(window.from) - window.from;
    }
    let _ = writeln!(text, "{:<34}{:>6}{:>10}", "fault", "times", "seconds");
    for (name, (count, length)) in faults {
        let seconds = length as f64 / SECOND as f64;
        let _ = writeln!(text, "{name:<34}{count:>6}{seconds:>10.1}");
    }
    let _ = writeln!(text, "\n{}\n", history.summary());
    let _ = writeln!(
        text,
        "{:<50}{:>10}{:>9}{:>8}",
        "promise", "checked", "excused", "broken"
    );
    for verdict in verdicts {
        let _ = writeln!(
            text,
            "{:<50}{:>10}{:>9}{:>8}",
            verdict.promise,
            verdict.checked,
            verdict.excused,
            verdict.broken.len()
        );
    }
    for verdict in verdicts.iter().filter(|verdict| !verdict.broken.is_empty()) {
        let _ = writeln!(
            text,
            "\n{}: {} times",
            verdict.promise,
            verdict.broken.len()
        );
        for words in verdict.broken.iter().take(SHOWN) {
            let _ = writeln!(text, "  {words}");
        }
    }
    text
}
