//! The embedded credentials provider, tried by hand with a plain TLS client, and its credentials
//! with the SDK's.
//!
//! `nginx` does so with another implementation of TLS in between.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Credentials, Region};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;
use brs_tests::embedded_iot::{Device, EmbeddedIot, KeyKind, ServerCertificate, TlsVersions};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

mod nginx;

const ROLE: &str = "arn:aws:iam::123456789012:role/demo";
const PATH: &str = "/role-aliases/demo/credentials";
const HOUR: Duration = Duration::from_secs(3600);

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn refusal(&self) -> (u16, String) {
        (
            self.status,
            self.json()["message"].as_str().unwrap().to_owned(),
        )
    }

    fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &str| {
            line.split_once(": ")
                .is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        self.headers
            .lines()
            .find(|line| named(line))?
            .split_once(": ")
            .map(|(_, value)| value)
    }
}

/// A device's client; connectors of one client share its TLS sessions.
#[derive(Clone)]
struct Client {
    tls: TlsConnector,
    endpoint: String,
}

impl Client {
    fn new(iot: &EmbeddedIot, identity: Option<(&str, &str)>) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(iot.trust_store().as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match identity {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
                    .map(Result::unwrap)
                    .collect();
                config
                    .with_client_auth_cert(
                        chain,
                        PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                    )
                    .unwrap()
            }
            None => config.with_no_client_auth(),
        };
        Self {
            tls: TlsConnector::from(Arc::new(config)),
            endpoint: iot.endpoint(),
        }
    }

    fn of(iot: &EmbeddedIot, device: &Device) -> Self {
        Self::new(
            iot,
            Some((&device.certificate_pem, &device.private_key_pem)),
        )
    }

    /// The same client at another door.
    fn at(self, endpoint: String) -> Self {
        Self { endpoint, ..self }
    }

    async fn get(&self, path: &str, headers: &str) -> std::io::Result<Answer> {
        let stream = TcpStream::connect(self.endpoint.replace("localhost", "127.0.0.1")).await?;
        let mut stream = self
            .tls
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}\r\n",
            self.endpoint
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => break,
                Ok(length) => answer.extend_from_slice(&buffer[..length]),
                // The server closes without a TLS farewell.
                Err(error)
                    if error.kind() == std::io::ErrorKind::UnexpectedEof && !answer.is_empty() =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let answer = String::from_utf8(answer).unwrap();
        let (headers, body) = answer
            .split_once("\r\n\r\n")
            .ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = headers.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Answer {
            status,
            headers: headers.to_owned(),
            body: body.to_owned(),
        })
    }

    async fn refusal(&self, headers: &str) -> (u16, String) {
        self.get(PATH, headers).await.unwrap().refusal()
    }
}

fn provider(aws: &EmbeddedAws) -> EmbeddedIot {
    let iot = EmbeddedIot::start(aws);
    iot.add_role_alias("demo", ROLE, None);
    iot
}

fn refused(status: u16, message: &str) -> (u16, String) {
    (status, message.to_owned())
}

#[tokio::test]
async fn a_device_of_each_kind_gets_credentials_that_the_embedded_aws_accepts() {
    let aws = EmbeddedAws::start();
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let iot = EmbeddedIot::builder(&aws).tls(versions).start();
        iot.add_role_alias("demo", ROLE, None);
        for kind in [KeyKind::Rsa2048, KeyKind::EcP256, KeyKind::EcP384] {
            let device = iot.add_device("lamp", kind);
            let answer = Client::of(&iot, &device)
                .get(PATH, "x-amzn-iot-thingname: lamp\r\n")
                .await
                .unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            let issued = answer.json()["credentials"].clone();
            let text = |name: &str| issued[name].as_str().unwrap().to_owned();
            let (id, secret, token) = (
                text("accessKeyId"),
                text("secretAccessKey"),
                text("sessionToken"),
            );
            assert!(text("expiration").ends_with('Z'));
            let config = aws_sdk_sts::Config::builder()
                .behavior_version(BehaviorVersion::v2026_01_12())
                .region(Region::new("eu-west-1"))
                .endpoint_url(aws.endpoint_url())
                .credentials_provider(Credentials::new(&id, secret, Some(token), None, "test"))
                .retry_config(RetryConfig::disabled())
                .build();
            let sts = aws_sdk_sts::Client::from_conf(config);
            let arn = sts.get_caller_identity().send().await.unwrap().arn.unwrap();
            assert_eq!(
                arn,
                format!(
                    "arn:aws:sts::123456789012:assumed-role/demo/{}",
                    device.certificate_id
                )
            );
            aws.expire(&id);
            assert!(sts.get_caller_identity().send().await.is_err());
        }
        let request = iot.requests().pop().unwrap();
        let version = if versions == TlsVersions::Tls12 {
            "TLSv1.2"
        } else {
            "TLSv1.3"
        };
        assert_eq!(request.tls_version.as_deref(), Some(version));
        assert_eq!(request.server_name.as_deref(), Some("localhost"));
        assert_eq!(
            (request.role_alias.as_deref(), request.thing_name.as_deref()),
            (Some("demo"), Some("lamp"))
        );
        assert_eq!(
            (iot.calls(), iot.connections(), iot.full_handshakes()),
            (3, 3, 3)
        );
    }
}

