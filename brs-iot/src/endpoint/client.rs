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

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brs_core::kit::PerProcess;
use brs_core::{Clock, Error, SecretString};
use reqwest::redirect::Policy;
use reqwest::{Client, Request};

use crate::device::files::Set;
use crate::device::server_time::ServerTime;
use crate::device::tls;
use crate::endpoint::proxy::Proxy;

/// The settings of the clients and the one that is in use.
pub struct Clients {
    template: Request,
    user_agent: &'static str,
    /// By whether a call was late before.
    connect_timeouts: [Duration; 2],
    was_late: AtomicBool,
    proxy: Proxy,
    clock: Arc<dyn Clock>,
    server_time: Arc<ServerTime>,
    /// Whether TLS shows the device's certificate.
    shows_device: bool,
    /// With the generation of the set it was built for. A forked child builds its own: the
    /// connections' tasks are the parent's.
    kept: PerProcess<Mutex<Option<(u64, Client)>>>,
}

impl Clients {
    /// `template` is what each request begins with.
    ///
    /// # Errors
    ///
    /// A configuration error for a proxy in the environment that cannot be used.
    pub fn new(
        template: Request,
        user_agent: &'static str,
        connect_timeouts: [Duration; 2],
        proxy: Option<SecretString>,
        clock: Arc<dyn Clock>,
        server_time: Arc<ServerTime>,
        shows_device: bool,
    ) -> Result<Self, Error> {
        let proxy = match proxy {
            Some(url) => Proxy::given(url),
            None => Proxy::of_environment(template.url().as_str(), shows_device)?,
        };
        Ok(Self {
            template,
            user_agent,
            connect_timeouts,
            was_late: AtomicBool::new(false),
            proxy,
            clock,
            server_time,
            shows_device,
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
    pub fn give_up(&self) {
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
    pub fn server_time(&self) -> &ServerTime {
        &self.server_time
    }

    /// The request, which has `limit` on the real clock: a last resort, the session's clock has its
    /// own limit.
    pub(crate) fn request(&self, limit: Duration) -> Request {
        let mut request = Request::new(self.template.method().clone(), self.template.url().clone());
        *request.headers_mut() = self.template.headers().clone();
        *request.timeout_mut() = Some(limit);
        request
    }

    fn build(&self, set: &Set) -> Result<Client, Error> {
        let tls = if self.shows_device {
            tls::config(&set.device, &set.trust, &self.clock)?
        } else {
            tls::anonymous(&set.trust, &self.clock)?
        };
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .http1_only()
            .redirect(Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(self.user_agent)
            .pool_max_idle_per_host(1)
            .connect_timeout(self.connect_timeout());
        let built = self.proxy.apply(builder)?.build();
        built.map_err(|error| {
            Error::configuration("the HTTP client cannot be set up").with_source(error)
        })
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("shows_device", &self.shows_device)
            .finish_non_exhaustive()
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
            Request::new(reqwest::Method::GET, "https://localhost/".parse().unwrap()),
            "brs-iot",
            limits,
            None,
            clock,
            server_time,
            true,
        )
        .unwrap();
        assert_eq!(clients.connect_timeout(), limits[0]);
        clients.be_patient();
        assert_eq!(clients.connect_timeout(), limits[1]);
    }
}
