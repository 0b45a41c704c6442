//! A thousand refreshes: descriptors and threads stay what they were. The same with a token is in
//! `pkcs11`.

use std::process::Command;

use super::*;

const CHILD: &str = "BRS_TEST_ENDURANCE";

/// How many descriptors there are, and which threads; those that wait for something blocking come
/// and go.
fn now() -> (usize, Vec<String>) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let mut threads: Vec<_> = names.filter(|name| name != "brs-blocking\n").collect();
    threads.sort();
    (std::fs::read_dir("/proc/self/fd").unwrap().count(), threads)
}

/// In a process of its own, whose descriptors and threads are nobody else's.
#[test]
fn a_thousand_refreshes_leave_descriptors_and_threads_as_they_were() {
    if std::env::var_os(CHILD).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "endurance::a_thousand_refreshes_leave_descriptors_and_threads_as_they_were",
                "--exact",
            ])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let bench = Bench::new();
        let session = bench.session(bench.params()).await;
        for _ in 0..20 {
            session.refresh().await.unwrap();
        }
        let before = now();
        for _ in 0..1000 {
            session.refresh().await.unwrap();
        }
        let after = now();
        // Fewer threads are no leak: one that had looked up a name ends when it is idle.
        assert!(after.1.len() <= before.1.len(), "{before:?}, {after:?}");
        assert_eq!(after.0, before.0);
        assert_eq!(bench.anywhere.calls(), 1020);
        assert_eq!(bench.anywhere.connections(), 1);
    });
}
