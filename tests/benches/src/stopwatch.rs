//! Time and memory as the machine tells them.
//!
//! The only file here that reads clocks: what is measured is real work in real time. Short calls
//! are criterion's to measure, whose median counts, which a busy neighbour disturbs less than the
//! mean; that processes take turns is the conductor's, since criterion measures one thing after the
//! other and so compares two moments.

#![expect(clippy::disallowed_methods, reason = "benchmarks measure real time")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use criterion::Criterion;
use serde::Deserialize;

use crate::Failure;

/// A point in time to measure from.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Seconds since the start.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

/// How long short calls are repeated.
#[derive(Clone, Copy, Debug)]
pub enum Effort {
    /// For this time.
    For(Duration),
    /// Exactly as often, once; for counting instructions.
    Times(u64),
}

/// Nanoseconds a call.
///
/// # Errors
///
/// If criterion's files cannot be written or read; they are below `CRITERION_HOME`.
pub fn nanoseconds<R>(effort: Effort, mut call: impl FnMut() -> R) -> Result<f64, Failure> {
    const NAME: &str = "call";
    /// Samples, and how often they are drawn from again: an interval of confidence is not what is
    /// looked for.
    const SAMPLES: usize = 50;
    const RESAMPLES: usize = 1000;
    #[derive(Deserialize)]
    struct Estimates {
        median: Estimate,
    }
    #[derive(Deserialize)]
    struct Estimate {
        point_estimate: f64,
    }
    let length = match effort {
        Effort::Times(times) => {
            let stopwatch = Stopwatch::start();
            for _ in 0..times {
                black_box(call());
            }
            return Ok(stopwatch.seconds() * 1e9 / times as f64);
        }
        Effort::For(length) => length,
    };
    let home = std::env::var_os("CRITERION_HOME")
        .ok_or("`CRITERION_HOME` must name a folder for criterion's files")?;
    let criterion = Criterion::default()
        .without_plots()
        .warm_up_time(length / 4)
        .measurement_time(length);
    criterion
        .sample_size(SAMPLES)
        .nresamples(RESAMPLES)
        .bench_function(NAME, |bencher| bencher.iter(&mut call));
    let estimates = fs::read(Path::new(&home).join(NAME).join("new/estimates.json"))?;
    Ok(serde_json::from_slice::<Estimates>(&estimates)?
        .median
        .point_estimate)
}

/// Calls a second of several threads together, each for that long; the figure is per second of wall
/// time.
pub fn throughput<R>(threads: usize, length: Duration, call: impl Fn() -> R + Sync) -> f64 {
    const BETWEEN_LOOKS: u64 = 1000;
    let barrier = std::sync::Barrier::new(threads);
    // The SDK's cache makes a timer at each call, which needs a runtime.
    let runtime = tokio::runtime::Handle::try_current().ok();
    std::thread::scope(|scope| {
        let one = || {
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            barrier.wait();
            let (stopwatch, mut count) = (Stopwatch::start(), 0);
            while stopwatch.elapsed() < length {
                for _ in 0..BETWEEN_LOOKS {
                    black_box(call());
                }
                count += BETWEEN_LOOKS;
            }
            count as f64 / stopwatch.seconds()
        };
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        all.into_iter()
            .map(|thread| thread.join().unwrap_or(f64::NAN))
            .sum()
    })
}

/// The system's time.
#[must_use]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

/// The median; sorts. Zero of nothing.
pub fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    match samples {
        [] => 0.0,
        _ => {
            let (low, high) = (samples[(samples.len() - 1) / 2], samples[samples.len() / 2]);
            f64::midpoint(low, high)
        }
    }
}

/// Seconds of processor time that this process has had, in all of its threads.
#[must_use]
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of this process in bytes; zero where the system does not tell.
#[must_use]
pub fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    number_of(&status, "VmRSS:") * 1024.0
}

/// The number in a line of `/proc/…/status`, kilobytes where it is memory.
#[must_use]
pub fn number_of(status: &str, name: &str) -> f64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }

    #[test]
    fn a_line_of_the_status_is_read() {
        assert_eq!(
            number_of("VmPeak:\t 9 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"),
            1234.0
        );
        assert_eq!(number_of("", "VmRSS:"), 0.0);
    }
}
