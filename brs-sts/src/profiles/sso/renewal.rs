//! What the token service of IAM Identity Center answers when the AWS SDK renews a login.
//!
//! The SDK keeps a failed renewal to itself and hands out the old token, so an outage of the token
//! service looks like an expired login. The HTTP client in between notes which of the two it
//! was. Only the service's own word about the token or the registration ends a login; a proxy's
//! page, a busy service and silence do not.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;

/// The codes of CreateToken that a person has to act upon, without `Exception`, as OAuth spells
/// them without `_`.
const ENDED: [&str; 6] = [
    "invalidgrant",
    "expiredtoken",
    "unauthorizedclient",
    "invalidclient",
    "accessdenied",
    "invalidrequest",
];

/// What a renewal came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Outcome {
    /// No renewal was tried.
    #[default]
    None,
    /// The service did not answer, or not to the question.
    Outage,
    /// The service says that the login has expired.
    Ended,
    /// The service answered with success.
    Answered,
}

/// What the last attempt of a renewal came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Renewal(Arc<Mutex<Outcome>>);

impl Renewal {
    pub(super) fn outcome(&self) -> Outcome {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `client`, whose answers are noted.
    pub(super) fn watched(&self, client: SharedHttpClient) -> SharedHttpClient {
        SharedHttpClient::new(Watched {
            client,
            renewal: self.clone(),
        })
    }

    fn note(&self, outcome: Outcome) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

#[derive(Debug)]
struct Watched {
    client: SharedHttpClient,
    renewal: Renewal,
}

impl HttpClient for Watched {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        SharedHttpConnector::new(WatchedConnector {
            connector,
            renewal: self.renewal.clone(),
        })
    }
}

#[derive(Debug)]
struct WatchedConnector {
    connector: SharedHttpConnector,
    renewal: Renewal,
}

impl HttpConnector for WatchedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        // Said first: a call that is given up is never polled again.
        self.renewal.note(Outcome::Outage);
        let (answer, renewal) = (self.connector.call(request), self.renewal.clone());
        HttpConnectorFuture::new(async move {
            let mut answer = answer.await?;
            let status = answer.status();
            if status.is_success() {
                renewal.note(Outcome::Answered);
            } else if status.is_client_error() {
                let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
                let read = body.collect().await.map_err(ConnectorError::io)?.to_bytes();
                if code(&answer, &read).is_some_and(|code| is_end(&code)) {
                    renewal.note(Outcome::Ended);
                }
                *answer.body_mut() = SdkBody::from(read);
            }
            Ok(answer)
        })
    }
}

/// The code of a refusal by AWS, from its header or else from its body.
fn code(answer: &HttpResponse, body: &[u8]) -> Option<String> {
    if let Some(code) = answer.headers().get("x-amzn-errortype") {
        return Some(code.to_owned());
    }
    // Proxies and gateways refuse in JSON, too.
    answer.headers().get("x-amzn-requestid")?;
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    ["__type", "code", "error"]
        .iter()
        .find_map(|name| body.get(name)?.as_str().map(str::to_owned))
}

/// Whether a code ends a login: `InvalidGrantException:http://…`,
/// `com.amazonaws.ssooidc#InvalidGrantException` and `invalid_grant` do.
fn is_end(code: &str) -> bool {
    let code = code.split(':').next().unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let code = code
        .trim()
        .trim_end_matches("Exception")
        .replace('_', "")
        .to_ascii_lowercase();
    ENDED.contains(&code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_counts_only_if_aws_made_it() {
        let body = br#"{"error": "access_denied"}"#;
        let mut answer = HttpResponse::new(403.try_into().unwrap(), SdkBody::empty());
        assert_eq!(code(&answer, body), None);
        answer.headers_mut().insert("x-amzn-requestid", "1");
        assert_eq!(code(&answer, body).as_deref(), Some("access_denied"));
    }

    #[test]
    fn only_the_services_word_about_the_login_ends_it() {
        for ended in [
            "InvalidGrantException",
            "ExpiredTokenException:http://internal.amazon.com/coral/com.amazonaws.ssooidc/",
            "com.amazonaws.ssooidc#UnauthorizedClientException",
            "invalid_client",
            "access_denied",
        ] {
            assert!(is_end(ended), "{ended}");
        }
        for other in [
            "SlowDownException",
            "InternalServerException",
            "server_error",
            "slow_down",
            "ThrottlingException",
            "",
        ] {
            assert!(!is_end(other), "{other}");
        }
    }
}
