//! The same question to hundreds of accounts, from one pool of sessions.
//!
//! The pool fetches the credentials of all accounts at the start, in the pace that STS allows, and
//! keeps them fresh. The sessions share the hub's credentials and the client of STS, and an account
//! that refuses fails alone.
//!
//! For real AWS, set `HUB_ROLE_ARN` to the role of your management account, `ACCOUNTS_FILE` to a
//! file of account ids, one on each line, `ROLE_NAME` to the name of the role to assume in each of
//! them, and `AWS_REGION`.

use std::time::Duration;

use brs::{RefreshableSession, RoleKey, SessionPool, prelude::*, sts};
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hub = brs::open(sts::Params::new(std::env::var("HUB_ROLE_ARN")?)).await?;
    let role_name = std::env::var("ROLE_NAME")?;
    let accounts = std::fs::read_to_string(std::env::var("ACCOUNTS_FILE")?)?;
    let accounts = accounts.lines().map(str::trim).filter(|id| !id.is_empty());
    let keys: Vec<_> = accounts
        .map(|account| RoleKey::new(format!("arn:aws:iam::{account}:role/{role_name}")))
        .collect();

    let pool = SessionPool::builder(|key: &RoleKey| sts::Params::from(key))
        .assume_from(hub)
        .build();
    let report = pool.prefetch(keys.clone(), Duration::from_secs(300)).await;
    println!("{} accounts refuse", report.failures().count());

    let mut tasks = JoinSet::new();
    for key in keys {
        let session = pool.get(&key)?;
        let account = key
            .role_arn()
            .split(':')
            .nth(4)
            .unwrap_or_default()
            .to_owned();
        tasks.spawn(async move { (account, count_buckets(&session).await) });
    }

    let (mut reached, mut refused) = (0, 0);
    while let Some(done) = tasks.join_next().await {
        match done? {
            (account, Ok(buckets)) => {
                reached += 1;
                println!("{account}: {buckets} buckets");
            }
            (account, Err(error)) => {
                refused += 1;
                // The error of brs says what is wrong with the role; the SDK's wraps it.
                match Error::find(error.as_ref()) {
                    Some(error) => eprintln!("{account}: {error}"),
                    None => eprintln!("{account}: {error}"),
                }
            }
        }
    }
    println!("{reached} accounts reached, {refused} refused");
    Ok(())
}

async fn count_buckets(
    session: &RefreshableSession,
) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
    let s3 = session.client(aws_sdk_s3::Client::new);
    Ok(s3.list_buckets().send().await?.buckets().len())
}
