//! Reads what Rust's test harness prints: its closing line and its ignored tests.
//!
//! The harness' machine-readable output is unstable, its text has been the same for years. A
//! changed text shows as "no test was executed", never as a silent success.

use std::ops::AddAssign;

/// The sum of any number of closing lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`; any other line is `None`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let rest = line.trim_start().strip_prefix("test result: ")?;
        let (_verdict, counts) = rest.split_once(". ")?;
        let mut counts = counts.split("; ");
        Some(Self {
            passed: count(counts.next()?, "passed")?,
            failed: count(counts.next()?, "failed")?,
            ignored: count(counts.next()?, "ignored")?,
        })
    }

    /// How many tests ran.
    pub(crate) fn executed(self) -> u64 {
        self.passed + self.failed
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

fn count(text: &str, word: &str) -> Option<u64> {
    text.strip_suffix(word)?.trim_end().parse().ok()
}

/// Reads `test NAME ... ignored, REASON` into name and reason; the reason is empty where none was
/// given.
pub(crate) fn ignored(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ignored")?;
    match verdict {
        "" => Some((name, "")),
        _ => Some((name, verdict.strip_prefix(", ")?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_becomes_a_tally() {
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 1 filtered out; finished in 0.10s";
        assert_eq!(
            Tally::parse(line),
            Some(Tally {
                passed: 12,
                failed: 0,
                ignored: 3
            })
        );
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(
            Tally::parse(line),
            Some(Tally {
                passed: 1,
                failed: 2,
                ignored: 0
            })
        );
    }

    #[test]
    fn other_lines_are_passed_over() {
        for line in [
            "",
            "running 3 tests",
            "test result: ok",
            "test result: ok. many passed; 0 failed; 0 ignored",
        ] {
            assert_eq!(Tally::parse(line), None, "{line}");
        }
    }

    #[test]
    fn tallies_add_up() {
        let mut sum = Tally::default();
        sum += Tally {
            passed: 1,
            failed: 2,
            ignored: 3,
        };
        sum += Tally {
            passed: 10,
            failed: 0,
            ignored: 1,
        };
        assert_eq!(
            sum,
            Tally {
                passed: 11,
                failed: 2,
                ignored: 4
            }
        );
        assert_eq!(sum.executed(), 13);
    }

    #[test]
    fn an_ignored_test_gives_name_and_reason() {
        assert_eq!(
            ignored("test sts::assumes_a_role ... ignored, needs moto"),
            Some(("sts::assumes_a_role", "needs moto"))
        );
        assert_eq!(
            ignored("test src/lib.rs - (line 3) ... ignored"),
            Some(("src/lib.rs - (line 3)", ""))
        );
        assert_eq!(ignored("test sts::assumes_a_role ... ok"), None);
        assert_eq!(ignored("running 3 tests"), None);
    }
}
