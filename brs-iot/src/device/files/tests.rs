//! What a look costs, and what is opened again. Taking over has its tests where there is an
//! endpoint.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::SystemTime;

use brs_core::SecretString;
use brs_core::test_util::ManualClock;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::pbes2::Parameters;
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::device::secret::SecretSource;

const LIMIT: Duration = Duration::from_secs(5);
/// Of what files have half.
const LEFT: Option<Duration> = Some(Duration::from_secs(10));

/// Files of a certificate and of an encrypted key, whose pass phrase is `hush`.
struct Bench {
    directory: tempfile::TempDir,
    clock: ManualClock,
}

impl Bench {
    fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let bench = Self {
            directory: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(now),
        };
        bench.write_pair();
        bench.write("roots", &Self::pair().0);
        bench
    }

    fn pair() -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (
            CertificateParams::new(Vec::new())
                .unwrap()
                .self_signed(&key)
                .unwrap()
                .pem(),
            key,
        )
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.directory.path().join(name), content).unwrap();
    }

    /// The key that the new pair has.
    fn write_pair(&self) -> KeyPair {
        let (certificate, key) = Self::pair();
        let scheme =
            Parameters::generate_pbkdf2_sha256_aes256cbc(1000, b"saltsalt", [7; 16]).unwrap();
        let data = scheme.encrypt("hush", &key.serialize_der()).unwrap();
        let encrypted_data = OctetStringRef::new(&data).unwrap();
        let info = EncryptedPrivateKeyInfoRef {
            encryption_algorithm: scheme.into(),
            encrypted_data,
        };
        self.write("key", info.to_der().unwrap());
        self.write("certificate", certificate);
        key
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    async fn load(&self, passphrase: SecretSource) -> Files {
        let path = |name| self.directory.path().join(name);
        let device = DeviceParams::new()
            .certificate(path("certificate"))
            .private_key(path("key"));
        let device = device.private_key_passphrase(passphrase);
        let server_time = Arc::new(ServerTime::new(self.clock()));
        Files::load(
            device,
            Some(Pem::file(path("roots"))),
            false,
            &self.clock(),
            server_time,
        )
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn a_look_that_hangs_ends_at_its_limit_and_the_old_pair_stays() {
    let bench = Bench::new();
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let files = bench.load(SecretSource::blocking_function(move || {
        asked.send(()).unwrap();
        let _ = released.lock().unwrap().recv();
        Ok::<SecretString, std::io::Error>("hush".into())
    }));
    release.send(()).unwrap();
    let files = files.await;
    asks.recv().await.unwrap();
    let old = files.current().device.certificate_sha256().to_owned();
    bench.write_pair();
    let clock = bench.clock();
    let (set, ()) = tokio::join!(files.look(&clock, LEFT), async {
        asks.recv().await.unwrap();
        bench.clock.advance(LIMIT);
    });
    assert_eq!(set.device.certificate_sha256(), old);
    let problem = set.problem.unwrap().to_string();
    assert!(problem.contains("took longer than 5 s"), "{problem}");
    // The function returns at last: what it told is not asked for again.
    release.send(()).unwrap();
    while files.keys.is_busy() {
        tokio::task::yield_now().await;
    }
    let set = files.look(&clock, LEFT).await;
    assert!(
        set.problem.is_none() && set.device.certificate_sha256() != old,
        "{:?}",
        set.problem
    );
    assert!(asks.try_recv().is_err());
}

#[tokio::test]
async fn a_trust_store_and_a_device_are_taken_over_apart_and_both_problems_told() {
    let bench = Bench::new();
    let (files, clock) = (bench.load("hush".into()).await, bench.clock());
    let first = files.current();
    bench.write("key", "broken");
    bench.write("roots", Bench::pair().0);
    let set = files.look(&clock, LEFT).await;
    assert_eq!(
        set.generation,
        first.generation + 1,
        "the trust store is new"
    );
    assert!(set.problem.unwrap().to_string().contains("holds no key"));
    bench.write("roots", "broken");
    let problem = files.look(&clock, LEFT).await.problem.unwrap().to_string();
    assert!(
        problem.contains("holds no key") && problem.contains("holds no certificate"),
        "{problem}"
    );
    bench.write_pair();
    let set = files.look(&clock, LEFT).await;
    assert_ne!(
        set.device.certificate_sha256(),
        first.device.certificate_sha256()
    );
    assert!(set.problem.unwrap().to_string().contains("the trust store"));
}

#[tokio::test]
async fn a_pass_phrase_is_asked_for_only_when_the_keys_file_has_changed() {
    let bench = Bench::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let passphrase = SecretSource::blocking_function(move || {
        let wrong = count.fetch_add(1, Ordering::SeqCst) == 1;
        Ok::<SecretString, std::io::Error>(if wrong { "wrong" } else { "hush" }.into())
    });
    let (files, clock) = (bench.load(passphrase).await, bench.clock());
    let old = files.current();
    files.reopen();
    assert_eq!(
        files.look(&clock, LEFT).await.generation,
        old.generation,
        "refused, and what it was"
    );
    bench.write_pair();
    for _ in 0..3 {
        let problem = files.look(&clock, LEFT).await.problem.unwrap();
        assert!(
            problem.to_string().contains("check the pass phrase"),
            "{problem}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }
    bench.write_pair();
    assert!(files.look(&clock, LEFT).await.problem.is_none());
    files.look(&clock, LEFT).await;
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_certificate_that_is_renewed_for_the_same_key_asks_nobody() {
    let bench = Bench::new();
    let key = bench.write_pair();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let passphrase = SecretSource::blocking_function(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<SecretString, std::io::Error>("hush".into())
    });
    let (files, clock) = (bench.load(passphrase).await, bench.clock());
    bench.write(
        "certificate",
        CertificateParams::new(Vec::new())
            .unwrap()
            .self_signed(&key)
            .unwrap()
            .pem(),
    );
    let set = files.look(&clock, LEFT).await;
    assert!(
        set.problem.is_none() && set.generation == 1,
        "{:?}",
        set.problem
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_pass_phrases_file_that_is_mended_opens_a_key_that_stayed_the_same() {
    let bench = Bench::new();
    bench.write("passphrase", "hush");
    let files = bench
        .load(SecretSource::file(
            bench.directory.path().join("passphrase"),
        ))
        .await;
    let clock = bench.clock();
    bench.write("passphrase", "wrong");
    bench.write_pair();
    assert!(
        files
            .look(&clock, LEFT)
            .await
            .problem
            .unwrap()
            .to_string()
            .contains("check the pass phrase")
    );
    bench.write("passphrase", "hush");
    assert!(files.look(&clock, LEFT).await.problem.is_none());
}

#[tokio::test]
async fn a_pair_that_is_written_while_it_is_read_is_read_once_more() {
    let bench = Bench::new();
    let path = bench.directory.path().join("certificate");
    let coming = Arc::new(Mutex::new(None::<String>));
    let half = Arc::clone(&coming);
    let passphrase = SecretSource::blocking_function(move || {
        if let Some(certificate) = half.lock().unwrap().take() {
            std::fs::write(&path, certificate)?;
        }
        Ok::<SecretString, std::io::Error>("hush".into())
    });
    let (files, clock) = (bench.load(passphrase).await, bench.clock());
    let old = std::fs::read_to_string(bench.directory.path().join("certificate")).unwrap();
    bench.write_pair();
    let new = std::fs::read_to_string(bench.directory.path().join("certificate")).unwrap();
    bench.write("certificate", old);
    // The certificate comes when the key has just been read.
    *coming.lock().unwrap() = Some(new);
    let set = files.look(&clock, LEFT).await;
    assert!(
        set.problem.is_none() && set.generation == 1,
        "{:?}",
        set.problem
    );
}

#[tokio::test]
async fn a_function_that_could_not_tell_is_asked_again() {
    let bench = Bench::new();
    let asked = AtomicUsize::new(0);
    let passphrase =
        SecretSource::blocking_function(move || match asked.fetch_add(1, Ordering::SeqCst) {
            1 => Err("the vault is locked"),
            _ => Ok("hush"),
        });
    let (files, clock) = (bench.load(passphrase).await, bench.clock());
    bench.write_pair();
    let problem = files.look(&clock, LEFT).await.problem.unwrap().to_string();
    assert!(problem.contains("(the vault is locked)"), "{problem}");
    assert!(files.look(&clock, LEFT).await.problem.is_none());
}

#[tokio::test]
async fn a_new_pair_is_too_early_only_if_both_clocks_say_so() {
    let bench = Bench::new();
    let (files, clock) = (bench.load("hush".into()).await, bench.clock());
    let (start, day) = (bench.clock.now(), Duration::from_secs(24 * 3600));
    files.server_time.hear(start);
    let key = bench.write_pair();
    let certify = |from: SystemTime, to: SystemTime| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.not_before, params.not_after) = (from.into(), to.into());
        bench.write("certificate", params.self_signed(&key).unwrap().pem());
    };
    // The machine was paused for ten days, its clock is right and the carried one is not.
    bench.clock.step_wall(start + 10 * day);
    certify(start + 5 * day, start + 50 * day);
    let set = files.look(&clock, LEFT).await;
    assert!(
        set.problem.is_none() && set.generation == 1,
        "{:?}",
        set.problem
    );
    certify(start + 11 * day, start + 50 * day);
    let problem = files.look(&clock, LEFT).await.problem.unwrap().to_string();
    assert!(
        problem.contains("not valid yet") && problem.contains("the endpoint's clock"),
        "{problem}"
    );
    // What has ended by a clock that is never ahead has ended, whatever another says.
    bench.clock.step_wall(start - 10 * day);
    certify(start - 20 * day, start - day);
    let problem = files.look(&clock, LEFT).await.problem.unwrap().to_string();
    assert!(
        problem.contains("has expired") && problem.contains("the endpoint's clock"),
        "{problem}"
    );
}

#[tokio::test]
async fn the_device_before_stays_until_the_new_one_is_accepted() {
    let bench = Bench::new();
    let (files, clock) = (bench.load("hush".into()).await, bench.clock());
    let first = files.current();
    assert!(
        files.refused(&first, &clock).is_none(),
        "there is none before it"
    );
    files.accepted(&first);
    bench.write_pair();
    let second = files.look(&clock, LEFT).await;
    assert!(Arc::ptr_eq(&files.device(), &second.device));
    let back = files.refused(&second, &clock).unwrap();
    assert_eq!(
        back.device.certificate_sha256(),
        first.device.certificate_sha256()
    );
    files.went_back_to(&back);
    assert!(
        Arc::ptr_eq(&files.device(), &first.device),
        "for other connections, too"
    );
    assert!(back.generation != first.generation && back.generation != second.generation);
    // Refused: what comes after it goes back to the first again, and not to it.
    bench.write_pair();
    let third = files.look(&clock, LEFT).await;
    let back = files.refused(&third, &clock).unwrap();
    assert_eq!(
        back.device.certificate_sha256(),
        first.device.certificate_sha256()
    );
    files.accepted(&third);
    assert!(Arc::ptr_eq(&files.device(), &third.device));
    assert!(files.refused(&third, &clock).is_none());
}
