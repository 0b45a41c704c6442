//! A shared strategy keeps the contract as the one that it stands around does.

use super::*;
use brs_core::Blocking;
use brs_core::test_util::Gate;
use brs_core::test_util::contract::{self, Source, Subject, check};

struct Around(tempfile::TempDir);

impl Around {
    fn around(&self, told: Told) -> Arc<dyn RefreshStrategy> {
        let cache = HostCache::in_directory(self.0.path().join("cache"));
        Arc::new(Shared::new(told, cache))
    }
}

/// Its source is a function that blocks its thread.
#[derive(Debug)]
struct Synchronous(Gate, Blocking);

#[async_trait]
impl RefreshStrategy for Synchronous {
    fn method(&self) -> &'static str {
        "synchronous"
    }

    fn source(&self) -> &'static str {
        "synchronous"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let gate = self.0.clone();
        self.1.run(move || gate.block()).await?;
        Scripted::always(Step::Fresh(HOUR)).refresh(cx).await
    }
}

#[async_trait]
impl Subject for Around {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let (name, step) = match source {
            Source::Healthy => ("healthy", Step::Fresh(HOUR)),
            Source::Expired => {
                let expired = contract::now() - HOUR;
                let set = TemporaryCredentials::new(
                    "ASIAEXPIRED",
                    "contract-secret",
                    Some("contract-token".into()),
                    Some(expired),
                );
                ("expired", Step::Give(set))
            }
            Source::Failing => ("failing", Step::Fail(Error::request("refused"))),
            Source::Hanging => ("hanging", Step::Hang),
            Source::Panicking => ("panicking", Step::Panic),
            Source::Blocking(gate) => {
                let source = Arc::new(Synchronous(gate, Blocking::new()));
                return Some(self.around(Told(source, Some("blocking"))));
            }
            _ => return None,
        };
        Some(self.around(Told(Scripted::always(step).shared(), Some(name))))
    }

    fn secrets(&self) -> Vec<String> {
        vec!["scripted-secret".into(), "scripted-token".into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_strategy_keeps_the_contract() {
    let report = check(&Around(tempfile::tempdir().unwrap())).await;
    assert_eq!(report.left_out(), [""; 0]);
}
