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
        let params = bench
            .params()
            .trust_store(path("roots"))
            .certificate(path("certificate"));
        let session = bench
            .builder(params.private_key(path("key")))
            .build()
            .await
            .unwrap();
        session.refresh().await.unwrap();
        Self {
            bench,
            directory,
            session,
        }
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
        let shown = self
            .bench
            .iot
            .requests()
            .pop()
            .unwrap()
            .certificate_id
            .unwrap();
        assert_eq!(
            self.session
                .strategy::<Iot>()
                .unwrap()
                .device()
                .certificate_sha256(),
            shown
        );
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
    let (old, new) = (
        &rotated.bench.device,
        rotated.bench.iot.add_device(THING, KeyKind::EcP256),
    );
    rotated.write("certificate", &new.certificate_pem);
    assert_eq!(rotated.used().await, old.certificate_id);
    rotated.write("key", &new.private_key_pem);
    assert_eq!(rotated.used().await, new.certificate_id);
}

#[tokio::test]
async fn a_new_pair_that_is_refused_gives_way_to_the_one_before_until_it_is_accepted() {
    let rotated = Rotated::new().await;
    let (iot, old) = (&rotated.bench.iot, &rotated.bench.device);
    let new = iot.add_device(THING, KeyKind::EcP256);
    iot.deactivate(&new);
    rotated.write("certificate", &new.certificate_pem);
    rotated.write("key", &new.private_key_pem);
    for _ in 0..2 {
        rotated.session.refresh().await.unwrap();
        let shown: Vec<_> = iot
            .requests()
            .into_iter()
            .rev()
            .take(2)
            .map(|of| of.certificate_id.unwrap())
            .collect();
        assert_eq!(
            shown,
            [old.certificate_id.clone(), new.certificate_id.clone()],
            "the new one first"
        );
        let told = rotated
            .session
            .strategy::<Iot>()
            .unwrap()
            .device_identity()
            .device()
            .certificate_sha256()
            .to_owned();
        assert_eq!(told, old.certificate_id, "what MQTT shows, too");
    }
    iot.activate(&new);
    assert_eq!(rotated.used().await, new.certificate_id);
    // Accepted once: the old one is no more.
    iot.deactivate(&new);
    let calls = iot.calls();
    let error = rotated.session.refresh().await.unwrap_err();
    assert!(error.to_string().contains(&new.certificate_id), "{error}");
    assert_eq!(iot.calls(), calls + 1);
}

#[tokio::test]
async fn a_new_pair_of_another_authority_gives_way_too() {
    let rotated = Rotated::new().await;
    let stranger = EmbeddedIot::start(&rotated.bench.aws).add_device(THING, KeyKind::EcP256);
    rotated.write("certificate", &stranger.certificate_pem);
    rotated.write("key", &stranger.private_key_pem);
    rotated.session.refresh().await.unwrap();
    let shown = rotated.bench.iot.requests().pop().unwrap().certificate_id;
    assert_eq!(
        shown.as_deref(),
        Some(rotated.bench.device.certificate_id.as_str())
    );
}

#[tokio::test]
async fn an_old_pair_that_was_refused_is_not_gone_back_to() {
    let rotated = Rotated::new().await;
    let iot = &rotated.bench.iot;
    iot.deactivate(&rotated.bench.device);
    rotated.session.refresh().await.unwrap_err();
    let new = iot.add_device(THING, KeyKind::EcP256);
    iot.deactivate(&new);
    rotated.write("certificate", &new.certificate_pem);
    rotated.write("key", &new.private_key_pem);
    let calls = iot.calls();
    let error = rotated.session.refresh().await.unwrap_err();
    assert!(error.to_string().contains(&new.certificate_id), "{error}");
    assert_eq!(iot.calls(), calls + 1);
}

#[tokio::test]
async fn a_refused_pair_that_did_not_change_is_not_opened_anew_even_when_it_has_ended() {
    let rotated = Rotated::new().await;
    let device =
        rotated
            .bench
            .iot
            .add_device_valid(THING, KeyKind::EcP256, start() - DAY..start() + DAY);
    rotated.write("certificate", &device.certificate_pem);
    rotated.write("key", &device.private_key_pem);
    rotated.used().await;
    rotated.bench.iot.deactivate(&device);
    rotated.session.refresh().await.unwrap_err();
    rotated.bench.clock.advance(2 * DAY);
    let error = rotated.session.refresh().await.unwrap_err();
    assert!(!error.details().contains_key("not_taken_over"), "{error:?}");
}

