//! What sessions and clients cost: microseconds, allocated bytes, resident memory.
//!
//! Everything that a process does once (loading the configuration, the first TLS setup) is done
//! before the measurement begins. Allocated bytes are counted in a program of its own, whose
//! allocator does the counting: this one's would be slower for it.

use std::any::Any;

use aws_sdk_s3::Client;
use aws_types::SdkConfig;

use crate::stopwatch::{Stopwatch, resident_bytes};
use crate::subject::{base, sdk_config, session};
use crate::{Failure, Figures, figures};

/// Something that stays alive while memory is measured.
pub type Kept = Box<dyn Any>;

/// One session, nothing asked of it yet.
///
/// # Errors
///
/// If it cannot be opened.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn one_session(peer: &str, base: &SdkConfig) -> Result<Kept, Failure> {
    Ok(match peer {
        "brs" => Box::new(session(base).build().await?),
        "sdk" => Box::new(sdk_config(base, None).await),
        _ => return Err(format!("{peer} has no such measurement").into()),
    })
}

/// One session with its S3 client; with `request`, that has made a request.
///
/// # Errors
///
/// If it cannot be opened.
///
/// # Cancel safety
///
/// Cancel safe.
pub async fn one_client(peer: &str, base: &SdkConfig, request: bool) -> Result<Kept, Failure> {
    let (client, kept): (Client, Kept) = match peer {
        "brs" => {
            let session = session(base).build().await?;
            (session.client(Client::new), Box::new(session))
        }
        "sdk" => {
            let config = sdk_config(base, None).await;
            (Client::new(&config), Box::new(config))
        }
        "sdk_shared" => {
            let provider = crate::subject::sdk_provider(base).await;
            let config = base.to_builder().credentials_provider(provider).build();
            (Client::new(&config), Box::new(config))
        }
        _ => return Err(format!("{peer} has no such measurement").into()),
    };
    if request {
        client.list_buckets().send().await?;
    }
    Ok(Box::new((client, kept)))
}

/// Many sessions.
///
/// # Errors
///
/// If one cannot be opened.
pub async fn sessions(peer: &str, many: usize) -> Result<Figures, Failure> {
    let base = base().await;
    let mut kept = vec![one_session(peer, &base).await?];
    let (before, stopwatch) = (resident_bytes(), Stopwatch::start());
    for _ in 0..many {
        kept.push(one_session(peer, &base).await?);
    }
    let each_us = stopwatch.seconds() * 1e6 / many as f64;
    let each_kb = (resident_bytes() - before) / 1e3 / many as f64;
    drop(kept);
    Ok(figures([
        ("each_us", each_us),
        ("resident_each_kb", each_kb),
    ]))
}

/// Many sessions with an S3 client each; what each costs before and after its first request.
///
/// # Errors
///
/// If one cannot be opened, or a request fails.
pub async fn clients(peer: &str, many: usize) -> Result<Figures, Failure> {
    let base = base().await;
    let mut kept = vec![one_client(peer, &base, true).await?];
    let (before, stopwatch) = (resident_bytes(), Stopwatch::start());
    for _ in 0..many {
        kept.push(one_client(peer, &base, false).await?);
    }
    let each_us = stopwatch.seconds() * 1e6 / many as f64;
    let built_kb = (resident_bytes() - before) / 1e3 / many as f64;
    let before = resident_bytes();
    for _ in 0..many {
        kept.push(one_client(peer, &base, true).await?);
    }
    let used_kb = (resident_bytes() - before) / 1e3 / many as f64;
    drop(kept);
    Ok(figures([
        ("each_us", each_us),
        ("resident_each_kb", built_kb),
        ("resident_each_after_request_kb", used_kb),
    ]))
}
