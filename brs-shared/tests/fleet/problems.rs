//! What is wrong with the store or an entry costs an event, and no caller's error.

use super::*;

/// A store with a set in it.
struct Kept {
    memory: Memory,
    clock: ManualClock,
    script: Scripted,
}

impl Kept {
    async fn new() -> Self {
        let kept = Self {
            memory: Memory::default(),
            clock: ManualClock::new(now()),
            script: hourly(),
        };
        kept.host(ONE).await.key_id().await;
        kept
    }

    async fn host(&self, seal: &str) -> Host {
        Host::new(&self.memory, seal, &self.clock, &self.script).await
    }

    /// A new host's warnings and key id.
    async fn seen(&self, host: &Host) -> (Vec<&'static str>, String) {
        let mut events = host.session.events();
        let id = host.key_id().await;
        (warnings(&mut events), id)
    }
}

#[tokio::test]
async fn bytes_that_do_not_open_are_replaced_after_one_warning() {
    type Change = fn(&mut brs_shared::Entry);
    let changes: [(&str, Change); 6] = [
        ("fleet_entry_tampered", |entry| {
            let last = entry.bytes.len() - 1;
            entry.bytes[last] ^= 1;
        }),
        ("fleet_entry_tampered", |entry| entry.generation += 1),
        ("fleet_entry_tampered", |entry| entry.bytes.truncate(100)),
        ("fleet_entry_malformed", |entry| entry.bytes.truncate(10)),
        ("fleet_entry_malformed", |entry| {
            entry.bytes = b"foreign".to_vec()
        }),
        ("fleet_entry_oversized", |entry| {
            entry.bytes.resize(brs_shared::MAX_SEALED + 1, 0);
        }),
    ];
    for (name, change) in changes {
        let kept = Kept::new().await;
        kept.memory.change(change);
        let host = kept.host(ONE).await;
        let (warned, id) = kept.seen(&host).await;
        assert_eq!((&*warned, &*id), (&[name][..], "ASIASCRIPTED00000002"));
        // Counted at the look and at the lease.
        assert_eq!(host.fleet.status().unopened, 2);
        let (warned, id) = kept.seen(&kept.host(ONE).await).await;
        assert!(
            warned.is_empty() && id == "ASIASCRIPTED00000002",
            "replaced"
        );
    }
}

#[tokio::test]
async fn the_entry_of_another_key_does_not_open() {
    let (kept, other) = (Kept::new().await, Kept::new().await);
    // Sealed by another fleet's key of the same id, and one that this host does not know.
    for (seal, name) in [
        (TWO.replace("k2", "k1"), "fleet_entry_tampered"),
        (TWO.to_owned(), "fleet_entry_unknown_key"),
    ] {
        let foreign = Kept {
            memory: Memory::default(),
            clock: kept.clock.clone(),
            script: hourly(),
        };
        foreign.host(&seal).await.key_id().await;
        let entry = foreign.memory.entry();
        other.memory.change(|place| *place = entry);
        let (warned, _) = other.seen(&other.host(ONE).await).await;
        assert_eq!(warned, [name]);
    }
}

#[tokio::test]
async fn an_older_generation_that_was_put_back_is_ignored() {
    let kept = Kept::new().await;
    let host = kept.host(ONE).await;
    host.key_id().await;
    let old = kept.memory.entry();
    kept.clock.advance(Duration::from_secs(3000));
    // Another host renews it, this one sees that.
    kept.host(ONE).await.key_id().await;
    kept.clock.advance(Duration::from_secs(700));
    assert_eq!(host.key_id().await, "ASIASCRIPTED00000002");
    kept.memory.change(|entry| *entry = old.clone());
    kept.memory.change(|entry| entry.expiry = now() + 10 * HOUR);
    kept.clock.advance(HOUR);
    let (warned, id) = kept.seen(&host).await;
    assert_eq!(
        (&*warned, &*id),
        (&["fleet_entry_replayed"][..], "ASIASCRIPTED00000003")
    );
}

#[tokio::test]
async fn an_entry_that_has_expired_is_absent_although_the_store_has_it() {
    let kept = Kept::new().await;
    kept.memory.change(|entry| entry.expiry = now() - HOUR);
    let (warned, id) = kept.seen(&kept.host(ONE).await).await;
    assert!(warned.is_empty() && id == "ASIASCRIPTED00000002");
}

