//! A process and a token directory for each test; keys generated on the token; certificates and handshakes for them.

use std::any::type_name;
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use brs_iot::pkcs11::{Opened, Pkcs11};
use brs_tests::software_tpm::SoftwareTpm;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::{AuthPin, Ulong};
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::aws_lc_rs::default_provider,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const SOFTHSM2: &str = "BRS_SOFTHSM2_MODULE";
const TPM2_PKCS11: &str = "BRS_TPM2_PKCS11_MODULE";
/// What a test's own process is told.
const MODULE: &str = "BRS_TEST_MODULE";
const DIRECTORY: &str = "BRS_TEST_TOKENS";
const TPM_PROCESS: &str = "BRS_TEST_TPM_PROCESS";

pub(crate) const PIN: &str = "hush-4711";

/// Runs a test in a process of its own; `body` finds SoftHSM2 with an empty directory.
pub(crate) fn alone<F: FnOnce(Bench)>(body: F) {
    alone_with("", body);
}

/// The same with further lines in SoftHSM2's configuration.
pub(crate) fn alone_with<F: FnOnce(Bench)>(settings: &str, body: F) {
    process(body, SOFTHSM2, |directory, command| {
        let tokens = directory.join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let configuration = directory.join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nlog.level = ERROR\n{settings}\n", tokens.display());
        std::fs::write(&configuration, text).unwrap();
        command.env("SOFTHSM2_CONF", configuration);
    });
}

/// The same with tpm2-pkcs11 on a software TPM of the test's own.
pub(crate) fn alone_with_a_tpm<F: FnOnce(Bench)>(body: F) {
    let tpm = Cell::new(None);
    process(body, TPM2_PKCS11, |_, command| {
        let started = SoftwareTpm::start();
        command.env(TPM_PROCESS, started.id().to_string()).envs(started.environment());
        tpm.set(Some(started));
    });
}

/// Sends a signal to the test's software TPM, which its parent has started: `STOP` makes it hang, `CONT` ends that.
pub(crate) fn signal_the_tpm(signal: &str) {
    let process = std::env::var(TPM_PROCESS).unwrap();
    assert!(Command::new("kill").args(["-s", signal, &process]).status().unwrap().success());
}

fn process<F: FnOnce(Bench)>(body: F, module: &str, set_up: impl FnOnce(&Path, &mut Command)) {
    if let (Some(module), Some(directory)) = (std::env::var_os(MODULE), std::env::var_os(DIRECTORY)) {
        return body(Bench::new(Path::new(&module), Path::new(&directory)));
    }
    let Some(path) = std::env::var_os(module) else { panic!("{module} must be the path of the PKCS#11 module") };
    // The closure's type tells the test's name: `pkcs11::pins::name::{{closure}}`.
    let name = type_name::<F>().split("::").skip(1).take_while(|part| !part.starts_with('{')).collect::<Vec<_>>();
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    set_up(directory.path(), &mut command);
    let output = command
        .args([&name.join("::"), "--exact", "--include-ignored", "--nocapture"])
        .env(MODULE, path)
        .env(DIRECTORY, directory.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{out}\n{err}");
    assert!(!out.contains(PIN) && !err.contains(PIN), "the PIN was shown: {out}\n{err}");
    print!("{out}");
}

/// The module, seen from outside brs.
pub(crate) struct Bench {
    pub(crate) path: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) module: Module,
}

impl Bench {
    fn new(path: &Path, directory: &Path) -> Self {
        let module = Module::new(path).unwrap();
        let bench = Self { path: path.to_owned(), directory: directory.to_owned(), module };
        bench.initialize();
        bench
    }

    pub(crate) fn initialize(&self) {
        self.module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    }

    /// Initialises a new token.
    pub(crate) fn token(&self, label: &str) -> Token {
        let initialized = |slot: &Slot| self.module.get_token_info(*slot).unwrap().token_initialized();
        let before = self.module.get_slots_with_initialized_token().unwrap();
        let empty = self.module.get_slots_with_token().unwrap().into_iter().find(|slot| !initialized(slot)).unwrap();
        self.module.init_token(empty, &secret("officer"), label).unwrap();
        let after = self.module.get_slots_with_initialized_token().unwrap();
        let slot = after.into_iter().find(|slot| !before.contains(slot)).unwrap();
        let session = self.module.open_rw_session(slot).unwrap();
        session.login(UserType::So, Some(&secret("officer"))).unwrap();
        session.init_pin(&secret(PIN)).unwrap();
        session.logout().unwrap();
        session.login(UserType::User, Some(&secret(PIN))).unwrap();
        Token { label: label.to_owned(), slot, session, path: self.path.clone() }
    }
}

