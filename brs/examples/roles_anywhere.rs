//! A server outside of AWS with a certificate of an authority of its own.
//!
//! IAM Roles Anywhere exchanges a request that the certificate's key has signed for temporary
//! credentials of a role. Replace certificate and key to rotate them: the next refresh uses the new
//! pair.
//!
//! For real AWS, set `TRUST_ANCHOR_ARN`, `PROFILE_ARN` and `ROLE_ARN`, `CERTIFICATE` and
//! `PRIVATE_KEY` to paths, and leave `ENDPOINT_URL` and `TRUST_STORE` unset.

use std::env;

use brs::{RefreshableSession, roles_anywhere};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut params = roles_anywhere::Params::new(
        env::var("TRUST_ANCHOR_ARN")?,
        env::var("PROFILE_ARN")?,
        env::var("ROLE_ARN")?,
    )
    .certificate(env::var("CERTIFICATE")?)
    .private_key(env::var("PRIVATE_KEY")?);
    if let (Ok(endpoint_url), Ok(trust_store)) = (env::var("ENDPOINT_URL"), env::var("TRUST_STORE"))
    {
        // Only for an endpoint that is not AWS's own, such as that of a test.
        params = params.endpoint_url(endpoint_url).trust_store(trust_store);
    }
    let session = RefreshableSession::open(params).await?;

    let s3 = session.client(aws_sdk_s3::Client::new);
    let buckets = s3.list_buckets().send().await?;
    println!("{} buckets", buckets.buckets().len());
    let identity = session.whoami().await?;
    println!("certificate of {}", identity.details["certificate_subject"]);
    Ok(())
}
