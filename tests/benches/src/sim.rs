//! A day of a fleet, simulated: what one machine cannot do.
//!
//! A thousand processes have sessions for the same thousand roles, against an STS that allows 600
//! calls a second. Hosts die and come back, STS is dead for an hour and so is the store. Four
//! variants: every process by itself with the SDK's providers ([`sdk`]), and pools of brs
//! ([`brs`](self::brs)) that share nothing, or the cache of a host, or the store of a fleet.
//!
//! A simulation of discrete events on simulated time: one thread, no clock, the same result for the
//! same seed. [`rules`] holds what is restated of the products, and how it is held against them;
//! [`world`] the day, STS and callers; [`line`] a process's limiter; [`plot`] draws the calls.

mod brs;
mod line;
pub mod plot;
mod rules;
mod sdk;
mod world;

use std::fs;
use std::path::Path;

use self::brs::Sharing;
use self::world::{Part, STS_OUTAGE, Scale, Seen, World};
use crate::{Failure, Figures, figures};

/// The variants by the names that they have as peers.
pub const VARIANTS: [&str; 4] = ["sdk", "brs", "brs_host", "brs_fleet"];

const SEED: u64 = 15;

fn scale(is_quick: bool) -> Scale {
    let (processes, roles) = if is_quick { (100, 100) } else { (1000, 1000) };
    Scale {
        processes,
        of_a_host: 10,
        roles,
        // As many calls a second for each session.
        sts_rate: 600.0 * f64::from(processes * roles) / 1e6,
    }
}

/// Simulates a variant's day; leaves its calls a minute in the folder for [`plot`].
///
/// # Errors
///
/// If there is no such variant, or the folder cannot be written.
pub fn simulate(variant: &str, is_quick: bool, folder: &Path) -> Result<Figures, Failure> {
    let seen = run(variant, &scale(is_quick))?;
    let by_minute: Vec<u32> = seen
        .calls
        .chunks(60)
        .map(|calls| calls.iter().sum())
        .collect();
    fs::write(plot::file(folder, variant), serde_json::to_vec(&by_minute)?)?;
    Ok(found(&seen))
}

fn run(variant: &str, scale: &Scale) -> Result<Seen, Failure> {
    let mut world = World::new(scale, SEED);
    match variant {
        "sdk" => sdk::run(&mut world, scale),
        "brs" => brs::run(&mut world, scale, Sharing::Nothing),
        "brs_host" => brs::run(&mut world, scale, Sharing::Host),
        "brs_fleet" => brs::run(&mut world, scale, Sharing::Fleet),
        _ => return Err(format!("{variant} has no such measurement").into()),
    }
    Ok(world.seen)
}

fn found(seen: &Seen) -> Figures {
    let calls: u64 = seen.calls.iter().map(|calls| u64::from(*calls)).sum();
    let recovered = seen.last_error.saturating_sub(STS_OUTAGE.end);
    let of = |counts: &[u64; 3], part: Part| counts[part as usize] as f64;
    figures([
        ("source_calls", calls as f64),
        ("source_calls_throttled", seen.throttled as f64),
        ("source_calls_to_dead_sts", seen.dead as f64),
        (
            "source_calls_most_a_second",
            seen.calls.iter().copied().max().unwrap_or(0).into(),
        ),
        ("waited_for_first_set", seen.waited_for_the_first as f64),
        ("waited_sts_outage", of(&seen.waited, Part::StsOutage)),
        ("waited_store_outage", of(&seen.waited, Part::StoreOutage)),
        ("waited_otherwise", of(&seen.waited, Part::Otherwise)),
        ("errors_sts_outage", of(&seen.errors, Part::StsOutage)),
        ("errors_store_outage", of(&seen.errors, Part::StoreOutage)),
        ("errors_otherwise", of(&seen.errors, Part::Otherwise)),
        ("longest_wait_s", seen.longest_wait as f64 / 1e3),
        ("last_error_after_sts_outage_s", recovered as f64 / 1e3),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Scale = Scale {
        processes: 20,
        of_a_host: 10,
        roles: 20,
        sts_rate: 20.0,
    };

    fn day(variant: &str) -> Figures {
        found(&run(variant, &SMALL).unwrap())
    }

    #[test]
    fn the_same_seed_gives_the_same_day() {
        for variant in VARIANTS {
            assert_eq!(day(variant), day(variant));
        }
    }

    #[test]
    fn sharing_divides_the_calls_by_those_who_share() {
        let calls = |variant: &str| {
            let day = day(variant);
            day["source_calls"] - day["source_calls_to_dead_sts"]
        };
        let (alone, host, fleet) = (calls("brs"), calls("brs_host"), calls("brs_fleet"));
        // 400 sets, each replaced every 43 minutes or so, but in the outage.
        assert!((11_000.0..15_000.0).contains(&alone), "{alone}");
        assert!((alone / 11.0..alone / 9.0).contains(&host), "{host}");
        // The store is dead for one hour of 24, in which each host calls by itself.
        let expected = alone / 20.0 * 22.0 / 23.0 + alone / 23.0;
        assert!((expected * 0.7..expected * 1.6).contains(&fleet), "{fleet}");
    }

    #[test]
    fn callers_of_brs_wait_and_fail_only_in_the_outage_of_sts() {
        for variant in ["brs", "brs_host", "brs_fleet"] {
            let day = day(variant);
            for figure in [
                "waited_otherwise",
                "waited_store_outage",
                "errors_otherwise",
                "errors_store_outage",
            ] {
                assert_eq!(day[figure], 0.0, "{variant} {figure}");
            }
            assert!(
                day["errors_sts_outage"] > 0.0,
                "an hour is longer than a window"
            );
        }
        let sdk = day("sdk");
        assert!(sdk["waited_otherwise"] > 1000.0, "{sdk:?}");
    }
}