pub(crate) fn secret(pin: &str) -> AuthPin {
    AuthPin::new(pin.into())
}

/// A token, logged in to from outside brs.
pub(crate) struct Token {
    pub(crate) label: String,
    pub(crate) slot: Slot,
    pub(crate) session: Session,
    path: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Rsa(u64),
    P256,
    P384,
    P521,
}

impl Token {
    /// brs's view of the token; no key is chosen.
    pub(crate) fn pkcs11(&self) -> Pkcs11 {
        Pkcs11::new(&self.path).token_label(&self.label).pin(PIN)
    }

    /// Makes a key on the token.
    pub(crate) fn key(&self, kind: Kind, label: &str, id: &[u8]) -> PublicKey {
        self.key_with(kind, label, id, &[])
    }

    pub(crate) fn key_with(&self, kind: Kind, label: &str, id: &[u8], more: &[Attribute]) -> PublicKey {
        let name = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(id.into())];
        let mut public = name.to_vec();
        let mut private = name.to_vec();
        private.extend([Attribute::Private(true), Attribute::Sensitive(true), Attribute::Extractable(false)]);
        if !more.iter().any(|attribute| matches!(attribute, Attribute::Sign(_))) {
            private.push(Attribute::Sign(true));
        }
        private.extend_from_slice(more);
        let curve = |last: &[u8]| Attribute::EcParams([&[6, last.len() as u8], last].concat());
        let mechanism = match kind {
            Kind::Rsa(bits) => {
                public.extend([Attribute::ModulusBits(Ulong::new(bits)), Attribute::PublicExponent(vec![1, 0, 1])]);
                Mechanism::RsaPkcsKeyPairGen
            }
            Kind::P256 | Kind::P384 | Kind::P521 => {
                public.push(match kind {
                    Kind::P256 => curve(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
                    Kind::P384 => curve(&[0x2b, 0x81, 4, 0, 0x22]),
                    _ => curve(&[0x2b, 0x81, 4, 0, 0x23]),
                });
                Mechanism::EccKeyPairGen
            }
        };
        let (public, _) = self.session.generate_key_pair(&mechanism, &public, &private).unwrap();
        PublicKey::read(&self.session, public, kind)
    }

    /// Puts a certificate on the token.
    pub(crate) fn store(&self, certificate: &CertificateDer<'_>, label: &str, id: &[u8]) -> ObjectHandle {
        let template = [
            Attribute::Class(ObjectClass::CERTIFICATE),
            Attribute::CertificateType(CertificateType::X_509),
            Attribute::Token(true),
            Attribute::Private(false),
            Attribute::Label(label.into()),
            Attribute::Id(id.into()),
            Attribute::Subject(vec![0x30, 0]),
            Attribute::Value(certificate.to_vec()),
        ];
        self.session.create_object(&template).unwrap()
    }
}

/// A public key, read from the token.
pub(crate) struct PublicKey {
    der: Vec<u8>,
    kind: Kind,
}

impl PublicKey {
    fn read(session: &Session, handle: ObjectHandle, kind: Kind) -> Self {
        let read = |attribute| session.get_attributes(handle, &[attribute]).unwrap().remove(0);
        let der = match kind {
            Kind::Rsa(_) => {
                let Attribute::Modulus(modulus) = read(AttributeType::Modulus) else { panic!("no modulus") };
                // The first bit is set, so that a zero goes before it.
                let number = [&[2, 0x82], &((modulus.len() + 1) as u16).to_be_bytes()[..], &[0], &modulus].concat();
                let body = [&number[..], &[2, 3, 1, 0, 1]].concat();
                [&[0x30, 0x82], &(body.len() as u16).to_be_bytes()[..], &body].concat()
            }
            _ => {
                let Attribute::EcPoint(point) = read(AttributeType::EcPoint) else { panic!("no point") };
                // Wrapped in an octet string of less than 128 bytes, or of more for P-521.
                point[if point[1] < 0x80 { 2 } else { 3 }..].to_vec()
            }
        };
        Self { der, kind }
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.der
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        match self.kind {
            Kind::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
            Kind::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Kind::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Kind::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
        }
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
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    pub(crate) fn below(&self) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority("intermediate");
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn certify(&self, key: &impl PublicKeyData) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "device");
        params.signed_by(key, &self.issuer).unwrap().der().clone()
    }

    /// One mutual TLS handshake in memory. Gives the client's certificates as the server has checked them.
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
            Ok(stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec())
        };
        let client = async {
            let mut stream = connector.connect("localhost".try_into().unwrap(), here).await?;
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
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), Arc::clone(&provider)).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn connector(&self, opened: &Opened, version: &'static SupportedProtocolVersion) -> TlsConnector {
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
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
