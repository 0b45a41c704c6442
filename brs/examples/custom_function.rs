//! Credentials from your own function.
//!
//! The function is called once for each refresh, in the background while the current credentials
//! are valid. Here it reads a file that another program rewrites; yours may ask a vault or an
//! internal broker.
//!
//! For real AWS, set `CREDENTIALS_FILE` to a file with temporary credentials as JSON, in the Python
//! package's spelling or that of `credential_process`, and `AWS_REGION`:
//!
//! ```json
//! {"access_key": "ASIA…", "secret_key": "…", "token": "…", "expiry_time": "2027-01-01T00:00:00Z"}
//! ```

use std::path::PathBuf;

use brs::{RefreshableSession, custom};

/// Any error that converts into `Box<dyn Error + Send + Sync>` works, and any type
/// that implements `custom::IntoCredentials`.
async fn read_credentials(path: PathBuf) -> Result<serde_json::Value, std::io::Error> {
    let text = tokio::task::spawn_blocking(|| std::fs::read(path)).await??;
    Ok(serde_json::from_slice(&text)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = PathBuf::from(std::env::var("CREDENTIALS_FILE")?);
    let params = custom::Params::function_with(path, read_credentials);
    let session = RefreshableSession::with(params)
        .region(std::env::var("AWS_REGION")?)
        .await?;

    let s3 = session.client(aws_sdk_s3::Client::new);
    let buckets = s3.list_buckets().send().await?;
    println!("{} buckets", buckets.buckets().len());
    println!("credentials of {}", session.whoami().await?.source);
    Ok(())
}
