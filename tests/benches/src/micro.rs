//! Calls that only read, in nanoseconds: the current set, the identity of a client, a client from
//! the cache.
//!
//! No server: the source is in the process and has given its set before the measurement begins. The
//! same code runs under callgrind with a fixed number of calls.

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_async::time::{SystemTimeSource, TimeSource as _};
use aws_types::SdkConfig;

use crate::stopwatch::{Effort, median, nanoseconds, throughput};
use crate::subject::{LIFETIME, REGION, Resolver, warm_session};
use crate::{Failure, Figures, figures};

/// How often one thread and two are compared.
const TURNS: u32 = 10;

/// The current set, looked at in place.
///
/// # Errors
///
/// For a peer that has no such thing.
pub async fn guard(peer: &str, effort: Effort) -> Result<Figures, Failure> {
    let session = warm_session().await?;
    let set = session.credentials().await?;
    let bare = ArcSwap::from_pointee((now() + LIFETIME, set));
    let of_brs = || session.glance(|set| black_box(set).expiration().is_some());
    // What the issue compares with: one atomic pointer and one exact clock, no second clock and no
    // windows.
    let of_bare = || {
        let guard = bare.load();
        (guard.0 > now()).then(|| black_box(&guard.1).expiration().is_some())
    };
    match peer {
        "brs" => read(effort, of_brs),
        "bare" => read(effort, of_bare),
        _ => Err(unknown(peer)),
    }
}

fn read<R>(effort: Effort, call: impl Fn() -> R + Sync) -> Result<Figures, Failure> {
    let mut found = figures([("call_ns", nanoseconds(effort, &call)?)]);
    if let Effort::For(length) = effort {
        // In turns: a processor whose speed changes is the same for both.
        let mut ratios: Vec<f64> = (0..TURNS)
            .map(|_| {
                let one = throughput(1, length / TURNS, &call);
                throughput(2, length / TURNS, &call) / one
            })
            .collect();
        found.insert("two_threads_over_one".to_owned(), median(&mut ratios));
    }
    Ok(found)
}

/// The current set, owned.
///
/// # Errors
///
/// For a peer that has no such thing.
pub async fn owned(peer: &str, effort: Effort) -> Result<Figures, Failure> {
    match peer {
        "brs" => {
            let session = warm_session().await?;
            read(effort, || at_once(session.credentials()))
        }
        _ => Err(unknown(peer)),
    }
}

/// The identity that a client signs with. With a number of calls the figures are for exactly these.
///
/// # Errors
///
/// For a peer that has no such thing.
pub async fn identity(peer: &str, effort: Effort) -> Result<Figures, Failure> {
    let resolver = resolver(peer).await?;
    read(effort, || at_once(resolver.resolve()))
}

/// The resolver of [`identity`], warm.
///
/// # Errors
///
/// For a peer that has no such thing.
pub async fn resolver(peer: &str) -> Result<Resolver, Failure> {
    let config = match peer {
        "brs" => warm_session().await?.sdk_config().clone(),
        "sdk" => sdk_config().await,
        _ => return Err(unknown(peer)),
    };
    let resolver = Resolver::new(&config, SystemTimeSource::new())?;
    resolver.resolve().await?;
    Ok(resolver)
}

/// A client that was asked for before; a peer without a cache builds a new one.
///
/// # Errors
///
/// For a peer that has no such thing.
pub async fn client(peer: &str, effort: Effort) -> Result<Figures, Failure> {
    let call_ns = match peer {
        "brs" => {
            let session = warm_session().await?;
            session.client(aws_sdk_s3::Client::new);
            nanoseconds(effort, || session.client(aws_sdk_s3::Client::new))?
        }
        "sdk" => {
            let config = sdk_config().await;
            nanoseconds(effort, || aws_sdk_s3::Client::new(&config))?
        }
        _ => return Err(unknown(peer)),
    };
    Ok(figures([("call_ns", call_ns)]))
}

async fn sdk_config() -> SdkConfig {
    #[derive(Debug)]
    struct Ready;
    impl ProvideCredentials for Ready {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let expiry = Some(now() + LIFETIME);
            let token = Some("token".to_owned());
            future::ProvideCredentials::ready(Ok(Credentials::new(
                "ASIABENCH",
                "secret",
                token,
                expiry,
                "bench",
            )))
        }
    }
    let loader = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(REGION));
    loader.credentials_provider(Ready).load().await
}

/// Polls once, as a task does whose credentials are at hand.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn now() -> SystemTime {
    SystemTimeSource::new().now()
}

fn unknown(peer: &str) -> Failure {
    format!("{peer} has no such measurement").into()
}

/// How long a measurement of short calls lasts.
#[must_use]
pub fn length(quick: bool) -> Duration {
    if quick {
        Duration::from_millis(300)
    } else {
        Duration::from_secs(2)
    }
}
