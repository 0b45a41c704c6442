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
use brs_core::{Blocking, Error, Event, RefreshableSession};
use futures_util::FutureExt;

use forking::{block_on, in_a_fork};

mod forking;

const HOUR: Duration = Duration::from_secs(3600);

fn session(step: Step) -> RefreshableSession {
    block_on(
        RefreshableSession::with_strategy(Scripted::always(step).shared())
            .refresh_timeout(HOUR)
            .build(),
    )
    .unwrap()
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

    // The child goes on from what the parent knew, and what it does is its own.
    let failing =
        Scripted::always(Step::Fail(Error::connection("no answer"))).first([Step::Fresh(HOUR)]);
    let failed = block_on(RefreshableSession::with_strategy(failing.shared()).build()).unwrap();
    block_on(failed.credentials()).unwrap();
    block_on(failed.refresh()).unwrap_err();
    let mut events = failed.events();
    let before = failed.status();
    in_a_fork("a session whose last refresh failed", || {
        let status = failed.status();
        assert_eq!(
            (status.access_key_id(), status.refreshes()),
            (before.access_key_id(), 1)
        );
        assert_eq!(
            (status.consecutive_failures(), status.last_success()),
            (1, before.last_success())
        );
        assert_eq!(
            status.last_error().map(ToString::to_string),
            before.last_error().map(ToString::to_string)
        );
        assert!(
            block_on(events.next()).is_none(),
            "the stream is the parent's"
        );
        let mut events = failed.events();
        block_on(failed.refresh()).unwrap_err();
        assert!(matches!(
            block_on(events.next()),
            Some(Event::RefreshStarted { .. })
        ));
        failed.close();
        Ok(())
    });
    assert_eq!(failed.status().consecutive_failures(), 1);
    assert!(
        events.next().now_or_never().is_none(),
        "the parent's stream is open, and hears nothing of the child"
    );
    let closed = session(Step::Fresh(HOUR));
    block_on(closed.refresh()).unwrap();
    closed.close();
    in_a_fork("a closed session", || {
        assert!(block_on(closed.events().next()).is_none());
        assert!(
            block_on(closed.refresh()).is_err_and(|error| error.to_string().contains("closed"))
        );
        Ok(())
    });

    // The last handles go in the child, with all that belongs to the parent's threads.
    let script = Scripted::always(Step::Fresh(HOUR)).first([Step::Hang]);
    let dropped = block_on(
        RefreshableSession::with_strategy(script.shared())
            .refresh_timeout(HOUR)
            .build(),
    )
    .unwrap();
    let streams = [dropped.events(), dropped.events()];
    let mut waiter = Box::pin(dropped.credentials());
    assert!(waiter.as_mut().now_or_never().is_none());
    block_on(script.called(1));
    drop(waiter);
    in_a_fork("the last handle", move || {
        drop(dropped);
        drop(streams);
        Ok(())
    });

    // A session ends with its last handle in the child, too. Only one that no thread of the parent
    // was using at the fork, or its handle is never dropped here; `close` ends any.
    let session = || {
        let strategy = Scripted::always(Step::Fresh(HOUR)).shared();
        RefreshableSession::with_strategy(strategy).region("eu-west-1")
    };
    let ended = block_on(session().build()).unwrap();
    drop(ended.client_with("one", Clone::clone));
    in_a_fork("a session with clients", move || {
        let mut events = ended.events();
        drop(ended);
        assert!(block_on(events.next()).is_none());
        Ok(())
    });
    let eager = block_on(session().defer_refresh(false).build()).unwrap();
    in_a_fork("an eager session that is closed", move || {
        let mut events = eager.events();
        eager.close();
        while block_on(events.next()).is_some() {}
        Ok(())
    });

    // The threads of a runtime of the user's are the parent's, too.
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let strategy = Scripted::always(Step::Fresh(HOUR)).shared();
    let chosen = block_on(
        RefreshableSession::with_strategy(strategy)
            .runtime(threads.handle().clone())
            .build(),
    );
    let chosen = chosen.unwrap();
    block_on(chosen.refresh()).unwrap();
    in_a_fork("a session on a runtime of the user's", || {
        block_on(chosen.refresh()).map(drop)
    });

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
