//! The methods `container` and `imds` beside the AWS SDK's own clients, one table each: both find
//! the same environment, in a process of its own, and the table says why where they differ.
//!
//! The SDK's client is given an HTTP client that notes the request and answers it; brs's request is
//! looked at before it is sent.

mod rows;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use aws_types::SdkConfig;
use brs_core::{RefreshContext, RefreshStrategy as _, Setup, SystemClock, TemporaryCredentials};

use crate::methods::{container, imds};
use rows::{CONTAINER, IMDS, Row};

/// Which client a child process tries.
const CHILD: &str = "BRS_TEST_BESIDE_THE_SDK";
/// The file that is written again between its two requests.
const REWRITE: &str = "BRS_TEST_REWRITE";
const REFUSES: &str = "refuses";

#[test]
fn container_does_what_the_sdks_client_does_or_the_table_says_why_not() {
    if std::env::var_os(CHILD).is_some() {
        return child(async || Pair {
            sdk: container_of_sdk().await,
            brs: container_of_brs().await,
        });
    }
    hold(
        CONTAINER,
        "container_does_what_the_sdks_client_does_or_the_table_says_why_not",
    );
}

#[test]
fn imds_does_what_the_sdks_client_does_or_the_table_says_why_not() {
    if std::env::var_os(CHILD).is_some() {
        return child(async || Pair {
            sdk: imds_of_sdk().await,
            brs: imds_of_brs().await,
        });
    }
    hold(
        IMDS,
        "imds_does_what_the_sdks_client_does_or_the_table_says_why_not",
    );
}

/// Holds the table against both, each row in a process of its own.
fn hold(rows: &[Row], test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    for row in rows {
        assert_eq!(
            row.sdk == row.brs,
            row.why.is_empty(),
            "{:?}",
            row.environment
        );
        std::fs::write(&file, row.file).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        let path = file.to_str().unwrap();
        let environment = row.environment.iter();
        let environment = environment.map(|(name, value)| (*name, value.replace("FILE", path)));
        let output = command
            .args([
                &format!("methods::machine::beside_the_sdk::{test}"),
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .env("AWS_CONFIG_FILE", "/nonexistent/config")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
            .envs(environment)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{:?}: {said}", row.environment);
        for (whose, expected) in [("sdk: ", row.sdk), ("brs: ", row.brs)] {
            let found = said.lines().find_map(|line| line.split_once(whose));
            let found = found.map(|(_, found)| found);
            assert_eq!(
                found,
                Some(expected),
                "{whose}{:?}: {said}",
                row.environment
            );
        }
    }
}

/// What both did.
struct Pair {
    sdk: String,
    brs: String,
}

/// Tries both, twice with the file changed in between if that is wanted, and prints what they did.
fn child(ask: impl AsyncFn() -> Pair) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut done = runtime.block_on(ask());
    if let Some(file) = std::env::var_os(REWRITE) {
        let Pair { sdk, brs } = runtime.block_on(async {
            // By one and the same client.
            let (sdk, brs) = (ecs(), container().await.unwrap());
            let before = (sdk.ask().await, of_container(&brs).await);
            std::fs::write(Path::new(&file), "new").unwrap();
            Pair {
                sdk: format!("{}, {}", before.0, sdk.ask().await),
                brs: format!("{}, {}", before.1, of_container(&brs).await),
            }
        });
        done = Pair { sdk, brs };
    }
    println!("\nsdk: {}\nbrs: {}", done.sdk, done.brs);
}

/// One of the SDK's clients, and what it has asked.
struct OfSdk<P>(P, Seen);

impl<P: ProvideCredentials> OfSdk<P> {
    async fn ask(&self) -> String {
        let found = self.0.provide_credentials().await;
        let mut asked = self.1.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = asked.drain(..).next();
        assert_eq!(found.is_ok(), first.is_some(), "{found:?}");
        first.unwrap_or_else(|| REFUSES.to_owned())
    }
}

fn providers(seen: &Seen) -> ProviderConfig {
    ProviderConfig::without_region().with_http_client(seen.clone())
}

fn ecs() -> OfSdk<EcsCredentialsProvider> {
    let seen = Seen::default();
    let provider = EcsCredentialsProvider::builder().configure(&providers(&seen));
    OfSdk(provider.build(), seen)
}

async fn container_of_sdk() -> String {
    ecs().ask().await
}

async fn imds_of_sdk() -> String {
    let seen = Seen::default();
    let provider = ImdsCredentialsProvider::builder().configure(&providers(&seen));
    let asked = OfSdk(provider.build(), seen).ask().await;
    asked
        .strip_suffix("/latest/api/token")
        .unwrap_or(&asked)
        .to_owned()
}

fn setup() -> Setup {
    Setup::for_test(SdkConfig::builder().build(), Arc::new(SystemClock::new()))
}

async fn container() -> Option<container::Container> {
    container::build(container::Params::new(), setup())
        .await
        .ok()
}

async fn container_of_brs() -> String {
    match container().await {
        Some(container) => of_container(&container).await,
        None => REFUSES.to_owned(),
    }
}

async fn of_container(container: &container::Container) -> String {
    let cx = RefreshContext::for_test(Arc::new(SystemClock::new()), Duration::from_secs(10));
    let Ok(request) = container.request(&cx).await else {
        return REFUSES.to_owned();
    };
    let mut headers = request.headers.iter();
    let token = headers.find(|(name, _)| *name == "authorization");
    shown(
        &request.url.to_string(),
        token.map(|(_, token)| token.expose()),
    )
}

async fn imds_of_brs() -> String {
    let Ok(imds) = imds::build(imds::Params::new(), setup()).await else {
        return REFUSES.to_owned();
    };
    let set = TemporaryCredentials::new("ASIAEXAMPLE", "secret", None, None);
    imds.identity(&set).await.unwrap().details["endpoint"].clone()
}

fn shown(url: &str, token: Option<&str>) -> String {
    token.map_or_else(|| url.to_owned(), |token| format!("{url} as {token}"))
}

/// Notes each request and answers it as a container's endpoint or the metadata service would.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl HttpClient for Seen {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Seen {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = request.uri();
        let body = if url.ends_with("/latest/api/token") {
            "session-token"
        } else if url.ends_with("/security-credentials/") {
            "web"
        } else {
            r#"{"Code":"Success","AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"secret","Token":"token",
            "Expiration":"2100-01-01T00:00:00Z"}"#
        };
        let asked = shown(url, request.headers().get("authorization"));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(asked);
        let mut answer = HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(body));
        let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        answer.headers_mut().insert(ttl.0, ttl.1);
        HttpConnectorFuture::ready(Ok(answer))
    }
}
