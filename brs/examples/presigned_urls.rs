//! Presigned URLs that are good for as long as they promise.
//!
//! A presigned URL ends with the credentials that have signed it, however long it was made for.
//! `credentials_valid_for` refreshes first if they would end too soon.
//!
//! For real AWS, set `ROLE_ARN`, `BUCKET`, `KEY` and `AWS_REGION`. A URL for more than an hour needs
//! a role whose maximum session duration allows it, and `.duration(…)` in the parameters.

use std::env;
use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use brs::sts;

const GOOD_FOR: Duration = Duration::from_secs(1800);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = brs::open(sts::Params::new(env::var("ROLE_ARN")?)).await?;
    let s3 = session.client(aws_sdk_s3::Client::new);

    // Before signing: the client uses these credentials from now on.
    let credentials = session.credentials_valid_for(GOOD_FOR).await?;
    let url = s3
        .get_object()
        .bucket(env::var("BUCKET")?)
        .key(env::var("KEY")?)
        .presigned(PresigningConfig::expires_in(GOOD_FOR)?)
        .await?;
    println!("{}", url.uri());
    println!("signed by {}", credentials.access_key_id());
    Ok(())
}
