//! `brs doctor`: everything that a session needs, checked one by one.
//!
//! Each finding is a fact with one remedy. `report` collects and prints them, `network` is the way
//! to the endpoint, `certificate` a device's, `child` what programs would use instead of the
//! session. This file has the order, and what the session itself says. The cache of the host is
//! left aside: what is checked is the call.

mod certificate;
mod child;
mod network;
mod reach;
mod report;

use std::time::{Duration, SystemTime};

use brs::shared::HostCache;
use brs::{Clock as _, SystemClock, TemporaryCredentials};
use serde_json::Value;

use crate::args::Doctor as Args;
use crate::exit::{Done, Failure};
use crate::open::{Context, How, Opened, Share};
use crate::output::{self, timestamp};
use network::Target;
use report::Report;

/// With less than this left, boto3 asks for other credentials before each call.
const OF_CLIENTS: Duration = Duration::from_secs(15 * 60);

pub(super) async fn run(args: Args, cx: &Context) -> Result<Done, Failure> {
    let mut report = Report::default();
    if let Some(opened) = opened(&args, cx, &mut report).await {
        region(&opened, &mut report);
        match Target::of(&opened) {
            Some(target) => target.check(opened.session.clock(), &mut report).await,
            None => report.ok(
                "network",
                "the method has no endpoint that can be looked at",
            ),
        }
        certificate::check(&opened, &mut report);
        if bases(&opened, &mut report).await
            && let Some(set) = call(&opened, &mut report).await
        {
            caller(&opened, &mut report).await;
            lifetime(&set, SystemClock::new().now(), &mut report);
        }
    }
    cache(&mut report);
    child::check(&mut report).await;
    let text = if args.json {
        report.as_json()
    } else {
        report.as_list()
    };
    output::print(&text)?;
    report.outcome()
}

/// The configuration and the session's parameters.
async fn opened(args: &Args, cx: &Context, report: &mut Report) -> Option<Opened> {
    let choice = &args.session;
    if choice.name.is_some() {
        let config = match cx.config() {
            Ok(config) => config,
            Err(failure) => {
                report.failed("configuration", &failure, "correct the configuration file");
                return None;
            }
        };
        match config.path() {
            Some(path) => report.ok("configuration", &readable(path)),
            None => report.ok("configuration", "there is no configuration file"),
        }
    } else {
        report.ok("configuration", "the session is one of the command line");
    }
    let how = How {
        share: Share::Never,
        ..How::default()
    };
    match cx.open_with(choice, how).await {
        Ok(opened) => {
            let method = opened.session.method();
            let role = opened
                .session
                .as_base()
                .strategy()
                .role()
                .map(str::to_owned);
            let role = role.map_or_else(String::new, |role| format!(", role `{role}`"));
            report.ok(
                "parameters",
                &format!("method `{method}`{role}: the parameters are complete"),
            );
            Some(opened)
        }
        Err(failure) => {
            report.failed("parameters", &failure, "correct the session's parameters");
            None
        }
    }
}

/// The file and its mode. One that others can write was refused before.
fn readable(path: &std::path::Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = path
        .metadata()
        .map(|metadata| metadata.permissions().mode() & 0o777);
    let mode = mode.map_or_else(|_| String::new(), |mode| format!(" (mode {mode:04o})"));
    format!(
        "`{}`{mode} is complete, and others cannot write it",
        path.display()
    )
}

fn region(opened: &Opened, report: &mut Report) {
    let session = &opened.session;
    let Some(region) = session.sdk_config().region() else {
        let remedy = "give `region` with the session, or set `AWS_REGION`";
        return report.warn(
            "region",
            "there is none: programs have to name one themselves",
            remedy,
        );
    };
    let of_variable = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        .into_iter()
        .find(|name| std::env::var(name).is_ok_and(|value| value.trim() == region.as_ref()));
    let origin = if session.as_base().strategy().region() == Some(region.as_ref()) {
        "the session's parameters".to_owned()
    } else {
        match of_variable {
            Some(name) => format!("`{name}`"),
            None => "the session's parameters, its base or the profile".to_owned(),
        }
    };
    report.ok("region", &format!("`{region}`, from {origin}"));
}

/// The base sessions, the first of the chain first. `false`: the session itself cannot succeed.
async fn bases(opened: &Opened, report: &mut Report) -> bool {
    for (name, session) in opened.beneath.iter().rev() {
        match opened.or_stopped(session.credentials()).await {
            Ok(set) => report.ok(
                "base credentials",
                &format!("`{name}`: {}", described(&set)),
            ),
            Err(failure) => {
                let remedy = format!("run `brs doctor {name}`");
                report.failed_at(
                    "base credentials",
                    &format!("`{name}`: "),
                    &failure,
                    &remedy,
                );
                return false;
            }
        }
    }
    if opened.beneath.is_empty() {
        report.ok("base credentials", "the session has no base session");
    }
    true
}

