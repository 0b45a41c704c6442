//! How many rejected calls may be handed back to the SDK.
//!
//! The SDK's retries draw on a quota of 500 tokens for each service and region of a process: a retry costs up to 14, of
//! a throttled call 5, and each success without a retry gives one back. (A retried call's success gives its tokens
//! back, too, but not where calls of one client are retried at the same time: they share a place for them.) A call that
//! is handed back when the quota is used up is not retried, and shows its caller an error made here instead of the
//! service's. The SDK does not tell how much is left, so this keeps an account of its own, for each region and service
//! that a request is signed for; where nothing is left, the service's answer passes as it is. It is an estimate:
//! retries for other reasons draw on the same quota unseen.
//!
//! While there is plenty a call is retried at once; after that as a throttled one, which costs a third and waits for up
//! to a second: some eighty calls can be in flight when their credentials are revoked, and none fails. In the adaptive
//! retry mode a throttled call would slow its client for long: there all are retried at once, some thirty.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_smithy_types::retry::ErrorKind;

/// A little below the SDK's 500, since other errors are retried, too.
const TOKENS: u32 = 480;
/// Above this there is plenty.
const PLENTY: u32 = TOKENS / 4 * 3;
const COST: u32 = 14;
const THROTTLED_COST: u32 = 5;
/// How many scopes are kept account of; what is rejected in yet others at the same time passes as it is.
const SCOPES: usize = 1024;

/// Those of the process.
pub(super) static QUOTAS: Quotas = Quotas::new();

/// The accounts that are not full.
pub(super) struct Quotas {
    /// Their number, so that the usual success is a look at it and no more. Relaxed is enough: it guards nothing.
    used: AtomicUsize,
    accounts: Mutex<Option<HashMap<String, u32>>>,
}

impl Quotas {
    const fn new() -> Self {
        Self { used: AtomicUsize::new(0), accounts: Mutex::new(None) }
    }

    /// Takes the tokens of one retry in a scope (`eu-west-1/s3`), and says as what it is to be asked for.
    pub(super) fn take(&self, scope: &str, adaptive: bool) -> Option<ErrorKind> {
        let mut accounts = self.lock();
        let accounts = accounts.get_or_insert_default();
        let tokens = accounts.get(scope).copied().unwrap_or(TOKENS);
        if accounts.len() >= SCOPES && !accounts.contains_key(scope) {
            return None;
        }
        let (kind, cost) = if adaptive || tokens > PLENTY {
            (ErrorKind::TransientError, COST)
        } else {
            (ErrorKind::ThrottlingError, THROTTLED_COST)
        };
        let left = tokens.checked_sub(cost)?;
        accounts.insert(scope.to_owned(), left);
        self.used.store(accounts.len(), Ordering::Relaxed);
        Some(kind)
    }

    /// A call in that scope has succeeded at its first attempt.
    pub(super) fn succeeded(&self, scope: &str) {
        if self.used.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut accounts = self.lock();
        let Some(accounts) = accounts.as_mut() else { return };
        if let Some(tokens) = accounts.get_mut(scope) {
            *tokens += 1;
            if *tokens >= TOKENS {
                accounts.remove(scope);
                self.used.store(accounts.len(), Ordering::Relaxed);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashMap<String, u32>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(quotas: &Quotas, scope: &str, adaptive: bool) -> Vec<ErrorKind> {
        std::iter::from_fn(|| quotas.take(scope, adaptive)).collect()
    }

    #[test]
    fn eighty_calls_can_be_handed_back_the_first_of_them_at_once() {
        let kinds = kinds(&Quotas::new(), "eu-west-1/sts", false);
        assert!(kinds.len() >= 79, "{}", kinds.len());
        assert!(kinds[..9].iter().all(|kind| *kind == ErrorKind::TransientError));
        assert!(kinds[9..].iter().all(|kind| *kind == ErrorKind::ThrottlingError));
    }

    #[test]
    fn an_adaptive_client_is_never_told_that_it_was_throttled() {
        let kinds = kinds(&Quotas::new(), "eu-west-1/sts", true);
        assert!(kinds.len() >= 30, "{}", kinds.len());
        assert!(kinds.iter().all(|kind| *kind == ErrorKind::TransientError));
    }

    #[test]
    fn each_service_and_region_has_an_account_of_its_own() {
        let quotas = Quotas::new();
        let one = kinds(&quotas, "eu-west-1/sts", false).len();
        assert_eq!(kinds(&quotas, "eu-west-1/s3", false).len(), one);
        assert_eq!(quotas.take("eu-west-1/sts", false), None);
    }

    #[test]
    fn what_was_taken_comes_back_with_other_calls_successes_and_no_more() {
        let (quotas, scope) = (Quotas::new(), "eu-west-1/sts");
        let all = kinds(&quotas, scope, false).len();
        (0..THROTTLED_COST).for_each(|_| quotas.succeeded(scope));
        assert_eq!(quotas.take(scope, false), Some(ErrorKind::ThrottlingError));
        (0..2000).for_each(|_| quotas.succeeded(scope));
        assert_eq!(quotas.used.load(Ordering::Relaxed), 0, "a full account is none");
        assert_eq!(kinds(&quotas, scope, false).len(), all);
    }

    #[test]
    fn the_number_of_accounts_is_bounded() {
        let quotas = Quotas::new();
        for region in 0..SCOPES {
            assert!(quotas.take(&format!("region-{region}/sts"), false).is_some());
        }
        assert_eq!(quotas.take("one-more/sts", false), None);
        assert!(quotas.take("region-7/sts", false).is_some());
    }
}
