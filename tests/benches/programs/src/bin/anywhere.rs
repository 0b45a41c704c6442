//! brs with its method `roles-anywhere` alone, for the time that it takes to build.

use brs::{Error, RefreshableSession, roles_anywhere};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let server = roles_anywhere::Params::new(
        "arn:aws:rolesanywhere:eu-west-1:123456789012:trust-anchor/bench",
        "arn:aws:rolesanywhere:eu-west-1:123456789012:profile/bench",
        brs_tests_programs::ROLE,
    );
    let server = server.endpoint_url(brs_tests_programs::endpoint());
    let session =
        RefreshableSession::with(server.certificate("server.pem").private_key("server.key"));
    let session = session.region(brs_tests_programs::REGION).build().await?;
    brs_tests_programs::print(session.credentials().await?.access_key_id());
    Ok(())
}