#[tokio::test]
async fn refusals_are_those_of_aws() {
    let aws = EmbeddedAws::start();
    let iot = provider(&aws);
    let device = iot.add_device("lamp", KeyKind::EcP256);
    let client = Client::of(&iot, &device);

    iot.deactivate(&device);
    let answer = client.get(PATH, "").await.unwrap();
    assert_eq!(
        answer.refusal(),
        refused(403, "Certificate is invalid on this endpoint")
    );
    assert_eq!(
        answer.header("x-amzn-errortype"),
        Some("AccessDeniedException")
    );
    assert_eq!(
        answer.header("x-amzn-requestid"),
        Some(&*iot.requests()[0].request_id)
    );
    iot.activate(&device);

    let lamp = "x-amzn-iot-thingname: lamp\r\n";
    iot.detach_thing(&device, "lamp");
    assert_eq!(
        client.refusal(lamp).await,
        refused(403, "Invalid thing name passed")
    );
    iot.attach_thing(&device, "lamp");

    iot.deny(&device);
    assert_eq!(client.refusal(lamp).await, refused(403, "Access Denied"));
    iot.allow(&device);

    iot.break_trust("demo");
    let message = "Unable to assume the role, or the role to assume does not exist";
    assert_eq!(client.refusal(lamp).await, refused(400, message));
    iot.mend_trust("demo");

    iot.add_role_alias("demo", ROLE, HOUR);
    let message =
        "The requested CredentialDurationSeconds exceeds the MaxSessionDuration set for the role";
    let long = "x-amzn-iot-credential-duration-seconds: 3601\r\n";
    assert_eq!(client.refusal(long).await, refused(400, message));
    let short = "x-amzn-iot-credential-duration-seconds: 899\r\n";
    assert_eq!(client.get(PATH, short).await.unwrap().status, 400);
    assert_eq!(client.get(PATH, lamp).await.unwrap().status, 200);

    iot.remove_role_alias("demo");
    assert_eq!(
        client.refusal(lamp).await,
        refused(404, "Role alias does not exist")
    );
}

#[tokio::test]
async fn an_alias_is_found_however_it_is_written_in_the_path() {
    let aws = EmbeddedAws::start();
    let iot = provider(&aws);
    iot.add_role_alias("a=b,c@d", ROLE, None);
    let client = Client::of(&iot, &iot.add_device("lamp", KeyKind::EcP256));
    for alias in ["a=b,c@d", "a%3Db%2Cc%40d"] {
        let answer = client
            .get(&format!("/role-aliases/{alias}/credentials"), "")
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{alias}");
    }
}

#[tokio::test]
async fn planned_failures_look_like_a_service_in_trouble() {
    let aws = EmbeddedAws::start();
    let iot = provider(&aws);
    let client = Client::of(&iot, &iot.add_device("lamp", KeyKind::EcP256));
    let body = Failure::Body {
        status: 200,
        body: "{\"credentials\":{}}".to_owned(),
    };
    iot.fail_next([
        Failure::Throttled,
        Failure::Status(503),
        Failure::EmptyBody,
        Failure::MalformedXml,
        Failure::Truncated,
        Failure::Oversized,
        body,
        Failure::Page(502),
        Failure::DropConnection,
    ]);
    let mut seen = Vec::new();
    for _ in 0..8 {
        let answer = client.get(PATH, "").await.unwrap();
        seen.push((
            answer.status,
            serde_json::from_str::<Value>(&answer.body).is_ok(),
            answer.body.len() > 64 << 10,
        ));
    }
    let good = (200, true, false);
    let bad = (200, false, false);
    let big = (200, true, true);
    assert_eq!(
        seen,
        [
            (429, true, false),
            (503, true, false),
            bad,
            bad,
            bad,
            big,
            good,
            (502, false, false)
        ]
    );
    client.get(PATH, "").await.unwrap_err();
    assert_eq!(client.get(PATH, "").await.unwrap().status, 200);
    assert_eq!(iot.requests()[8].status, None);

    iot.fail_next([Failure::AlreadyExpired]);
    let answer = client.get(PATH, "").await.unwrap();
    assert!(answer.json()["credentials"]["expiration"].is_string());
}

#[tokio::test]
async fn a_session_is_resumed_and_counted() {
    let aws = EmbeddedAws::start();
    for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
        let iot = EmbeddedIot::builder(&aws).tls(versions).start();
        iot.add_role_alias("demo", ROLE, None);
        let device = iot.add_device("lamp", KeyKind::EcP256);
        let client = Client::of(&iot, &device);
        for _ in 0..3 {
            assert_eq!(client.get(PATH, "").await.unwrap().status, 200);
        }
        assert_eq!(
            (
                iot.connections(),
                iot.full_handshakes(),
                iot.resumed_handshakes()
            ),
            (3, 1, 2)
        );
        let requests = iot.requests();
        assert!(
            requests
                .iter()
                .all(|request| request.certificate_id.as_ref() == Some(&device.certificate_id))
        );
        assert_eq!(
            requests
                .iter()
                .map(|request| request.resumed)
                .collect::<Vec<_>>(),
            [false, true, true]
        );
    }
}

