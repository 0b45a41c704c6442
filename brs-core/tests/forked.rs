//! A forked child: no thread of the parent's is there, and every call works or ends within its
//! limit.

#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that panics fails its test, like the test's own body"
)]

use std::sync::Arc;
use std::time::Duration;

use brs_core::test_util::{Scripted, Step};
use brs_core::{Blocking, Error, RefreshableSession};
use fork::{Fork, fork, waitpid_nohang};
use futures_util::FutureExt;

const HOUR: Duration = Duration::from_secs(3600);

fn session(step: Step) -> RefreshableSession {
    block_on(
        RefreshableSession::with_strategy(Scripted::always(step).shared())
            .refresh_timeout(HOUR)
            .build(),
    )
    .unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Runs `child` in a fork of this process; it must end, and well, within a deadline.
fn in_a_fork(name: &str, child: impl FnOnce() -> Result<(), Error>) {
    match fork().unwrap() {
        Fork::Child => {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            if let Ok(Err(error)) = &ended {
                eprintln!("{name}: {error}");
            }
            // Without the exit handlers, which belong to the parent's threads.
            std::process::exit(if matches!(ended, Ok(Ok(()))) { 0 } else { 1 });
        }
        Fork::Parent(child) => {
            let (_never, wait) = std::sync::mpsc::channel::<()>();
            for _ in 0..2000 {
                if let Some(status) = waitpid_nohang(child).unwrap() {
                    assert_eq!(status, 0, "{name}: the child failed");
                    return;
                }
                let _ = wait.recv_timeout(Duration::from_millis(10));
            }
            let child = rustix::process::Pid::from_raw(child).unwrap();
            rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
            panic!("{name}: the child hangs");
        }
    }
}

/// One test: a fork copies the thread that forks, and whatever other tests hold locked.
#[test]
fn a_forked_child_refreshes_on_a_runtime_of_its_own() {
    let used = session(Step::Fresh(HOUR));
    block_on(used.refresh()).unwrap();
    let unused = session(Step::Fresh(HOUR));
    let eager_script = Scripted::always(Step::Fresh(HOUR));
    let eager = RefreshableSession::with_strategy(eager_script.shared())
        .defer_refresh(false)
        .build();
    let eager = block_on(eager).unwrap();

    in_a_fork("a session that has refreshed in the parent", || {
        block_on(used.refresh()).map(drop)
    });
    in_a_fork("a session made in the parent", || {
        block_on(unused.credentials()).map(drop)
    });
    in_a_fork("an eager session", || block_on(eager.refresh()).map(drop));
    in_a_fork("a session made in the child", || {
        let made = session(Step::Fresh(HOUR));
        block_on(made.refresh()).map(drop)
    });
    in_a_fork("a fork of a fork", || {
        block_on(used.refresh())?;
        in_a_fork("the second fork", || block_on(used.refresh()).map(drop));
        Ok(())
    });

    // In the child the flight is nobody's; in the parent it goes on.
    let script = Scripted::always(Step::Fresh(HOUR)).first([Step::Hang]);
    let hanging = RefreshableSession::with_strategy(script.shared())
        .refresh_timeout(HOUR)
        .build();
    let hanging = block_on(hanging).unwrap();
    let mut waiter = Box::pin(hanging.credentials());
    assert!(waiter.as_mut().now_or_never().is_none());
    block_on(script.called(1));
    in_a_fork("a session with a flight in the air", || {
        block_on(hanging.credentials()).map(drop)
    });
    assert!(hanging.status().is_refreshing());

    // What blocks a thread in the parent blocks none in the child.
    let place = Blocking::new();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut call = Box::pin(place.run(move || released.recv().is_ok()));
    assert!(call.as_mut().now_or_never().is_none());
    in_a_fork("a synchronous call", || block_on(place.run(|| ())));
    release.send(()).unwrap();
    assert!(block_on(call).unwrap());

    // The limit holds in the child, too.
    let dead = RefreshableSession::with_strategy(Scripted::always(Step::Hang).shared());
    let dead = Arc::new(block_on(dead.refresh_timeout(Duration::from_secs(1)).build()).unwrap());
    in_a_fork("a dead source", || match block_on(dead.credentials()) {
        Err(error) if error.to_string().contains("did not answer within 1s") => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(Error::validation("the source hangs")),
    });
    block_on(used.refresh()).unwrap();
}
