//! The method keeps the contract that every strategy must keep.

use std::sync::Arc;

use async_trait::async_trait;
use brs::RefreshStrategy;
use brs::roles_anywhere::RolesAnywhere;
use brs_core::test_util::contract::{self, Source, Subject};
use brs_tests::embedded_aws::Failure;

use super::*;

#[async_trait]
impl Subject for Bench {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let failure = match source {
            Source::Healthy => None,
            Source::Expired => Some(Failure::AlreadyExpired),
            Source::Failing => Some(Failure::AccessDenied),
            Source::Hanging => Some(Failure::Hang),
            // Nobody's code runs in a refresh.
            _ => return None,
        };
        self.anywhere.fail_always(failure);
        let params = self.params().private_key_passphrase("passphrase-hush");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(contract::now()));
        Some(Arc::new(RolesAnywhere::new(params, clock).await.unwrap()))
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.aws.issued_secrets();
        secrets.push("passphrase-hush".to_owned());
        let key = self.device.private_key_pem.lines();
        secrets.extend(key.filter(|line| !line.starts_with('-')).map(str::to_owned));
        secrets
    }
}

#[tokio::test]
async fn the_method_keeps_the_contract() {
    let bench = Bench::new();
    bench.clock.step_wall(contract::now());
    let device = bench.iot.add_device(SERVER, KeyKind::EcP256);
    let report = contract::check(&Bench { device, ..bench }).await;
    assert_eq!(
        report.checked(),
        ["healthy", "expired", "failing", "hanging"]
    );
    assert_eq!(report.left_out(), ["panicking", "blocking"]);
}
