//! One HTTP request for a secret, mostly a GET: bounded in size, retried where that may help, and shown nowhere.
//!
//! The AWS SDK's machinery sends it, so there is no second HTTP client. `local` is for endpoints of
//! this machine or its hypervisor, which no proxy can reach.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::TlsContext;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{
    HttpStatusCodeClassifier, TransientErrorClassifier,
};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::interceptors::context;
use aws_smithy_runtime_api::client::orchestrator::{
    HttpRequest, HttpResponse, OrchestratorError, SensitiveOutput,
};
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use brs_core::kit::{causes, clean, http_client_per_runtime, origin, with_cause};
use brs_core::{Error, SecretString};
use http::{HeaderName, HeaderValue, Method, Uri};
use zeroize::Zeroizing;

use crate::sts::http_client;

/// botocore's for metadata servers is 1 s to 2 s; a service across the internet needs more.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP client for endpoints of this machine: without a proxy.
pub(crate) fn local() -> SharedHttpClient {
    static LOCAL: LazyLock<SharedHttpClient> = LazyLock::new(|| {
        http_client_per_runtime(|| {
            http_client::own(TlsContext::default(), Some(ProxyConfig::disabled()))
        })
    });
    http_client::plain(Some(LOCAL.clone()))
}

/// What was answered, whatever the status.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
    /// The value of `Metadata-Flavor`.
    pub(crate) flavor: Option<String>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)
    }
}

impl std::error::Error for Answer {}

/// A request: its URL and headers may be secrets.
#[derive(Clone)]
pub(crate) struct Get {
    pub(crate) client: SharedHttpClient,
    pub(crate) url: Uri,
    pub(crate) headers: Vec<(&'static str, SecretString)>,
    pub(crate) own_headers: Vec<(String, SecretString)>,
    pub(crate) method: Method,
    /// How long one attempt may take.
    pub(crate) limit: Duration,
}

impl fmt::Debug for Get {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Get").field(&self.place()).finish()
    }
}

impl Get {
    pub(crate) fn new(
        client: SharedHttpClient,
        url: Uri,
        headers: Vec<(&'static str, SecretString)>,
    ) -> Self {
        Self {
            client,
            url,
            headers,
            own_headers: Vec::new(),
            method: Method::GET,
            limit: ATTEMPT_TIMEOUT,
        }
    }

    /// Where it goes, without what may be secret.
    pub(crate) fn place(&self) -> String {
        origin(&self.url.to_string())
    }

    /// Sends it, up to three times; `what` begins the sentence of an error.
    pub(crate) async fn send(self, what: &str) -> Result<Answer, Error> {
        let place = self.place();
        let unusable = || {
            Error::configuration(format!(
                "{what} cannot be asked for at `{place}`: check URL and headers"
            ))
            .unrecoverable()
        };
        let root = root(&self.url);
        let own = self.own_headers.iter();
        let own = own.map(|(name, value)| (name.as_str(), value));
        let all = self.headers.iter().map(|(name, value)| (*name, value));
        let mut headers = Vec::new();
        for (name, value) in all.chain(own) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            let value = HeaderValue::from_str(value.expose()).map_err(|_| unusable())?;
            headers.push((name, value));
        }
        let client = SharedHttpClient::new(Filled {
            client: self.client,
            url: self.url,
            headers: headers.into(),
        });
        let mut sensitive = Layer::new("SensitiveOutput");
        sensitive.store_put(SensitiveOutput);
        let operation = Operation::builder()
            .service_name("brs")
            .operation_name("Get")
            .http_client(client)
            .endpoint_url(&root)
            .no_auth()
            .with_connection_poisoning()
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT.min(self.limit))
                    .operation_attempt_timeout(self.limit)
                    .build(),
            )
            .standard_retry(&RetryConfig::standard())
            .retry_classifier(TransientErrorClassifier::<context::Error>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .runtime_plugin(StaticRuntimePlugin::new().with_config(sensitive.freeze()))
            .serializer(move |(): ()| {
                let request = http::Request::builder()
                    .method(self.method.clone())
                    .uri("/")
                    .body(SdkBody::empty())?;
                Ok(HttpRequest::try_from(request)?)
            })
            .deserializer(|response: &HttpResponse| {
                let answer = Answer {
                    status: response.status().as_u16(),
                    body: Zeroizing::new(response.body().bytes().unwrap_or_default().to_vec()),
                    flavor: response.headers().get("metadata-flavor").map(str::to_owned),
                };
                match response.status().is_success() {
                    true => Ok(answer),
                    // An error, so that the SDK tries again where that may help.
                    false => Err(OrchestratorError::operation(answer)),
                }
            })
            .build();
        match operation.invoke(()).await {
            Ok(answer) => Ok(answer),
            Err(SdkError::ServiceError(refused)) => Ok(refused.into_err()),
            Err(error) => Err(unreached(&error, what, &place)),
        }
    }
}

