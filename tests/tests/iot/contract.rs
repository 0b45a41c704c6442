//! The method keeps the contract that every strategy must keep.

use std::sync::Arc;

use async_trait::async_trait;
use brs::RefreshStrategy;
use brs::iot::Iot;
use brs_core::test_util::contract::{self, Source, Subject};
use brs_tests::embedded_aws::Failure;

use super::*;

struct AtEmbeddedIot {
    iot: EmbeddedIot,
    device: Device,
    aws: EmbeddedAws,
}

#[async_trait]
impl Subject for AtEmbeddedIot {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        let failure = match source {
            Source::Healthy => None,
            Source::Expired => Some(Failure::AlreadyExpired),
            Source::Failing => Some(Failure::AccessDenied),
            Source::Hanging => Some(Failure::Hang),
            // Nobody's code runs in a refresh.
            _ => return None,
        };
        self.iot.fail_always(failure);
        let params = Params::new(self.iot.endpoint(), ALIAS)
            .allow_any_endpoint(true)
            .trust_store(self.iot.trust_store())
            .certificate(self.device.certificate_pem.as_str())
            .private_key(self.device.private_key_pem.as_str())
            .private_key_passphrase("passphrase-hush");
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(contract::now()));
        Some(Arc::new(Iot::new(params, clock).await.unwrap()))
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = self.aws.issued_secrets();
        secrets.push("passphrase-hush".to_owned());
        secrets.extend(
            self.device
                .private_key_pem
                .lines()
                .filter(|line| !line.starts_with('-'))
                .map(str::to_owned),
        );
        secrets
    }
}

#[tokio::test]
async fn the_method_keeps_the_contract() {
    let aws = EmbeddedAws::builder().clock(contract::now).start();
    let iot = EmbeddedIot::start(&aws);
    iot.add_role_alias(ALIAS, ROLE, None);
    let device = iot.add_device(THING, KeyKind::EcP256);
    let report = contract::check(&AtEmbeddedIot { iot, device, aws }).await;
    assert_eq!(
        report.checked(),
        ["healthy", "expired", "failing", "hanging"]
    );
    assert_eq!(report.left_out(), ["panicking", "blocking"]);
}
