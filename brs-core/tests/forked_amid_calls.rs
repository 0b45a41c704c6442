//! A child that is forked while other threads are inside calls of the same session: it waits for
//! none of them.
//!
//! One process of its own: what its threads do is all that a child may find half-done.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use brs_core::test_util::{Scripted, Step};
use brs_core::{Error, Event, RefreshableSession};
use forking::{block_on, in_a_fork};

mod forking;

const FORKS: usize = 100;

fn session(defer_refresh: bool) -> RefreshableSession {
    let strategy = Scripted::always(Step::Fresh(Duration::from_secs(3600))).shared();
    let builder = RefreshableSession::with_strategy(strategy)
        .region("eu-west-1")
        .defer_refresh(defer_refresh);
    block_on(builder.build()).unwrap()
}

/// What the parent's threads do meanwhile, each a call over and over.
fn calls() -> [fn(&RefreshableSession); 6] {
    [
        |session| drop(session.status()),
        |session| drop(block_on(session.credentials()).unwrap()),
        |session| drop(block_on(session.refresh()).unwrap()),
        |session| drop(session.events()),
        |session| session.invalidate(block_on(session.credentials()).unwrap().access_key_id()),
        |session| drop(session.client_with("one of many", Clone::clone)),
    ]
}

fn every_call_is_answered(inherited: &RefreshableSession) -> Result<(), Error> {
    let mut events = inherited.events();
    assert!(
        inherited.status().access_key_id().is_some(),
        "what the parent had is here"
    );
    block_on(inherited.credentials())?;
    let refreshed = block_on(inherited.refresh())?;
    assert_eq!(
        block_on(inherited.credentials())?.access_key_id(),
        refreshed.access_key_id()
    );
    while !matches!(
        block_on(events.next()),
        Some(Event::RefreshSucceeded { .. })
    ) {}
    inherited.invalidate(refreshed.access_key_id());
    let _ = inherited.ready();
    assert_ne!(
        block_on(inherited.credentials())?.access_key_id(),
        refreshed.access_key_id()
    );
    inherited.client_with("one of many", Clone::clone);
    block_on(session(true).credentials())?;
    inherited.close();
    assert!(block_on(inherited.credentials()).is_err(), "closed here");
    Ok(())
}

#[test]
fn a_child_waits_for_no_lock_that_another_thread_of_its_parent_held() {
    for session in [session(true), session(false)] {
        block_on(session.credentials()).unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Ends the threads if a fork fails the test, too.
            let _over = Over(&is_over);
            for call in calls() {
                let (session, is_over) = (&session, &is_over);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        call(session);
                    }
                });
            }
            for number in 1..=FORKS {
                in_a_fork(&format!("child {number}"), || {
                    every_call_is_answered(&session)
                });
            }
        });
        block_on(session.refresh()).unwrap();
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
