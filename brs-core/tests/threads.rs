//! How many threads brs has, however many sessions there are; in a process of its own, whose
//! threads can be counted.

#![cfg(target_os = "linux")]

use std::time::Duration;

use brs_core::RefreshableSession;
use brs_core::test_util::{Scripted, Step};

fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux tells a process's threads");
    let names = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

#[tokio::test]
async fn one_runtime_with_two_workers_serves_every_session_from_the_first_refresh_on() {
    let hourly = || Scripted::always(Step::Fresh(Duration::from_secs(3600))).shared();
    let mut sessions = Vec::new();
    for _ in 0..20 {
        sessions.push(
            RefreshableSession::with_strategy(hourly())
                .build()
                .await
                .unwrap(),
        );
    }
    assert_eq!(
        (threads_named("brs"), threads_named("brs-keeper")),
        (0, 0),
        "nothing runs before the first refresh"
    );
    for session in &sessions {
        session.credentials().await.unwrap();
    }
    assert_eq!((threads_named("brs"), threads_named("brs-keeper")), (2, 1));
}
