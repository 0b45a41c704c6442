//! A process and a token directory for each test; keys generated on the token; certificates and
//! handshakes for them.

use std::any::type_name;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use brs_core::{Clock as _, SystemClock};
use brs_iot::pkcs11::{Opened, Pkcs11};
use brs_tests::software_tpm::SoftwareTpm;
use brs_tests::token::Module;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::sharing::token_threads;

pub(crate) use brs_tests::token::{Kind, PIN, Token, secret};

const SOFTHSM2: &str = "BRS_SOFTHSM2_MODULE";
const TPM2_PKCS11: &str = "BRS_TPM2_PKCS11_MODULE";
/// What a test's own process is told.
const MODULE: &str = "BRS_TEST_MODULE";
const DIRECTORY: &str = "BRS_TEST_TOKENS";
/// Holds the PIN in a test's own process.
pub(crate) const PIN_VARIABLE: &str = "BRS_TEST_PIN";
const TPM_PROCESS: &str = "BRS_TEST_TPM_PROCESS";

/// Runs a test in a process of its own; `body` finds SoftHSM2 with an empty directory.
pub(crate) fn alone<F: FnOnce(Bench)>(body: F) {
    alone_with("", body);
}

/// The same with further lines in SoftHSM2's configuration.
pub(crate) fn alone_with<F: FnOnce(Bench)>(settings: &str, body: F) {
    process(body, SOFTHSM2, |directory, command, module| {
        softhsm2(settings, directory, command);
        module
    });
}

/// The same with a module around SoftHSM2's that has faults: see `faulty.c`.
pub(crate) fn alone_with_faults<F: FnOnce(Bench)>(body: F) {
    process(body, SOFTHSM2, |directory, command, module| {
        softhsm2("", directory, command);
        command
            .env("BRS_FAULTY_MODULE", module)
            .env("BRS_FAULTY_FOLDER", directory);
        let built = directory.join("faulty.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pkcs11/faulty.c");
        let compiler = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
            .args([&built, Path::new(source)])
            .output()
            .unwrap();
        assert!(compiler.status.success(), "{compiler:?}");
        built
    });
}

fn softhsm2(settings: &str, directory: &Path, command: &mut Command) {
    let tokens = directory.join("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let configuration = directory.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nlog.level = ERROR\n{settings}\n",
        tokens.display()
    );
    std::fs::write(&configuration, text).unwrap();
    command.env("SOFTHSM2_CONF", configuration);
}

/// The same with tpm2-pkcs11 on a software TPM of the test's own.
pub(crate) fn alone_with_a_tpm<F: FnOnce(Bench)>(body: F) {
    let tpm = Cell::new(None);
    process(body, TPM2_PKCS11, |_, command, module| {
        let started = SoftwareTpm::start();
        command
            .env(TPM_PROCESS, started.id().to_string())
            .envs(started.environment());
        tpm.set(Some(started));
        module
    });
}

/// Sends a signal to the test's software TPM, which its parent has started: `STOP` makes it hang,
/// `CONT` ends that.
pub(crate) fn signal_the_tpm(signal: &str) {
    let process = std::env::var(TPM_PROCESS).unwrap();
    assert!(
        Command::new("kill")
            .args(["-s", signal, &process])
            .status()
            .unwrap()
            .success()
    );
}

/// `set_up` gives the module that is loaded.
fn process<F: FnOnce(Bench)>(
    body: F,
    module: &str,
    set_up: impl FnOnce(&Path, &mut Command, PathBuf) -> PathBuf,
) {
    if let (Some(module), Some(directory)) = (std::env::var_os(MODULE), std::env::var_os(DIRECTORY))
    {
        body(Bench::new(Path::new(&module), Path::new(&directory)));
        return leave_the_module_in_peace();
    }
    let Some(path) = std::env::var_os(module) else {
        panic!("{module} must be the path of the PKCS#11 module")
    };
    // The closure's type tells the test's name: `pkcs11::pins::name::{{closure}}`.
    let name = type_name::<F>()
        .split("::")
        .skip(1)
        .take_while(|part| !part.starts_with('{'))
        .collect::<Vec<_>>();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let path = set_up(directory.path(), &mut command, path.into());
    let output = command
        .args([
            &name.join("::"),
            "--exact",
            "--include-ignored",
            "--nocapture",
        ])
        .env(MODULE, path)
        .env(PIN_VARIABLE, PIN)
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && out.contains("1 passed"),
        "{}: {out}\n{err}",
        output.status
    );
    assert!(
        !out.contains(PIN) && !err.contains(PIN),
        "the PIN was shown: {out}\n{err}"
    );
    print!("{out}");
}

