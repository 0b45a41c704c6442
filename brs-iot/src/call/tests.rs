//! A key that signs by a call that blocks. The rest of a call has its tests where there is an endpoint.

use std::sync::mpsc;
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
use crate::device::Device;
use crate::server_time::ServerTime;

const PATIENCE: Duration = Duration::from_secs(20);

/// Signs once somebody else has done something meanwhile.
#[derive(Debug)]
struct Slow {
    key: Arc<dyn SigningKey>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    signing: Notify,
    release: std::sync::Mutex<mpsc::Receiver<()>>,
}

#[derive(Debug)]
struct SlowSigner(Box<dyn Signer>, Arc<Gate>);

impl SigningKey for Slow {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = self.key.choose_scheme(offered)?;
        Some(Box::new(SlowSigner(signer, Arc::clone(&self.gate))))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
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
    Identity { certificate, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}

/// Answers one request of that device; gives the port.
fn serve(server: Identity, device: &CertificateDer<'static>) -> u16 {
    let mut roots = RootCertStore::empty();
    roots.add(device.clone()).unwrap();
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![server.certificate], server.key)
        .unwrap();
    let (port, ports) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            port.send(listener.local_addr().unwrap().port()).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
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

#[tokio::test(flavor = "current_thread")]
async fn a_key_that_blocks_stalls_no_current_thread_runtime() {
    let (server, own) = (identity(), identity());
    let port = serve(server, &own.certificate);
    let (release, released) = mpsc::channel();
    let gate = Arc::new(Gate { signing: Notify::new(), release: std::sync::Mutex::new(released) });
    let key = Arc::new(Slow { key: any_supported_type(&own.key).unwrap(), gate: Arc::clone(&gate) });
    let device = Arc::new(Device::of_token(vec![own.certificate], key));

    // A self-signed server is believed here: what is tried is who waits for whom.
    let set = Set { device: Arc::clone(&device), trust: Trust::Anybody, generation: 0, problem: None };
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(SystemTime::UNIX_EPOCH + PATIENCE * 90_000_000));
    let url = format!("https://localhost:{port}/role-aliases/demo/credentials");
    let server_time = Arc::new(ServerTime::new(Arc::clone(&clock)));
    let clients = Clients::new(&url, None, None, [PATIENCE; 2], None, Arc::clone(&clock), server_time).unwrap();
    let limits = Limits { timeout: PATIENCE, max_attempts: 1 };
    let cx = RefreshContext::for_test(clock, PATIENCE * 2);
    let call = Call {
        endpoint: "localhost",
        role_alias: "demo",
        thing_name: None,
        duration: None,
        device: &device,
        trust: &set.trust,
        now: cx.clock().now(),
        server_time: None,
    };
    let (fetched, ()) = tokio::join!(fetch(&clients, &set, limits, &call, &cx), async {
        gate.signing.notified().await;
        release.send(()).unwrap();
    });
    assert_eq!(fetched.unwrap().access_key_id(), "ASIASLOW");
}
