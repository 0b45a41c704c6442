//! Figures of all rows, by peer, with their samples; serialised as `report.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::Figures;
use crate::stopwatch::median;

/// The outcome of one run.
#[derive(Debug, Serialize)]
pub struct Results {
    /// Short measurements.
    pub quick: bool,
    /// The profile that was measured.
    pub profile: String,
    /// Where, with what: name and value.
    pub machine: Vec<(String, String)>,
    /// In the plan's order.
    pub rows: Vec<RowResults>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// One row.
#[derive(Debug, Serialize)]
pub struct RowResults {
    /// The row's name in the plan.
    pub id: &'static str,
    /// In words.
    pub title: &'static str,
    /// For the reader.
    pub note: &'static str,
    /// Peers in the plan's order.
    pub peers: Vec<(String, BTreeMap<String, Samples>)>,
}

/// One figure in every round.
#[derive(Debug, Default, Serialize)]
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
        let mut row = RowResults {
            id: "x",
            title: "",
            note: "",
            peers: Vec::new(),
        };
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
}
