//! One refresh's calls: attempts, waits between them, and what comes back.
//!
//! Owns the time limits. Each attempt has its own, by the session's clock, and all of them end before
//! the engine's; waits have jitter, and are at least what the endpoint asks for.
//!
//! A token's key signs by a call that blocks, in the middle of TLS. On a current-thread runtime such
//! an attempt is driven from a thread for blocking work; on others the worker is notified, so that no
//! other task stalls. Both ways are needed: tokio cannot notify a current-thread runtime, and a
//! connection that was driven from another thread is often not back in the pool for the next call.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use backon::{BackoffBuilder as _, ExponentialBuilder};
use brs_core::{Clock, RefreshContext, TemporaryCredentials};
use reqwest::{Client, Request, Response};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::device::Device;
use crate::device::files::Set;
use crate::device::limits::{ON_A_WORKER, in_time};
use crate::device::tls::Trust;
use crate::endpoint::client::Clients;
use crate::endpoint::failed::{self, Answer, Failed, Target};
use crate::endpoint::response::{self, MAX_BODY};

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// No attempt is made with less time than this: its time-out would only hide the earlier error.
const SHORTEST_TRY: Duration = Duration::from_secs(1);
/// What the request's own limit, on the real clock, is longer than the try's.
const LAST_RESORT: Duration = Duration::from_secs(1);

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of one attempt.
    pub timeout: Duration,
    /// The first included.
    pub max_attempts: u32,
}

/// What is asked for, and what the answers mean.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Whom the call is for.
    fn target(&self) -> &Target<'_>;

    /// Completes an attempt's request, within `limit`. Default: as it is.
    async fn complete(&self, request: Request, limit: Duration) -> Result<Request, Failed> {
        let _ = limit;
        Ok(request)
    }

    /// Whether an answer with this status holds credentials.
    fn is_success(&self, status: u16) -> bool;

    /// The credentials of such an answer; or what is wrong, as the end of a sentence that begins
    /// with "an answer that".
    fn read(&self, answer: &Answer) -> Result<TemporaryCredentials, String>;

    /// The error for any other answer.
    fn refused(&self, answer: &Answer) -> Failed;
}

/// What a token's signature may take by default: more than that is added to the limits.
const SIGNATURE: Duration = Duration::from_secs(10);

impl Limits {
    /// The limit of an attempt: a signature that may take longer than usual, perhaps for a person's
    /// PIN, makes it longer.
    pub fn of(&self, set: &Set) -> Duration {
        self.timeout
            + Some(set.device.signature_timeout())
                .filter(|limit| *limit > SIGNATURE)
                .unwrap_or_default()
    }
}

/// Fetches credentials, in as many attempts as are useful.
pub async fn fetch(
    clients: &Clients,
    set: &Set,
    limits: Limits,
    ask: &dyn Ask,
    cx: &RefreshContext,
) -> Result<TemporaryCredentials, Failed> {
    let mut waits = ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .with_max_times(
            usize::try_from(limits.max_attempts.saturating_sub(1)).unwrap_or(usize::MAX),
        )
        .build();
    let mut earlier: Option<Failed> = None;
    loop {
        let is_cut = within(cx.time_left()) < limits.of(set);
        let mut failed = match attempt(clients, set, limits, ask, cx).await {
            Err(failed) if failed.again => failed,
            done => return done,
        };
        if failed.late && is_cut {
            // It had less time than a try is meant to have, and no more is known than that this was
            // not enough.
            failed = earlier.take().map_or(failed, |earlier| Failed {
                wait: None,
                ..earlier
            });
        }
        let Some(wait) = waits.next() else {
            return Err(failed);
        };
        let wait = failed.wait.map_or(wait, |asked| asked.max(wait));
        if within(cx.time_left()).saturating_sub(wait) < SHORTEST_TRY {
            return Err(failed);
        }
        tracing::debug!(error = %failed.error, ?wait, "the call is retried");
        cx.clock().sleep(wait).await;
        earlier = Some(failed);
    }
}

/// One try.
async fn attempt(
    clients: &Clients,
    set: &Set,
    limits: Limits,
    ask: &dyn Ask,
    cx: &RefreshContext,
) -> Result<TemporaryCredentials, Failed> {
    let limit = limits.of(set).min(within(cx.time_left()));
    let client = clients.of(set).map_err(Failed::at_rest)?;
    let request = clients.request(limit + LAST_RESORT);
    let driven = async {
        let request = ask.complete(request, within(limit)).await?;
        // A token's own error is to be seen, and not that of a call which is late because of it.
        let signature_limit = set.device.limit_signatures(within(limit));
        let blocks = ask.target().shown.is_some_and(Device::may_block);
        Ok(drive(client, request, blocks, signature_limit).await)
    };
    let result = match in_time(cx.clock(), limit, driven).await {
        None => Err(failed::late(ask.target())),
        Some(Err(failed)) => Err(failed),
        Some(Ok(None)) => Err(failed::lost(ask.target())),
        Some(Ok(Some(outcome))) => {
            if let Some(date) = outcome
                .date()
                .filter(|_| !matches!(set.trust, Trust::Anybody))
            {
                clients.server_time().hear(date);
            }
            judge(outcome, ask)
        }
    };
    result.inspect_err(|failed| {
        if failed.late {
            clients.be_patient();
        }
        if failed.fresh {
            clients.give_up();
        }
    })
}

