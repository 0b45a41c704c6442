//! A shared strategy keeps the contract as the one that it stands around does.

use super::*;
use brs_core::test_util::contract::{self, Source, Subject, check};

struct Around(tempfile::TempDir);

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
            Source::Blocking(gate) => ("blocking", Step::Block(gate, Step::Fresh(HOUR).into())),
            _ => return None,
        };
        let told = Told(Scripted::always(step).shared(), Some(name));
        let cache = HostCache::in_directory(self.0.path().join("cache"));
        Some(Arc::new(Shared::new(told, cache)))
    }

    fn secrets(&self) -> Vec<String> {
        vec!["scripted-secret".into(), "scripted-token".into()]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_strategy_keeps_the_contract() {
    let report = check(&Around(tempfile::tempdir().unwrap())).await;
    // A script that blocks its thread breaks the contract itself.
    assert_eq!(report.left_out(), [""; 0]);
}
