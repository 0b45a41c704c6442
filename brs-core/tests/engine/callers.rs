//! Callers: many at once, dropped, on runtimes that stand still, on none.

use brs_core::RefreshableSession;
use brs_core::test_util::{Gate, Scripted, Step};
use futures_util::FutureExt;

use crate::common::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_at_a_cold_start_make_one_call() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let session = session(&strategy, &clock).await;
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move { key(&session).await })
        })
        .collect();
    strategy.called(1).await;
    gate.open();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), key_number(1));
    }
    assert_eq!((strategy.calls(), strategy.most_running()), (1, 1));
}

#[tokio::test]
async fn a_caller_dropped_in_mid_flight_cancels_nothing() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let session = session(&strategy, &clock).await;
    let mut events = session.events();
    let mut caller = Box::pin(session.credentials());
    assert!(caller.as_mut().now_or_never().is_none());
    drop(caller);
    strategy.called(1).await;
    gate.open();
    assert_eq!(succeeded(&mut events).await, key_number(1));
    assert_eq!(at_once(&session).unwrap(), key_number(1));
    assert_eq!(strategy.calls(), 1);
}

#[tokio::test]
async fn a_callers_own_time_out_neither_cancels_nor_restarts_a_refresh() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let session = session(&strategy, &clock).await;
    for _ in 0..20 {
        let limit = std::time::Duration::from_millis(1);
        assert!(
            tokio::time::timeout(limit, session.credentials())
                .await
                .is_err()
        );
    }
    gate.open();
    assert_eq!(key(&session).await, key_number(1));
    assert_eq!(strategy.calls(), 1);
}

#[test]
fn a_caller_needs_no_runtime() {
    let (strategy, clock) = (hourly(), clock());
    let key = pollster(async {
        let session = session(&strategy, &clock).await;
        key(&session).await
    });
    assert_eq!(key, key_number(1));
}

#[test]
fn a_runtime_that_stands_still_hinders_nobody_else() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let still = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let session = still.block_on(session(&strategy, &clock));
    // The first caller starts the flight from a runtime that is then not driven any more.
    let mut first = {
        let session = session.clone();
        Box::pin(async move { key(&session).await })
    };
    {
        let _entered = still.enter();
        assert!(first.as_mut().now_or_never().is_none());
    }
    gate.open();
    let elsewhere = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert_eq!(elsewhere.block_on(key(&session)), key_number(1));
    assert_eq!(still.block_on(first), key_number(1));
    assert_eq!(strategy.calls(), 1);
}

#[test]
fn a_callers_runtime_that_ends_in_mid_flight_takes_the_refresh_with_it_not() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let ends = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let session = ends.block_on(async {
        let session = session(&strategy, &clock).await;
        let caller = session.clone();
        tokio::spawn(async move { caller.credentials().await.map(drop) });
        strategy.called(1).await;
        session
    });
    drop(ends);
    gate.open();
    assert_eq!(pollster(key(&session)), key_number(1));
    assert_eq!(strategy.calls(), 1);
}

#[tokio::test]
async fn waiters_on_several_runtimes_share_one_flight() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let session = session(&strategy, &clock).await;
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let session = session.clone();
            std::thread::spawn(move || pollster(key(&session)))
        })
        .collect();
    strategy.called(1).await;
    gate.open();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), key_number(1));
    }
    assert_eq!(strategy.calls(), 1);
}

#[tokio::test]
async fn refresh_joins_a_flight_that_is_running() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = Scripted::always(Step::Fresh(HOUR))
        .first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
    let session = session(&strategy, &clock).await;
    let mut first = Box::pin(session.credentials());
    assert!(first.as_mut().now_or_never().is_none());
    let mut second = Box::pin(session.refresh());
    assert!(second.as_mut().now_or_never().is_none());
    gate.open();
    assert_eq!(first.await.unwrap(), second.await.unwrap());
    assert_eq!(strategy.calls(), 1);
}

/// Drives a future on this thread, without any runtime.
pub(crate) fn pollster<F: std::future::Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    loop {
        match future
            .as_mut()
            .poll(&mut std::task::Context::from_waker(&waker))
        {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[tokio::test]
async fn a_waiter_that_is_polled_after_the_end_looks_again() {
    type Call = fn(RefreshableSession) -> std::pin::Pin<Box<dyn Future<Output = String>>>;
    let calls: [Call; 3] = [
        |session| Box::pin(async move { key(&session).await }),
        |session| {
            Box::pin(async move { session.refresh().await.unwrap().access_key_id().to_owned() })
        },
        |session| {
            Box::pin(async move {
                session
                    .credentials_valid_for(seconds(60))
                    .await
                    .unwrap()
                    .access_key_id()
                    .to_owned()
            })
        },
    ];
    for call in calls {
        let (gate, clock) = (Gate::new(), clock());
        let strategy = hourly().first([Step::After(gate.clone(), Box::new(Step::Fresh(HOUR)))]);
        let session = session(&strategy, &clock).await;
        let mut events = session.events();
        let mut waiter = call(session.clone());
        assert!(waiter.as_mut().now_or_never().is_none());
        strategy.called(1).await;
        gate.open();
        assert_eq!(succeeded(&mut events).await, key_number(1));
        clock.advance(HOUR);
        assert_eq!(waiter.await, key_number(2));
    }
}
