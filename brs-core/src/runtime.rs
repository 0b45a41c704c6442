//! brs's own runtime: where refreshes and timers run, whatever the callers run on.
//!
//! One per process, started at the first need: two worker threads for strategies ([`own`]), and beside them one thread
//! that keeps time limits, timers and eager tasks ([`keeper`]). No foreign code runs on the keeper, so that
//! strategies which block both workers cannot stop the limits that end them. Neither is ever dropped, and their threads
//! keep no process alive, nor do they follow into a forked child. A process that cannot start threads gets an error,
//! and another try at the next refresh.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for strategies.
const WORKERS: usize = 2;

static OWN: Mutex<Option<Runtime>> = Mutex::new(None);
static KEEPER: Mutex<Option<Handle>> = Mutex::new(None);

/// Where strategies run.
pub fn own() -> io::Result<Handle> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*own {
        return Ok(runtime.handle().clone());
    }
    let started = AtomicUsize::new(0);
    // Two threads more than what may block, such as landings, needs; which of them become the workers is the pool's
    // affair.
    let name =
        move || if started.fetch_add(1, Ordering::Relaxed) < WORKERS { "brs" } else { "brs-blocking" }.to_owned();
    let runtime = build(Builder::new_multi_thread().worker_threads(WORKERS).thread_name_fn(name))?;
    let handle = runtime.handle().clone();
    *own = Some(runtime);
    Ok(handle)
}

/// Where time is kept.
pub(crate) fn keeper() -> io::Result<Handle> {
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*keeper {
        return Ok(handle.clone());
    }
    let runtime = Arc::new(build(&mut Builder::new_current_thread())?);
    let handle = runtime.handle().clone();
    let driven = Arc::clone(&runtime);
    let thread = std::thread::Builder::new()
        .name("brs-keeper".into())
        .spawn(move || driven.block_on(std::future::pending::<()>()));
    if let Err(error) = thread {
        // Dropped as it is, a runtime would panic where the caller is in another.
        if let Some(runtime) = Arc::into_inner(runtime) {
            runtime.shutdown_background();
        }
        return Err(error);
    }
    *keeper = Some(handle.clone());
    Ok(handle)
}

/// tokio panics where it cannot start a worker.
fn build(builder: &mut Builder) -> io::Result<Runtime> {
    catch_unwind(AssertUnwindSafe(|| builder.enable_all().build()))
        .unwrap_or_else(|_| Err(io::Error::other("the system does not let this process start threads")))
}
