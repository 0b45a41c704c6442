//! What clients asked: the log that tests count calls in.

use std::time::SystemTime;

use crate::embedded_aws::log::Entry;

/// One request that reached the server. Secrets never enter it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnywhereRequest {
    /// The HTTP method.
    pub method: String,
    /// Path and query as they were sent.
    pub path: String,
    /// The header `host`.
    pub host: Option<String>,
    /// The header `user-agent`.
    pub user_agent: Option<String>,
    /// The header `x-amz-date`.
    pub date: Option<String>,
    /// The header `authorization`; it holds no secret.
    pub authorization: Option<String>,
    /// The header `x-amz-x509`.
    pub certificate: Option<String>,
    /// The header `x-amz-x509-chain`.
    pub chain: Option<String>,
    /// The body, if it is JSON.
    pub body: serde_json::Value,
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

impl Entry for AnywhereRequest {
    fn action(&self) -> &str {
        super::session::ACTION
    }

    fn answered(&mut self, status: u16, error_code: Option<&str>) {
        self.status = Some(status);
        self.error_code = error_code.map(str::to_owned);
    }
}
