//! Files that change, and a new certificate that AWS does not accept yet.

use std::path::PathBuf;

use brs::Event;
use brs::roles_anywhere::{CERTIFICATE_EXPIRING, RolesAnywhere};

use super::*;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(device: &Device) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        files.write(device);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, device: &Device) {
        let intermediates = device
            .certificate_pem
            .strip_prefix(device.leaf_pem())
            .unwrap();
        std::fs::write(self.path("certificate.pem"), device.leaf_pem()).unwrap();
        std::fs::write(self.path("chain.pem"), intermediates).unwrap();
        std::fs::write(self.path("private.key"), &device.private_key_pem).unwrap();
    }

    fn params(&self, bench: &Bench) -> Params {
        bench
            .bare()
            .certificate(self.path("certificate.pem"))
            .intermediates(self.path("chain.pem"))
            .private_key(self.path("private.key"))
    }
}

fn subject(session: &RefreshableSession) -> String {
    let strategy = session.strategy::<RolesAnywhere>().unwrap();
    strategy.device().certificate_sha256().to_owned()
}

#[tokio::test]
async fn replaced_files_are_used_by_the_next_refresh() {
    let bench = Bench::new();
    let files = Files::new(&bench.device);
    let session = bench.session(files.params(&bench)).await;
    session.refresh().await.unwrap();
    let before = subject(&session);
    for kind in [KeyKind::EcP384, KeyKind::Rsa2048] {
        let device = bench.iot.add_device(SERVER, kind);
        files.write(&device);
        session.refresh().await.unwrap();
        assert_eq!(subject(&session), device.certificate_id);
    }
    assert_ne!(subject(&session), before);
    assert_eq!(bench.anywhere.calls(), 3);
}

#[tokio::test]
async fn a_certificate_without_its_key_is_not_used_yet() {
    let bench = Bench::new();
    let files = Files::new(&bench.device);
    let session = bench.session(files.params(&bench)).await;
    let device = bench.iot.add_device(SERVER, KeyKind::EcP256);
    std::fs::write(files.path("certificate.pem"), device.leaf_pem()).unwrap();
    session.refresh().await.unwrap();
    assert_eq!(subject(&session), bench.device.certificate_id);
    files.write(&device);
    session.refresh().await.unwrap();
    assert_eq!(subject(&session), device.certificate_id);
}

#[tokio::test]
async fn the_previous_certificate_is_used_while_aws_refuses_the_new_one() {
    let bench = Bench::new();
    let files = Files::new(&bench.device);
    let session = bench.session(files.params(&bench)).await;
    session.refresh().await.unwrap();
    let device = bench.iot.add_device(SERVER, KeyKind::EcP256);
    bench.anywhere.revoke(&device);
    files.write(&device);
    session.refresh().await.unwrap();
    assert_eq!(
        bench.anywhere.calls(),
        3,
        "the new one, then the previous one"
    );
    assert_eq!(subject(&session), bench.device.certificate_id);
    bench.anywhere.unrevoke(&device);
    session.refresh().await.unwrap();
    assert_eq!(subject(&session), device.certificate_id);
    assert_eq!(bench.anywhere.calls(), 4);
}

#[tokio::test]
async fn a_certificate_near_its_end_is_told_at_each_refresh() {
    let bench = Bench::new();
    let device =
        bench
            .iot
            .add_device_valid(SERVER, KeyKind::EcP256, start() - DAY..start() + 29 * DAY);
    let session = bench
        .session(bench.params_of(&device.certificate_pem, &device))
        .await;
    let mut events = session.events();
    session.refresh().await.unwrap();
    session.refresh().await.unwrap();
    session.close();
    let mut told = 0;
    while let Some(event) = events.next().await {
        if let Event::Warning { name, details, .. } = event {
            assert_eq!(name, CERTIFICATE_EXPIRING);
            assert_eq!(
                details["not_after"],
                brs_core::kit::iso8601(start() + 29 * DAY)
            );
            told += 1;
        }
    }
    assert_eq!(told, 2);
}
