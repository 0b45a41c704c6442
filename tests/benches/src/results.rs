//! Figures of all rows, by peer, with their samples; serialised as `report.json`, and as what is kept
//! of each row's last measurement.
//!
//! A row is compared within itself, so rows may be measured on different days; each says when.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::plan::ROWS;
use crate::stopwatch::median;
use crate::{Failure, Figures};

/// The outcome of one run, or what is kept of several.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// Short measurements.
    pub quick: bool,
    /// The profile that was measured.
    pub profile: String,
    /// Where, with what: name and value.
    pub machine: Vec<(String, String)>,
    /// In the plan's order.
    pub rows: Vec<RowResults>,
    /// What the whole run left out, and why.
    pub left_out: Vec<String>,
}

/// One row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RowResults {
    /// The row's name in the plan.
    pub id: String,
    /// When, of which commit, on how busy a machine, in how long.
    pub taken: String,
    /// Peers in the plan's order.
    pub peers: Vec<(String, BTreeMap<String, Samples>)>,
    /// What of it was left out, and why.
    pub left_out: Vec<String>,
}

/// One figure in every round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Samples(Vec<f64>);

impl RowResults {
    /// Adds one round's figures.
    pub fn add(&mut self, peer: &str, figures: Figures) {
        let found = self.peers.iter().position(|(name, _)| name == peer);
        let index = found.unwrap_or_else(|| {
            self.peers.push((peer.to_owned(), BTreeMap::new()));
            self.peers.len() - 1
        });
        for (name, value) in figures {
            self.peers[index].1.entry(name).or_default().0.push(value);
        }
    }

    /// A figure's median.
    #[must_use]
    pub fn median(&self, peer: &str, figure: &str) -> Option<f64> {
        let (_, figures) = self.peers.iter().find(|(name, _)| name == peer)?;
        figures.get(figure).map(Samples::median)
    }

    /// The names of all figures, sorted.
    #[must_use]
    pub fn figures(&self) -> Vec<&str> {
        let mut names: Vec<_> = self
            .peers
            .iter()
            .flat_map(|(_, figures)| figures.keys())
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Results {
    /// A row by its name.
    #[must_use]
    pub fn row(&self, id: &str) -> Option<&RowResults> {
        self.rows.iter().find(|row| row.id == id)
    }

    /// What is kept; nothing, where no file is.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is none of these.
    pub fn kept(file: &Path) -> Result<Self, Failure> {
        match fs::read(file) {
            Ok(content) => Ok(serde_json::from_slice(&content)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes a row in place of its earlier measurement; rows that the plan has no more go.
    pub fn take(&mut self, row: RowResults) {
        self.rows.retain(|kept| kept.id != row.id);
        self.rows.push(row);
        let place = |row: &RowResults| ROWS.iter().position(|planned| planned.id == row.id);
        self.rows.retain(|row| place(row).is_some());
        self.rows.sort_by_key(place);
    }

    /// Writes it, to be read by [`kept`](Self::kept).
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn keep(&self, file: &Path) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(fs::write(file, text)?)
    }
}

impl Samples {
    /// The middle of the rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        median(&mut self.0.clone())
    }

    /// The least and the most.
    #[must_use]
    pub fn range(&self) -> (f64, f64) {
        self.0
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(*value), high.max(*value))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures;

    #[test]
    fn figures_of_one_peer_are_put_together() {
        let mut row = RowResults::default();
        for value in [1.0, 5.0, 2.0] {
            row.add("brs", figures([("call_ns", value)]));
        }
        row.add("sdk", figures([("call_ns", 9.0)]));
        row.add("brs", figures([("allocations", 0.0)]));
        assert_eq!(row.median("brs", "call_ns"), Some(2.0));
        assert_eq!(row.median("brs", "allocations"), Some(0.0));
        assert_eq!(row.median("sdk", "allocations"), None);
        assert_eq!(row.figures(), ["allocations", "call_ns"]);
        assert_eq!(row.peers.len(), 2);
    }

    #[test]
    fn a_row_measured_again_replaces_itself_and_the_plans_order_stays() {
        let row = |id: &str, value| {
            let mut row = RowResults {
                id: id.to_owned(),
                ..RowResults::default()
            };
            row.add("brs", figures([("call_ns", value)]));
            row
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kept.json");
        let mut kept = Results::kept(&file).unwrap();
        for (id, value) in [
            ("owned", 1.0),
            ("gone", 2.0),
            ("guard", 3.0),
            ("owned", 4.0),
        ] {
            kept.take(row(id, value));
        }
        kept.keep(&file).unwrap();
        let kept = Results::kept(&file).unwrap();
        let found = kept.rows.iter().map(|row| {
            let figure = row.median("brs", "call_ns");
            (row.id.as_str(), figure)
        });
        assert_eq!(
            found.collect::<Vec<_>>(),
            [("guard", Some(3.0)), ("owned", Some(4.0))]
        );
        fs::write(&file, "[").unwrap();
        assert!(Results::kept(&file).is_err());
    }
}