/// Waits for tokens' threads to have closed their sessions: SoftHSM2's exit handlers take away what
/// such a call stands on, and the process would end by a signal. A token that hangs is not waited
/// for.
fn leave_the_module_in_peace() {
    const LONGEST: Duration = Duration::from_secs(5);
    let clock = SystemClock::new();
    let began = clock.monotonic();
    while token_threads() > 0 && clock.monotonic() - began < LONGEST {
        std::thread::yield_now();
    }
}

/// The module, seen from outside brs.
pub(crate) struct Bench {
    pub(crate) path: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) module: cryptoki::context::Pkcs11,
    loaded: Module,
}

impl Bench {
    fn new(path: &Path, directory: &Path) -> Self {
        let loaded = Module::load(path);
        Self {
            path: path.to_owned(),
            directory: directory.to_owned(),
            module: loaded.module.clone(),
            loaded,
        }
    }

    pub(crate) fn initialize(&self) {
        self.loaded.initialize();
    }

    /// Initialises a new token.
    pub(crate) fn token(&self, label: &str) -> Token {
        self.loaded.token(label)
    }

    /// Lets signatures of these kinds fail from now on: `pss 384`, `pkcs1 512`.
    pub(crate) fn failing_signatures(&self, kinds: &str) {
        std::fs::write(self.directory.join("failing"), kinds).unwrap();
    }
}

/// brs's view of a token.
pub(crate) trait ForBrs {
    /// No key is chosen.
    fn pkcs11(&self) -> Pkcs11;
}

impl ForBrs for Token {
    fn pkcs11(&self) -> Pkcs11 {
        Pkcs11::new(&self.path).token_label(&self.label).pin(PIN)
    }
}

/// A certificate authority in memory.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority("root");
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    /// An authority below this one.
    pub(crate) fn below(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority("intermediate");
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn certify(&self, key: &impl PublicKeyData) -> CertificateDer<'static> {
        self.certify_valid(key, 2000, 3000)
    }

    /// A certificate that is valid from the beginning of one year to that of another.
    pub(crate) fn certify_valid(
        &self,
        key: &impl PublicKeyData,
        from: i32,
        to: i32,
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "device");
        (params.not_before, params.not_after) = (
            rcgen::date_time_ymd(from, 1, 1),
            rcgen::date_time_ymd(to, 1, 1),
        );
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }

    /// One mutual TLS handshake in memory. Gives the client's certificates as the server has
    /// checked them.
    pub(crate) async fn handshake(
        &self,
        opened: &Opened,
        version: &'static SupportedProtocolVersion,
    ) -> Result<Vec<CertificateDer<'static>>, std::io::Error> {
        let (here, there) = tokio::io::duplex(1 << 16);
        let (acceptor, connector) = (self.acceptor(), self.connector(opened, version));
        let server = async {
            let mut stream = acceptor.accept(there).await?;
            stream.write_all(b"!").await?;
            stream.flush().await?;
            Ok(stream
                .get_ref()
                .1
                .peer_certificates()
                .unwrap_or_default()
                .to_vec())
        };
        let client = async {
            let mut stream = connector
                .connect("localhost".try_into().unwrap(), here)
                .await?;
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            stream.read_u8().await
        };
        let (seen, answer): (std::io::Result<_>, _) = tokio::join!(server, client);
        answer?;
        seen
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = self.certify(&key);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(
            Arc::new(self.roots()),
            Arc::clone(&provider),
        )
        .build()
        .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn connector(
        &self,
        opened: &Opened,
        version: &'static SupportedProtocolVersion,
    ) -> TlsConnector {
        let certified = CertifiedKey::new(opened.certificates.clone(), Arc::clone(&opened.key));
        certified.keys_match().unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        TlsConnector::from(Arc::new(config))
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Runs a future on a current-thread runtime.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
