//! brs with its method `iot` alone, for the time that it takes to build.

use brs::{Error, RefreshableSession, iot};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let device = iot::Params::new(brs_tests_programs::endpoint(), "bench").thing_name("bench");
    let session = RefreshableSession::builder(
        "iot",
        device.certificate("device.pem").private_key("device.key"),
    );
    let session = session.region(brs_tests_programs::REGION).build().await?;
    brs_tests_programs::print(session.credentials().await?.access_key_id());
    Ok(())
}
