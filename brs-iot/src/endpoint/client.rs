//! The HTTP client of a session, kept from refresh to refresh, and its one request.
//!
//! Owns the client's settings: no redirects, no HTTP/2, no compression, one kept connection. A
//! client is of one device and one trust ([`Set::generation`](crate::device::files::Set)): a new pair means
//! a new TLS configuration, because a resumed session would go on with the old certificate. A
//! transport error means a new one, too. A connection is kept for as long as reqwest's pool keeps
//! an idle one, 90 seconds; refreshes further apart resume the TLS session.
//!
//! 1. The kept client was built for the set whose number it is kept with. It is compared, built and
//!    put there under one lock: concurrent callers with the same set get the same client.
//! 2. A call has a clone of its client: giving the kept one up, or replacing it, ends no call.
//! 3. A client is dropped without the lock: its last clone closes connections.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brs_core::kit::PerProcess;
use brs_core::{Clock, Error, SecretString};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Request, Url};

use crate::device::files::Set;
use crate::device::server_time::ServerTime;
use crate::device::tls;
use crate::endpoint::proxy::Proxy;

const THING_NAME: HeaderName = HeaderName::from_static("x-amzn-iot-thingname");
const DURATION: HeaderName = HeaderName::from_static("x-amzn-iot-credential-duration-seconds");
const USER_AGENT: &str = concat!("brs-iot/", env!("CARGO_PKG_VERSION"));

/// The settings of the clients and the one that is in use.
pub(crate) struct Clients {
    url: Url,
    headers: HeaderMap,
    /// By whether a call was late before.
    connect_timeouts: [Duration; 2],
    was_late: AtomicBool,
    proxy: Proxy,
    clock: Arc<dyn Clock>,
    server_time: Arc<ServerTime>,
    /// With the generation of the set it was built for. A forked child builds its own: the
    /// connections' tasks are the parent's.
    kept: PerProcess<Mutex<Option<(u64, Client)>>>,
}

impl Clients {
    pub(crate) fn new(
        url: &str,
        thing_name: Option<&str>,
        duration: Option<Duration>,
        connect_timeouts: [Duration; 2],
        proxy: Option<SecretString>,
        clock: Arc<dyn Clock>,
        server_time: Arc<ServerTime>,
    ) -> Result<Self, Error> {
        let refused = |param: &str| {
            Error::validation(format!("`{param}` cannot be sent"))
                .with_param(param)
                .unrecoverable()
        };
        let url = Url::parse(url).map_err(|_| refused("endpoint"))?;
        let mut headers = HeaderMap::new();
        if let Some(thing_name) = thing_name {
            headers.insert(
                THING_NAME,
                HeaderValue::from_str(thing_name).map_err(|_| refused("thing_name"))?,
            );
        }
        if let Some(duration) = duration {
            headers.insert(DURATION, HeaderValue::from(duration.as_secs()));
        }
        let proxy = match proxy {
            Some(url) => Proxy::given(url),
            None => Proxy::of_environment(url.as_str())?,
        };
        Ok(Self {
            url,
            headers,
            connect_timeouts,
            was_late: AtomicBool::new(false),
            proxy,
            clock,
            server_time,
            kept: PerProcess::new(),
        })
    }

    /// The client for a set: the kept one, if it was built for it.
    pub(crate) fn of(&self, set: &Set) -> Result<Client, Error> {
        // One lock for all of it, by 1.
        let kept = self.kept.get();
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((generation, client)) = &*kept
            && *generation == set.generation
        {
            return Ok(client.clone());
        }
        let client = self.build(set)?;
        let before = kept.replace((set.generation, client.clone()));
        drop(kept);
        // By 3.
        drop(before);
        Ok(client)
    }

    /// Gives the kept client up: its connections, and what TLS remembers of earlier ones.
    pub(crate) fn give_up(&self) {
        let client = self
            .kept
            .get()
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // By 3.
        drop(client);
    }

    /// A call was late: connections have more time from now on. On a slow link, where an endpoint
    /// has many addresses, the share of each may be too short for any.
    pub(crate) fn be_patient(&self) {
        self.was_late.store(true, Ordering::Relaxed);
    }

    fn connect_timeout(&self) -> Duration {
        self.connect_timeouts[usize::from(self.was_late.load(Ordering::Relaxed))]
    }

    /// The endpoint's clock.
    pub(crate) fn server_time(&self) -> &ServerTime {
        &self.server_time
    }

    /// The request, which has `limit` on the real clock: a last resort, the session's clock has its
    /// own limit.
    pub(crate) fn request(&self, limit: Duration) -> Request {
        let mut request = Request::new(reqwest::Method::GET, self.url.clone());
        *request.headers_mut() = self.headers.clone();
        *request.timeout_mut() = Some(limit);
        request
    }

    fn build(&self, set: &Set) -> Result<Client, Error> {
        let builder = Client::builder()
            .tls_backend_preconfigured(tls::config(&set.device, &set.trust, &self.clock)?)
            .https_only(true)
            .http1_only()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(USER_AGENT)
            .pool_max_idle_per_host(1)
            .connect_timeout(self.connect_timeout());
        let built = self.proxy.apply(builder)?.build();
        built.map_err(|error| {
            Error::configuration("the HTTP client cannot be set up").with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use brs_core::test_util::ManualClock;

    use super::*;

    #[test]
    fn connections_have_more_time_once_a_call_was_late() {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH));
        let server_time = Arc::new(ServerTime::new(Arc::clone(&clock)));
        let limits = [Duration::from_secs(5), Duration::from_secs(10)];
        let clients = Clients::new(
            "https://localhost/",
            None,
            None,
            limits,
            None,
            clock,
            server_time,
        )
        .unwrap();
        assert_eq!(clients.connect_timeout(), limits[0]);
        clients.be_patient();
        assert_eq!(clients.connect_timeout(), limits[1]);
    }
}
