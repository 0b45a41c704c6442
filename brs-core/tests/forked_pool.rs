//! A forked child goes on with its parent's pool.

#![cfg(unix)]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use brs_core::test_util::{Scripted, Step};
use brs_core::{Limiter, SessionPool};

use forking::{block_on, in_a_fork};

mod forking;

const HOUR: Duration = Duration::from_secs(3600);

/// One test: a fork copies the thread that forks, and whatever other tests hold locked.
#[test]
fn a_forked_child_goes_on_with_the_pool() {
    let strategy = |_: &u32| Scripted::always(Step::Fresh(HOUR)).shared();
    let pool = SessionPool::with_strategy(strategy)
        .limiter(Limiter::adaptive(100_000, 100_000))
        .build();
    let key = |of: u32| {
        let session = pool.get(&of)?;
        let set = block_on(session.credentials())?;
        Ok(set.access_key_id().to_owned())
    };
    let known = key(1).unwrap();
    in_a_fork("what the parent had is there", || {
        assert_eq!(key(1)?, known);
        assert_eq!(pool.status().sessions, 1);
        Ok(())
    });
    in_a_fork("a refresh in the child", || {
        block_on(pool.get(&1)?.refresh())?;
        key(2).map(drop)
    });
    assert_eq!(pool.status().sessions, 1, "the child's session is its own");

    // Threads that use the pool while it forks.
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..4)
        .map(|thread| {
            let (pool, stop) = (pool.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut of = thread;
                while !stop.load(Ordering::Relaxed) {
                    of = (of + 4) % 1000;
                    block_on(pool.get(&of).unwrap().credentials()).unwrap();
                }
            })
        })
        .collect();
    for _ in 0..50 {
        in_a_fork("a fork amid calls", || {
            for of in [1, 5, 2000] {
                key(of)?;
            }
            assert!(pool.status().sessions >= 1);
            Ok(())
        });
    }
    stop.store(true, Ordering::Relaxed);
    for thread in busy {
        thread.join().unwrap();
    }
}