#[tokio::test]
async fn a_new_pair_is_judged_by_the_endpoints_time_where_it_has_told() {
    let rotated = Rotated::new().await;
    let fresh =
        rotated
            .bench
            .iot
            .add_device_valid(THING, KeyKind::EcP256, start() - HOUR..start() + DAY);
    // A device without a battery begins again in 2020. TLS has no need of certificates: the
    // connection stands.
    rotated
        .bench
        .clock
        .step_wall(UNIX_EPOCH + Duration::from_secs(1_577_836_800));
    rotated.write("certificate", &fresh.certificate_pem);
    rotated.write("key", &fresh.private_key_pem);
    // The server's clock is the same here, so its word in TLS is a no; what is looked at is what
    // was taken over.
    let _ = rotated.session.refresh().await;
    let device = rotated.session.strategy::<Iot>().unwrap().device();
    assert_eq!(device.certificate_sha256(), fresh.certificate_id);
    let ended = rotated.bench.iot.add_device_valid(
        THING,
        KeyKind::EcP256,
        start() - 9 * DAY..start() - DAY,
    );
    rotated.write("certificate", &ended.certificate_pem);
    rotated.write("key", &ended.private_key_pem);
    let error = rotated.session.refresh().await.unwrap_err();
    let told = &error.details()["not_taken_over"];
    assert!(
        told.contains("has expired") && told.contains("the endpoint's clock shows 2030-03-17"),
        "{told}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_its_cause() {
    let rotated = Rotated::new().await;
    std::fs::remove_file(rotated.path("key")).unwrap();
    std::fs::remove_file(rotated.path("roots")).unwrap();
    rotated.bench.iot.remove_role_alias(ALIAS);
    let error = rotated.session.refresh().await.unwrap_err();
    let told = &error.details()["not_taken_over"];
    assert!(
        told.contains("the private key `") && told.contains("the trust store `"),
        "{told}"
    );
    assert_eq!(told.matches("No such file").count(), 2, "{told}");
}

#[tokio::test]
async fn what_is_no_pair_is_not_used_and_errors_tell_why() {
    let rotated = Rotated::new().await;
    let old = &rotated.bench.device;
    let ended = rotated.bench.iot.add_device_valid(
        THING,
        KeyKind::EcP256,
        start() - 9 * DAY..start() - DAY,
    );
    for (certificate, key, problem) in [
        ("", old.private_key_pem.as_str(), "holds no certificate"),
        ("garbage-hush", "garbage-hush", "holds no certificate"),
        (
            &old.certificate_pem[..300],
            &old.private_key_pem,
            "was cut off",
        ),
        (&old.certificate_pem, "", "holds no key"),
        (
            &ended.certificate_pem,
            &ended.private_key_pem,
            "has expired",
        ),
    ] {
        rotated.write("certificate", certificate);
        rotated.write("key", key);
        assert_eq!(rotated.used().await, old.certificate_id, "{problem}");
        rotated.bench.iot.remove_role_alias(ALIAS);
        let error = rotated.session.refresh().await.unwrap_err();
        assert!(
            error.details()["not_taken_over"].contains(problem),
            "{error:?}"
        );
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
    assert!(
        !rotated
            .session
            .refresh()
            .await
            .unwrap_err()
            .details()
            .contains_key("not_taken_over")
    );
    assert_eq!(rotated.bench.iot.full_handshakes(), 1);
}

#[tokio::test]
async fn a_trust_store_is_read_again_too() {
    let rotated = Rotated::new().await;
    rotated.write("roots", rotated.bench.iot.device_trust_store());
    let error = rotated.session.refresh().await.unwrap_err();
    assert!(
        error.to_string().contains("was not issued by an authority"),
        "{error}"
    );
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
    assert!(
        error.to_string().contains("do not belong together"),
        "{error}"
    );
    assert_eq!(bench.iot.connections(), 0);
}
