//! Many callers at once: at a cold start, when credentials are due, while the source is in trouble.
//!
//! Every caller resolves an identity, as an SDK client does before each request. A call that is
//! ready at its first poll has not *waited*; that count does not depend on how busy the machine is,
//! the milliseconds do. Credentials live an hour by the server's clock; at the gate the conductor
//! moves that clock to just inside the window in which the peer refreshes, and the process moves
//! its own.

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aws_smithy_runtime::client::identity::IdentityCache;
use brs::RefreshableSession;
use tokio::time::timeout;

use crate::stopwatch::{Stopwatch, median};
use crate::subject::{
    LIFETIME, Resolver, SDK_BUFFER, Shifted, base, sdk_config, sdk_provider, session,
};
use crate::{Failure, Figures, figures};

/// What a caller is not to wait longer for.
const LONG_MS: f64 = 5.0;

/// A peer, its callers' view of it, and how far time has to move until it refreshes.
struct Open {
    resolver: Arc<Resolver>,
    clock: Shifted,
    jump: Duration,
    /// The session is what keeps brs's engine alive, as in a program.
    _session: Option<RefreshableSession>,
}

/// `patient`: the SDK's credentials are to stay valid for the whole of a long measurement.
async fn open(peer: &str, patient: bool) -> Result<Open, Failure> {
    let (base, clock) = (base().await, Shifted::default());
    let before_end = |seconds| LIFETIME - Duration::from_secs(seconds);
    let (config, jump, session) = match peer {
        // The window is 15 min, and begins up to a tenth of that earlier.
        "brs" | "brs_mandatory" => {
            let session = session(&base).clock(clock.clone()).build().await?;
            let jump = before_end(if peer == "brs" { 890 } else { 30 });
            (session.sdk_config().clone(), jump, Some(session))
        }
        // The buffer is cut by up to a half, at random.
        "sdk" if patient => (
            sdk_config(&base, Some(SDK_BUFFER)).await,
            before_end(SDK_BUFFER.as_secs() / 2 - 1),
            None,
        ),
        "sdk" => (sdk_config(&base, None).await, before_end(4), None),
        _ => return Err(format!("{peer} has no such measurement").into()),
    };
    let resolver = Arc::new(Resolver::new(&config, clock.clone())?);
    Ok(Open {
        resolver,
        clock,
        jump,
        _session: session,
    })
}

/// Callers that all begin at a source that was never asked.
///
/// # Errors
///
/// If the peer cannot be opened.
pub async fn cold(peer: &str, callers: usize) -> Result<Figures, Failure> {
    let lone = open(peer, false).await?;
    let stopwatch = Stopwatch::start();
    lone.resolver.resolve().await?;
    let lone_ms = stopwatch.seconds() * 1e3;

    let open = open(peer, false).await?;
    gate(Duration::ZERO)?;
    let start = Stopwatch::start();
    let all: Vec<_> = (0..callers)
        .map(|_| {
            let resolver = Arc::clone(&open.resolver);
            tokio::spawn(async move {
                let stopwatch = Stopwatch::start();
                let good = resolver.resolve().await.is_ok();
                (stopwatch.seconds() * 1e3, good)
            })
        })
        .collect();
    let (mut waits, mut errors) = (Vec::new(), 0_u32);
    for one in all {
        let (wait, good) = one.await?;
        waits.push(wait);
        errors += u32::from(!good);
    }
    let all_ms = start.seconds() * 1e3;
    let longest = waits.iter().copied().fold(0.0, f64::max);
    Ok(figures([
        ("lone_caller_ms", lone_ms),
        ("p50_wait_ms", median(&mut waits)),
        ("longest_wait_ms", longest),
        ("longest_over_source_ms", longest - lone_ms),
        ("all_served_ms", all_ms),
        ("errors", f64::from(errors)),
    ]))
}

/// Credentials that become due under load.
///
/// # Errors
///
/// If the peer cannot be opened.
pub async fn expiry(peer: &str, callers: usize) -> Result<Figures, Failure> {
    due(open(peer, false).await?, callers, Duration::from_secs(2)).await
}

/// The same; what the source does then is the conductor's.
///
/// # Errors
///
/// If the peer cannot be opened.
pub async fn failing(peer: &str, callers: usize, length: Duration) -> Result<Figures, Failure> {
    due(open(peer, true).await?, callers, length).await
}

