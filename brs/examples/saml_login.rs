//! A role for somebody who logs in at a company's identity provider.
//!
//! For real AWS, set `LOGIN_COMMAND` to a command that logs in and prints the field `SAMLResponse`,
//! `ROLE_ARN` and `PROVIDER_ARN` to the role and the SAML provider in IAM, and `AWS_REGION`.

use brs::RefreshableSession;
use brs::command::Command;
use brs::sts::saml::{AssertionSource, Params};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let command = Command::parse(&std::env::var("LOGIN_COMMAND")?)?;
    // It opens a browser: the session asks only when somebody needs credentials.
    let login = AssertionSource::command(command).interactive();
    let params = Params::new(
        std::env::var("ROLE_ARN")?,
        std::env::var("PROVIDER_ARN")?,
        login,
    );
    let session = RefreshableSession::with(params)
        .region(std::env::var("AWS_REGION")?)
        .await?;
    if let Some(caller) = session.whoami().await?.caller {
        println!("{}", caller.arn);
    }
    Ok(())
}
