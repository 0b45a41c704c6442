//! Opens one connection to the server: TCP, a proxy's tunnel if there is one, TLS, and a WebSocket if
//! the options ask for it.
//!
//! Owns the order of these and their time limit. The certificate or signature is prepared for each
//! attempt ([`Connector::prepare`]), so that no attempt uses an expired one. The driver gets a stream
//! and knows nothing of this.

use std::error::Error as StdError;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use brs_core::{Blocking, Clock, Error, SecretString};
use brs_iot::__private::proxy_of_environment;
use brs_iot::{DeviceIdentity, DeviceTls, ServerTrust};
use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service as _;

use crate::error::lost;
use crate::transport::endpoint::Endpoint;
use crate::transport::websocket::{Signed, Signer};

pub(crate) mod endpoint;
pub(crate) mod websocket;

/// What AWS IoT calls MQTT with mutual TLS on port 443.
const ALPN: &str = "x-amzn-mqtt-ca";
/// And MQTT with a user's name and password there, for a custom authorizer.
const ALPN_WITHOUT_CERTIFICATE: &str = "mqtt";

/// What a URL's user information needs encoded; `%` and `:` are its own.
const USER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'%').remove(b':');

/// What the MQTT library reads and writes.
pub(crate) type Stream = Box<dyn ReadWrite>;

/// TCP with a time limit for writing.
pub(crate) type Watched = Pin<Box<TimeoutStream<TcpStream>>>;

/// Both directions in one.
pub(crate) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// How the connection is authenticated, and which servers it trusts.
#[derive(Debug)]
pub(crate) enum Security {
    Device(DeviceIdentity),
    /// By the user's name and password in CONNECT only.
    Named(ServerTrust),
    Signed(ServerTrust, Signer),
}

impl Security {
    /// What to check when the server closes before it answers CONNECT.
    pub(crate) fn to_check(&self) -> &'static str {
        match self {
            Self::Signed(..) => "the role's policy allows `iot:Connect` for this client id",
            Self::Named(_) => {
                "the authorizer is active, accepts the name and password, and allows `iot:Connect`"
            }
            Self::Device(_) => {
                "the certificate is registered and active, and its policy allows `iot:Connect` for \
                 this client id"
            }
        }
    }
}

/// Opens connections.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) endpoint: Endpoint,
    pub(crate) security: Security,
    pub(crate) alpn: bool,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) limit: Duration,
    /// How long written data may wait to be sent and, on Linux, to be confirmed.
    pub(crate) keep_alive: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) prepared: Mutex<Prepared>,
    /// Whether the device's files have just been read for this connection.
    pub(crate) is_new: AtomicBool,
    /// The thread on which a token signs, one call at a time.
    pub(crate) signer: Blocking,
}

/// A proxy's address, and the user's credentials for it.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: Uri,
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The given proxy, else the environment's for this endpoint.
    pub(crate) fn of(
        given: Option<&SecretString>,
        endpoint: &Endpoint,
    ) -> Result<Option<Self>, Error> {
        if let Some(given) = given {
            return read_proxy(given.expose()).map(Some);
        }
        let found = proxy_of_environment(&format!("https://{}", endpoint.authority()))?;
        let Some((url, authorization)) = found else {
            return Ok(None);
        };
        let mut proxy = read_proxy(&url)?;
        proxy.authorization = authorization.or(proxy.authorization);
        Ok(Some(proxy))
    }
}

/// The TLS configuration or signature for the next connection.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    tls: Option<Arc<DeviceTls>>,
    signed: Option<Signed>,
}

