//! The contract of strategies, for commands.

use std::sync::Arc;

use async_trait::async_trait;
use brs_core::RefreshStrategy;
use brs_core::test_util::contract::{Source, Subject, check};
use brs_custom::{Custom, Params};

use crate::support::{Place, eventually, mentioned};

struct ShellScript(Place);

#[async_trait]
impl Subject for ShellScript {
    async fn strategy(&self, source: Source) -> Option<Arc<dyn RefreshStrategy>> {
        // The contract's time is 2033-05-18T03:33:20Z.
        let print = |hour: u32| {
            format!(
                "echo '{{\"Version\":1,\"AccessKeyId\":\"ASIACONTRACT\",\"SecretAccessKey\":\"contract-secret\",\
                 \"SessionToken\":\"contract-token\",\"Expiration\":\"2033-05-18T{hour:02}:33:20Z\"}}'"
            )
        };
        let script = match source {
            Source::Healthy => print(4),
            Source::Expired => print(3),
            Source::Failing => "echo contract-secret; exit 1".to_owned(),
            Source::Hanging => "while :; do sleep 1000; done".to_owned(),
            _ => return None,
        };
        let command = self.0.sh_with(&script, &["contract-argument"]);
        Some(Arc::new(Custom::new(Params::command(command)).unwrap()))
    }

    fn secrets(&self) -> Vec<String> {
        vec!["contract-secret".to_owned(), "contract-argument".to_owned()]
    }
}

#[tokio::test]
async fn commands_keep_the_contract_and_leave_nothing_behind() {
    let subject = ShellScript(Place::new());
    assert_eq!(check(&subject).await.left_out(), ["panicking", "blocking"]);
    let path = subject.0.path().to_str().unwrap();
    eventually(|| (!mentioned(path)).then_some(())).await;
}
