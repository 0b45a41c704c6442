//! `brs whoami`: whose credentials a session has, hop by hop.

use std::time::{Duration, SystemTime};

use brs::{Clock as _, Identity, RefreshableSession, SystemClock};
use serde_json::{Value, json};

use crate::args::Whoami;
use crate::exit::{Done, Failure};
use crate::open::Context;
use crate::output::{self, timestamp};

/// A hop: what is known about it, and its name if it is a session of the configuration.
struct Hop {
    name: Option<String>,
    identity: Identity,
    expiration: Option<SystemTime>,
}

pub(super) async fn run(args: Whoami, cx: &Context) -> Result<Done, Failure> {
    let opened = cx.open(&args.session).await?;
    let identity = opened.or_stopped(opened.session.whoami()).await?;

    // The chain begins with the session that stands on none, and ends with the one that was asked for.
    let chain = identity.chain.clone();
    let sessions: Vec<&(String, RefreshableSession)> = opened.beneath.iter().rev().collect();
    // Roles of profiles are hops without a name.
    let unnamed = chain.len().saturating_sub(sessions.len());
    let named = std::iter::repeat_n(None, unnamed).chain(sessions.into_iter().map(Some));
    let beneath = chain.into_iter().zip(named).map(|(identity, session)| Hop {
        name: session.map(|(name, _)| name.clone()),
        identity,
        expiration: session.and_then(|(_, session)| session.status().expiration()),
    });
    let own = Hop {
        name: Some(opened.name.clone()),
        identity: identity.clone(),
        expiration: opened.session.status().expiration(),
    };
    let hops: Vec<Hop> = beneath.chain([own]).collect();
    output::print(&if args.json {
        as_json(&hops)
    } else {
        as_table(&hops)
    })?;
    Ok(Done::Success)
}

fn as_json(hops: &[Hop]) -> String {
    let now = SystemClock::new().now();
    let described = hops.iter().map(|hop| {
        let Identity {
            method,
            source,
            access_key_id,
            caller,
            details,
            ..
        } = &hop.identity;
        json!({
            "name": hop.name,
            "method": method,
            "source": source,
            "access_key_id": access_key_id,
            "account": caller.as_ref().map(|caller| &caller.account),
            "arn": caller.as_ref().map(|caller| &caller.arn),
            "user_id": caller.as_ref().map(|caller| &caller.user_id),
            "expiration": hop.expiration.map(timestamp),
            "seconds_left": hop.expiration.map(|at| left(at, now).as_secs()),
            "details": details,
        })
    });
    output::json(&json!({ "hops": Value::Array(described.collect()) }))
}

fn as_table(hops: &[Hop]) -> String {
    let now = SystemClock::new().now();
    let mut out = String::new();
    for (number, hop) in hops.iter().enumerate() {
        let Identity {
            method,
            source,
            access_key_id,
            caller,
            details,
            ..
        } = &hop.identity;
        let name = hop.name.as_deref().unwrap_or(method);
        out += &format!("{}. {name}\n", number + 1);
        let caller =
            |field: fn(&brs::CallerIdentity) -> &String| caller.as_ref().map(field).cloned();
        let expiration = match hop.expiration {
            Some(at) => Some(format!("{} ({} left)", timestamp(at), shown(left(at, now)))),
            None => hop.name.as_ref().map(|_| "never".to_owned()),
        };
        let rows = [
            ("method", Some(method.clone())),
            ("source", Some(source.clone())),
            (
                "access key id",
                Some(access_key_id.clone()).filter(|id| !id.is_empty()),
            ),
            ("account", caller(|caller| &caller.account)),
            ("arn", caller(|caller| &caller.arn)),
            ("expires", expiration),
        ];
        let rows = rows
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let details = details
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in rows.chain(details) {
            out += &format!("   {name:<14} {value}\n");
        }
    }
    out
}

fn left(at: SystemTime, now: SystemTime) -> Duration {
    at.duration_since(now).unwrap_or_default()
}

/// `59m 12s`, `11h 3m`.
fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m 1s"),
            (3600, "1h 0m"),
            (40_000, "11h 6m"),
        ] {
            assert_eq!(shown(Duration::from_secs(seconds)), text);
        }
    }
}
