//! brs with its method `sts`.

use brs::{Error, RefreshableSession, sts};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let role = sts::Params::new(brs_tests_programs::ROLE);
    let session = RefreshableSession::builder("sts", role)
        .region(brs_tests_programs::REGION)
        .endpoint_url(brs_tests_programs::endpoint())
        .build()
        .await?;
    brs_tests_programs::print(session.credentials().await?.access_key_id());
    Ok(())
}