#[tokio::test]
async fn clients_without_a_certificate_of_the_authority_are_refused_in_the_handshake() {
    let aws = EmbeddedAws::start();
    let (iot, other) = (provider(&aws), provider(&aws));
    let device = iot.add_device("lamp", KeyKind::EcP256);
    let stranger = other.add_device("lamp", KeyKind::EcP256);
    for (identity, wanted) in [
        (None, "CertificateRequired"),
        (
            Some((&*stranger.certificate_pem, &*stranger.private_key_pem)),
            "UnknownCA",
        ),
        (
            Some((device.leaf_pem(), &*device.private_key_pem)),
            "UnknownCA",
        ),
    ] {
        let error = Client::new(&iot, identity).get(PATH, "").await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
    }
    iot.wait_for_refused_handshakes(3).await;
    assert_eq!(
        (iot.calls(), iot.refused_handshakes(), iot.full_handshakes()),
        (0, 3, 0)
    );
}

#[tokio::test]
async fn the_validity_of_client_certificates_is_judged_by_the_servers_clock() {
    #[expect(
        clippy::disallowed_methods,
        reason = "the client judges the server's certificate by the system's clock"
    )]
    let start = SystemTime::now();
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&seconds);
    let now = move || start + Duration::from_secs(clock.load(Ordering::SeqCst));
    let aws = EmbeddedAws::builder().clock(now).start();
    let iot = provider(&aws);
    let device = iot.add_device_valid("lamp", KeyKind::EcP256, start + HOUR..start + 3 * HOUR);
    for (hours, wanted) in [
        (0, "CertificateExpired"),
        (2, ""),
        (4, "CertificateExpired"),
    ] {
        seconds.store(hours * 3600, Ordering::SeqCst);
        let result = Client::of(&iot, &device).get(PATH, "").await;
        match result {
            Ok(answer) => assert_eq!((answer.status, wanted), (200, "")),
            Err(error) => assert!(
                !wanted.is_empty() && error.to_string().contains(wanted),
                "{hours}: {error}"
            ),
        }
    }
}

#[tokio::test]
async fn a_server_certificate_can_be_wrong_in_each_way() {
    let aws = EmbeddedAws::start();
    let iot = provider(&aws);
    let client = Client::of(&iot, &iot.add_device("lamp", KeyKind::EcP256));
    for (certificate, wanted) in [
        (ServerCertificate::Expired, "expired"),
        (ServerCertificate::NotYetValid, "not valid yet"),
        (ServerCertificate::WrongHost, "not valid for name"),
        (ServerCertificate::Untrusted, "UnknownIssuer"),
    ] {
        iot.set_certificate(certificate);
        let error = client.get(PATH, "").await.unwrap_err();
        assert!(
            error.to_string().contains(wanted),
            "{certificate:?}: {error}"
        );
    }
    iot.set_certificate(ServerCertificate::Good);
    assert_eq!(client.get(PATH, "").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_key_that_is_elsewhere_is_certified() {
    let aws = EmbeddedAws::start();
    let iot = provider(&aws);
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap()
        .pem()
        .unwrap();
    let public_key = rcgen::PublicKeyData::subject_public_key_info(&key);
    let key_pem = key.serialize_pem();
    for certificate in [
        iot.certify("lamp", &key),
        iot.certify_der("lamp", &public_key),
        iot.certify_request("lamp", &request),
    ] {
        let client = Client::new(&iot, Some((&certificate, &key_pem)));
        assert_eq!(
            client
                .get(PATH, "x-amzn-iot-thingname: lamp\r\n")
                .await
                .unwrap()
                .status,
            200
        );
        iot.deactivate(&certificate);
        assert_eq!(client.get(PATH, "").await.unwrap().status, 403);
    }
}

#[tokio::test]
async fn answers_and_handshakes_can_be_held_and_connections_closed() {
    let aws = EmbeddedAws::start();
    let iot = provider(&aws);
    let client = Client::of(&iot, &iot.add_device("lamp", KeyKind::EcP256));
    let get = || {
        let client = client.clone();
        tokio::spawn(async move { client.get(PATH, "").await })
    };
    let hold = iot.hold();
    let held = get();
    iot.wait_for_calls(1).await;
    assert!(!held.is_finished());
    hold.release();
    assert_eq!(held.await.unwrap().unwrap().status, 200);

    let hold = iot.hold();
    let held = get();
    iot.wait_for_calls(2).await;
    iot.close_connections();
    held.await.unwrap().unwrap_err();
    drop(hold);

    let silence = iot.silence();
    let silent = get();
    iot.wait_for_connections(3).await;
    assert_eq!(
        (
            iot.calls(),
            iot.full_handshakes() + iot.resumed_handshakes()
        ),
        (2, 2)
    );
    drop(silence);
    assert_eq!(silent.await.unwrap().unwrap().status, 200);
}
