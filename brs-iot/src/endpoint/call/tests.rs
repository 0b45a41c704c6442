//! A key that signs by a call that blocks. The rest of a call has its tests where there is an
//! endpoint.

use std::sync::{Weak, mpsc};
use std::time::SystemTime;

use brs_core::test_util::ManualClock;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{Signer, SigningKey};
use rustls::{RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::device::external_key::OpenedKey;
use crate::device::server_time::ServerTime;
use crate::endpoint::error::Call;

const PATIENCE: Duration = Duration::from_secs(20);

/// Signs once somebody else has done something meanwhile.
#[derive(Debug)]
struct Slow {
    key: Arc<dyn SigningKey>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    /// The last signature's limit, while somebody keeps it.
    limit: std::sync::Mutex<Weak<Duration>>,
    signing: Notify,
    release: std::sync::Mutex<mpsc::Receiver<()>>,
}

#[derive(Debug)]
struct SlowSigner(Box<dyn Signer>, Arc<Gate>);

impl Slow {
    fn new(own: &Identity) -> (Arc<Self>, mpsc::Sender<()>) {
        let (release, released) = mpsc::channel();
        let gate = Arc::new(Gate {
            limit: std::sync::Mutex::default(),
            signing: Notify::new(),
            release: std::sync::Mutex::new(released),
        });
        let key = any_supported_type(&own.key).unwrap();
        (Arc::new(Self { key, gate }), release)
    }
}

impl SigningKey for Slow {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.key.choose_scheme(offered)?;
        Some(Box::new(SlowSigner(signer, Arc::clone(&self.gate))))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

#[async_trait::async_trait]
impl OpenedKey for Slow {
    fn limit_signatures(&self, limit: Duration) -> Arc<Duration> {
        let kept = Arc::new(limit);
        *self.gate.limit.lock().unwrap() = Arc::downgrade(&kept);
        kept
    }

    async fn sign_message(
        &self,
        _: rustls::SignatureScheme,
        _: &[u8],
        _: Duration,
    ) -> Result<Vec<u8>, brs_core::Error> {
        unreachable!("TLS signs in its handshake")
    }

    fn tls12_only(&self) -> bool {
        false
    }

    fn is_provisional(&self) -> bool {
        false
    }
}

impl Signer for SlowSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.1.signing.notify_one();
        let released = self.1.release.lock().unwrap().recv_timeout(PATIENCE);
        released.map_err(|_| rustls::Error::General("nobody else came to anything".into()))?;
        self.0.sign(message)
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn identity() -> Identity {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    Identity {
        certificate,
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    }
}

/// Answers one request of that device, where it `answers`; gives the port.
fn serve(server: Identity, device: &CertificateDer<'static>, answers: bool) -> u16 {
    let mut roots = RootCertStore::empty();
    roots.add(device.clone()).unwrap();
    let provider = Arc::new(default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.certificate], server.key)
        .unwrap();
    let (port, ports) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            port.send(listener.local_addr().unwrap().port()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                request.push(byte);
            }
            if !answers {
                std::future::pending::<()>().await;
            }
            let body = r#"{"credentials":{"accessKeyId":"ASIASLOW","secretAccessKey":"s","sessionToken":"t",
                "expiration":"2040-01-01T00:00:00Z"}}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
    });
    ports.recv().unwrap()
}

/// A device with a slow key that calls such a server.
struct Slowly {
    device: Arc<Device>,
    clients: Clients,
    set: Set,
    cx: RefreshContext,
    gate: Arc<Gate>,
    release: mpsc::Sender<()>,
}

