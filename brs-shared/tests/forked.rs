//! A forked child shares as any other process does: what its parent held is not the child's.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use brs_core::test_util::{Gate, Scripted, Step};
use brs_core::{
    Error, Fingerprint, RefreshContext, RefreshStrategy, RefreshableSession, SystemClock,
    TemporaryCredentials,
};
use brs_shared::{HostCache, Shared, Store};
use forking::{block_on, in_a_fork};
use futures_util::FutureExt;

#[path = "../../brs-core/tests/forking/mod.rs"]
mod forking;

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Told(Arc<dyn RefreshStrategy>);

#[async_trait]
impl RefreshStrategy for Told {
    fn method(&self) -> &'static str {
        self.0.method()
    }

    fn source(&self) -> &'static str {
        self.0.source()
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.0.refresh(cx).await
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(Fingerprint::new("told"))
    }
}

fn session(store: &Store, script: &Scripted) -> RefreshableSession {
    let shared = Shared::new(Told(script.shared()), store.clone());
    block_on(RefreshableSession::with_strategy(shared).build()).unwrap()
}

/// One test: a fork copies the thread that forks, and whatever other tests hold locked.
#[test]
fn a_forked_child_shares_with_its_parent() {
    let folder = tempfile::tempdir().unwrap();
    let store: Store = HostCache::in_directory(folder.path().join("cache")).into();
    let script = Scripted::always(Step::Fresh(HOUR));
    let used = session(&store, &script);
    let set = block_on(used.credentials()).unwrap();
    in_a_fork("a session that was used in the parent", || {
        assert_eq!(block_on(used.credentials())?, set);
        // The first of the parent's is rejected: the child takes the lock, and asks.
        used.invalidate(set.access_key_id());
        assert_ne!(block_on(used.refresh())?, set);
        Ok(())
    });
    // The parent finds what the child has written, and makes no call.
    used.invalidate(set.access_key_id());
    let new = block_on(used.refresh()).unwrap();
    assert_ne!(new, set);
    assert_eq!(script.calls(), 1);

    // With the lock held in the parent, and its turn taken.
    // The child's script has given the next number, too.
    block_on(script.refresh(&RefreshContext::for_test(
        Arc::new(SystemClock::new()),
        HOUR,
    )))
    .unwrap();
    let gate = Gate::new();
    script.otherwise(Step::After(gate.clone(), Step::Fresh(HOUR).into()));
    used.invalidate(new.access_key_id());
    let mut waiter = Box::pin(used.refresh());
    assert!(waiter.as_mut().now_or_never().is_none());
    block_on(script.called(3));
    in_a_fork("a session whose parent holds the lock", || {
        let other = session(&store, &Scripted::always(Step::Hang));
        let waits = block_on(async { other.credentials().now_or_never().is_none() });
        assert!(waits, "the parent has the lock");
        Ok(())
    });
    gate.open();
    let newest = block_on(waiter).unwrap();
    // The next one finds the lock free, though a child had it open.
    let store: Store = HostCache::in_directory(folder.path().join("cache")).into();
    let next = session(&store, &script);
    let found = block_on(next.credentials()).unwrap();
    assert_eq!(found.access_key_id(), newest.access_key_id());
    next.invalidate(newest.access_key_id());
    assert_ne!(block_on(next.refresh()).unwrap(), newest);
}
