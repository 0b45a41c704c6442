//! `brs cache`: the credential sets that the processes of this host share.

use brs::shared::{CachedSet, HostCache};
use brs::{Clock as _, SystemClock};
use serde_json::{Value, json};

use crate::args::{Cache, CacheAction};
use crate::exit::{Done, Failure};
use crate::output::{self, timestamp};

pub(super) fn run(args: &Cache) -> Result<Done, Failure> {
    let cache = HostCache::new();
    match args.action {
        CacheAction::List { json } => {
            let sets = cache.entries().map_err(Failure::of_opening)?;
            output::print(&if json {
                as_json(&sets)
            } else {
                as_table(&sets)
            })?;
        }
        CacheAction::Clear => {
            let removed = cache.clear().map_err(Failure::of_opening)?;
            let noun = if removed == 1 {
                "credential set"
            } else {
                "credential sets"
            };
            output::print(&format!("removed {removed} {noun}\n"))?;
        }
    }
    Ok(Done::Success)
}

fn as_json(sets: &[CachedSet]) -> String {
    let described = sets.iter().map(|set| {
        json!({
            "key": set.key,
            "access_key_id": set.access_key_id,
            "obtained": set.obtained.map(timestamp),
            "expiration": set.expiration.map(timestamp),
            "invalidated": set.invalidated,
            "failure": set.failure,
            "problem": set.problem,
        })
    });
    output::json(&Value::Array(described.collect()))
}

fn as_table(sets: &[CachedSet]) -> String {
    let now = SystemClock::new().now();
    let rows = sets.iter().map(|set| {
        let state = match (&set.problem, set.invalidated, &set.failure) {
            (Some(problem), _, _) => problem.clone(),
            (None, true, _) => "rejected by a service".to_owned(),
            (None, false, Some(failure)) => format!("last refresh failed: {failure}"),
            (None, false, None) => "good".to_owned(),
        };
        let expires = match set.expiration {
            Some(at) if at <= now => "expired".to_owned(),
            Some(at) => timestamp(at),
            None if set.access_key_id.is_some() => "never".to_owned(),
            None => "-".to_owned(),
        };
        // The first digits tell entries apart.
        let key = set.key.get(..15).unwrap_or(&set.key).to_owned();
        [
            key,
            set.access_key_id.clone().unwrap_or_else(|| "-".to_owned()),
            expires,
            state,
        ]
    });
    let head = ["KEY", "ACCESS KEY ID", "EXPIRES", "STATE"].map(str::to_owned);
    output::table(std::iter::once(head).chain(rows))
}
