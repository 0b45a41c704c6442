//! A role for a job of GitHub Actions, without stored keys.
//!
//! For real AWS, run it in a job with `permissions: id-token: write`, and set `ROLE_ARN` to a role
//! whose trust policy names `token.actions.githubusercontent.com`, and `AWS_REGION`.

use brs::RefreshableSession;
use brs::sts::web_identity::{Params, TokenSource};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let params = Params::new()
        .role_arn(std::env::var("ROLE_ARN")?)
        .role_session_name("deploy-{pid}")
        .token_source(TokenSource::github());
    let session = RefreshableSession::with(params)
        .region(std::env::var("AWS_REGION")?)
        .await?;

    // However long the job takes: each refresh asks GitHub for a new token.
    let s3 = session.client(aws_sdk_s3::Client::new);
    let buckets = s3.list_buckets().send().await?;
    println!("{} buckets", buckets.buckets().len());
    Ok(())
}
