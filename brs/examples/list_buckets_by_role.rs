//! Lists S3 buckets with the credentials of an IAM role.
//!
//! Shows the shortest program: open a session by the type of its parameters, make a client of any
//! AWS service from it, and use that client for as long as the program runs.
//!
//! For real AWS, set `ROLE_ARN` to a role that your own credentials may assume and that may list
//! buckets, and `AWS_REGION`. The base credentials come from where the AWS SDK finds them:
//! environment, profile, container or instance.
//!
//! ```console
//! $ ROLE_ARN=arn:aws:iam::123456789012:role/app AWS_REGION=eu-west-1 \
//!     cargo run --example list_buckets_by_role
//! ```

use brs::sts;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let role_arn = std::env::var("ROLE_ARN")?;
    let session = brs::open(sts::Params::new(role_arn)).await?;

    let s3 = session.client(aws_sdk_s3::Client::new);
    for bucket in s3.list_buckets().send().await?.buckets() {
        println!("{}", bucket.name().unwrap_or("a bucket without a name"));
    }
    Ok(())
}
