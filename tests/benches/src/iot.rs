//! Refreshes over mutual TLS: on the connection that is kept, and on one of its own.
//!
//! The conductor has made the device, its files and, for `brs_token`, its key in a token.

use std::env;
use std::path::PathBuf;

use brs::iot::Params;
use brs::iot::pkcs11::Pkcs11;
use brs::{RefreshableSession, SessionBuilder};

use crate::stopwatch::{Stopwatch, median};
use crate::subject::REGION;
use crate::{Failure, Figures, figures};

/// What conductor and measured processes agree on.
pub const ALIAS: &str = "bench";
/// The thing.
pub const THING: &str = "bench-device";
/// Label of token and key.
pub const LABEL: &str = "bench";

fn builder(peer: &str) -> Result<SessionBuilder, Failure> {
    let folder = PathBuf::from(env::var("BENCH_IOT_FOLDER")?);
    let params = Params::new(env::var("BENCH_IOT_ENDPOINT")?, ALIAS)
        .allow_any_endpoint(true)
        .thing_name(THING)
        .trust_store(folder.join("authority.pem"));
    let params = match peer {
        "brs" => params
            .certificate(folder.join("device.pem"))
            .private_key(folder.join("device.key")),
        "brs_token" => {
            let token = Pkcs11::new(env::var("BRS_SOFTHSM2_MODULE")?)
                .token_label(LABEL)
                .key_label(LABEL);
            params
                .certificate(folder.join("token.pem"))
                .pkcs11(token.pin(env::var("BENCH_IOT_PIN")?))
        }
        _ => return Err(format!("{peer} has no such measurement").into()),
    };
    Ok(RefreshableSession::builder("iot", params).region(REGION))
}

/// Refreshes of one session, and first refreshes of as many new ones.
///
/// # Errors
///
/// If a refresh fails.
pub async fn refreshes(peer: &str, many: usize) -> Result<Figures, Failure> {
    let session = builder(peer)?.build().await?;
    session.refresh().await?;
    let mut kept = Vec::new();
    for _ in 0..many {
        let stopwatch = Stopwatch::start();
        session.refresh().await?;
        kept.push(stopwatch.seconds() * 1e3);
    }
    let mut new = Vec::new();
    for _ in 0..many {
        let session = builder(peer)?.build().await?;
        let stopwatch = Stopwatch::start();
        session.refresh().await?;
        new.push(stopwatch.seconds() * 1e3);
    }
    Ok(figures([
        ("kept_connection_ms", median(&mut kept)),
        ("new_connection_ms", median(&mut new)),
    ]))
}