impl Connector {
    /// Loads the current certificate or signs with the current credentials, for one attempt.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        let (tls, signed) = match &self.security {
            // Its files have just been read.
            Security::Device(identity) if self.is_new.swap(false, Ordering::Relaxed) => {
                (identity.tls_as_read(&self.clock)?, None)
            }
            Security::Device(identity) => (identity.tls(&self.clock).await?, None),
            Security::Named(trust) => (trust.tls(&self.clock)?, None),
            Security::Signed(trust, signer) => (
                trust.tls(&self.clock)?,
                Some(signer.sign(&self.endpoint).await?),
            ),
        };
        *self.lock() = Prepared {
            tls: Some(Arc::new(tls)),
            signed,
        };
        Ok(())
    }

    /// The reason that TLS, or the device's token, has for a failure. A certificate that may have been
    /// replaced meanwhile is read again for the next attempt.
    pub(crate) fn explain(&self, failure: &(dyn StdError + 'static)) -> Option<Error> {
        let tls = self.lock().tls.clone()?;
        let explained = tls.explain(failure, &self.endpoint.host)?;
        if let (true, Security::Device(identity)) = (explained.reload, &self.security) {
            identity.distrust();
        }
        Some(explained.error)
    }

    pub(crate) fn is_signed(&self) -> bool {
        matches!(self.security, Security::Signed(..))
    }

    /// Opens a connection that is ready for MQTT.
    pub(crate) async fn open(&self) -> Result<Stream, Error> {
        let time_is_up = self.clock.sleep(self.limit);
        tokio::select! {
            biased;
            opened = self.open_slowly() => opened,
            () = time_is_up => Err(lost::late(&self.endpoint.host, self.limit)),
        }
    }

    async fn open_slowly(&self) -> Result<Stream, Error> {
        let (tls, signed) = {
            let mut prepared = self.lock();
            // A signature is for one handshake.
            (prepared.tls.clone(), prepared.signed.take())
        };
        let Some(tls) = tls else {
            return Err(Error::connection("the connection was not prepared"));
        };
        let stream = self.watched(self.tcp().await?);
        let stream = self.tls(&tls, stream).await?;
        match (&self.security, signed) {
            (Security::Signed(_, signer), Some(signed)) => {
                websocket::open(signed, stream, &self.endpoint, signer).await
            }
            (Security::Signed(..), None) => Err(Error::connection("the connection was not signed")),
            (Security::Device(_) | Security::Named(_), _) => Ok(Box::new(stream)),
        }
    }

    /// Bounds how long a write may make no progress at all: a ping may be queued behind the data.
    fn watched(&self, stream: TcpStream) -> Watched {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.keep_alive));
        Box::pin(stream)
    }

    async fn tcp(&self) -> Result<TcpStream, Error> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let target = uri(&format!("http://{host}:{port}"))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // Data that is not confirmed for so long is lost.
        #[cfg(any(target_os = "android", target_os = "linux"))]
        tcp.set_tcp_user_timeout(Some(self.keep_alive));
        let Some(proxy) = &self.proxy else {
            poll_fn(|cx| tcp.poll_ready(cx))
                .await
                .map_err(|error| self.unreached(&error))?;
            return tcp
                .call(target)
                .await
                .map(|io| io.into_inner())
                .map_err(|error| self.unreached(&error));
        };
        let mut tunnel = Tunnel::new(proxy.address.clone(), tcp);
        if let Some(authorization) = proxy.authorization.clone() {
            tunnel = tunnel.with_auth(authorization);
        }
        poll_fn(|cx| tunnel.poll_ready(cx))
            .await
            .map_err(|error| self.unreached(&error))?;
        tunnel
            .call(target)
            .await
            .map(|io| io.into_inner())
            .map_err(|error| self.unreached(&error))
    }

    async fn tls(&self, tls: &DeviceTls, stream: Watched) -> Result<TlsStream<Watched>, Error> {
        let mut config = tls.config();
        let wanted = match self.security {
            Security::Named(_) => ALPN_WITHOUT_CERTIFICATE,
            _ => ALPN,
        };
        if self.alpn {
            config.alpn_protocols = vec![wanted.into()];
        }
        let name = ServerName::try_from(self.endpoint.name().to_owned()).map_err(|_| {
            Error::validation("`endpoint` is not a name that a certificate can be issued for")
                .with_param("endpoint")
        })?;
        let connector = TlsConnector::from(Arc::new(config));
        let handshake = connector.connect(name, stream);
        let opened = if tls.may_block() {
            self.signing(handshake).await?
        } else {
            handshake.await
        };
        let opened = opened.map_err(|error| {
            let refused = brs_core::kit::find::<rustls::Error>(&error).is_some_and(|error| {
                *error == rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            });
            if refused && self.alpn {
                return lost::alpn_refused(&self.endpoint.host, wanted);
            }
            self.explain(&error)
                .unwrap_or_else(|| self.unreached(&error))
        })?;
        if self.alpn && opened.get_ref().1.alpn_protocol() != Some(wanted.as_bytes()) {
            return Err(lost::alpn_refused(&self.endpoint.host, wanted));
        }
        Ok(opened)
    }

    /// Runs a handshake in which a token signs, which blocks, on a separate thread: a token that hangs
    /// must not take a thread of the runtime, delay its shutdown, or delay the next attempt.
    async fn signing<F>(&self, handshake: F) -> Result<F::Output, Error>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let handle = Handle::current();
        // Dropped with this future, which stops the handshake on the thread.
        let (_wanted, unwanted) = oneshot::channel::<()>();
        let call = move || {
            handle.block_on(async {
                tokio::select! {
                    opened = handshake => Some(opened),
                    _ = unwanted => None,
                }
            })
        };
        match self.signer.run(call).await {
            Ok(opened) => {
                opened.ok_or_else(|| Error::connection("the TLS handshake was cancelled"))
            }
            Err(error) => Err(lost::token_busy(&self.endpoint.host).with_source(error)),
        }
    }

    fn unreached(&self, error: &(dyn StdError + 'static)) -> Error {
        lost::unreached(&self.endpoint.host, error, &[])
    }

    fn lock(&self) -> MutexGuard<'_, Prepared> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uri(text: &str) -> Result<Uri, Error> {
    text.parse().map_err(|_| {
        Error::validation("`endpoint` has no usable host")
            .with_param("endpoint")
            .unrecoverable()
    })
}