/// What the engine grants, less a little: the error of a call that is late is to be seen, and not
/// the engine's.
pub fn within(time_left: Duration) -> Duration {
    time_left - (time_left / 10).min(Duration::from_secs(1))
}

/// Sends the request and reads the answer, wherever that may block; `None` if the runtime went away
/// meanwhile.
///
/// # Cancel safety
///
/// Dropping the future gives the call up: at once, or where a token is signing for it, once that is
/// done. The signature keeps its limit until then.
async fn drive(
    client: Client,
    request: Request,
    blocks: bool,
    signature_limit: Option<Arc<Duration>>,
) -> Option<Outcome> {
    let handle = match Handle::try_current() {
        Ok(handle) if blocks && handle.runtime_flavor() == RuntimeFlavor::CurrentThread => handle,
        // Not from elsewhere: a connection that is used from two threads is often not back when it
        // is wanted next.
        Ok(_) if blocks => {
            return Some(ON_A_WORKER.scope((), exchange(client, request)).await);
        }
        _ => return Some(exchange(client, request).await),
    };
    let driver = handle.clone();
    // A thread cannot be ended from outside: its future notices that the caller is gone.
    let (_wanted, unwanted) = oneshot::channel::<()>();
    let call = move || {
        let _signature_limit = signature_limit;
        driver.block_on(async {
            tokio::select! {
                outcome = exchange(client, request) => Some(outcome),
                _ = unwanted => None,
            }
        })
    };
    handle.spawn_blocking(call).await.ok().flatten()
}

/// How an exchange ended.
enum Outcome {
    Whole(Answer),
    TooLong(Answer),
    CutOff(Answer, reqwest::Error),
    Unanswered(reqwest::Error),
}

impl Outcome {
    /// The answer's `Date`, if there was an answer.
    fn date(&self) -> Option<SystemTime> {
        match self {
            Self::Whole(answer) | Self::TooLong(answer) | Self::CutOff(answer, _) => answer.date,
            Self::Unanswered(_) => None,
        }
    }
}

async fn exchange(client: Client, request: Request) -> Outcome {
    let mut response = match client.execute(request).await {
        Ok(response) => response,
        Err(error) => return Outcome::Unanswered(error),
    };
    let mut answer = head(&response);
    loop {
        match response.chunk().await {
            Ok(None) => return Outcome::Whole(answer),
            Ok(Some(chunk)) if answer.body.len() + chunk.len() > MAX_BODY => {
                return Outcome::TooLong(answer);
            }
            Ok(Some(chunk)) => answer.body.extend_from_slice(&chunk),
            Err(error) => return Outcome::CutOff(answer, error),
        }
    }
}

/// An answer without its body yet.
fn head(response: &Response) -> Answer {
    let header = |name: &str| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    Answer {
        status: response.status().as_u16(),
        code: header("x-amzn-errortype").map(failed::code_of),
        request_id: header("x-amzn-requestid").map(str::to_owned),
        date: header("date").and_then(response::http_date),
        retry_after: header("retry-after").and_then(response::retry_after),
        // At its full size from the start: a vector that grows leaves copies of the secrets behind.
        body: Zeroizing::new(Vec::with_capacity(MAX_BODY)),
    }
}

fn judge(outcome: Outcome, ask: &dyn Ask) -> Result<TemporaryCredentials, Failed> {
    let target = ask.target();
    let answer = match outcome {
        Outcome::Whole(answer) => answer,
        // The status says more than a body that is too long or incomplete; the rest of it is still
        // arriving.
        Outcome::TooLong(answer) | Outcome::CutOff(answer, _) if !ask.is_success(answer.status) => {
            return Err(Failed {
                fresh: true,
                ..ask.refused(&answer)
            });
        }
        Outcome::TooLong(answer) => return Err(failed::too_long(&answer, target)),
        Outcome::CutOff(answer, error) => return Err(failed::cut_off(&error, &answer, target)),
        Outcome::Unanswered(error) => return Err(failed::unanswered(&error, target)),
    };
    if !ask.is_success(answer.status) {
        return Err(ask.refused(&answer));
    }
    let set = ask
        .read(&answer)
        .map_err(|problem| failed::unreadable(&problem, &answer, target))?;
    Ok(match answer.date {
        Some(date) => set.with_server_time(date),
        None => set,
    })
}

#[cfg(test)]
mod tests;
