//! The profile of a console login, made by `aws login --profile dev`.
//!
//! For real AWS, log in, set `AWS_PROFILE` to the profile, and `ROLE_ARN` to a role that the user
//! may assume. A login that has ended is an error that names the command.

use brs::{RefreshableSession, sts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A role on top of the login; several processes may do this at the same time.
    let role = sts::Params::new(std::env::var("ROLE_ARN")?);
    let session = RefreshableSession::with(role)
        .profile_name(std::env::var("AWS_PROFILE")?)
        .await?;
    match session.whoami().await {
        Ok(identity) => {
            if let Some(caller) = identity.caller {
                println!("{}", caller.arn);
            }
        }
        Err(error) if error.is_unrecoverable() => println!("needs a person: {error}"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
