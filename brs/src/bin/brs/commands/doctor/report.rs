//! The findings, and how they are printed.

use serde_json::{Value, json};

use super::number;
use crate::exit::{Done, Failure};
use crate::output;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    Warn,
    Fail,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Debug)]
struct Finding {
    check: &'static str,
    status: Status,
    text: String,
    remedy: Option<String>,
}

/// All findings, in order.
#[derive(Debug, Default)]
pub(super) struct Report {
    findings: Vec<Finding>,
    /// The exit status of the first failure.
    code: Option<u8>,
}

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, text: &str) {
        self.add(check, Status::Ok, text, None);
    }

    pub(super) fn warn(&mut self, check: &'static str, text: &str, remedy: &str) {
        self.add(check, Status::Warn, text, Some(remedy));
    }

    pub(super) fn fail(&mut self, check: &'static str, text: &str, remedy: &str) {
        self.code.get_or_insert(1);
        self.add(check, Status::Fail, text, Some(remedy));
    }

    /// A failure; if its text has no remedy, this one is given.
    pub(super) fn failed(&mut self, check: &'static str, failure: &Failure, otherwise: &str) {
        self.failed_at(check, "", failure, otherwise);
    }

    /// The same, with a place before it.
    pub(super) fn failed_at(
        &mut self,
        check: &'static str,
        place: &str,
        failure: &Failure,
        otherwise: &str,
    ) {
        self.code.get_or_insert(failure.code());
        let text = format!("{place}{failure}");
        let (text, remedy) = parted(&text).unwrap_or((&text, otherwise));
        self.add(check, Status::Fail, text, Some(remedy));
    }

    fn add(&mut self, check: &'static str, status: Status, text: &str, remedy: Option<&str>) {
        self.findings.push(Finding {
            check,
            status,
            text: text.to_owned(),
            remedy: remedy.map(str::to_owned),
        });
    }

    fn count(&self, status: Status) -> usize {
        self.findings
            .iter()
            .filter(|finding| finding.status == status)
            .count()
    }

    pub(super) fn as_list(&self) -> String {
        let mut out = String::new();
        for (index, finding) in self.findings.iter().enumerate() {
            let Finding {
                check,
                status,
                text,
                remedy,
            } = finding;
            out += &format!("{:>2}. {:<4}  {check}: {text}\n", index + 1, status.word());
            if let Some(remedy) = remedy {
                out += &format!("          → {remedy}\n");
            }
        }
        out
    }

    pub(super) fn as_json(&self) -> String {
        let checks = self.findings.iter().enumerate().map(|(index, finding)| {
            json!({
                "number": index + 1,
                "check": finding.check,
                "status": finding.status.word(),
                "text": finding.text,
                "remedy": finding.remedy,
            })
        });
        output::json(&json!({
            "ok": number(self.count(Status::Ok)),
            "warnings": number(self.count(Status::Warn)),
            "failures": number(self.count(Status::Fail)),
            "checks": Value::Array(checks.collect()),
        }))
    }

    /// The command fails as the first check that failed.
    pub(super) fn outcome(&self) -> Result<Done, Failure> {
        let failures = self.count(Status::Fail);
        if failures == 0 {
            return Ok(Done::Success);
        }
        let text = format!("{failures} of {} checks failed", self.findings.len());
        Err(match self.code {
            Some(2) => Failure::Usage(text),
            Some(3) => Failure::person(text),
            _ => Failure::Machine(text),
        })
    }
}

/// How remedies begin in brs's own texts.
const VERBS: [&str; 25] = [
    "add", "allow", "ask", "check", "compare", "correct", "create", "enter", "free", "give",
    "install", "leave", "list", "make", "move", "name", "open", "put", "raise", "remove", "run",
    "set", "try", "use", "write",
];

/// Problem and remedy of a text that has both.
fn parted(text: &str) -> Option<(&str, &str)> {
    let ends = text.match_indices([':', ';']).map(|(at, _)| at);
    ends.rev().find_map(|at| {
        let (problem, rest) = text.split_at(at);
        let remedy = rest.get(1..)?.strip_prefix(' ')?;
        let verb = remedy.split([' ', ',']).next()?;
        VERBS.contains(&verb).then_some((problem, remedy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parted_before_its_remedy() {
        for (text, expected) in [
            (
                "it is gone (404): check `a: b`",
                Some(("it is gone (404)", "check `a: b`")),
            ),
            (
                "/x.toml:3: `a`: is wrong; use 1, or give 2",
                Some(("/x.toml:3: `a`: is wrong", "use 1, or give 2")),
            ),
            ("it is gone: really", None),
            ("it is gone", None),
        ] {
            assert_eq!(parted(text), expected);
        }
    }

    #[test]
    fn the_list_has_numbers_states_and_remedies() {
        let mut report = Report::default();
        report.ok("region", "`eu-west-1`");
        report.warn("lifetime", "short", "raise it");
        assert!(matches!(report.outcome(), Ok(Done::Success)));
        report.failed(
            "call",
            &Failure::Usage("wrong: check it".to_owned()),
            "none",
        );
        report.fail("tcp", "refused", "start it");
        let list = " 1. ok    region: `eu-west-1`\n 2. warn  lifetime: short\n          → raise it\n \
                    3. fail  call: wrong\n          → check it\n 4. fail  tcp: refused\n          → start it\n";
        assert_eq!(report.as_list(), list);
        assert!(
            matches!(report.outcome(), Err(Failure::Usage(text)) if text == "2 of 4 checks failed")
        );
    }
}
