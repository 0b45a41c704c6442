//! The STS client's settings, each seen at work at the other end of the wire. Nothing here leaves
//! 127.0.0.1: names of AWS are only ever told to a proxy.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use brs::ErrorKind;
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;

/// Longer than any of the time limits set here, shorter than those that are not.
const SOON: Duration = Duration::from_secs(10);

fn client(client: StsClient) -> Params {
    Params::new(ROLE).client(client.max_attempts(1))
}

/// An authority, and an embedded AWS behind TLS with a certificate of that authority's.
pub(super) struct Secured {
    pub(super) aws: EmbeddedAws,
    pub(super) endpoint_url: String,
    pub(super) bundle: PathBuf,
    folder: tempfile::TempDir,
}

impl Secured {
    pub(super) async fn start() -> Self {
        let (authority, issuer) = authority();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let aws = EmbeddedAws::start();
        let behind = aws.endpoint_url().trim_start_matches("http://").to_owned();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let endpoint_url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    // Clients that trust nobody here leave in the middle of the handshake.
                    let Ok(mut secured) = acceptor.accept(stream).await else {
                        return;
                    };
                    let mut plain = TcpStream::connect(behind).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut secured, &mut plain).await;
                });
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("authority.pem");
        std::fs::write(&bundle, authority).unwrap();
        Self {
            aws,
            endpoint_url,
            bundle,
            folder,
        }
    }

    pub(super) fn session(&self, bundle: Option<&PathBuf>) -> SessionBuilder {
        let settings = StsClient::new().endpoint_url(&self.endpoint_url);
        let settings = bundle.into_iter().fold(settings, StsClient::ca_bundle);
        RefreshableSession::builder("sts", client(settings))
            .region("eu-west-1")
            .base_credentials(self.aws.credentials())
    }
}

/// An authority's certificate as PEM, and what signs with it.
pub(super) fn authority() -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), Issuer::new(params, key))
}

#[tokio::test]
async fn the_ca_bundle_is_whom_the_client_trusts() {
    let secured = Secured::start().await;
    let session = secured
        .session(Some(&secured.bundle))
        .build()
        .await
        .unwrap();
    key(&session).await;
    assert_eq!(secured.aws.calls("AssumeRole"), 1);

    let strange = secured.folder.path().join("strange.pem");
    std::fs::write(&strange, authority().0).unwrap();
    for bundle in [Some(&strange), None] {
        let error = secured
            .session(bundle)
            .build()
            .await
            .unwrap()
            .credentials()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
        assert!(
            error.to_string().contains("is not trusted")
                && error.to_string().contains("client.verify"),
            "{error}"
        );
    }
    assert_eq!(secured.aws.calls("AssumeRole"), 1);
}

#[tokio::test]
async fn a_bundle_with_several_certificates_and_other_things_works() {
    let secured = Secured::start().await;
    let wanted = std::fs::read_to_string(&secured.bundle).unwrap();
    let key = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(
        &secured.bundle,
        format!("# ours\r\n{}\n{key}\n{wanted}", authority().0),
    )
    .unwrap();
    self::key(
        &secured
            .session(Some(&secured.bundle))
            .build()
            .await
            .unwrap(),
    )
    .await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_named_when_the_session_is_built() {
    let secured = Secured::start().await;
    let good = std::fs::read_to_string(&secured.bundle).unwrap();
    std::fs::write(
        &secured.bundle,
        format!("{good}-----BEGIN CERTIFICATE-----\nMAYwADAAAwA=\n-----END CERTIFICATE-----\n"),
    )
    .unwrap();
    let error = secured
        .session(Some(&secured.bundle))
        .build()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.is_unrecoverable()),
        (ErrorKind::Configuration, true),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("authority.pem") && error.to_string().contains("number 2"),
        "{error}"
    );
}

/// A proxy that notes the first line of what it is asked, and answers what it is told.
pub(super) struct Proxy {
    pub(super) url: String,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub(super) fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&lines);
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut head = BufReader::new(stream.try_clone().unwrap())
                    .lines()
                    .map_while(io::Result::ok);
                noted.lock().unwrap().extend(head.next());
                // All of the head, or closing the connection would reset it.
                while head.next().is_some_and(|line| !line.is_empty()) {}
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { url, lines }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

pub(super) const DENIED: &str =
    "HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\nconnection: close\r\n\r\ndenied";