/// An HTTP client that puts URL and headers into the requests: they may be secrets, and the SDK logs
/// requests as they are before they come here.
struct Filled {
    client: SharedHttpClient,
    url: Uri,
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl fmt::Debug for Filled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filled").finish_non_exhaustive()
    }
}

impl HttpClient for Filled {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.client.http_connector(settings, components);
        let (url, headers) = (self.url.clone(), Arc::clone(&self.headers));
        SharedHttpConnector::new(FilledConnector {
            connector,
            url,
            headers,
        })
    }
}

struct FilledConnector {
    connector: SharedHttpConnector,
    url: Uri,
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl fmt::Debug for FilledConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilledConnector").finish_non_exhaustive()
    }
}

impl HttpConnector for FilledConnector {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        if let Err(error) = request.set_uri(self.url.clone()) {
            return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
        }
        for (name, value) in self.headers.iter() {
            // Checked to be text when the request was made.
            let value = value.to_str().unwrap_or_default().to_owned();
            request.headers_mut().insert(name.clone(), value);
        }
        self.connector.call(request)
    }
}

/// A URL up to its path.
fn root(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("http");
    let authority = url.authority().map_or("", |authority| authority.as_str());
    format!("{scheme}://{authority}/")
}

fn unreached(error: &SdkError<Answer, HttpResponse>, what: &str, place: &str) -> Error {
    let out = match error {
        SdkError::TimeoutError(_) => {
            Error::connection(format!("{what} did not come in time from `{place}`"))
        }
        SdkError::ResponseError(_) => Error::connection(format!(
            "{what} could not be read: `{place}` ended its answer early, or it has more than {} KiB",
            http_client::MAX_ANSWER / 1024
        )),
        SdkError::DispatchFailure(_) if causes(error, &[]).contains("certificate") => {
            Error::connection(format!(
                "the certificate of `{place}` is not trusted, so {what} was not fetched: give its authority in \
                 `AWS_CA_BUNDLE`, and check this machine's clock"
            ))
        }
        _ => Error::connection(format!(
            "`{place}` was not reached for {what}: check the URL, the network and the proxy"
        )),
    };
    with_cause(out, error, &[])
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The error for a status that is no success; `hint` ends the sentence.
    pub(crate) fn refusal(&self, what: &str, place: &str, says: &[&str], hint: &str) -> Error {
        let says = self.says(says);
        let said = says
            .as_ref()
            .map_or_else(String::new, |says| format!(" ({says})"));
        let status = self.status;
        let text = format!("`{place}` refused {what} with {status}: {hint}{said}");
        let error = match status {
            429 => Error::request(text).throttled(),
            408 | 500.. => Error::request(text).retryable(),
            _ => Error::request(text),
        };
        match says {
            Some(says) => error.with_status(status).with_detail("message", says),
            None => error.with_status(status),
        }
    }

    /// What a refusal says about itself, from the first of these fields of a JSON body.
    fn says(&self, fields: &[&str]) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        fields.iter().find_map(|field| {
            let text = clean(body.get(field)?.as_str()?, &[]);
            (!text.is_empty()).then_some(text)
        })
    }
}
