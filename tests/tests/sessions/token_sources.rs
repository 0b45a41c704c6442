//! Sources of web identity tokens: what each asks for, what each refusal says, and what becomes of
//! tokens that are late, long, broken or expired.

use std::process::Command as Process;

use brs::command::Command;
use brs::sts::web_identity::{Params, TokenSource};
use brs::{ErrorKind, RefreshableSession};
use brs_tests::identity_providers::{
    API_KEY, CLIENT_ID, GITHUB_TOKEN, IDENTITY_HEADER, IdentityProviders, SERVICE_ACCOUNT,
};

use super::*;

const ACTION: &str = "AssumeRoleWithWebIdentity";

fn started() -> (EmbeddedAws, ManualClock, IdentityProviders) {
    let (aws, clock) = aws();
    let providers = IdentityProviders::start(&aws);
    (aws, clock, providers)
}

async fn session(
    aws: &EmbeddedAws,
    clock: &ManualClock,
    source: TokenSource,
) -> RefreshableSession {
    let params = Params::new().role_arn(ROLE).token_source(source);
    let builder = RefreshableSession::builder("sts-web-identity", params);
    builder
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .clock(clock.clone())
        .build()
        .await
        .unwrap()
}

/// Runs the probe with a token source as data, and nothing of AWS or an issuer in its environment
/// but `environment`.
fn probe(
    aws: &EmbeddedAws,
    source: &serde_json::Value,
    environment: &[(&str, &str)],
) -> (bool, String) {
    let data = serde_json::json!({ "role_arn": ROLE, "token_source": source });
    let mut command = Process::new(env!("CARGO_BIN_EXE_probe"));
    for (name, _) in std::env::vars().filter(|(name, _)| {
        name.starts_with("AWS_") || name.starts_with("ACTIONS_") || name.starts_with("IDENTITY_")
    }) {
        command.env_remove(name);
    }
    let output = command
        .args(["data", &aws.endpoint_url()])
        .env("PROBE_METHOD", "sts-web-identity")
        .env("PROBE_DATA", data.to_string())
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_CONFIG_FILE", "/nonexistent/config")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials")
        .env("PROBE_LOG", "1")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("TRACE"), "everything is logged");
    for secret in ["hush", "eyJ"]
        .map(str::to_owned)
        .into_iter()
        .chain(aws.issued_secrets())
    {
        let line = log.lines().find(|line| line.contains(&secret));
        let line = line.unwrap_or_default().replace(&secret, "***");
        assert!(line.is_empty(), "a secret is logged: {line}");
    }
    let line = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), line)
}

fn assert_ok((ok, line): &(bool, String)) {
    assert!(
        *ok && line.contains("assumed-role/demo/brs-session"),
        "{line}"
    );
}

#[tokio::test]
async fn github_is_asked_with_audience_and_token_for_each_refresh() {
    let aws = EmbeddedAws::start();
    let providers = IdentityProviders::start(&aws);
    let url = providers.github_url();
    let job = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", GITHUB_TOKEN),
    ];
    let source = serde_json::json!({ "github": true });
    assert_ok(&probe(&aws, &source, &job));
    let other = serde_json::json!({ "github": true, "audience": "a&b=ü" });
    assert_ok(&probe(&aws, &other, &job));
    assert_eq!(
        providers.asked(),
        [
            "/abc//idtoken/7/8?api-version=2.0&audience=sts%2Eamazonaws%2Ecom",
            "/abc//idtoken/7/8?api-version=2.0&audience=a%26b%3D%C3%BC",
        ]
    );

    // Without one of the variables nobody is asked.
    for set in [&job[..1], &job[1..], &[][..]] {
        let (ok, line) = probe(&aws, &source, set);
        assert!(
            !ok && line.starts_with("configuration unrecoverable"),
            "{line}"
        );
        assert!(line.contains("permissions: id-token: write"), "{line}");
    }
    let (_, line) = probe(
        &aws,
        &source,
        &[job[0], ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "other-hush")],
    );
    assert!(
        line.contains("refused the web identity token of GitHub Actions with 401")
            && line.contains("not authorized to access this resource"),
        "{line}"
    );
    assert!(!line.contains("hush"), "{line}");
    let (_, line) = probe(
        &aws,
        &serde_json::json!({ "github": true, "audience": "a b" }),
        &job,
    );
    assert!(
        line.contains("with 400") && line.contains("Can't issue ID_TOKEN"),
        "{line}"
    );
    let (_, line) = probe(
        &aws,
        &source,
        &[("ACTIONS_ID_TOKEN_REQUEST_URL", "hush"), job[1]],
    );
    assert!(
        line.contains("check `ACTIONS_ID_TOKEN_REQUEST_URL`"),
        "{line}"
    );
    assert!(!line.contains("hush"), "{line}");
}

