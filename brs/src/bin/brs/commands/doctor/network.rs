//! The way to the endpoint, step by step: name, connection, proxy (`reach`), TLS, and the clock.
//!
//! A step that fails is the last one. TLS is checked with the authorities that the session uses: a
//! device's, the bundle of `AWS_CA_BUNDLE`, or the system's. What a token would have to sign is
//! left to the call.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_ssooidc::primitives::{DateTime, DateTimeFormat};
use aws_types::service_config::ServiceConfigKey;
use brs::iot::{DeviceIdentity, DeviceTls, Iot, Pem, ServerTrust};
use brs::kit::{causes, origin};
use brs::roles_anywhere::RolesAnywhere;
use brs::{Clock, Error, RefreshableSession};
use http::{Request, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1::handshake;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::reach::{STEP, connection, name, tunnel};
use super::report::Report;
use crate::open::Opened;

/// AWS refuses what is signed with a clock that is further off.
const ALLOWED_SKEW: Duration = Duration::from_secs(300);
/// A clock that is set by the network is nearer.
const USUAL_SKEW: Duration = Duration::from_secs(30);

/// The endpoint that a session asks.
pub(super) struct Target {
    url: Uri,
    trust: Trust,
}

enum Trust {
    /// The device's authorities, and its certificate.
    Device(DeviceIdentity),
    /// `AWS_CA_BUNDLE`, or the system's authorities.
    Usual,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Target {
    /// `None`: the method asks no endpoint, or one that only it knows.
    pub(super) fn of(opened: &Opened) -> Option<Self> {
        let session = &opened.session;
        let (url, trust) = if let Some(iot) = session.strategy::<Iot>() {
            (
                format!("https://{}/", iot.endpoint()),
                Trust::Device(iot.device_identity()),
            )
        } else if let Some(anywhere) = session.strategy::<RolesAnywhere>() {
            (format!("https://{}/", anywhere.endpoint()), Trust::Usual)
        } else if session.method().starts_with("sts") {
            (sts_url(session)?, Trust::Usual)
        } else {
            return None;
        };
        let url = url.parse().ok()?;
        Some(Self { url, trust })
    }

    pub(super) async fn check(&self, clock: &Arc<dyn Clock>, report: &mut Report) {
        let Some(host) = self.url.host() else {
            return report.fail("endpoint", "its URL has no host", "correct `endpoint_url`");
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_plain = self.url.scheme_str() == Some("http");
        let port = self
            .url
            .port_u16()
            .unwrap_or(if is_plain { 80 } else { 443 });
        let proxy = Matcher::from_env().intercept(&self.url);
        let proxy_uri = proxy.as_ref().map(|proxy| proxy.uri().clone());
        let (peer, peer_port, named) = match &proxy_uri {
            Some(uri) => {
                let host = uri.host().unwrap_or_default().to_owned();
                let named = format!("the proxy `{}`", origin(&uri.to_string()));
                (host, uri.port_u16().unwrap_or(80), named)
            }
            None => (
                host.to_owned(),
                port,
                format!("the endpoint `{}`", origin(&self.url.to_string())),
            ),
        };
        let Some(addresses) = name(&peer, peer_port, report).await else {
            return;
        };
        let Some(mut stream) = connection(&addresses, &named, report).await else {
            return;
        };
        if let (Some(proxy), false) = (&proxy, is_plain) {
            if let Err(problem) = tunnel(&mut stream, host, port, proxy.basic_auth()).await {
                let remedy =
                    "check `HTTPS_PROXY`, its user and password, or add the endpoint to `NO_PROXY`";
                return report.fail(
                    "proxy",
                    &format!("{named} does not lead to the endpoint: {problem}"),
                    remedy,
                );
            }
            report.ok("proxy", &format!("{named} leads to the endpoint"));
        }
        let stream: Box<dyn Stream> = if is_plain {
            let remedy = "give an `https://` URL, unless this is for tests";
            report.warn("tls", "the endpoint is not asked over TLS", remedy);
            Box::new(stream)
        } else {
            match self.tls(stream, host, clock, report).await {
                Some(stream) => stream,
                None => return,
            }
        };
        self.clock(stream, proxy.is_some() && is_plain, &**clock, report)
            .await;
    }

    async fn tls(
        &self,
        stream: TcpStream,
        host: &str,
        clock: &Arc<dyn Clock>,
        report: &mut Report,
    ) -> Option<Box<dyn Stream>> {
        let (tls, authorities) = match self.settings(clock).await {
            Ok(settings) => settings,
            Err(error) => {
                let failure = crate::exit::Failure::of_opening(error);
                report.failed("tls", &failure, "check the file of the authorities");
                return None;
            }
        };
        let Ok(name) = ServerName::try_from(host.to_owned()) else {
            report.fail(
                "tls",
                "the host's name cannot be checked",
                "correct the endpoint",
            );
            return None;
        };
        let connector = TlsConnector::from(Arc::new(tls.config()));
        let failed = match tokio::time::timeout(STEP, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => {
                let (_, session) = stream.get_ref();
                let version = session
                    .protocol_version()
                    .map(|version| format!("{version:?}"));
                let text = format!(
                    "{}, trusted by {authorities}",
                    version.as_deref().unwrap_or("TLS")
                );
                report.ok("tls", &text);
                return Some(Box::new(stream));
            }
            Ok(Err(error)) => error,
            Err(_) => {
                report.fail(
                    "tls",
                    "no answer to the handshake",
                    "check firewalls on the way that look into TLS",
                );
                return None;
            }
        };
        let remedy = "if a proxy on the way looks into TLS, put its authority into the file of `AWS_CA_BUNDLE`";
        match tls.explain(&failed, host) {
            Some(explained) => {
                let failure = crate::exit::Failure::Credentials(explained.error);
                report.failed("tls", &failure, remedy);
            }
            None => report.fail("tls", &format!("{failed}"), remedy),
        }
        None
    }

    async fn settings(&self, clock: &Arc<dyn Clock>) -> Result<(DeviceTls, String), Error> {
        if let Trust::Device(device) = &self.trust {
            let own = device.tls(clock).await?;
            // A token's signature would block this thread: without the certificate the server still
            // shows its own.
            let tls = if own.may_block() {
                device.trust().tls(clock)?
            } else {
                own
            };
            return Ok((tls, "the device's authorities".to_owned()));
        }
        let bundle = std::env::var("AWS_CA_BUNDLE")
            .ok()
            .filter(|path| !path.trim().is_empty());
        let authorities = match &bundle {
            Some(path) => format!("`{path}` (`AWS_CA_BUNDLE`)"),
            None => "the system's authorities".to_owned(),
        };
        let trust = ServerTrust::load(bundle.map(Pem::file)).await?;
        Ok((trust.tls(clock)?, authorities))
    }

    /// This machine's clock against the endpoint's.
    async fn clock(
        &self,
        stream: Box<dyn Stream>,
        is_proxied: bool,
        clock: &dyn Clock,
        report: &mut Report,
    ) {
        let begun = clock.now();
        let date = tokio::time::timeout(STEP, self.date(stream, is_proxied)).await;
        let ended = clock.now();
        let date = match date {
            Ok(Ok(date)) => date,
            Ok(Err(problem)) => {
                let text = format!("the endpoint's clock is not known: {problem}");
                return report.warn(
                    "clock",
                    &text,
                    "check that nothing but the endpoint answers at this address",
                );
            }
            Err(_) => {
                return report.warn(
                    "clock",
                    "the endpoint does not answer a request",
                    "try again later",
                );
            }
        };
        let off = off(date, begun, ended);
        let text = format!(
            "this machine's clock is {} s off the endpoint's",
            off.as_secs()
        );
        let remedy = "set the clock, and let the network keep it (NTP)";
        if off > ALLOWED_SKEW {
            report.fail(
                "clock",
                &format!("{text}: AWS refuses signatures from 300 s"),
                remedy,
            );
        } else if off > USUAL_SKEW {
            report.warn("clock", &text, remedy);
        } else {
            report.ok("clock", &text);
        }
    }

    /// What the endpoint says the time is, whatever else it answers.
    async fn date(&self, stream: Box<dyn Stream>, is_proxied: bool) -> Result<SystemTime, String> {
        let problem = |error: hyper::Error| match causes(&error, &[]) {
            cause if cause.is_empty() => error.to_string(),
            cause => format!("{error}: {cause}"),
        };
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(problem)?;
        let driving = tokio::spawn(connection);
        let target = if is_proxied {
            self.url.to_string()
        } else {
            "/".to_owned()
        };
        let host = self
            .url
            .authority()
            .map(|authority| authority.as_str().to_owned())
            .unwrap_or_default();
        let request = Request::get(target)
            .header(header::HOST, host)
            .header(header::USER_AGENT, "brs")
            .header(header::CONNECTION, "close")
            .body(Empty::<bytes::Bytes>::new())
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(problem);
        driving.abort();
        let answer = answer?;
        let date = answer
            .headers()
            .get(header::DATE)
            .and_then(|date| date.to_str().ok());
        let date = date.ok_or("its answer has no date")?;
        let date = DateTime::from_str(date, DateTimeFormat::HttpDate).ok();
        date.and_then(|date| SystemTime::try_from(date).ok())
            .ok_or_else(|| "its answer has no date".to_owned())
    }
}

/// How far a date in whole seconds is from the time of its request at least.
fn off(date: SystemTime, begun: SystemTime, ended: SystemTime) -> Duration {
    let later = date.duration_since(ended).unwrap_or_default();
    let earlier = begun
        .duration_since(date + Duration::from_secs(1))
        .unwrap_or_default();
    later.max(earlier)
}

fn sts_url(session: &RefreshableSession) -> Option<String> {
    let config = session.sdk_config();
    if let Some(url) = config.endpoint_url() {
        return Some(url.to_owned());
    }
    let key = ServiceConfigKey::builder()
        .service_id("STS")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    if let Some(url) = key
        .ok()
        .and_then(|key| config.service_config()?.load_config(key))
    {
        return Some(url);
    }
    let region = config.region()?;
    let fips = if config.use_fips() == Some(true) {
        "-fips"
    } else {
        ""
    };
    let domain = match (
        config.use_dual_stack() == Some(true),
        region.as_ref().starts_with("cn-"),
    ) {
        (false, false) => "amazonaws.com",
        (false, true) => "amazonaws.com.cn",
        (true, false) => "api.aws",
        (true, true) => "api.amazonwebservices.com.cn",
    };
    Some(format!("https://sts{fips}.{region}.{domain}/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn a_date_is_compared_with_the_time_of_its_request() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        for (date, begun, ended, expected) in [
            (10_000, 10_100, 10_200, 0),
            (10_000, 10_900, 11_500, 0),
            (20_000, 10_000, 10_000, 10_000),
            (10_000, 20_000, 21_000, 9000),
        ] {
            assert_eq!(
                off(at(date), at(begun), at(ended)),
                Duration::from_millis(expected)
            );
        }
    }
}