async fn call(opened: &Opened, report: &mut Report) -> Option<TemporaryCredentials> {
    match opened.or_stopped(opened.session.refresh()).await {
        Ok(set) => {
            report.ok("call", &described(&set));
            Some(set)
        }
        Err(failure) => {
            report.failed("call", &failure, "see the findings above");
            None
        }
    }
}

/// Who the credentials are, with the chain that leads to them.
async fn caller(opened: &Opened, report: &mut Report) {
    const CHECK: &str = "caller identity";
    let identity = match opened.or_stopped(opened.session.whoami()).await {
        Ok(identity) => identity,
        Err(failure) => {
            let remedy = "check that STS can be reached in the region";
            return report.failed(CHECK, &failure, remedy);
        }
    };
    for hop in &identity.chain {
        if let Some(problem) = hop.details.get("problem") {
            let text = format!("unknown for the base `{}`: {problem}", hop.method);
            report.warn(CHECK, &text, "check that STS can be reached from the base");
        }
    }
    let chain = identity.chain.iter().chain([&identity]);
    let arns: Vec<_> = chain
        .filter_map(|hop| Some(format!("`{}`", hop.caller.as_ref()?.arn)))
        .collect();
    if identity.caller.is_some() {
        report.ok(CHECK, &arns.join(" → "));
    } else {
        let text = "STS was not asked: the session has no region";
        report.warn(
            CHECK,
            text,
            "give `region` with the session, or set `AWS_REGION`",
        );
    }
}

fn described(set: &TemporaryCredentials) -> String {
    let expires = set.expiration().map_or_else(
        || "does not expire".to_owned(),
        |at| format!("expires at {}", timestamp(at)),
    );
    format!("access key id `{}`, {expires}", set.access_key_id())
}

fn lifetime(set: &TemporaryCredentials, now: SystemTime, report: &mut Report) {
    let Some(expiration) = set.expiration() else {
        let text = "the credentials have no expiration: programs see an expiration in 30 minutes";
        return report.ok("lifetime", text);
    };
    let left = expiration.duration_since(now).unwrap_or_default();
    let minutes = left.as_secs().div_ceil(60);
    let remedy = "raise the session's `duration`, up to the role's limit";
    if left < OF_CLIENTS {
        let text = format!(
            "{minutes} min: boto3 asks for others before each call with less than 15 min left"
        );
        report.warn("lifetime", &text, remedy);
    } else if left < 2 * OF_CLIENTS {
        let text = format!(
            "{minutes} min: for half of that time and more, boto3 asks for others before each call"
        );
        report.warn("lifetime", &text, remedy);
    } else {
        report.ok("lifetime", &format!("{minutes} min"));
    }
}

fn cache(report: &mut Report) {
    let is_named = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !is_named("BRS_CACHE_DIR") && !is_named("XDG_RUNTIME_DIR") {
        let text = "neither `BRS_CACHE_DIR` nor `XDG_RUNTIME_DIR` is set: each process makes its own calls";
        return report.warn(
            "cache",
            text,
            "set `XDG_RUNTIME_DIR` to a directory of this user with mode 0700",
        );
    }
    match HostCache::new().entries() {
        Ok(entries) => {
            let bad = entries
                .iter()
                .filter(|entry| entry.problem.is_some())
                .count();
            if bad > 0 {
                let text = format!("{bad} of {} entries cannot be used", entries.len());
                report.warn("cache", &text, "run `brs cache clear`");
            } else {
                report.ok("cache", &format!("usable, {} entries", entries.len()));
            }
        }
        Err(error) => report.failed(
            "cache",
            &Failure::of_opening(error),
            "correct the directory's owner and mode",
        ),
    }
}

/// Numbers and texts for programs.
fn number(count: usize) -> Value {
    Value::from(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_lifetime_that_clients_do_not_like_is_reported() {
        for (minutes, status) in [
            (60, "ok"),
            (30, "ok"),
            (29, "warn"),
            (15, "warn"),
            (14, "warn"),
            (0, "warn"),
        ] {
            let end = UNIX_EPOCH + Duration::from_secs(minutes * 60);
            let set = TemporaryCredentials::new("ASIA", "secret", None, Some(end));
            let mut report = Report::default();
            lifetime(&set, UNIX_EPOCH, &mut report);
            let json: Value = serde_json::from_str(&report.as_json()).unwrap();
            assert_eq!(json["checks"][0]["status"], status, "{minutes}");
            assert_eq!(
                json["checks"][0]["remedy"].is_string(),
                status == "warn",
                "{minutes}"
            );
        }
    }
}
