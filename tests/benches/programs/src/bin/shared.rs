//! brs with its method `sts` and the cache of the host.

use brs::prelude::*;
use brs::shared::HostCache;
use brs::{Error, sts};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let role = sts::Params::new(brs_tests_programs::ROLE);
    let session = RefreshableSession::builder("sts", role)
        .region(brs_tests_programs::REGION)
        .endpoint_url(brs_tests_programs::endpoint())
        .shared(HostCache::new())
        .build()
        .await?;
    brs_tests_programs::wait();
    brs_tests_programs::print(session.credentials().await?.access_key_id());
    Ok(())
}
