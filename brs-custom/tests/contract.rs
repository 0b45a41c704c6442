//! The contract of strategies, for functions.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use brs_core::test_util::contract::{Source, Subject, check, now};
use brs_core::{Error, RefreshStrategy, TemporaryCredentials};
use brs_custom::{Custom, Params};

fn set(lifetime: Duration) -> TemporaryCredentials {
    let expiration = now() + lifetime;
    TemporaryCredentials::new(
        "ASIACONTRACT",
        "contract-secret",
        Some("contract-token".into()),
        Some(expiration),
    )
}

const HOUR: Duration = Duration::from_secs(3600);

struct AsyncFunction;

#[async_trait]
impl Subject for AsyncFunction {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let params = match source {
            Source::Healthy => Params::function(|| async { Ok::<_, Error>(set(HOUR)) }),
            Source::Expired => Params::function(|| async { Ok::<_, Error>(set(Duration::ZERO)) }),
            Source::Failing => {
                Params::function(|| async { Err::<TemporaryCredentials, _>("out of paper") })
            }
            Source::Hanging => Params::function(pending::<Result<TemporaryCredentials, Error>>),
            Source::Panicking => Params::function(|| async {
                if true {
                    panic!("as the test wants");
                }
                Ok::<_, Error>(set(HOUR))
            }),
            _ => return None,
        };
        Some(Arc::new(Custom::new(params).unwrap()))
    }
}

struct BlockingFunction;

#[async_trait]
impl Subject for BlockingFunction {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let params = match source {
            Source::Healthy => Params::blocking_function(|| Ok::<_, Error>(set(HOUR))),
            Source::Blocking(gate) => Params::blocking_function(move || {
                gate.block();
                Ok::<_, Error>(set(HOUR))
            }),
            Source::Panicking => {
                Params::blocking_function(|| -> Result<TemporaryCredentials, Error> {
                    panic!("as the test wants");
                })
            }
            Source::Failing => {
                Params::blocking_function(|| Err::<TemporaryCredentials, _>("out of paper"))
            }
            _ => return None,
        };
        Some(Arc::new(Custom::new(params).unwrap()))
    }
}

#[tokio::test]
async fn async_functions_keep_the_contract() {
    assert_eq!(check(&AsyncFunction).await.left_out(), ["blocking"]);
}

#[tokio::test]
async fn synchronous_functions_keep_the_contract() {
    assert_eq!(
        check(&BlockingFunction).await.left_out(),
        ["expired", "hanging"]
    );
}
