//! brs with its method `custom` alone, for the time that it takes to build.

use std::future;

use brs::{Error, RefreshableSession, TemporaryCredentials, custom};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let set = || {
        future::ready(Ok::<_, Error>(TemporaryCredentials::new(
            "ASIABENCH",
            "not a secret",
            None,
            None,
        )))
    };
    let session = RefreshableSession::builder("custom", custom::Params::function(set));
    let session = session.region(brs_tests_programs::REGION).build().await?;
    brs_tests_programs::print(session.credentials().await?.access_key_id());
    Ok(())
}
