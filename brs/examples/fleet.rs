//! Hosts of a fleet that share the credentials of a role through Redis: one of them asks STS, the
//! others use what it got.
//!
//! Start it on several hosts, or several times on one. A store that is slow or gone costs a line on
//! the standard error, and the program goes on by itself.
//!
//! For real AWS, set `ROLE_ARN` to the role, `REDIS_URL` to a Redis or Valkey that all hosts reach
//! (`rediss://…` across a network), `SEAL_KEYS` to a file with the same line on all hosts, made by
//! `echo "k1:$(openssl rand -base64 32)"`, and `AWS_REGION`. All hosts need the same base
//! credentials.

use brs::shared::{Fleet, RedisStore, Seal};
use brs::{Event, RefreshableSession, prelude::*, sts};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = RedisStore::new(std::env::var("REDIS_URL")?)?;
    let fleet = Fleet::new(store, Seal::from_file(std::env::var("SEAL_KEYS")?)?);

    // The name of the role session is part of what is shared: the same on all hosts.
    let role = sts::Params::new(std::env::var("ROLE_ARN")?).role_session_name("fleet");
    let session = RefreshableSession::with(role)
        .shared(fleet.clone())
        .build()
        .await?;

    let mut events = session.events();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Warning { message, .. } = event {
                eprintln!("{message}");
            }
        }
    });

    let s3 = session.client(aws_sdk_s3::Client::new);
    println!(
        "{} buckets",
        s3.list_buckets().send().await?.buckets().len()
    );
    let status = fleet.status();
    let from = if status.taken > 0 { "the store" } else { "STS" };
    println!("credentials from {from}");
    Ok(())
}