async fn due(open: Open, callers: usize, length: Duration) -> Result<Figures, Failure> {
    open.resolver.resolve().await?;
    gate(open.jump)?;
    open.clock.advance(open.jump);
    load(&open.resolver, callers, length).await
}

/// A source whose credentials are always about to end, which the conductor has seen to.
///
/// # Errors
///
/// If the peer cannot be opened.
pub async fn dying(peer: &str, callers: usize, length: Duration) -> Result<Figures, Failure> {
    let open = open(peer, false).await?;
    gate(Duration::ZERO)?;
    load(&open.resolver, callers, length).await
}

/// Many providers on one configuration; each is asked in each round.
///
/// # Errors
///
/// If the peer cannot be opened.
pub async fn providers(peer: &str, providers: usize, rounds: usize) -> Result<Figures, Failure> {
    let (base, clock) = (base().await, Shifted::default());
    let mut all = Vec::new();
    let mut sessions = Vec::new();
    match peer {
        "brs" => {
            for _ in 0..providers {
                let session = session(&base).build().await?;
                all.push(Resolver::new(session.sdk_config(), clock.clone())?);
                sessions.push(session);
            }
        }
        "sdk" => {
            let shared = base
                .to_builder()
                .identity_cache(IdentityCache::lazy().build())
                .build();
            for _ in 0..providers {
                let config = shared
                    .to_builder()
                    .credentials_provider(sdk_provider(&base).await)
                    .build();
                all.push(Resolver::new(&config, clock.clone())?);
            }
        }
        _ => return Err(format!("{peer} has no such measurement").into()),
    }
    gate(Duration::ZERO)?;
    for _ in 0..rounds {
        for one in &all {
            one.resolve().await?;
        }
    }
    Ok(figures([("resolved", (providers * rounds) as f64)]))
}

/// Lets the conductor act: it is told how far time moves, and answers when it has moved its own.
pub(crate) fn gate(jump: Duration) -> Result<(), Failure> {
    println!("@gate {}", jump.as_secs());
    stdout().flush()?;
    stdin().lock().read_line(&mut String::new())?;
    Ok(())
}

/// How long a caller does something else between two calls.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Seen {
    calls: usize,
    errors: usize,
    /// Milliseconds of the calls that were not ready at once.
    waits: Vec<f64>,
}

async fn load(
    resolver: &Arc<Resolver>,
    callers: usize,
    length: Duration,
) -> Result<Figures, Failure> {
    let start = Stopwatch::start();
    let all: Vec<_> = (0..callers)
        .map(|number| {
            let resolver = Arc::clone(resolver);
            // Spread over the pause: callers do not move in step.
            let before = PAUSE.mul_f64(number as f64 / callers as f64);
            tokio::spawn(async move {
                tokio::time::sleep(before).await;
                let mut seen = Seen::default();
                while start.elapsed() < length {
                    call(&resolver, length.saturating_sub(start.elapsed()), &mut seen).await;
                    tokio::time::sleep(PAUSE).await;
                }
                seen
            })
        })
        .collect();
    let (mut sum, mut have_waited) = (Seen::default(), 0_u32);
    for one in all {
        let seen = one.await?;
        have_waited += u32::from(seen.waits.iter().any(|wait| *wait > LONG_MS));
        sum.calls += seen.calls;
        sum.errors += seen.errors;
        sum.waits.extend(seen.waits);
    }
    let longest = sum.waits.iter().copied().fold(0.0, f64::max);
    Ok(figures([
        ("calls", sum.calls as f64),
        ("errors", sum.errors as f64),
        ("calls_not_ready", sum.waits.len() as f64),
        ("callers_over_5_ms", f64::from(have_waited)),
        ("p50_wait_ms", median(&mut sum.waits)),
        ("longest_wait_ms", longest),
    ]))
}

/// One call; one that has not ended with the measurement counts as a wait until then.
async fn call(resolver: &Resolver, left: Duration, seen: &mut Seen) {
    let stopwatch = Stopwatch::start();
    let mut resolving = pin!(resolver.resolve());
    let first = std::future::poll_fn(|cx| Poll::Ready(resolving.as_mut().poll(cx))).await;
    seen.calls += 1;
    let result = match first {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => {
            let result = timeout(left, resolving).await;
            seen.waits.push(stopwatch.seconds() * 1e3);
            result
        }
    };
    seen.errors += usize::from(matches!(result, Ok(Err(_))));
}
