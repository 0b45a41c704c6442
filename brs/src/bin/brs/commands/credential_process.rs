//! `brs credential-process`: credentials for the SDKs of every language, by their profiles.
//!
//! SDKs start it whenever a program has no credentials yet, so it must be cheap and must not flood
//! the source: the cache of the host is on, and of many processes one asks. If the source fails
//! while the cached set is valid, that set is printed, with a warning.

mod chain;

use std::time::Duration;

use brs::{Clock as _, Error, SystemClock, TemporaryCredentials};
use tokio::time::{Instant, timeout_at};

use crate::args::CredentialProcess;
use crate::exit::{Done, Failure};
use crate::log;
use crate::open::{Context, How, Opened, Share};
use crate::output::{self, timestamp};
use chain::Chain;

pub(super) async fn run(args: CredentialProcess, cx: &Context) -> Result<Done, Failure> {
    let deadline = Instant::now() + args.timeout;
    let late = || {
        let limit = args.timeout.as_secs_f64();
        Failure::Credentials(Error::connection(format!(
            "no credentials within {limit} s: check the connection to their source, or allow more with `--timeout`"
        )))
    };
    let chain = Chain::of_environment(&args.session, cx.global.config.as_deref())?;
    let how = How {
        share: if args.no_cache {
            Share::Never
        } else {
            Share::Always
        },
        before: Some(chain.before()),
        ..How::default()
    };
    // A process that another one of brs waits for is heard by its error alone; one that has started
    // itself again has warned before.
    log::mute(chain.has_begun());
    let opened = timeout_at(deadline, cx.open_with(&args.session, how)).await;
    log::mute(chain.is_waited_for());
    let opened = opened.map_err(|_| late())??;
    let fetched = timeout_at(deadline, fetched(&args, &opened)).await;
    let set = match fetched.unwrap_or_else(|_| Err(late())) {
        Ok(set) => set,
        Err(failure) => match Some(&opened)
            .filter(|_| !args.no_cache)
            .and_then(Opened::cached)
        {
            Some(set) => {
                warn_of_old(&set, &failure);
                set
            }
            None => return Err(chain::reported_in(failure)),
        },
    };
    output::print_credentials(&set, args.format)?;
    Ok(Done::Success)
}

async fn fetched(
    args: &CredentialProcess,
    opened: &Opened,
) -> Result<TemporaryCredentials, Failure> {
    if args.force {
        // A set of the cache becomes the session's own first: only then is it not given again.
        if !args.no_cache && opened.cached().is_some() {
            let set = opened.credentials().await?;
            if opened.has_asked() {
                return Ok(set);
            }
        }
        return opened.or_stopped(opened.session.refresh()).await;
    }
    let set = opened.credentials().await?;
    if is_valid_for(&set, args.min_validity) {
        return Ok(set);
    }
    let newest = if opened.has_asked() {
        set
    } else {
        match opened.or_stopped(opened.session.refresh()).await {
            Ok(newest) => newest,
            Err(failure) => {
                warn_of_old(&set, &failure);
                return Ok(set);
            }
        }
    };
    if !is_valid_for(&newest, args.min_validity) {
        let expiration = newest.expiration().map(timestamp);
        tracing::warn!(
            expiration,
            "the source gives credentials for a shorter time than `--min-validity`: ask for less, or let it give more"
        );
    }
    Ok(newest)
}

fn is_valid_for(set: &TemporaryCredentials, least: Duration) -> bool {
    let now = SystemClock::new().now();
    let left = |at: std::time::SystemTime| at.duration_since(now).unwrap_or_default();
    set.expiration().is_none_or(|at| left(at) >= least)
}

fn warn_of_old(set: &TemporaryCredentials, failure: &Failure) {
    let expiration = set.expiration().map(timestamp);
    tracing::warn!(
        expiration,
        "new credentials are not available, the current ones are still valid: {failure}"
    );
}
