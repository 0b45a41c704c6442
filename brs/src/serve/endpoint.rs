//! The container credentials endpoint: who asks, for what, and what the answer is.
//!
//! The order is the guard, the method, the route, the token, the consumer's rate, its rights, the
//! credentials. Every answer is counted. A request waits at most `answer_within`, since clients give
//! up after a second or two; the refresh that it waits for goes on without it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use brs_core::{Error, TemporaryCredentials};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::answer::{self, Refusal, Reply};
use super::consumer::Client;
use super::guard::{self, Door, Ends};
use super::kept::{self, Kept};
use super::pattern;
use super::routes::{self, Wanted};
use super::shared::{Offer, Shared, listed};
use super::tally::Route;
use super::token;

/// How long a wrong token holds up its connection.
const SLOWED: Duration = Duration::from_millis(100);

/// Answers a request, whatever it is.
pub(super) async fn answer(shared: &Shared, parts: &Parts, ends: Ends) -> Reply {
    let began = shared.clock.monotonic();
    let offer = shared.offer();
    let (route, client, result) = decide(shared, &offer, parts, ends).await;
    let reply = result.unwrap_or_else(Refusal::into_json);
    let (code, seconds) = (reply.status().as_u16(), shared.seconds());
    match client {
        Some(client) => client.tally.count(route, code, seconds),
        None => shared.anonymous.count(route, code, seconds),
    }
    let took = shared.clock.monotonic().saturating_sub(began);
    shared.durations.observe(took.as_secs_f64());
    reply
}

async fn decide<'o>(
    shared: &Shared,
    offer: &'o Offer,
    parts: &Parts,
    ends: Ends,
) -> (Route, Option<&'o Arc<Client>>, Result<Reply, Refusal>) {
    if let Err(refusal) = guard::check(parts, ends, Door::Endpoint) {
        return (Route::Other, None, Err(refusal));
    }
    let (route, wanted) = routes::read(parts.uri.path());
    match parts.method {
        Method::GET => {}
        Method::HEAD => return (route, None, Err(not_found())),
        _ => return (route, None, Err(Refusal::method_not_allowed("GET"))),
    }
    match wanted {
        Wanted::Unknown => return (route, None, Err(not_found())),
        Wanted::Health => return (route, None, Ok(answer::text(StatusCode::OK, "ok\n"))),
        Wanted::Ready => return (route, None, Ok(ready(shared))),
        _ => {}
    }
    let client = match consumer(shared, offer, parts).await {
        Ok(client) => client,
        Err(refusal) => return (route, None, Err(refusal)),
    };
    let result = match client.pace(shared.clock.monotonic()) {
        Ok(()) => credentials(shared, offer, client, wanted)
            .await
            .map(answer::json),
        Err(wait) => Err(Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "TooManyRequests",
            format_args!(
                "the consumer `{}` asks more than 1,000 times a second: keep the credentials until they expire",
                client.name
            ),
        )
        .retry_after(wait)),
    };
    (route, Some(client), result)
}

fn not_found() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "NotFound",
        "there is nothing here: ask for `/`, `/session/NAME` or `/role-arn/ARN` with GET",
    )
}

fn ready(shared: &Shared) -> Reply {
    let names = shared.not_ready();
    if names.is_empty() {
        return answer::text(StatusCode::OK, "ok\n");
    }
    let text = format!("no usable credentials: {}\n", names.join(", "));
    answer::text(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Whose token the request has.
async fn consumer<'o>(
    shared: &Shared,
    offer: &'o Offer,
    parts: &Parts,
) -> Result<&'o Arc<Client>, Refusal> {
    let mut tokens = parts.headers.get_all(AUTHORIZATION).iter();
    let presented = match (tokens.next(), tokens.next()) {
        (Some(one), None) => token::presented(one.as_bytes()),
        (None, _) => {
            return Err(Refusal::denied(
                "the request has no token: set AWS_CONTAINER_AUTHORIZATION_TOKEN or \
                 AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::malformed("there is more than one `Authorization`"));
        }
    };
    let owner = offer.tokens.owner(presented, shared.clock.monotonic());
    match owner.and_then(|owner| offer.clients.get(owner)) {
        Some(client) => Ok(client),
        None => {
            tokio::time::sleep_until(Instant::now() + SLOWED).await;
            Err(Refusal::denied(
                "the token is not, or no longer, that of a consumer: read the token file again",
            ))
        }
    }
}

async fn credentials(
    shared: &Shared,
    offer: &Offer,
    client: &Client,
    wanted: Wanted<'_>,
) -> Result<Bytes, Refusal> {
    let kept = match wanted {
        Wanted::RoleArn(arn) => return role(shared, offer, client, &arn).await,
        Wanted::Session(name) => named(offer, client, &name)?,
        Wanted::RoleName(name) => of_role_name(offer, client, &name)?,
        _ => only(offer, client)?,
    };
    let set = within(shared, &kept.shown(), kept.credentials()).await?;
    match set {
        Ok(set) => Ok(kept.answer(&set)),
        Err(error) => Err(kept.refusal(&error)),
    }
}

/// The sessions that a consumer may ask for and that exist.
fn usable<'o>(offer: &'o Offer, client: &Client) -> Vec<&'o Arc<Kept>> {
    offer
        .sessions
        .values()
        .filter(|kept| client.may_use(&kept.name))
        .collect()
}

