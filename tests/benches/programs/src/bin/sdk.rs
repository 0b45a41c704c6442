//! The AWS SDK for Rust as its documentation says.

use std::error::Error;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::ProvideCredentials as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let base = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(brs_tests_programs::REGION))
        .endpoint_url(brs_tests_programs::endpoint())
        .load()
        .await;
    let role = AssumeRoleProvider::builder(brs_tests_programs::ROLE)
        .session_name("bench")
        .configure(&base);
    let role = role.build().await;
    brs_tests_programs::wait();
    let credentials = role.provide_credentials().await?;
    brs_tests_programs::print(credentials.access_key_id());
    Ok(())
}
