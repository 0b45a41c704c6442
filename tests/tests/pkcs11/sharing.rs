//! Many sessions on one token: one thread, one PKCS#11 session, however many signatures.

use std::path::PathBuf;

use brs_core::{Clock as _, SystemClock};
use futures_util::future::join_all;
use tokio_rustls::rustls::SignatureScheme;

use crate::bench::{Authority, Bench, ForBrs as _, Kind, Token, alone, run};

/// The threads that stay for as long as sessions do; those that wait for something blocking come
/// and go, and there are a few at most.
pub(crate) fn threads() -> Vec<String> {
    let (pool, threads): (Vec<_>, Vec<_>) = thread_names()
        .into_iter()
        .partition(|name| name == "brs-blocking");
    assert!(pool.len() <= 4, "{pool:?}, {threads:?}");
    threads
}

/// The threads' names, in order.
pub(crate) fn thread_names() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> = names.map(|name| name.trim_end().to_owned()).collect();
    names.sort();
    names
}

pub(crate) fn token_threads() -> usize {
    thread_names()
        .iter()
        .filter(|name| name.starts_with("brs-pkcs11"))
        .count()
}

/// SoftHSM2 numbers sessions and objects upwards: what is opened in between shows in the next
/// number.
pub(crate) fn next_handle(bench: &Bench, token: &Token) -> u64 {
    bench.module.open_ro_session(token.slot).unwrap().handle()
}

pub(crate) fn descriptors() -> Vec<PathBuf> {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
        .collect()
}

#[test]
#[ignore = "needs SoftHSM2"]
fn sessions_share_the_tokens_thread_and_it_ends_with_the_last() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        let certificate = authority.certify(&token.key(Kind::P256, "iot", &[1]));
        let pkcs11 = token.pkcs11().key_label("iot");
        let open = || pkcs11.open(Some(vec![certificate.clone()]));
        let mut opened = vec![run(open()).unwrap()];
        let before = next_handle(&bench, &token);
        opened.extend(
            run(join_all((1..20).map(|_| open())))
                .into_iter()
                .map(Result::unwrap),
        );
        while token_threads() != 1 {
            std::thread::yield_now();
        }
        std::thread::scope(|scope| {
            for opened in &opened {
                scope.spawn(|| {
                    let signer = opened
                        .key
                        .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
                        .unwrap();
                    for _ in 0..10 {
                        signer.sign(b"message").unwrap();
                    }
                });
            }
        });
        assert_eq!(
            (token_threads(), next_handle(&bench, &token)),
            (1, before + 1)
        );
        drop(opened);
        while token_threads() != 0 {
            std::thread::yield_now();
        }
    });
}

#[test]
#[ignore = "needs SoftHSM2"]
fn a_thousand_signatures_leave_threads_and_sessions_as_they_were() {
    alone(|bench| {
        let authority = Authority::new();
        let token = bench.token("device");
        // Kept: a timer that was not needed may hold on to the runtime it was for a little longer.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        for (kind, scheme) in [
            (Kind::P256, SignatureScheme::ECDSA_NISTP256_SHA256),
            (Kind::Rsa(2048), SignatureScheme::RSA_PSS_SHA256),
        ] {
            let label = format!("{kind:?}");
            let certificate = authority.certify(&token.key(kind, &label, &[1]));
            let opening = token.pkcs11().key_label(label);
            let opened = runtime
                .block_on(opening.open(Some(vec![certificate])))
                .unwrap();
            while token_threads() != 1 {
                std::thread::yield_now();
            }
            let signer = opened.key.choose_scheme(&[scheme]).unwrap();
            let before = (threads(), descriptors(), next_handle(&bench, &token));
            let began = SystemClock::new().monotonic();
            for _ in 0..1000 {
                signer.sign(b"message").unwrap();
            }
            println!(
                "{kind:?}: {:?} a signature",
                (SystemClock::new().monotonic() - began) / 1000
            );
            let after = (threads(), descriptors(), next_handle(&bench, &token) - 1);
            assert_eq!(after, before);
        }
    });
}