#[tokio::test]
async fn metadata_servers_are_where_the_environment_says() {
    let aws = EmbeddedAws::start();
    let providers = IdentityProviders::start(&aws);
    let url = providers.url();
    let host = url.trim_start_matches("http://");
    let gcp = [
        ("GCE_METADATA_HOST", host),
        // A proxy cannot reach them.
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("http_proxy", "http://127.0.0.1:9"),
        ("NO_PROXY", ""),
    ];
    let gcp_source = serde_json::json!({ "gcp": true });
    let direct = [("AWS_STS_REGIONAL_ENDPOINTS", "regional"), gcp[0]];
    assert_ok(&probe(&aws, &gcp_source, &direct));
    // STS is not reached through that proxy, but the token is there by then.
    let asked = providers.issued().len();
    let (ok, line) = probe(&aws, &gcp_source, &gcp);
    assert!(!ok && line.contains("proxy"), "{line}");
    assert!(providers.issued().len() > asked);

    let azure_source = serde_json::json!({ "azure": true, "audience": "api://aws" });
    let azure = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", url.as_str())];
    assert_ok(&probe(&aws, &azure_source, &azure));
    let endpoint = format!("{url}/msi/token");
    let service = [
        ("IDENTITY_ENDPOINT", endpoint.as_str()),
        ("IDENTITY_HEADER", IDENTITY_HEADER),
    ];
    assert_ok(&probe(&aws, &azure_source, &service));
    assert!(
        providers
            .asked()
            .last()
            .unwrap()
            .starts_with("/msi/token?api-version=2019-08-01&resource=api")
    );
    let (_, line) = probe(
        &aws,
        &azure_source,
        &[service[0], ("IDENTITY_HEADER", "other-hush")],
    );
    assert!(
        line.contains("with 400") && !line.contains("hush"),
        "{line}"
    );
}

#[tokio::test]
async fn google_and_azure_are_asked_as_they_want_it_and_their_refusals_are_explained() {
    let (aws, clock, providers) = started();
    let url = providers.url();
    let azure = || TokenSource::azure("api://aws").endpoint(&url);
    let gcp = || TokenSource::gcp().endpoint(&url);
    for source in [
        gcp(),
        gcp()
            .service_account(SERVICE_ACCOUNT)
            .audience("https://a.example/b"),
        azure(),
        azure().client_id(CLIENT_ID),
    ] {
        let session = session(&aws, &clock, source).await;
        session.refresh().await.unwrap();
        session.refresh().await.unwrap();
    }
    assert_eq!(providers.issued().len(), 8, "a new token for each refresh");
    for (source, status, words) in [
        (
            gcp().service_account("nobody"),
            404,
            "check `service_account`",
        ),
        (azure().client_id("other"), 400, "Identity not found"),
        (azure().audience("aws"), 400, "AADSTS500011"),
    ] {
        let session = session(&aws, &clock, source).await;
        let error = session.refresh().await.unwrap_err();
        assert_eq!(
            (error.status(), error.param()),
            (Some(status), Some("token_source")),
            "{error:?}"
        );
        assert!(
            error.to_string().contains(words) && !error.is_unrecoverable(),
            "{error}"
        );
    }
    // What answers without the flavor is not the metadata server.
    providers.fail_next([(200, "eyJ.page")]);
    let error = session(&aws, &clock, gcp())
        .await
        .refresh()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("Metadata-Flavor"), "{error}");
}

