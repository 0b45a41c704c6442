//! The lock-free read under stress: real threads, real memory ordering, which the model checker
//! does not see.

use std::sync::atomic::{AtomicBool, Ordering};

use brs_core::RefreshableSession;
use brs_core::test_util::{ManualClock, Scripted, Step};
use futures_util::FutureExt;

/// How many sets replace each other while the readers read.
const SETS: usize = 2000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_whole_sets_in_order_while_they_are_replaced() {
    let hour = std::time::Duration::from_secs(3600);
    let clock = ManualClock::new(std::time::UNIX_EPOCH + 500_000 * hour);
    let strategy = Scripted::always(Step::Fresh(hour));
    let session = RefreshableSession::with_strategy(strategy.shared())
        .clock(clock)
        .defer_refresh(false)
        .build()
        .await
        .unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let (mut reads, mut newest) = (0_u64, 0);
                    while !done.load(Ordering::Relaxed) {
                        let set = session
                            .credentials()
                            .now_or_never()
                            .expect("ready at its first poll")
                            .unwrap();
                        let number = |text: &str| text[text.len() - 8..].parse::<usize>().unwrap();
                        let parts = [
                            number(set.access_key_id()),
                            number(set.secret_access_key()),
                            number(set.session_token().unwrap()),
                        ];
                        assert_eq!(parts, [parts[0]; 3], "a mixed set");
                        assert!(
                            parts[0] >= newest,
                            "a reader went back from {newest} to {}",
                            parts[0]
                        );
                        newest = parts[0];
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        let writer = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap();
            runtime.block_on(async {
                for _ in 1..SETS {
                    session.refresh().await.unwrap();
                }
            });
            done.store(true, Ordering::Relaxed);
        });
        let written = writer.join();
        done.store(true, Ordering::Relaxed);
        assert!(written.is_ok());
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    assert_eq!(strategy.calls(), SETS);
}
