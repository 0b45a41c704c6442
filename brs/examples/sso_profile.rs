//! A role on top of a profile with an IAM Identity Center (SSO) login.
//!
//! The profile is an ordinary one of `~/.aws/config`. When its login has expired, the error names
//! the profile and the command to run.
//!
//! For real AWS, set `PROFILE` to such a profile, run `aws sso login --profile $PROFILE` once, and
//! set `ROLE_ARN` to a role that the profile's permission set may assume. If the profile itself has
//! a `role_arn`, use `sts::Params::of_profile()` and leave `ROLE_ARN` out.

use std::process::ExitCode;

use brs::{Error, RefreshableSession, sts};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let profile = std::env::var("PROFILE")?;
    let role = sts::Params::new(std::env::var("ROLE_ARN")?);
    let session = RefreshableSession::with(role).profile_name(profile).await?;

    let s3 = session.client(aws_sdk_s3::Client::new);
    match s3.list_buckets().send().await {
        Ok(buckets) => println!("{} buckets", buckets.buckets().len()),
        Err(error) => match Error::find(&error) {
            Some(error) if error.is_unrecoverable() => {
                eprintln!("{error}");
                return Ok(ExitCode::FAILURE);
            }
            _ => return Err(error.into()),
        },
    }
    Ok(ExitCode::SUCCESS)
}