#[tokio::test]
async fn a_url_answers_with_the_token_or_with_json_that_holds_it() {
    let (aws, clock, providers) = started();
    let source = |path: &str| {
        TokenSource::http(format!("{}{path}", providers.url())).header("X-Api-Key", API_KEY)
    };
    let pointer = |pointer: &str| source("/token?as=json&q=query-hush").pointer(pointer);
    for good in [source("/token"), pointer("/data/tokens/0/a~1b")] {
        session(&aws, &clock, good).await.refresh().await.unwrap();
    }
    for (source, words) in [
        (
            pointer("/data/tokens/1"),
            "it has no text at `/data/tokens/1`",
        ),
        (pointer("/data"), "it has no text at `/data`"),
        (source("/token").pointer("/a"), "it is not JSON"),
        (
            source("/other?hush"),
            "with 404: check its URL and headers (no such page",
        ),
    ] {
        let session = session(&aws, &clock, source).await;
        let error = session.refresh().await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        let shown = format!(
            "{error} {error:?} {session:?} {:?}",
            session.strategy::<brs::sts::web_identity::WebIdentity>()
        );
        assert!(!shown.contains("hush") && !shown.contains("eyJ"), "{shown}");
    }
    let calls = aws.calls(ACTION);
    for (body, words) in [
        (r"{}".to_owned(), "2 characters"),
        ("x".repeat(20_001), "20000 characters"),
        ("x".repeat(300 * 1024), "KiB"),
    ] {
        // Tried again by the HTTP client where the answer broke off.
        providers.fail_next([(200, &*body.leak()); 1]);
        let error = session(&aws, &clock, source("/token"))
            .await
            .refresh()
            .await;
        if let Err(error) = error {
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    assert!(aws.calls(ACTION) - calls <= 1);
}

#[tokio::test]
async fn trouble_on_the_way_is_retried_and_a_source_that_hangs_costs_its_time_limit() {
    let (aws, clock, providers) = started();
    let source = || TokenSource::gcp().endpoint(providers.url());
    providers.fail_next([(503, ""), (500, "")]);
    session(&aws, &clock, source())
        .await
        .refresh()
        .await
        .unwrap();
    // Not sent again at once.
    providers.fail_next([(429, "")]);
    let error = session(&aws, &clock, source())
        .await
        .refresh()
        .await
        .unwrap_err();
    assert!(
        error.is_throttled() && error.status() == Some(429),
        "{error:?}"
    );
    providers.fail_next([(500, ""); 3]);
    let error = session(&aws, &clock, source())
        .await
        .refresh()
        .await
        .unwrap_err();
    assert!(
        error.is_retryable() && error.status() == Some(500),
        "{error:?}"
    );
    let azure = TokenSource::azure("api://aws").endpoint(providers.url());
    providers.fail_next([(410, "")]);
    let error = session(&aws, &clock, azure)
        .await
        .refresh()
        .await
        .unwrap_err();
    assert!(
        error.is_retryable() && error.status() == Some(410),
        "{error:?}"
    );

    providers.hang(true);
    let session = session(&aws, &clock, source().timeout(seconds(7))).await;
    let asked = providers.asked().len();
    let call = session.refresh();
    tokio::pin!(call);
    while providers.asked().len() == asked {
        assert!((&mut call).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    clock.advance(seconds(8));
    let error = call.await.unwrap_err();
    assert!(
        error.to_string().contains("did not come within 7s") && error.is_retryable(),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_token_is_fetched_again_once_and_never_sent() {
    let (aws, clock, providers) = started();
    let session = session(&aws, &clock, TokenSource::gcp().endpoint(providers.url())).await;
    providers.issue_expired([seconds(1)]);
    session.refresh().await.unwrap();
    assert_eq!((providers.issued().len(), aws.calls(ACTION)), (2, 1));
    providers.issue_expired([seconds(30), seconds(20)]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!((providers.issued().len(), aws.calls(ACTION)), (4, 1));
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Credential, Some("token_source"))
    );
    let at = brs_core::kit::iso8601(start() - seconds(20));
    assert!(
        error.to_string().contains(&format!("expired at {at}")),
        "{error}"
    );
    assert!(!error.is_unrecoverable());
    // A file that is not renewed gives the same, and AWS judges a text that is not a JSON web token.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &providers.issued()[3]).unwrap();
    let session = self::session(&aws, &clock, TokenSource::file(file.path())).await;
    let error = session.refresh().await.unwrap_err();
    assert!(error.to_string().contains("was not sent"), "{error}");
    assert_eq!(aws.calls(ACTION), 1);
}

#[tokio::test]
async fn refreshes_go_on_over_expiries_and_an_outage() {
    let (aws, clock, providers) = started();
    let session = session(
        &aws,
        &clock,
        TokenSource::azure("api://aws").endpoint(providers.url()),
    )
    .await;
    let first = session.credentials().await.unwrap();
    // The token has expired long before the credentials do.
    for _ in 0..3 {
        clock.advance(HOUR);
        session.credentials().await.unwrap();
    }
    assert_eq!((providers.issued().len(), aws.calls(ACTION)), (4, 4));
    providers.fail_next([(503, ""); 3]);
    clock.advance(HOUR);
    // Expired, and served all the same: the issuer's trouble may pass.
    let served = session.credentials().await.unwrap();
    assert_ne!(served.access_key_id(), first.access_key_id());
    assert_eq!(aws.calls(ACTION), 4);
    clock.advance(HOUR);
    let renewed = session.credentials().await.unwrap();
    assert_ne!(renewed.access_key_id(), served.access_key_id());
}

#[tokio::test]
async fn functions_commands_and_variables_give_tokens() {
    let (aws, clock) = aws();
    aws.add_web_identity("eyJ.local.token", "pod");
    let good = || Ok::<_, std::io::Error>("eyJ.local.token\n");
    let failing = || Err::<String, _>(std::io::Error::other("no provider here"));
    for source in [
        TokenSource::function(move || async move { good() }),
        TokenSource::blocking_function(good),
        TokenSource::command(Command::parse("printf ' eyJ.local.token\n'").unwrap()),
    ] {
        let session = session(&aws, &clock, source).await;
        session.refresh().await.unwrap();
        let detail = session.whoami().await.unwrap().details["token_source"].clone();
        assert!(
            detail.contains("function") || detail.contains("printf"),
            "{detail}"
        );
    }
    for (source, kind, words) in [
        (
            TokenSource::function(move || async move { failing() }),
            ErrorKind::Configuration,
            "the function for the web identity token failed",
        ),
        (
            TokenSource::blocking_function(failing),
            ErrorKind::Configuration,
            "the function for the web identity token failed",
        ),
        (
            TokenSource::blocking_function(|| -> Result<String, Error> { panic!("as wanted") }),
            ErrorKind::Connection,
            "panicked",
        ),
        (
            TokenSource::function(|| async {
                panic!("as wanted");
                #[expect(unreachable_code, reason = "the type")]
                Ok::<String, Error>(String::new())
            }),
            ErrorKind::Connection,
            "panicked",
        ),
        (
            TokenSource::command(Command::parse("sh -c 'echo why >&2; exit 3'").unwrap()),
            ErrorKind::Configuration,
            "no web identity token",
        ),
        (
            TokenSource::command(Command::parse("printf abc").unwrap()),
            ErrorKind::Configuration,
            "has 3 characters",
        ),
        (
            TokenSource::env("BRS_NO_SUCH_VARIABLE"),
            ErrorKind::Configuration,
            "in the variable `BRS_NO_SUCH_VARIABLE` is missing",
        ),
    ] {
        let error = session(&aws, &clock, source)
            .await
            .refresh()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(
            error.to_string().contains(words) && !error.is_unrecoverable(),
            "{error}"
        );
    }
    let aws = EmbeddedAws::start();
    aws.add_web_identity("eyJ.local.token", "pod");
    let variable = serde_json::json!({ "variable": "CI_TOKEN" });
    assert_ok(&probe(&aws, &variable, &[("CI_TOKEN", "eyJ.local.token")]));
    let command = serde_json::json!({ "command": ["printenv", "T"], "env": { "T": "eyJ.local.token" }, "timeout": 5 });
    assert_ok(&probe(&aws, &command, &[]));
}
