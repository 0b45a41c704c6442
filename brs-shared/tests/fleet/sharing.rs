//! One set for all hosts, and who asks for it.

use super::*;
use brs_core::test_util::Gate;

#[tokio::test]
async fn the_second_host_makes_no_call() {
    let (memory, clock) = (Memory::default(), ManualClock::new(now()));
    let (first, second) = (hourly(), hourly());
    let one = Host::new(&memory, ONE, &clock, &first).await;
    let other = Host::new(&memory, ONE, &clock, &second).await;
    let sets = [
        one.session.credentials().await.unwrap(),
        // The first host's lease may still be on its way back: the set is there.
        other.session.credentials().await.unwrap(),
    ];
    assert_eq!(sets[0], sets[1]);
    assert_eq!((first.calls(), second.calls()), (1, 0));
    assert_eq!(
        (one.fleet.status().asked, other.fleet.status().taken),
        (1, 1)
    );
    memory.releases(1).await;
    assert!(!memory.is_leased());
}

#[tokio::test]
async fn one_host_renews_the_set_for_all() {
    let (memory, clock, script) = (Memory::default(), ManualClock::new(now()), hourly());
    let mut hosts = Vec::new();
    for _ in 0..4 {
        hosts.push(Host::new(&memory, ONE, &clock, &script).await);
    }
    for round in 1..=3 {
        for host in &hosts {
            let expected = format!("ASIASCRIPTED{round:08}");
            assert_eq!(host.key_id().await, expected);
        }
        assert_eq!(script.calls(), round);
        clock.advance(HOUR);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_the_lease_taken_waits_for_the_set() {
    let memory = Memory::default();
    let gate = Gate::new();
    let slow = Scripted::always(Step::After(gate.clone(), Box::new(Step::Fresh(HOUR))));
    let other = hourly();
    let (holder, waiter) = (
        Host::in_real_time(&memory, &slow).await,
        Host::in_real_time(&memory, &other).await,
    );
    let holding = tokio::spawn(async move { holder.key_id().await });
    slow.called(1).await;
    let waiting = tokio::spawn(async move { waiter.key_id().await });
    // The holder's, and the waiter's polls.
    memory.leases(4).await;
    gate.open();
    assert_eq!(holding.await.unwrap(), waiting.await.unwrap());
    assert_eq!((slow.calls(), other.calls()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_host_that_died_is_taken_when_it_ends() {
    let memory = Memory::default();
    let script = hourly();
    let host = Host::in_real_time(&memory, &script).await;
    // Told's key, as any host finds it.
    host.key_id().await;
    let key = memory.key();
    let fresh = Memory::default();
    fresh.set_foreign_lease(&key, true);
    let waiter = Host::in_real_time(&fresh, &script).await;
    let waiting = tokio::spawn(async move { waiter.key_id().await });
    fresh.leases(2).await;
    assert_eq!(script.calls(), 1);
    fresh.set_foreign_lease(&key, false);
    assert_eq!(waiting.await.unwrap(), "ASIASCRIPTED00000002");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_long_enough_asks_by_itself() {
    let (probe, script) = (Memory::default(), hourly());
    Host::in_real_time(&probe, &script).await.key_id().await;
    let memory = Memory::default();
    memory.set_foreign_lease(&probe.key(), true);
    let fleet = Fleet::new(memory.clone(), Seal::from_keys(ONE).unwrap());
    let session =
        RefreshableSession::with_strategy(Shared::new(Told(script.shared()), fleet.clone()))
            .refresh_timeout(Duration::from_secs(1))
            .build()
            .await
            .unwrap();
    let mut events = session.events();
    let set = session.credentials().await.unwrap();
    assert_eq!(set.access_key_id(), "ASIASCRIPTED00000002");
    assert_eq!(warnings(&mut events), ["fleet_lease_busy"]);
    assert_eq!(fleet.status().alone, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_not_asked_later_because_another_one_is_asked_elsewhere() {
    let (probe, script) = (Memory::default(), hourly());
    Host::in_real_time(&probe, &script).await.key_id().await;
    let memory = Memory::default();
    memory.set_foreign_lease(&probe.key(), true);
    let asking = Scripted::interactive(Step::Fresh(HOUR));
    let host = Host::in_real_time(&memory, &asking).await;
    host.key_id().await;
    assert_eq!(asking.calls(), 1);
    assert_eq!(host.fleet.status().alone, 1);
}

#[tokio::test]
async fn a_failure_is_stored_and_the_set_stays() {
    let (memory, clock) = (Memory::default(), ManualClock::new(now()));
    let script = hourly();
    let one = Host::new(&memory, ONE, &clock, &script).await;
    one.key_id().await;
    let before = memory.entry();
    // In its advisory window, with a source that refuses.
    clock.advance(Duration::from_secs(3300));
    let failing = Scripted::always(Step::Fail(Error::request("slow down").throttled()));
    let late = Host::new(&memory, ONE, &clock, &failing).await;
    let mut events = late.session.events();
    assert_eq!(late.key_id().await, "ASIASCRIPTED00000001");
    assert_eq!(warnings(&mut events), ["fleet_source_failed"]);
    let after = memory.entry();
    assert!(after.generation > before.generation);
    assert_eq!(after.expiry, before.expiry);
}

#[tokio::test]
async fn a_refresh_whose_source_fails_keeps_the_newer_set_that_the_store_never_had() {
    let (memory, clock, script) = (Memory::default(), ManualClock::new(now()), hourly());
    let one = Host::new(&memory, ONE, &clock, &script).await;
    one.key_id().await;
    clock.advance(Duration::from_secs(2400));
    memory.set(Mode::Failing);
    let second = one.session.refresh().await.unwrap();
    memory.set(Mode::Well);
    clock.advance(Duration::from_secs(31));
    script.then([Step::Fail(Error::request("slow down").throttled())]);
    one.session.refresh().await.unwrap_err();
    assert_eq!(one.session.credentials().await.unwrap(), second);
}

#[tokio::test]
async fn a_rejected_set_is_given_to_no_host() {
    let (memory, clock, script) = (Memory::default(), ManualClock::new(now()), hourly());
    let one = Host::new(&memory, ONE, &clock, &script).await;
    let other = Host::new(&memory, ONE, &clock, &script).await;
    let first = one.key_id().await;
    assert_eq!(other.key_id().await, first);
    script.then([Step::Fail(Error::request("refused"))]);
    one.session.invalidate(&first);
    one.session.refresh().await.unwrap_err();
    memory.idle().await;
    // Marked, although the call failed.
    let late = Host::new(&memory, ONE, &clock, &script).await;
    assert_eq!(late.key_id().await, "ASIASCRIPTED00000002");
    assert_eq!(script.calls(), 3);
}

#[tokio::test]
async fn keys_rotate_without_a_call() {
    let (memory, clock, script) = (Memory::default(), ManualClock::new(now()), hourly());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let mut hosts = Vec::new();
    for text in [
        ONE.to_owned(),
        format!("{ONE}\n{TWO}"),
        format!("{TWO}\n{ONE}"),
        TWO.to_owned(),
    ] {
        std::fs::write(&path, &text).unwrap();
        if hosts.is_empty() {
            for _ in 0..3 {
                let seal = Seal::from_file(&path).unwrap();
                let fleet = Fleet::new(memory.clone(), seal);
                let shared = Shared::new(Told(script.shared()), fleet.clone());
                let builder = RefreshableSession::with_strategy(shared).clock(clock.clone());
                let session = builder.build().await.unwrap();
                let memory = memory.clone();
                hosts.push(Host {
                    memory,
                    fleet,
                    session,
                });
            }
        }
        let calls = script.calls();
        for host in &hosts {
            host.key_id().await;
            assert_eq!(host.fleet.status().unopened, 0, "{text}");
        }
        assert_eq!(script.calls(), calls + 1, "{text}");
        clock.advance(HOUR);
    }
}

#[tokio::test]
async fn generations_grow_over_what_the_store_has_forgotten() {
    let (memory, clock, script) = (Memory::default(), ManualClock::new(now()), hourly());
    let one = Host::new(&memory, ONE, &clock, &script).await;
    one.key_id().await;
    let before = memory.entry().generation;
    memory.forget();
    clock.advance(2 * HOUR);
    // A host that has seen nothing writes; the first one reads.
    let other = Host::new(&memory, ONE, &clock, &script).await;
    let set = other.key_id().await;
    assert!(memory.entry().generation > before);
    assert_eq!(one.key_id().await, set);
    assert_eq!((script.calls(), one.fleet.status().unopened), (2, 0));
}