/// Checks a proxy's URL.
pub(crate) fn check_proxy(url: &str) -> Result<(), Error> {
    read_proxy(url).map(drop)
}

/// Reads a proxy's URL. Errors do not repeat it: it may hold a password.
fn read_proxy(url: &str) -> Result<Proxy, Error> {
    let refused = || {
        Error::validation(
            "`proxy` must be the URL of a proxy: `http://`, a host and, if needed, a port",
        )
        .with_param("proxy")
        .unrecoverable()
    };
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(refused)?
        .trim_end_matches('/');
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    if host.is_empty() || host.contains(['/', '?', '#']) {
        return Err(refused());
    }
    let url = match user {
        // Passwords are often given as they are.
        Some(user) => format!("http://{}@{host}", utf8_percent_encode(user, USER)),
        None => format!("http://{host}"),
    };
    let matcher = Matcher::builder().https(url).build();
    let found = matcher.intercept(&Uri::from_static("https://endpoint"));
    let found = found.ok_or_else(refused)?;
    Ok(Proxy {
        address: found.uri().clone(),
        authorization: found.basic_auth().cloned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_url_is_read() {
        let Proxy {
            address,
            authorization,
        } = read_proxy("http://proxy.example:3128").unwrap();
        assert_eq!(
            (address.to_string().as_str(), authorization),
            ("http://proxy.example:3128/", None)
        );
        let Proxy {
            address,
            authorization,
        } = read_proxy("http://me:p%40ss@proxy/").unwrap();
        assert_eq!(address.to_string(), "http://proxy/");
        assert_eq!(
            authorization.unwrap().to_str().unwrap(),
            "Basic bWU6cEBzcw=="
        );
        for (url, plain) in [
            ("http://me@proxy", "Basic bWU6"),
            ("http://me:p@s/s@proxy", "Basic bWU6cEBzL3M="),
        ] {
            let header = read_proxy(url).unwrap().authorization.unwrap();
            assert_eq!(header.to_str().unwrap(), plain, "{url}");
            assert!(header.is_sensitive());
        }
        assert_eq!(
            read_proxy("http://[::1]:8080").unwrap().address.to_string(),
            "http://[::1]:8080/"
        );
    }

    #[test]
    fn a_wrong_proxy_is_refused_without_its_password() {
        for url in [
            "proxy:3128",
            "https://proxy",
            "http://",
            "http://u:hush@",
            "http://u:hush@a/b",
        ] {
            let error = read_proxy(url).unwrap_err();
            assert!(
                error.param() == Some("proxy") && !error.to_string().contains("hush"),
                "{error}"
            );
        }
    }
}
