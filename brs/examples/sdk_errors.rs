//! What to do about a failed SDK call.
//!
//! A call can fail because the service refused it, or because there were no credentials to sign it
//! with. `Error::find` tells the two apart, and `recovery()` says what may help in the second case.
//!
//! For real AWS, set `AWS_REGION`, and `ROLE_ARN` to a role that you may *not* assume, to see the
//! remedy.

use std::error::Error as StdError;

use brs::{Error, Recovery, sts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let session = brs::open(sts::Params::new(std::env::var("ROLE_ARN")?)).await?;
    let s3 = session.client(aws_sdk_s3::Client::new);
    match s3.list_buckets().send().await {
        Ok(_) => println!("the call worked"),
        Err(error) => report(&error),
    }
    Ok(())
}

/// Pages somebody only if somebody has to act.
fn report(error: &(dyn StdError + 'static)) {
    let Some(error) = Error::find(error) else {
        println!("the service refused the call: {error}");
        return;
    };
    match error.recovery() {
        Recovery::Person => println!("somebody has to act: {error}"),
        Recovery::Soon => println!("try again: {error}"),
        Recovery::Throttled => println!("try again, more slowly: {error}"),
        // The session asks its source again at its own pace.
        _ => println!("it may pass: {error}"),
    }
    println!(
        "kind {:?}, code {:?}, status {:?}, method {:?}",
        error.kind(),
        error.code(),
        error.status(),
        error.method()
    );
}
