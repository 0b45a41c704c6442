//! What is given in place of the right file, or cannot be read, is told by what it is, when the
//! session is built.

use std::path::Path;

use brs::iot::SecretSource;
use brs::iot::pkcs11::Pkcs11;
use serde_json::json;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

/// What a session that is not built says.
async fn refused(bench: &Bench, params: Params) -> Error {
    let error = bench.builder(params).build().await.unwrap_err();
    assert!(
        error.is_unrecoverable() && bench.iot.connections() == 0,
        "{error}"
    );
    error
}

/// The device with one of its files, by the parameter's name, at a path.
fn with_file(bench: &Bench, param: &str, path: &Path) -> Params {
    let params = bench.params();
    let token = |pin: SecretSource, module: &Path| Pkcs11::new(module).pin(pin);
    match param {
        "certificate" => params.certificate(path),
        "private_key" => params.private_key(path),
        "trust_store" => params.trust_store(path),
        "private_key_passphrase" => super::passphrases::params(bench, SecretSource::file(path)),
        "module_path" => Params::new(bench.iot.endpoint(), ALIAS)
            .allow_any_endpoint(true)
            .trust_store(bench.iot.trust_store())
            .certificate(bench.device.certificate_pem.as_str())
            .pkcs11(token(SecretSource::value("1234"), path)),
        other => panic!("{other} is no file"),
    }
}

const FILES: [&str; 5] = [
    "certificate",
    "private_key",
    "trust_store",
    "private_key_passphrase",
    "module_path",
];

#[tokio::test]
async fn every_file_that_is_missing_or_a_folder_says_so() {
    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent");
    for param in FILES {
        let error = refused(&bench, with_file(&bench, param, &absent)).await;
        assert!(
            error.to_string().contains("absent` does not exist"),
            "{param}: {error}"
        );
        assert_eq!(error.param(), Some(param), "{error}");
        let error = refused(&bench, with_file(&bench, param, directory.path())).await;
        assert!(
            error.to_string().contains("is a folder"),
            "{param}: {error}"
        );
    }
}

/// Gives up root's right to read whatever it wants, for this thread and those that it starts.
#[cfg(target_os = "linux")]
fn read_as_an_ordinary_user() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let mut sets = capabilities(None).unwrap();
    let rights = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    sets.effective.remove(rights);
    set_capabilities(None, sets).unwrap();
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_file_that_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Bench::new();
    let directory = tempfile::tempdir().unwrap();
    let (file, folder) = (
        directory.path().join("file"),
        directory.path().join("folder"),
    );
    std::fs::write(&file, "x").unwrap();
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("file"), "x").unwrap();
    for path in [&file, &folder] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o0)).unwrap();
    }
    read_as_an_ordinary_user();
    for param in FILES {
        for path in [&file, &folder.join("file")] {
            let error = refused(&bench, with_file(&bench, param, path)).await;
            assert!(
                error
                    .to_string()
                    .contains("file` cannot be read by this process's user"),
                "{param}: {error}"
            );
            assert!(
                !error.to_string().contains("does not exist") && error.param() == Some(param),
                "{error}"
            );
        }
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn what_is_exchanged_or_of_another_kind_is_named() {
    let bench = Bench::new();
    let Device {
        certificate_pem: certificate,
        private_key_pem: key,
        ..
    } = &bench.device;
    let request = {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(Vec::new())
            .unwrap()
            .serialize_request(&key)
            .unwrap()
            .pem()
            .unwrap()
    };
    for (params, param, words) in [
        (
            bench.params().certificate(key.as_str()),
            "certificate",
            "holds no certificate, but a private key",
        ),
        (
            bench.params().private_key(certificate.as_str()),
            "private_key",
            "holds no private key, but a certificate",
        ),
        (
            bench.params().certificate(request.as_str()),
            "certificate",
            "a certificate request (CSR)",
        ),
        (
            bench.params().trust_store(key.as_str()),
            "trust_store",
            "holds no certificate, but a private key",
        ),
        (
            bench
                .params()
                .certificate("pkcs11:token=t;object=o;type=cert"),
            "certificate",
            "is a `pkcs11:` URI",
        ),
        (
            bench.params().private_key("pkcs11:token=t"),
            "private_key",
            "give it as `pkcs11`",
        ),
        (
            bench.params().trust_store("file:///etc/ca.pem"),
            "trust_store",
            "is a URI",
        ),
    ] {
        let error = refused(&bench, params).await;
        assert!(
            error.to_string().contains(words) && error.param() == Some(param),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_pair_with_padding_in_every_form_opens_a_session() {
    let bench = Bench::new();
    let Device {
        certificate_pem,
        private_key_pem,
        ..
    } = &bench.device;
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(private_key_pem.as_bytes()).unwrap();
    let padded = |bytes: &[u8], padding: &str| [bytes, padding.as_bytes()].concat();
    for padding in ["", "\n", "\r\n", "\0"] {
        let params = bench.params().certificate(padded(&certificate, padding));
        let params = params.private_key(padded(key.secret_der(), padding));
        // The server wants what leads to the authority, too, for which DER has no room.
        bench.builder(params).build().await.unwrap();
    }
    let trusted = certificate_pem
        .replace("CERTIFICATE", "TRUSTED CERTIFICATE")
        .replace('\n', "\r\n");
    let params = bench
        .params()
        .certificate(trusted.as_str())
        .private_key(format!("\u{feff}{private_key_pem}"));
    bench
        .builder(params)
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();
}

#[tokio::test]
async fn one_broken_block_does_not_spoil_a_trust_store_and_errors_tell_of_it() {
    let bench = Bench::new();
    let broken = "-----BEGIN CERTIFICATE-----\nAA*A\n-----END CERTIFICATE-----\n";
    for store in [
        format!("{broken}{}", bench.iot.trust_store()),
        format!("{}{broken}", bench.iot.trust_store()),
    ] {
        let session = bench
            .builder(bench.params().trust_store(store.as_str()))
            .build()
            .await
            .unwrap();
        session.credentials().await.unwrap();
    }
    // The right authority may be the one that is broken.
    let store = format!("{broken}{}", bench.iot.device_trust_store());
    let error = bench
        .fails(bench.params().trust_store(store.as_str()))
        .await;
    assert!(error.to_string().contains("number 1 is damaged"), "{error}");
    assert!(
        error
            .to_string()
            .contains("was not issued by an authority in the trust store"),
        "{error}"
    );
    let error = refused(&Bench::new(), bench.params().trust_store(broken)).await;
    assert!(
        error
            .to_string()
            .contains("holds no usable certificate: number 1 is damaged"),
        "{error}"
    );
}

#[tokio::test]
async fn blanks_around_the_endpoint_are_no_part_of_it() {
    let bench = Bench::new();
    let params = bench.params_at(
        &format!(" {}\n", bench.iot.endpoint()),
        ALIAS,
        &bench.device,
    );
    bench
        .builder(params)
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();
    let data = json!({
        "endpoint": format!("{} ", bench.iot.endpoint()), "role_alias": ALIAS, "allow_any_endpoint": true,
        "certificate": bench.device.certificate_pem, "private_key": bench.device.private_key_pem,
        "trust_store": bench.iot.trust_store(),
    });
    let params: Params = brs::Params::data(data).unwrap().take().unwrap();
    bench
        .builder(params)
        .build()
        .await
        .unwrap()
        .credentials()
        .await
        .unwrap();
}