#[tokio::test]
async fn a_store_that_fails_is_left_alone_for_half_a_minute() {
    for mode in [Mode::Failing, Mode::Full, Mode::Panicking, Mode::Locked] {
        let (memory, clock) = (Memory::default(), ManualClock::new(now()));
        let short = Scripted::always(Step::Fresh(Duration::from_secs(10)));
        memory.set(mode);
        let host = Host::new(&memory, ONE, &clock, &short).await;
        let mut events = host.session.events();
        host.key_id().await;
        assert_eq!(warnings(&mut events), ["fleet_store_failed"], "{mode:?}");
        assert!(host.fleet.status().is_left_alone);
        memory.set(Mode::Well);
        let loads = memory.loads();
        clock.advance(Duration::from_secs(20));
        host.key_id().await;
        assert_eq!(memory.loads(), loads, "{mode:?}: left alone");
        clock.advance(Duration::from_secs(11));
        host.key_id().await;
        assert!(memory.loads() > loads, "{mode:?}: tried again");
        let status = host.fleet.status();
        assert!(!status.is_left_alone, "{mode:?}");
        assert_eq!(
            (status.alone, status.asked, status.failures),
            (2, 1, 1),
            "{mode:?}"
        );
        assert_eq!(short.calls(), 3);
        assert!(warnings(&mut events).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_costs_half_a_second() {
    let (memory, script) = (Memory::default(), hourly());
    memory.set(Mode::Hanging);
    let host = Host::in_real_time(&memory, &script).await;
    let mut events = host.session.events();
    host.key_id().await;
    assert_eq!(warnings(&mut events), ["fleet_store_failed"]);
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn a_store_that_is_full_still_gives_what_it_has() {
    let kept = Kept::new().await;
    kept.memory.set(Mode::Full);
    let (warned, id) = kept.seen(&kept.host(ONE).await).await;
    assert!(warned.is_empty() && id == "ASIASCRIPTED00000001");
}

#[tokio::test]
async fn the_lease_is_given_back_although_the_refresh_was_dropped() {
    let memory = Memory::default();
    let hanging = Scripted::always(Step::Hang);
    let fleet = Fleet::new(memory.clone(), Seal::from_keys(ONE).unwrap());
    let session =
        RefreshableSession::with_strategy(Shared::new(Told(hanging.shared()), fleet.clone()))
            .refresh_timeout(Duration::from_millis(200))
            .build()
            .await
            .unwrap();
    assert!(session.credentials().await.is_err());
    memory.releases(1).await;
    assert!(!memory.is_leased());
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_of_the_seal_keys_is_looked_at_and_warned_of_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, ONE).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (memory, clock, script) = (Memory::default(), ManualClock::new(now()), hourly());
    let fleet = Fleet::new(memory.clone(), Seal::from_file(&path).unwrap());
    let shared = Shared::new(Told(script.shared()), fleet);
    let builder = RefreshableSession::with_strategy(shared).clock(clock.clone());
    let session = builder.build().await.unwrap();
    let mut events = session.events();
    let expected: [&[&str]; 4] = [
        &["fleet_seal_keys_mode"],
        &[],
        &["fleet_seal_keys_unread"],
        &["fleet_seal_keys_unread"],
    ];
    for (round, names) in expected.into_iter().enumerate() {
        if round == 2 {
            std::fs::write(&path, "hush").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        if round == 3 {
            // Well again, then gone.
            std::fs::write(&path, ONE).unwrap();
            session.credentials().await.unwrap();
            memory.idle().await;
            clock.advance(HOUR);
            std::fs::remove_file(&path).unwrap();
        }
        session.credentials().await.unwrap();
        memory.idle().await;
        assert_eq!(warnings(&mut events), names, "{round}");
        clock.advance(HOUR);
    }
}

#[tokio::test]
async fn the_stores_notices_are_told_once() {
    let (memory, clock, script) = (Memory::default(), ManualClock::new(now()), hourly());
    let host = Host::new(&memory, ONE, &clock, &script).await;
    let mut events = host.session.events();
    host.key_id().await;
    while let Some(event) = events.next().await {
        if let Event::Warning { name, details, .. } = event {
            assert_eq!(name, "fleet_memory");
            assert!(details["store"].starts_with("Memory"));
            break;
        }
    }
}
