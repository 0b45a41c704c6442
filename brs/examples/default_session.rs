//! One session for a whole program, without passing it around.
//!
//! `main` sets the default session once; code anywhere in the process asks for clients of it. This
//! is the counterpart of `boto3.DEFAULT_SESSION`, for code that cannot be handed a session.
//!
//! For real AWS, set `ROLE_ARN` and `AWS_REGION`.

use brs::{RefreshableSession, sts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let role = sts::Params::new(std::env::var("ROLE_ARN")?);
    // Not deferred: a wrong role or missing credentials end the program here, not in the first
    // request.
    let session = RefreshableSession::with(role).defer_refresh(false).await?;
    brs::set_default_session(session);

    println!("{} buckets", deep_inside::count_buckets().await?);
    Ok(())
}

mod deep_inside {
    pub(crate) async fn count_buckets() -> Result<usize, Box<dyn std::error::Error>> {
        // The same client each time: its connections are kept.
        let s3 = brs::client(aws_sdk_s3::Client::new)?;
        Ok(s3.list_buckets().send().await?.buckets().len())
    }
}
