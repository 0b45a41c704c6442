//! The rule of resources: after the warm-up, descriptors, threads and memory stay where they are.

use super::Tally;
use crate::processes::Sample;
use crate::schedule::{Millis, SECOND};

/// What is loaded, started and connected for the first time counts as warm-up: this long, or a
/// third of the life if that is shorter.
const WARM_UP: Millis = 60 * SECOND;
/// A life is looked at if it has so many samples after its warm-up.
const LEAST_SAMPLES: usize = 30;

/// Faults make all three rise for a while. What grows is there in the least of a span, too: the
/// least of the last third may be so much above that of the first third. Connections that a fault
/// made the some twenty HTTP clients open stay for 90 s each.
const DESCRIPTORS: u64 = 24;
const THREADS: u64 = 3;
/// The allocator gives small pieces back late: a fifth, and so much more.
const MEMORY_KIB: u64 = 8 * 1024;

/// Looks at each life that was long enough; samples of the calm at the end do not count, since
/// calls end in it.
pub(super) fn flat(samples: &[(String, Vec<Sample>)], calm_from: Millis) -> Tally {
    let mut tally = Tally::default();
    for (life, samples) in samples {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
            continue;
        };
        let warm_up = WARM_UP.min((last.at - first.at) / 3);
        let warm: Vec<_> = samples
            .iter()
            .filter(|sample| sample.at >= first.at + warm_up && sample.at < calm_from)
            .collect();
        if warm.len() < LEAST_SAMPLES {
            continue;
        }
        let third = warm.len() / 3;
        let (early, late) = (&warm[..third], &warm[warm.len() - third..]);
        let mut compare = |name: &str, of: fn(&Sample) -> u64, allowed: fn(u64) -> u64| {
            let least = |part: &[&Sample]| part.iter().map(|sample| of(sample)).min();
            let (before, after) = (least(early).unwrap_or(0), least(late).unwrap_or(0));
            tally.check(before > 0 && after <= allowed(before), || {
                format!("{life}: {before} {name} became {after}")
            });
        };
        compare(
            "descriptors",
            |sample| sample.descriptors,
            |before| before + DESCRIPTORS,
        );
        compare(
            "threads",
            |sample| sample.threads,
            |before| before + THREADS,
        );
        compare(
            "KiB of memory",
            |sample| sample.memory_kib,
            |before| before + before / 5 + MEMORY_KIB,
        );
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Millis = 120 * SECOND;

    fn samples(of: impl Fn(u64) -> (u64, u64, u64)) -> Vec<(String, Vec<Sample>)> {
        let samples = (0..=120).map(|second| {
            let (descriptors, threads, memory_kib) = of(second);
            Sample {
                at: second * SECOND,
                descriptors,
                threads,
                memory_kib,
            }
        });
        vec![("main#1".to_owned(), samples.collect())]
    }

    fn broken(of: impl Fn(u64) -> (u64, u64, u64)) -> Vec<String> {
        flat(&samples(of), END).broken
    }

    #[test]
    fn what_rises_in_the_warm_up_and_in_faults_is_flat() {
        let found = flat(
            &samples(|second| {
                let rise = second.min(30);
                let fault = if second % 20 < 10 { 50 } else { 0 };
                (
                    20 + rise + fault,
                    8 + fault,
                    30_000 + 1_000 * rise + 100 * fault,
                )
            }),
            END,
        );
        assert_eq!((found.checked, found.broken), (3, Vec::new()));
    }

    #[test]
    fn descriptors_threads_and_memory_that_grow_are_found() {
        assert_eq!(broken(|second| (20 + second / 2, 8, 30_000)).len(), 1);
        assert_eq!(broken(|second| (20, 8 + second / 10, 30_000)).len(), 1);
        assert_eq!(broken(|second| (20, 8, 30_000 + 400 * second)).len(), 1);
    }

    #[test]
    fn a_life_that_cannot_be_seen_is_found_and_a_short_one_is_left_out() {
        assert_eq!(broken(|_| (0, 0, 0)).len(), 3);
        let mut short = samples(|_| (20, 8, 30_000));
        short[0].1.truncate(40);
        assert_eq!(flat(&short, END), Tally::default());
    }
}
