//! Where refreshes run: brs's own runtime, a chosen one, one that ends or stands still, code that
//! blocks.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use brs_core::test_util::{Gate, Step};
use brs_core::{Error, RefreshContext, RefreshStrategy, RefreshableSession, TemporaryCredentials};
use futures_util::FutureExt;

use crate::callers::pollster;
use crate::common::*;

/// Tells the name of the thread it runs on in its access key id.
#[derive(Debug, Default)]
struct WhichThread(Mutex<Vec<String>>);

#[async_trait]
impl RefreshStrategy for WhichThread {
    fn method(&self) -> &'static str {
        "thread"
    }

    fn source(&self) -> &'static str {
        "thread"
    }

    async fn refresh(&self, cx: &RefreshContext) -> Result<TemporaryCredentials, Error> {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push(name.clone());
        Ok(TemporaryCredentials::new(
            name,
            "s",
            None,
            Some(cx.clock().now() + HOUR),
        ))
    }
}

async fn thread_of(runtime: Option<tokio::runtime::Handle>) -> String {
    let mut builder = RefreshableSession::with_strategy(Arc::new(WhichThread::default()));
    if let Some(runtime) = runtime {
        builder = builder.runtime(runtime);
    }
    key(&builder.build().await.unwrap()).await
}

#[tokio::test]
async fn refreshes_run_on_brs_s_own_runtime() {
    assert!(thread_of(None).await.starts_with("brs"));
}

#[test]
fn a_chosen_runtime_is_used() {
    let chosen = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("chosen")
        .build()
        .unwrap();
    assert_eq!(pollster(thread_of(Some(chosen.handle().clone()))), "chosen");
}

#[test]
fn a_chosen_runtime_that_has_ended_is_replaced_by_brs_s_own() {
    let chosen = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("chosen")
        .build()
        .unwrap();
    let handle = chosen.handle().clone();
    chosen.shutdown_background();
    assert!(pollster(thread_of(Some(handle))).starts_with("brs"));
}

#[test]
fn a_runtime_that_ends_in_mid_flight_hands_it_to_brs_s_own() {
    let chosen = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let clock = clock();
    let strategy = hourly().first([Step::Hang]);
    let session = pollster(
        builder(&strategy, &clock)
            .runtime(chosen.handle().clone())
            .build(),
    )
    .unwrap();
    let mut caller = Box::pin(key(&session));
    assert!(caller.as_mut().now_or_never().is_none());
    pollster(strategy.called(1));
    chosen.shutdown_background();
    assert_eq!(pollster(caller), key_number(1));
    assert_eq!((strategy.calls(), strategy.most_running()), (2, 1));
}

#[tokio::test]
async fn strategies_that_block_every_worker_do_not_stop_time() {
    // brs's own runtime has two workers; other tests of this process need theirs, so these get a
    // runtime of their own.
    let chosen = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let gate = Gate::new();
    let clock = clock();
    let blocking: Vec<_> = (0..3)
        .map(|_| hourly().first([Step::Block(gate.clone(), Box::new(Step::Hang))]))
        .collect();
    for strategy in &blocking {
        let session = builder(strategy, &clock)
            .runtime(chosen.handle().clone())
            .build()
            .await
            .unwrap();
        let (result, ()) = futures_util::future::join(session.credentials(), async {
            clock.sleepers(1).await;
            clock.advance(seconds(30));
        })
        .await;
        assert!(result.unwrap_err().is_retryable());
    }
    gate.open();
    chosen.shutdown_background();
}

#[test]
fn a_chosen_runtime_that_stands_still_costs_the_time_limit() {
    let still = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (strategy, clock) = (hourly(), clock());
    let session = pollster(
        builder(&strategy, &clock)
            .runtime(still.handle().clone())
            .build(),
    )
    .unwrap();
    let (result, ()) = pollster(futures_util::future::join(session.credentials(), async {
        clock.sleepers(1).await;
        clock.advance(seconds(30));
    }));
    let error = result.unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("is not driven"),
        "{error}"
    );
    assert_eq!(strategy.calls(), 0);
}

#[tokio::test]
async fn a_strategy_that_blocks_is_reported_and_not_called_again_meanwhile() {
    let gate = Gate::new();
    let clock = clock();
    let strategy = hourly().first([Step::Block(gate.clone(), Box::new(Step::Hang))]);
    let session = session(&strategy, &clock).await;
    let (result, ()) = futures_util::future::join(session.credentials(), async {
        strategy.called(1).await;
        clock.sleepers(1).await;
        clock.advance(seconds(30));
    })
    .await;
    assert!(
        result
            .unwrap_err()
            .to_string()
            .contains("did not answer within")
    );
    let error = session.refresh().await.unwrap_err();
    assert!(
        error.to_string().contains("still blocks its thread"),
        "{error}"
    );
    assert_eq!(strategy.calls(), 1, "it is not called while it blocks");
    gate.open();
    while session.refresh().await.is_err() {}
    assert_eq!(strategy.calls(), 2);
}
