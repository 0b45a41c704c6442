//! One privileged task in a member account: deletes a bucket's policy that has locked everybody out.
//!
//! For real AWS, run it with credentials of the organization's management account or of its
//! delegated administrator for IAM, and set `ACCOUNT_ID` to the member account, `BUCKET` to the
//! bucket, and `AWS_REGION`.

use brs::RefreshableSession;
use brs::sts::root::Params;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let params = Params::new(
        std::env::var("ACCOUNT_ID")?,
        "arn:aws:iam::aws:policy/root-task/S3UnlockBucketPolicy",
    );
    let session = RefreshableSession::with(params)
        .region(std::env::var("AWS_REGION")?)
        .await?;
    if let Some(caller) = session.whoami().await?.caller {
        println!("{} in account {}", caller.arn, caller.account);
    }
    // Nothing but the task is allowed; without a bucket it only shows who it would be.
    if let Ok(bucket) = std::env::var("BUCKET") {
        let s3 = session.client(aws_sdk_s3::Client::new);
        s3.delete_bucket_policy().bucket(bucket).send().await?;
    }
    Ok(())
}
