//! Which failures others are told, and how long a process minds them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use brs_core::kit::PerProcess;
use brs_core::{Error, ErrorKind};

use crate::key::Key;

/// Refusals of what is asked for, which is the same for all who share. Others, such as those of a
/// token that has expired or of a wrong clock, may be one process's own.
const REFUSALS: [&str; 12] = [
    "AccessDenied",
    "AccessDeniedException",
    "MalformedPolicyDocument",
    "MalformedPolicyDocumentException",
    "OptInRequired",
    "PackedPolicyTooLarge",
    "PackedPolicyTooLargeException",
    "RegionDisabled",
    "RegionDisabledException",
    "ResourceNotFoundException",
    "ValidationError",
    "ValidationException",
];

/// Whether a failure is what the source said, and would say to all who share: that it wants fewer
/// calls, has trouble, or refuses what is asked for. A process may have other failures all alone:
/// files that it cannot read, a wrong proxy, a person's wrong code.
pub(crate) fn is_of_source(error: &Error, is_interactive: bool) -> bool {
    let is_refusal = || error.code().is_some_and(|code| REFUSALS.contains(&code));
    error.kind() == ErrorKind::Request
        && (error.is_throttled()
            || error.status().is_some_and(|status| status >= 500)
            || (!is_interactive && is_refusal()))
}

/// Until when this process is held by others' failures, by key: whatever they are told after that,
/// it asks by itself.
#[derive(Debug, Default)]
pub(crate) struct Holds(PerProcess<Mutex<BTreeMap<String, SystemTime>>>);

impl Holds {
    /// Whether the process has been held once. Otherwise it is held from now on.
    pub(crate) fn were(&self, key: &Key, until: SystemTime, now: SystemTime) -> bool {
        self.change(|holds| *holds.entry(key.as_str().to_owned()).or_insert(until) <= now)
    }

    /// The source was asked, or there is a set.
    pub(crate) fn end(&self, key: &Key) {
        self.change(|holds| holds.remove(key.as_str()));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, SystemTime>) -> T) -> T {
        let holds = self.0.get();
        let mut holds = holds.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_source_would_say_to_all_is_told_to_others() {
        let refused = |code: &str| Error::request("x").unrecoverable().with_code(code);
        for (error, is_interactive, expected) in [
            (Error::request("x").throttled(), false, true),
            (Error::request("x").throttled(), true, true),
            (
                Error::request("x").with_status(503).retryable(),
                false,
                true,
            ),
            (refused("AccessDenied").with_status(403), false, true),
            (refused("AccessDenied"), true, false),
            (refused("ExpiredTokenException"), false, false),
            (refused("SignatureDoesNotMatch"), false, false),
            (refused("RequestExpired"), false, false),
            (Error::request("x"), false, false),
            (Error::connection("x"), false, false),
            (Error::connection("x").with_status(503), false, false),
            (Error::configuration("x"), false, false),
            (Error::validation("x"), false, false),
            (Error::credential("x"), false, false),
        ] {
            assert_eq!(is_of_source(&error, is_interactive), expected, "{error:?}");
        }
    }
}
