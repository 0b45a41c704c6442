//! What devices asked: the log that tests count calls in.

use std::time::SystemTime;

use crate::embedded_aws::log::Entry;

/// One request that reached the server. Secrets never enter it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct IotRequest {
    /// The HTTP method.
    pub method: String,
    /// Path and query as they were sent.
    pub path: String,
    /// The alias in the path, decoded; `None` for any other path.
    pub role_alias: Option<String>,
    /// The header `x-amzn-iot-thingname`.
    pub thing_name: Option<String>,
    /// The header `x-amzn-iot-credential-duration-seconds`.
    pub duration_seconds: Option<String>,
    /// The header `host`.
    pub host: Option<String>,
    /// The header `user-agent`.
    pub user_agent: Option<String>,
    /// The id of the client's certificate, registered or not.
    pub certificate_id: Option<String>,
    /// The name that the client asked for in its handshake (SNI).
    pub server_name: Option<String>,
    /// `TLSv1.2` or `TLSv1.3`.
    pub tls_version: Option<String>,
    /// Whether the connection resumed an earlier session.
    pub resumed: bool,
    /// The number of the connection, from 1, by a proxy's own count behind one.
    pub connection: usize,
    /// The header `x-amzn-requestid` of the answer.
    pub request_id: String,
    /// The HTTP status answered; `None` while the request is in flight and for a dropped
    /// connection.
    pub status: Option<u16>,
    /// The header `x-amzn-errortype` of the answer.
    pub error_code: Option<String>,
    /// When the request arrived, by the server's clock.
    pub time: SystemTime,
}

impl Entry for IotRequest {
    fn action(&self) -> &str {
        super::provider::ACTION
    }

    fn answered(&mut self, status: u16, error_code: Option<&str>) {
        self.status = Some(status);
        self.error_code = error_code.map(str::to_owned);
    }
}
