//! A `tracing` subscriber that takes its time to enter a span holds up no time limit and no waiter.
//! One process of its own: the subscriber is the process's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use brs_core::RefreshableSession;
use brs_core::test_util::{Gate, Scripted, Step};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// Blocks each thread that enters or leaves a span, or logs, until the gate is open.
struct Slow {
    gate: Gate,
    entered: Arc<AtomicUsize>,
}

impl Slow {
    fn take_time(&self) {
        self.entered.fetch_add(1, Ordering::SeqCst);
        self.gate.block();
    }
}

impl Layer<Registry> for Slow {
    fn on_enter(&self, _: &tracing::Id, _: Context<'_, Registry>) {
        self.take_time();
    }

    fn on_close(&self, _: tracing::Id, _: Context<'_, Registry>) {
        self.take_time();
    }
}

#[test]
fn a_subscriber_that_takes_its_time_holds_up_no_limit() {
    let (gate, entered) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
    let slow = Slow {
        gate: gate.clone(),
        entered: Arc::clone(&entered),
    };
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(slow)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let session = |limit| {
            let strategy = Scripted::always(Step::Fresh(Duration::from_secs(3600))).shared();
            RefreshableSession::with_strategy(strategy)
                .refresh_timeout(limit)
                .build()
        };
        // Both of brs's workers are in the subscriber; a third refresh does not even begin.
        let sessions = [
            session(Duration::from_millis(200)).await.unwrap(),
            session(Duration::from_millis(200)).await.unwrap(),
            session(Duration::from_millis(300)).await.unwrap(),
        ];
        let calls = sessions.iter().map(RefreshableSession::credentials);
        let results = futures_util::future::join_all(calls).await;
        assert!(
            results.iter().all(Result::is_err),
            "each is answered while the subscriber still blocks"
        );
        assert!(entered.load(Ordering::SeqCst) > 0);
        gate.open();
        let quick = session(Duration::from_secs(30)).await.unwrap();
        quick.credentials().await.unwrap();
    });
}
