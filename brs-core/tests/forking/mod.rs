//! Forks of a test's process that must end, and well.

use std::time::Duration;

use brs_core::Error;
use fork::{Fork, fork, waitpid_nohang};

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(future)
}

/// Runs `child` in a fork of this process; it must end, and well, within a deadline.
pub(crate) fn in_a_fork(name: &str, child: impl FnOnce() -> Result<(), Error>) {
    match fork().expect("the process forks") {
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
                if let Some(status) = waitpid_nohang(child).expect("the child is this process's") {
                    assert_eq!(status, 0, "{name}: the child failed");
                    return;
                }
                let _ = wait.recv_timeout(Duration::from_millis(10));
            }
            let child = rustix::process::Pid::from_raw(child).expect("the child has an id");
            rustix::process::kill_process(child, rustix::process::Signal::KILL)
                .expect("it can be killed");
            panic!("{name}: the child hangs");
        }
    }
}
