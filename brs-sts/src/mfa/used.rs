//! Which codes this process has sent, for every MFA device: AWS takes each one once.
//!
//! Process-wide, since two sessions may share a device. A code is taken before it is sent, in one
//! step, so that two refreshes that have the same one in hand cannot both send it; it is forgotten
//! when it is 90 s old, by when AWS does not take it any more anyway. Kept in memory that is wiped.
//! Nothing locks: a forked child knows what its parent had sent, and waits for no thread of the
//! parent's.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use brs_core::Clock;

use super::code::Code;

/// How long a code is remembered. AWS takes the codes of three steps of 30 s.
const REMEMBERED: Duration = Duration::from_secs(90);

static SENT: ArcSwapOption<Codes> = ArcSwapOption::const_empty();

/// By the device's serial number.
type Codes = HashMap<String, Vec<Sent>>;

#[derive(Clone)]
struct Sent {
    code: Code,
    /// The clock of the session that sent it: its monotonic one, which cannot be stepped.
    clock: Arc<dyn Clock>,
    at: Duration,
}

impl Sent {
    fn is_old(&self) -> bool {
        self.clock.monotonic().saturating_sub(self.at) >= REMEMBERED
    }
}

/// Takes a code for sending; false if it has been sent.
pub(super) fn take(serial_number: &str, code: &Code, clock: &Arc<dyn Clock>) -> bool {
    let mut is_new = false;
    change(|sent| {
        sent.retain(|_, codes| {
            codes.retain(|sent| !sent.is_old());
            !codes.is_empty()
        });
        let codes = sent.entry(serial_number.to_owned()).or_default();
        is_new = codes.iter().all(|sent| sent.code != *code);
        if is_new {
            codes.push(Sent {
                code: code.clone(),
                clock: Arc::clone(clock),
                at: clock.monotonic(),
            });
        }
    });
    is_new
}

/// Gives a code back that was not sent after all.
pub(super) fn give_back(serial_number: &str, code: &Code) {
    change(|sent| {
        if let Some(codes) = sent.get_mut(serial_number) {
            codes.retain(|sent| sent.code != *code);
        }
    });
}

/// Changes a copy, again if another thread has changed the codes meanwhile.
fn change(mut change: impl FnMut(&mut Codes)) {
    SENT.rcu(|sent| {
        let mut sent = sent.as_deref().cloned().unwrap_or_default();
        change(&mut sent);
        Some(Arc::new(sent))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use brs_core::test_util::ManualClock;
    use std::time::{SystemTime, UNIX_EPOCH};

    fn clock_at(now: SystemTime) -> (ManualClock, Arc<dyn Clock>) {
        let clock = ManualClock::new(now);
        (clock.clone(), Arc::new(clock))
    }

    fn code(text: &str) -> Code {
        Code::parse(text).unwrap()
    }

    #[test]
    fn a_code_is_taken_once_in_ninety_seconds_for_each_device() {
        let (manual, clock) = clock_at(UNIX_EPOCH);
        assert!(take("used-a", &code("123456"), &clock));
        assert!(!take("used-a", &code("123456"), &clock));
        assert!(take("used-a", &code("654321"), &clock) && take("used-b", &code("123456"), &clock));
        manual.advance(Duration::from_secs(89));
        assert!(!take("used-a", &code("123456"), &clock));
        manual.advance(Duration::from_secs(1));
        assert!(take("used-a", &code("123456"), &clock));
    }

    #[test]
    fn a_clock_that_is_stepped_makes_no_code_new() {
        let (manual, clock) = clock_at(UNIX_EPOCH + Duration::from_secs(86_400));
        assert!(take("used-c", &code("123456"), &clock));
        manual.step_wall(UNIX_EPOCH + 2 * Duration::from_secs(86_400));
        assert!(!take("used-c", &code("123456"), &clock));
        manual.step_wall(UNIX_EPOCH);
        assert!(!take("used-c", &code("123456"), &clock));
    }

    #[test]
    fn what_was_not_sent_can_be_taken_again() {
        let (_, clock) = clock_at(UNIX_EPOCH);
        assert!(take("used-d", &code("123456"), &clock));
        give_back("used-d", &code("123456"));
        assert!(take("used-d", &code("123456"), &clock));
    }
}
