//! Time limits that a device's work shares with whatever it is part of.

use std::sync::Arc;
use std::time::Duration;

use brs_core::Clock;

tokio::task_local! {
    /// Here a call that blocks can notify tokio's worker. Elsewhere, in a `LocalSet`, that would
    /// panic.
    pub(crate) static ON_A_WORKER: ();
}

/// `None` when the limit was first.
pub(crate) async fn in_time<T>(
    clock: &Arc<dyn Clock>,
    limit: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let sleep = clock.sleep(limit);
    tokio::select! {
        biased;
        done = future => Some(done),
        () = sleep => None,
    }
}
