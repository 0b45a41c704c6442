//! The rule of MQTT: what was acknowledged arrives, and no publish is given up.

use std::collections::BTreeSet;

use super::{History, Tally};
use crate::record::{Record, What};

/// The connections' names in the records.
const LINKS: [&str; 2] = ["mqtts", "wss"];

impl History {
    pub(super) fn has_messages(&self) -> bool {
        let of_links = |name: &&str| {
            self.lives
                .values()
                .any(|life| life.records.contains_key(*name))
        };
        LINKS.iter().any(of_links)
    }
}

/// No acknowledged message is lost, no publish fails, and each connection has published.
pub(super) fn kept(history: &History) -> Tally {
    let mut tally = Tally::default();
    for life in history.lives.values() {
        for link in LINKS {
            if let Some(records) = life.records.get(link) {
                tally.add(of_link(link, records));
            }
        }
    }
    tally
}

fn of_link(link: &str, records: &[Record]) -> Tally {
    let mut tally = Tally::default();
    let (mut acknowledged, mut received) = (BTreeSet::new(), BTreeSet::new());
    let mut published = 0;
    for record in records {
        match &record.what {
            What::Published { first, last } => published += last - first + 1,
            What::Acknowledged { first, last } => acknowledged.extend(*first..=*last),
            What::Received { first, last } => received.extend(*first..=*last),
            What::Lost { number, text } => {
                let words = format!("{link}: publishing {number} failed: {text}");
                tally.broken.push(words);
            }
            _ => {}
        }
    }
    tally.checked = acknowledged.len() as u64;
    let lost: Vec<_> = acknowledged.difference(&received).collect();
    if !lost.is_empty() {
        let words = format!("{link}: acknowledged and not received: {lost:?}");
        tally.broken.push(words);
    }
    if acknowledged.len() as u64 + (tally.broken.len() as u64) < published {
        let open = published - acknowledged.len() as u64;
        tally
            .broken
            .push(format!("{link}: {open} publishes have no end"));
    }
    if published == 0 {
        tally.broken.push(format!("{link}: nothing was published"));
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(what: What) -> Record {
        Record {
            of: "wss".to_owned(),
            at: 0,
            what,
        }
    }

    fn of(published: u64, acknowledged: u64, received: &[(u64, u64)]) -> Tally {
        let mut records = vec![
            record(What::Published {
                first: 1,
                last: published,
            }),
            record(What::Acknowledged {
                first: 1,
                last: acknowledged,
            }),
        ];
        let runs = received
            .iter()
            .map(|&(first, last)| What::Received { first, last });
        records.extend(runs.map(record));
        of_link("wss", &records)
    }

    #[test]
    fn what_arrives_may_arrive_twice_and_in_another_order() {
        let tally = of(10, 10, &[(5, 10), (1, 7)]);
        assert_eq!((tally.checked, tally.broken), (10, Vec::new()));
    }

    #[test]
    fn an_acknowledged_message_that_is_lost_is_found() {
        let tally = of(10, 10, &[(1, 6), (8, 10)]);
        assert_eq!(tally.broken, ["wss: acknowledged and not received: [7]"]);
    }

    #[test]
    fn a_publish_without_an_end_and_one_that_failed_are_found() {
        assert_eq!(of(10, 9, &[(1, 10)]).broken.len(), 1);
        let text = "no".to_owned();
        let failed = [
            record(What::Published { first: 1, last: 1 }),
            record(What::Lost { number: 1, text }),
        ];
        let broken = of_link("wss", &failed).broken;
        assert_eq!(broken, ["wss: publishing 1 failed: no"]);
        assert_eq!(of_link("wss", &[]).broken, ["wss: nothing was published"]);
    }
}
