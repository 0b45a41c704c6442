//! Reads an object with the crate `object_store`.
//!
//! `object_store` signs by itself: it is given the session as its credential provider, and asks it
//! for each request. The feature `object_store` of brs brings the method for that.
//!
//! For real AWS, set `ROLE_ARN`, `BUCKET`, `KEY` and `AWS_REGION`.

use std::env;

use brs::{RefreshableSession, sts};
use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session: RefreshableSession = brs::open(sts::Params::new(env::var("ROLE_ARN")?)).await?;

    // `from_env` reads `AWS_REGION`; credentials come from the session.
    let bucket = AmazonS3Builder::from_env()
        .with_bucket_name(env::var("BUCKET")?)
        .with_credentials(session.object_store_credentials())
        .build()?;
    let object = bucket.get(&Path::from(env::var("KEY")?)).await?;
    println!("{}", String::from_utf8_lossy(&object.bytes().await?));
    Ok(())
}
