//! How many rejected calls may be handed back to the SDK.
//!
//! The SDK's retries draw on a quota of 500 tokens for each service and region of a process: a retry costs up to 14, of
//! a throttled call 5, and each success without a retry gives one back. (A retried call's success gives its tokens
//! back, too, but not where calls of one client are retried at the same time: they share a place for them.) A call that
//! is handed back when the quota is used up is not retried, and shows its caller an error made here instead of the
//! service's. The SDK does not tell how much is left, so this keeps an account of its own, for all services together;
//! where nothing is left, the service's answer passes as it is. It is an estimate: retries for other reasons draw on
//! the same quota unseen.
//!
//! While there is plenty a call is retried at once; after that as a throttled one, which costs a third and waits for up
//! to a second: some sixty calls can be in flight when their credentials are revoked, and none fails.

use std::sync::atomic::{AtomicI64, Ordering};

use aws_smithy_types::retry::ErrorKind;

/// A little below the SDK's 500, since other errors are retried, too.
const TOKENS: i64 = 480;
/// Above this there is plenty.
const PLENTY: i64 = TOKENS / 2;
const COST: i64 = 14;
const THROTTLED_COST: i64 = 5;

/// That of the process.
pub(super) static QUOTA: Quota = Quota::new();

/// A number of its own that guards nothing else: relaxed is enough.
#[derive(Debug)]
pub(super) struct Quota(AtomicI64);

impl Quota {
    const fn new() -> Self {
        Self(AtomicI64::new(TOKENS))
    }

    /// Takes the tokens of one retry, and says as what it is to be asked for.
    pub(super) fn take(&self) -> Option<ErrorKind> {
        let cost = |tokens: i64| if tokens > PLENTY { COST } else { THROTTLED_COST };
        let enough = |tokens: i64| (tokens >= cost(tokens)).then(|| tokens - cost(tokens));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough).ok()?;
        Some(if before > PLENTY { ErrorKind::TransientError } else { ErrorKind::ThrottlingError })
    }

    /// A call has succeeded at its first attempt.
    pub(super) fn succeeded(&self) {
        // Mostly the quota is full: a look is cheaper than a change.
        if self.0.load(Ordering::Relaxed) < TOKENS {
            let more = |tokens: i64| (tokens < TOKENS).then_some(tokens + 1);
            let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_calls_can_be_handed_back_the_first_of_them_at_once() {
        let quota = Quota::new();
        let kinds: Vec<_> = std::iter::from_fn(|| quota.take()).collect();
        assert!(kinds.len() >= 60, "{}", kinds.len());
        assert!(kinds[..17].iter().all(|kind| *kind == ErrorKind::TransientError));
        assert!(kinds[18..].iter().all(|kind| *kind == ErrorKind::ThrottlingError));
    }

    #[test]
    fn what_was_taken_comes_back_with_other_calls_successes_and_no_more() {
        let quota = Quota::new();
        while quota.take().is_some() {}
        (0..THROTTLED_COST).for_each(|_| quota.succeeded());
        assert_eq!(quota.take(), Some(ErrorKind::ThrottlingError));
        (0..2000).for_each(|_| quota.succeeded());
        assert_eq!(quota.0.load(Ordering::Relaxed), TOKENS);
    }
}
