//! The role of the machine that the program runs on: of an ECS task, an EKS pod or an EC2 instance.
//!
//! Nothing is to be set where AWS runs the program. The AWS SDK finds the same credentials; here
//! they are replaced before anybody waits for it, and an outage of the endpoint is survived.

use brs::RefreshableSession;
use brs::sts::{container, imds};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let in_container = is_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        || is_set("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let session = if in_container {
        RefreshableSession::with(container::Params::new()).await?
    } else {
        RefreshableSession::with(imds::Params::new()).await?
    };
    if let Some(caller) = session.whoami().await?.caller {
        println!("{} by {}", caller.arn, session.method());
    }
    Ok(())
}
