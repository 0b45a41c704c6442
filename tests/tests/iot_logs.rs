//! What sessions of the methods `iot` and `roles-anywhere` log at the finest level: what an operator
//! must see, and no secret.
//!
//! In a binary of its own, since refreshes run on brs's own threads and only a global subscriber
//! hears those.

#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::io;
use std::sync::{Arc, Mutex};

use brs::RefreshableSession;
use brs::iot::Params;
use brs_tests::embedded_aws::Failure;
use brs_tests::embedded_iot::{Device, EmbeddedIot, KeyKind, ServerCertificate};
use brs_tests::rough_path::RoughPath;
use brs_tests::{EmbeddedAnywhere, EmbeddedAws};
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What reqwest logs goes by `log`.
impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0
            .lock()
            .unwrap()
            .extend_from_slice(format!("{} {}\n", record.target(), record.args()).as_bytes());
    }

    fn flush(&self) {}
}

fn params(iot: &EmbeddedIot, device: &Device) -> Params {
    Params::new(iot.endpoint(), "demo")
        .allow_any_endpoint(true)
        .certificate(device.certificate_pem.as_str())
        .private_key(device.private_key_pem.as_str())
}

async fn open(params: Params) -> RefreshableSession {
    RefreshableSession::builder("iot", params)
        .region("eu-west-1")
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn an_operator_is_warned_and_no_secret_is_logged() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .init();
    log::set_boxed_logger(Box::new(log.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let aws = EmbeddedAws::start();
    let iot = EmbeddedIot::start(&aws);
    iot.add_role_alias("demo", "arn:aws:iam::123456789012:role/demo", None);
    let (device, second) = (
        iot.add_device("lamp", KeyKind::EcP256),
        iot.add_device("lamp", KeyKind::EcP256),
    );
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        directory.path().join("certificate"),
        directory.path().join("key"),
    );
    std::fs::write(&certificate, &device.certificate_pem).unwrap();
    std::fs::write(&key, &device.private_key_pem).unwrap();

    let files = params(&iot, &device)
        .certificate(certificate.as_path())
        .private_key(key.as_path());
    let files = files
        .trust_store(iot.trust_store())
        .private_key_passphrase("passphrase-hush");
    let session = open(files.max_attempts(1)).await;
    session.refresh().await.unwrap();
    for failure in [
        Failure::Status(500),
        Failure::AccessDenied,
        Failure::Truncated,
        Failure::DropConnection,
    ] {
        iot.fail_next([failure]);
        session.refresh().await.unwrap_err();
    }
    // Half a pair, then the whole.
    std::fs::write(&key, &second.private_key_pem).unwrap();
    session.refresh().await.unwrap();
    assert!(
        log.text().contains("changed files are not used yet"),
        "half a pair is warned of"
    );
    std::fs::write(&certificate, &second.certificate_pem).unwrap();
    session.refresh().await.unwrap();
    assert!(
        log.text().contains("certificate and key were reloaded"),
        "a whole one is told of"
    );

    iot.set_certificate(ServerCertificate::Untrusted);
    let unchecked = open(params(&iot, &device).danger_accept_invalid_certificates(true)).await;
    unchecked.refresh().await.unwrap();
    unchecked.refresh().await.unwrap();
    let warnings = log
        .text()
        .matches("the endpoint's certificate is not checked")
        .count();
    assert_eq!(warnings, 2, "at every refresh");

    iot.set_certificate(ServerCertificate::Good);
    let port = iot.endpoint().rsplit(':').next().unwrap().parse().unwrap();
    let way = RoughPath::start_tunnel(([127, 0, 0, 1], port).into());
    for (password, opens) in [("hush", true), ("wrong-hush", false)] {
        let proxy = format!("http://me:{password}@{}", way.address());
        let through = open(
            params(&iot, &device)
                .trust_store(iot.trust_store())
                .max_attempts(1)
                .proxy(proxy),
        )
        .await;
        assert_eq!(through.refresh().await.is_ok(), opens);
    }
    assert_eq!(way.connections(), 2);
    assert!(log.text().contains("reqwest"), "what reqwest logs is heard");

    let anywhere = EmbeddedAnywhere::start(&aws, &iot);
    let role = "arn:aws:iam::123456789012:role/demo";
    anywhere.add_role(role);
    let signed =
        brs::roles_anywhere::Params::new(anywhere.trust_anchor_arn(), anywhere.profile_arn(), role)
            .endpoint_url(anywhere.endpoint())
            .trust_store(iot.trust_store())
            .certificate(device.certificate_pem.as_str())
            .private_key(device.private_key_pem.as_str())
            .private_key_passphrase("passphrase-hush")
            .max_attempts(1);
    let session = RefreshableSession::open(signed).await.unwrap();
    session.refresh().await.unwrap();
    for failure in [
        Failure::Status(500),
        Failure::AccessDenied,
        Failure::Truncated,
        Failure::DropConnection,
    ] {
        anywhere.fail_next([failure]);
        session.refresh().await.unwrap_err();
    }
    assert!(log.text().contains("roles-anywhere"));

    let log = log.text();
    let keys = [&device, &second].map(|device| device.private_key_pem.clone());
    let lines = keys
        .iter()
        .flat_map(|key| key.lines())
        .filter(|line| !line.starts_with('-'))
        .map(str::to_owned);
    // Passwords as they are given and as they are sent.
    let also = [
        "passphrase-hush",
        "me:hush",
        "bWU6aHVzaA",
        "wrong-hush",
        "bWU6d3JvbmctaHVzaA",
    ]
    .map(str::to_owned);
    for secret in lines.chain(aws.issued_secrets()).chain(also) {
        // The secret itself is not repeated here: this is a log, too.
        let line = log.lines().find(|line| line.contains(&secret));
        assert!(
            line.is_none(),
            "a secret is logged: {}",
            line.unwrap_or_default().replace(&secret, "***")
        );
    }
}