impl Slowly {
    fn new(answers: bool) -> Self {
        let (server, own) = (identity(), identity());
        let port = serve(server, &own.certificate, answers);
        let (key, release) = Slow::new(&own);
        let gate = Arc::clone(&key.gate);
        let device = Arc::new(Device::of_external(vec![own.certificate], key));
        // A self-signed server is believed here: what is tried is who waits for whom.
        let set = Set {
            device: Arc::clone(&device),
            trust: Trust::Anybody,
            generation: 0,
            problem: None,
        };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(
            SystemTime::UNIX_EPOCH + PATIENCE * 90_000_000,
        ));
        let url = format!("https://localhost:{port}/role-aliases/demo/credentials");
        let server_time = Arc::new(ServerTime::new(Arc::clone(&clock)));
        let clients = Clients::new(
            Request::new(reqwest::Method::GET, url.parse().unwrap()),
            "brs-iot",
            [PATIENCE; 2],
            None,
            Arc::clone(&clock),
            server_time,
            true,
        )
        .unwrap();
        let cx = RefreshContext::for_test(clock, PATIENCE * 2);
        Self {
            device,
            clients,
            set,
            cx,
            gate,
            release,
        }
    }

    async fn fetch(&self) -> Result<TemporaryCredentials, Failed> {
        let limits = Limits {
            timeout: PATIENCE,
            max_attempts: 1,
        };
        fetch(
            &self.clients,
            &self.set,
            limits,
            &call(&self.device),
            &self.cx,
        )
        .await
    }

    fn limit(&self) -> Option<Arc<Duration>> {
        self.gate.limit.lock().unwrap().upgrade()
    }
}

fn call(device: &Device) -> Call<'_> {
    Call {
        target: Target {
            endpoint: "localhost",
            shown: Some(device),
            trust: &Trust::Anybody,
            now: SystemTime::UNIX_EPOCH,
            server_time: None,
        },
        role_alias: "demo",
        thing_name: None,
        duration: None,
        device,
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_key_that_blocks_stalls_no_current_thread_runtime() {
    let slowly = Slowly::new(true);
    let (fetched, ()) = tokio::join!(slowly.fetch(), async {
        slowly.gate.signing.notified().await;
        slowly.release.send(()).unwrap();
    });
    assert_eq!(fetched.unwrap().access_key_id(), "ASIASLOW");
    assert!(slowly.limit().is_none());
}

#[tokio::test(flavor = "current_thread")]
async fn a_call_that_nobody_waits_for_ends_with_its_signature_which_keeps_its_limit() {
    let slowly = Slowly::new(false);
    tokio::select! {
        _ = slowly.fetch() => unreachable!("the key signs nothing yet"),
        () = slowly.gate.signing.notified() => {}
    }
    assert!(slowly.limit().is_some());
    slowly.release.send(()).unwrap();
    // The server never answers: without being given up the call would have all of its time.
    let given_up = async {
        while slowly.limit().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE / 4, given_up).await.unwrap();
}

#[test]
fn a_status_says_more_than_a_body_that_is_not_all_there() {
    let own = identity();
    let (key, _) = Slow::new(&own);
    let device = Device::of_external(vec![own.certificate], key);
    for (status, code, again) in [
        (503, None, true),
        (429, None, true),
        (403, Some("AccessDeniedException"), false),
        (403, None, false),
        (200, None, false),
    ] {
        let answer = || Answer {
            status,
            code: code.map(failed::code_of),
            request_id: None,
            date: None,
            retry_after: None,
            body: Zeroizing::new(b"{\"mess".to_vec()),
        };
        let broken = reqwest::Proxy::http("not a URL").unwrap_err();
        for outcome in [
            Outcome::TooLong(answer()),
            Outcome::CutOff(answer(), broken),
        ] {
            // A success that broke off is the one that is asked for again.
            let again = again || status == 200 && matches!(outcome, Outcome::CutOff(..));
            let failed = judge(outcome, &call(&device)).unwrap_err();
            assert_eq!(
                (failed.again, failed.fresh),
                (again, true),
                "{status}: {}",
                failed.error
            );
            assert_eq!(
                (failed.error.status(), failed.error.code()),
                (Some(status), code)
            );
        }
    }
}
