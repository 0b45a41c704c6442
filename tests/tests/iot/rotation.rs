//! Files that change: a whole pair is taken over at the next refresh, anything else is not.

use std::path::PathBuf;

use brs::iot::Iot;

use super::*;

/// A session whose certificate, key and trust store are files.
struct Rotated {
    bench: Bench,
    directory: tempfile::TempDir,
    session: RefreshableSession,
}

impl Rotated {
    async fn new() -> Self {
        let bench = Bench::new();
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("certificate"), &bench.device.certificate_pem).unwrap();
        std::fs::write(path("key"), &bench.device.private_key_pem).unwrap();
        std::fs::write(path("roots"), bench.iot.trust_store()).unwrap();
        let params = bench.params().trust_store(path("roots")).certificate(path("certificate"));
        let session = bench.builder(params.private_key(path("key"))).build().await.unwrap();
        session.refresh().await.unwrap();
        Self { bench, directory, session }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// The id of the certificate that the next refresh shows.
    async fn used(&self) -> String {
        self.session.refresh().await.unwrap();
        let shown = self.bench.iot.requests().pop().unwrap().certificate_id.unwrap();
        assert_eq!(self.session.strategy::<Iot>().unwrap().device().certificate_sha256(), shown);
        shown
    }
}

#[tokio::test]
async fn a_new_pair_is_used_from_the_next_refresh_on_with_a_new_handshake() {
    let rotated = Rotated::new().await;
    let new = rotated.bench.iot.add_device(THING, KeyKind::EcP384);
    rotated.write("certificate", &new.certificate_pem);
    rotated.write("key", &new.private_key_pem);
    assert_eq!(rotated.used().await, new.certificate_id);
    assert_eq!(rotated.used().await, new.certificate_id);
    let iot = &rotated.bench.iot;
    assert_eq!((iot.full_handshakes(), iot.resumed_handshakes()), (2, 0));
}

#[tokio::test]
async fn half_a_pair_waits_for_the_other_half() {
    let rotated = Rotated::new().await;
    let (old, new) = (&rotated.bench.device, rotated.bench.iot.add_device(THING, KeyKind::EcP256));
    rotated.write("certificate", &new.certificate_pem);
    assert_eq!(rotated.used().await, old.certificate_id);
    rotated.write("key", &new.private_key_pem);
    assert_eq!(rotated.used().await, new.certificate_id);
}

#[tokio::test]
async fn what_is_no_pair_is_not_used_and_errors_tell_why() {
    let rotated = Rotated::new().await;
    let old = &rotated.bench.device;
    let ended = rotated.bench.iot.add_device_valid(THING, KeyKind::EcP256, start() - 9 * DAY..start() - DAY);
    for (certificate, key, problem) in [
        ("", old.private_key_pem.as_str(), "holds no certificate"),
        ("garbage-hush", "garbage-hush", "holds no certificate"),
        (&old.certificate_pem[..300], &old.private_key_pem, "was cut off"),
        (&old.certificate_pem, "", "holds no key"),
        (&ended.certificate_pem, &ended.private_key_pem, "has ended"),
    ] {
        rotated.write("certificate", certificate);
        rotated.write("key", key);
        assert_eq!(rotated.used().await, old.certificate_id, "{problem}");
        rotated.bench.iot.remove_role_alias(ALIAS);
        let error = rotated.session.refresh().await.unwrap_err();
        assert!(error.details()["not_taken_over"].contains(problem), "{error:?}");
        assert!(!show(&error).contains("hush"));
        rotated.bench.iot.add_role_alias(ALIAS, ROLE, None);
    }
    std::fs::remove_file(rotated.path("key")).unwrap();
    assert_eq!(rotated.used().await, old.certificate_id);
    // As it was: there is nothing to tell any more.
    rotated.write("certificate", &old.certificate_pem);
    rotated.write("key", &old.private_key_pem);
    rotated.used().await;
    rotated.bench.iot.remove_role_alias(ALIAS);
    assert!(!rotated.session.refresh().await.unwrap_err().details().contains_key("not_taken_over"));
    assert_eq!(rotated.bench.iot.full_handshakes(), 1);
}

#[tokio::test]
async fn a_trust_store_is_read_again_too() {
    let rotated = Rotated::new().await;
    rotated.write("roots", rotated.bench.iot.device_trust_store());
    let error = rotated.session.refresh().await.unwrap_err();
    assert!(error.to_string().contains("comes from no authority"), "{error}");
    rotated.write("roots", "garbage");
    rotated.session.refresh().await.unwrap_err();
    rotated.write("roots", rotated.bench.iot.trust_store());
    rotated.session.refresh().await.unwrap();
}

#[tokio::test]
async fn a_pair_that_does_not_belong_together_opens_no_session() {
    let bench = Bench::new();
    let other = bench.iot.add_device("other", KeyKind::EcP256);
    let params = bench.params().private_key(other.private_key_pem.as_str());
    let error = bench.builder(params).build().await.unwrap_err();
    assert!(error.to_string().contains("do not belong together"), "{error}");
    assert_eq!(bench.iot.connections(), 0);
}
