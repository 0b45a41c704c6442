//! Strategies that block both of brs's threads: another session's refresh says whose they are. One
//! process of its own: its runtime is blocked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use brs_core::test_util::{Gate, Scripted, Step};
use brs_core::{Error, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials};

/// Blocks its thread in its future, which it should not.
#[derive(Debug)]
struct Blocks(&'static str, Gate);

#[async_trait]
impl RefreshStrategy for Blocks {
    fn method(&self) -> &'static str {
        self.0
    }

    fn source(&self) -> &'static str {
        self.0
    }

    async fn refresh(&self, _: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        self.1.block();
        Ok(TemporaryCredentials::new("ASIA", "s", None, None))
    }
}

#[test]
fn a_refresh_that_cannot_begin_says_whose_strategies_block_the_threads() {
    let gate = Gate::new();
    let limit = Duration::from_millis(300);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut sessions = Vec::new();
        for method in ["rude", "ruder"] {
            let strategy = Arc::new(Blocks(method, gate.clone()));
            sessions.push(
                RefreshableSession::with_strategy(strategy)
                    .refresh_timeout(limit)
                    .build()
                    .await
                    .unwrap(),
            );
        }
        let calls = sessions.iter().map(RefreshableSession::credentials);
        let errors = futures_util::future::join_all(calls).await;
        assert!(errors.iter().all(|result| {
            result
                .as_ref()
                .is_err_and(|e| e.to_string().contains("did not answer"))
        }));

        let good = Scripted::always(Step::Fresh(Duration::from_secs(3600)));
        let session = RefreshableSession::with_strategy(good.shared())
            .refresh_timeout(limit)
            .build()
            .await
            .unwrap();
        let error = session.credentials().await.unwrap_err().to_string();
        assert!(
            error.contains("strategies of the methods `rude`, `ruder` block the threads"),
            "{error}"
        );
        assert_eq!(good.calls(), 0);

        gate.open();
        session.refresh().await.unwrap();
    });
}
