//! A day of a fleet, simulated: what one machine cannot do.
//!
//! A thousand processes have sessions for the same thousand roles, against an STS that allows 600
//! calls a second. Hosts die and come back, STS is dead for an hour and so is the store. Four
//! variants: every process by itself with the SDK's providers (`sdk`), and pools of brs (`brs`) that
//! share nothing, or the cache of a host, or the store of a fleet.
//!
//! A simulation of discrete events on simulated time: one thread, no clock, the same result for the
//! same seed. `rules` holds what is restated of the products, and how it is held against them;
//! `world` the day, STS and callers; `session` and `line` what a process of brs keeps; [`plot`]
//! draws the calls.

mod brs;
mod line;
pub mod plot;
mod rules;
mod sdk;
mod session;
mod world;

use std::fs;
use std::path::Path;

use self::session::Sharing;
use self::world::{Part, STS_OUTAGE, Scale, Seen, World};
use crate::{Failure, Figures, figures};

/// The variants by the names that they have as peers.
pub const VARIANTS: [&str; 4] = ["sdk", "brs", "brs_host", "brs_fleet"];

const SEED: u64 = 15;

/// The fleet that the figures are of.
const PROCESSES: u32 = 1000;
const ROLES: u32 = 1000;
/// What STS allows it, in calls a second: AWS's quota for an account and a region.
const STS_RATE: f64 = 600.0;

/// A part of the fleet where that is enough, with its part of what STS allows: processes that share
/// nothing with the others of the fleet but STS are simulated by a sample of them; those that share
/// a store are all simulated, with a sample of the roles.
fn scale(variant: &str, is_quick: bool) -> Scale {
    let (processes, roles) = match (variant, is_quick) {
        ("brs_fleet", false) => (PROCESSES, 500),
        ("brs_fleet", true) => (PROCESSES, 20),
        (_, false) => (500, ROLES),
        (_, true) => (20, ROLES),
    };
    let part = f64::from(processes * roles) / f64::from(PROCESSES * ROLES);
    Scale {
        processes,
        of_a_host: 10,
        roles,
        sts_rate: STS_RATE * part,
    }
}

/// Simulates a variant's day; leaves its calls a minute in the folder for [`plot`].
///
/// # Errors
///
/// If there is no such variant, or the folder cannot be written.
pub fn simulate(variant: &str, is_quick: bool, folder: &Path) -> Result<Figures, Failure> {
    let scale = scale(variant, is_quick);
    let seen = run(variant, &scale)?;
    // Of the whole fleet.
    let times = f64::from(PROCESSES * ROLES) / f64::from(scale.processes * scale.roles);
    let minutes = seen.calls.chunks(60);
    let by_minute: Vec<u32> = minutes
        .map(|calls| (f64::from(calls.iter().sum::<u32>()) * times) as u32)
        .collect();
    let file = plot::file(folder, variant);
    fs::write(file, serde_json::to_vec(&by_minute)?)?;
    let mut found = found(&seen);
    for (name, figure) in &mut found {
        // Counts; the others are seconds.
        if !name.ends_with("_s") {
            *figure *= times;
        }
    }
    let sessions = scale.processes * scale.roles;
    found.insert("simulated_sessions".to_owned(), sessions.into());
    Ok(found)
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
        (
            "source_calls_given",
            (calls - seen.throttled - seen.dead) as f64,
        ),
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
        // A tenth, a little more often: those who share spread their renewals.
        assert!((alone / 11.0..alone / 8.0).contains(&host), "{host}");
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