async fn error_through(proxy: &Proxy, settings: StsClient) -> Error {
    let session = RefreshableSession::builder("sts", client(settings.proxy(proxy.url.clone())))
        .region("eu-west-3")
        .base_credentials(aws_sdk_sts::config::Credentials::new(
            "AKIDEXAMPLE",
            "hush",
            None,
            None,
            "test",
        ))
        .build()
        .await
        .unwrap();
    session.credentials().await.unwrap_err()
}

#[tokio::test]
async fn the_proxy_is_asked_for_the_regions_own_endpoint() {
    let proxy = Proxy::start(DENIED);
    let error = error_through(&proxy, StsClient::new()).await;
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(
        error
            .to_string()
            .contains("https://sts.eu-west-3.amazonaws.com"),
        "{error}"
    );
    assert_eq!(
        proxy.lines(),
        ["CONNECT sts.eu-west-3.amazonaws.com:443 HTTP/1.1"]
    );
}

#[tokio::test]
async fn fips_and_dual_stack_endpoints_are_asked_where_they_are_set() {
    let proxy = Proxy::start(DENIED);
    for settings in [
        StsClient::new().use_fips(true),
        StsClient::new().use_dual_stack(true),
        StsClient::new().use_fips(true).use_dual_stack(true),
        StsClient::new().use_fips(false),
    ] {
        error_through(&proxy, settings).await;
    }
    let hosts = [
        "sts-fips.eu-west-3.amazonaws.com",
        "sts.eu-west-3.api.aws",
        "sts-fips.eu-west-3.api.aws",
    ];
    let hosts = hosts.into_iter().chain(["sts.eu-west-3.amazonaws.com"]);
    let expected: Vec<_> = hosts
        .map(|host| format!("CONNECT {host}:443 HTTP/1.1"))
        .collect();
    let mut lines = proxy.lines();
    // A call through a proxy that refuses is tried again.
    lines.dedup();
    assert_eq!(lines, expected);
}

#[test]
fn proxy_fips_and_dual_stack_come_from_the_environment() {
    let proxy = Proxy::start(DENIED);
    for (variables, host) in [
        (&[][..], "sts.eu-west-3.amazonaws.com"),
        (
            &["AWS_USE_FIPS_ENDPOINT"],
            "sts-fips.eu-west-3.amazonaws.com",
        ),
        (
            &["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"],
            "sts-fips.eu-west-3.api.aws",
        ),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_probe"));
        for (name, _) in std::env::vars() {
            if name.starts_with("AWS_") || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().map(|name| (*name, "true")));
        let output = command
            .args([ROLE, "-"])
            .env("HTTPS_PROXY", &proxy.url)
            .env("AWS_REGION", "eu-west-3")
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "hush")
            .env("AWS_CONFIG_FILE", "/nonexistent/config")
            .output()
            .unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(
            line.starts_with("connection error") && line.contains(host),
            "{line}"
        );
        assert!(
            line.contains(&format!("the proxy `{}", proxy.url.trim_end_matches('/')))
                && line.contains("`HTTPS_PROXY`"),
            "{line}"
        );
        assert_eq!(
            proxy.lines().last(),
            Some(&format!("CONNECT {host}:443 HTTP/1.1"))
        );
    }
}

#[tokio::test]
async fn a_proxys_own_refusal_is_not_taken_for_stss() {
    let proxy = Proxy::start(DENIED);
    let error = error_through(
        &proxy,
        StsClient::new().endpoint_url("http://sts.internal/base"),
    )
    .await;
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Request, Some(403)),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("is not STS") && error.to_string().contains("proxy"),
        "{error}"
    );
    assert!(!error.is_unrecoverable() && !error.is_retryable());
    assert_eq!(proxy.lines(), ["POST http://sts.internal/base/ HTTP/1.1"]);
}

#[tokio::test]
async fn the_read_time_out_ends_a_call_that_is_not_answered() {
    let (aws, clock) = aws();
    aws.fail_next([Failure::Hang]);
    let settings = StsClient::new().read_timeout(Duration::from_millis(100));
    let session = with_params(&aws, &clock, client(settings))
        .build()
        .await
        .unwrap();
    let error = tokio::time::timeout(SOON, session.credentials())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(
        error.is_retryable() && error.to_string().contains("did not answer in time"),
        "{error}"
    );
}