fn names(offer: &Offer, client: &Client) -> String {
    listed(usable(offer, client).iter().map(|kept| &kept.name))
}

fn only<'o>(offer: &'o Offer, client: &Client) -> Result<&'o Arc<Kept>, Refusal> {
    match usable(offer, client)[..] {
        [only] => Ok(only),
        [] => Err(Refusal::no_such_session(format_args!(
            "the consumer `{}` has no session of its own",
            client.name
        ))),
        _ => Err(Refusal::no_such_session(format_args!(
            "the consumer `{}` has several sessions, ask for `/session/NAME` with one of {}",
            client.name,
            names(offer, client)
        ))),
    }
}

fn named<'o>(offer: &'o Offer, client: &Client, name: &str) -> Result<&'o Arc<Kept>, Refusal> {
    match offer.sessions.get(name) {
        Some(kept) if client.may_use(name) => Ok(kept),
        Some(_) => Err(Refusal::denied(format_args!(
            "the consumer `{}` may not use this session, only {}",
            client.name,
            names(offer, client)
        ))),
        None => Err(Refusal::no_such_session(format_args!(
            "there is no such session, only {}",
            names(offer, client)
        ))),
    }
}

fn of_role_name<'o>(
    offer: &'o Offer,
    client: &Client,
    name: &str,
) -> Result<&'o Arc<Kept>, Refusal> {
    let is_of_role = |kept: &&&Arc<Kept>| {
        let role = kept.role_arn.as_deref().and_then(pattern::role_name);
        role == Some(name)
    };
    let usable = usable(offer, client);
    let mut of_role = usable.iter().filter(is_of_role);
    match (
        offer.sessions.contains_key(name),
        of_role.next(),
        of_role.next(),
    ) {
        (false, Some(kept), None) => Ok(kept),
        _ => named(offer, client, name),
    }
}

async fn role(
    shared: &Shared,
    offer: &Offer,
    client: &Client,
    arn: &str,
) -> Result<Bytes, Refusal> {
    let rule = offer.assume.iter().find(|rule| rule.allows(arn));
    let is_allowed = pattern::is_role_arn(arn) && client.may_assume(arn);
    let Some(rule) = rule.filter(|_| is_allowed) else {
        return Err(Refusal::denied(format_args!(
            "the consumer `{}` may not have this role: its `roles` and a rule of `assume` must allow it",
            client.name
        )));
    };
    if let Some(hub) = offer.sessions.get(&rule.from)
        && hub.may_ask_a_person()
    {
        let due = Error::credential("its credentials have expired or are about to").unrecoverable();
        return Err(hub.refusal(&due));
    }
    let named = format!("role `{arn}`");
    let failed = |error: &Error| kept::refusal(&named, Some(&rule.from), error);
    let session = rule.session(arn).map_err(|error| failed(&error))?;
    let set = within(shared, &named, session.credentials()).await?;
    let set = set
        .and_then(|set| kept::unexpired(&session, set))
        .map_err(|error| failed(&error))?;
    Ok(answer::container(&set, Some(arn), shared.clock.now()))
}

/// What comes in time. What does not goes on without the request.
pub(super) async fn within(
    shared: &Shared,
    named: &(dyn fmt::Display + Sync),
    credentials: impl Future<Output = Result<TemporaryCredentials, Error>>,
) -> Result<Result<TemporaryCredentials, Error>, Refusal> {
    let _waiting = shared.waiting();
    tokio::time::timeout(shared.answer_within, credentials)
        .await
        .map_err(|_| {
            Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "RefreshInProgress",
                format_args!("{named}: its credentials are being refreshed: ask again in a second"),
            )
            .retry_after(Duration::from_secs(1))
        })
}