/// A listener that accepts nobody and whose queue is full: a connection waits.
pub(super) async fn full() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queued.push(connected.unwrap());
    }
    (address, (listener, queued))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_connect_time_out_ends_a_call_that_finds_nobody() {
    let (address, _queue) = full().await;
    let (aws, clock) = aws();
    let settings = StsClient::new()
        .endpoint_url(format!("http://{address}"))
        .connect_timeout(Duration::from_millis(100));
    let session = with_params(&aws, &clock, client(settings))
        .build()
        .await
        .unwrap();
    let error = tokio::time::timeout(Duration::from_secs(2), session.credentials())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection, "{error:?}");
    assert!(
        error.to_string().contains("did not answer in time"),
        "{error}"
    );
}

#[tokio::test]
async fn attempts_are_counted_at_the_server() {
    for (data, calls) in [
        (json!({ "total_max_attempts": 3 }), 3),
        (json!({ "max_attempts": 1 }), 2),
        (json!({ "max_attempts": 0 }), 1),
        (json!({ "max_attempts": 9, "total_max_attempts": 2 }), 2),
    ] {
        let aws = EmbeddedAws::start();
        aws.fail_always(Some(Failure::Status(500)));
        let data = json!({ "role_arn": ROLE, "client": { "config": { "retries": data } } });
        let session = SessionBuilder::from_data("sts", data)
            .unwrap()
            .base(hand_made(&aws).build())
            .build();
        assert!(session.await.unwrap().credentials().await.is_err());
        assert_eq!(aws.calls("AssumeRole"), calls);
    }
}

#[tokio::test]
async fn region_endpoint_and_name_are_the_clients_own() {
    let (aws, clock) = aws();
    let settings = StsClient::new()
        .region("ap-south-1")
        .endpoint_url(aws.endpoint_url())
        .app_name("reports");
    let session = with_params(&aws, &clock, client(settings))
        .endpoint_url("http://127.0.0.1:9")
        .build()
        .await
        .unwrap();
    key(&session).await;
    let request = &aws.requests()[0];
    assert_eq!(request.region.as_deref(), Some("ap-south-1"));
    assert!(
        request
            .user_agent
            .as_deref()
            .unwrap()
            .contains("app/reports"),
        "{request:?}"
    );
    assert_eq!(
        session.sdk_config().region().unwrap().as_ref(),
        "eu-west-1",
        "the session's stays"
    );
}

#[tokio::test]
async fn without_tls_by_the_sessions_endpoint_is_without_tls() {
    let (aws, clock) = aws();
    let data = json!({
        "role_arn": ROLE, "client": { "use_ssl": false }, "endpoint_url": aws.endpoint_url(), "region": "eu-west-1",
        "access_key_id": aws.access_key_id(), "secret_access_key": aws.secret_access_key(),
    });
    key(&SessionBuilder::from_data("sts", data)
        .unwrap()
        .clock(clock.clone())
        .build()
        .await
        .unwrap())
    .await;
    let data = json!({ "role_arn": ROLE, "client": { "use_ssl": false }, "region": "eu-west-1" });
    let error = SessionBuilder::from_data("sts", data)
        .unwrap()
        .clock(clock)
        .build()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.param()),
        (ErrorKind::Validation, Some("client.use_ssl")),
        "{error}"
    );
}

#[tokio::test]
async fn lists_are_not_taken_for_settings_by_position() {
    for (data, param) in [
        (
            json!({ "role_arn": ROLE, "client": ["eu-west-1"] }),
            "client",
        ),
        (json!({ "assume_role": [ROLE] }), "assume_role"),
        (
            json!({ "assume_role": { "role_arn": ROLE, "tags": [["team", "blue"]] } }),
            "assume_role.tags[0]",
        ),
    ] {
        let error = RefreshableSession::from_method("sts", data)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.param()),
            (ErrorKind::Validation, Some(param)),
            "{error}"
        );
        assert!(error.to_string().contains("expected a map"), "{error}");
    }
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn another_service_name_is_ignored_with_a_warning() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let (aws, clock) = aws();
    let data = json!({ "role_arn": ROLE, "client": { "service_name": "s3", "endpoint_url": aws.endpoint_url() } });
    let params = brs::Params::data(data).unwrap();
    let builder = RefreshableSession::builder("sts", params)
        .region("eu-west-1")
        .base_credentials(aws.credentials())
        .clock(clock);
    let session = {
        let _here = tracing::subscriber::set_default(subscriber);
        builder.build().await.unwrap()
    };
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        log.contains("WARN") && log.contains("service_name") && log.contains("s3"),
        "{log}"
    );
    key(&session).await;
}
