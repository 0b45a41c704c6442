//! brs's own runtime: where refreshes and timers run, whatever the callers run on.
//!
//! Started at the first need, once a process: two worker threads for strategies ([`own`]), and
//! beside them one thread that keeps time limits and timers ([`keeper`]). No foreign code runs on
//! the keeper, so strategies that block both workers cannot stop the limits that end them; clocks
//! of the user's sleep on a thread of their own ([`clocks`]). None of these is ever dropped, and
//! their threads keep no process alive. A process that has forked starts its own. A process that
//! cannot start threads gets an error, and another try at the next refresh.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::kit::per_process::PerProcess;

/// Threads for strategies.
const WORKERS: usize = 2;

static OWN: PerProcess<Mutex<Option<Runtime>>> = PerProcess::new();
static KEEPER: PerProcess<Mutex<Option<Handle>>> = PerProcess::new();
static CLOCKS: PerProcess<Mutex<Option<Handle>>> = PerProcess::new();

/// Where strategies run.
pub fn own() -> io::Result<Handle> {
    let own = OWN.get();
    let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*own {
        return Ok(runtime.handle().clone());
    }
    let started = AtomicUsize::new(0);
    // Beyond the workers are threads for what may block, such as landings; which of them become the
    // workers is the pool's affair.
    let name = move || {
        if started.fetch_add(1, Ordering::Relaxed) < WORKERS {
            "brs"
        } else {
            "brs-blocking"
        }
        .to_owned()
    };
    let runtime = build(
        Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name_fn(name),
    )?;
    let handle = runtime.handle().clone();
    *own = Some(runtime);
    Ok(handle)
}

/// Where time is kept.
pub(crate) fn keeper() -> io::Result<Handle> {
    one_thread(&KEEPER, "brs-keeper")
}

/// Where clocks that are not the system's sleep.
pub(crate) fn clocks() -> io::Result<Handle> {
    one_thread(&CLOCKS, "brs-clocks")
}

fn one_thread(kept: &PerProcess<Mutex<Option<Handle>>>, name: &str) -> io::Result<Handle> {
    let kept = kept.get();
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*kept {
        return Ok(handle.clone());
    }
    let runtime = Arc::new(build(&mut Builder::new_current_thread())?);
    let handle = runtime.handle().clone();
    let driven = Arc::clone(&runtime);
    let thread = std::thread::Builder::new()
        .name(name.into())
        .spawn(move || driven.block_on(std::future::pending::<()>()));
    if let Err(error) = thread {
        // Dropped as it is, a runtime would panic where the caller is in another.
        if let Some(runtime) = Arc::into_inner(runtime) {
            runtime.shutdown_background();
        }
        return Err(error);
    }
    *kept = Some(handle.clone());
    Ok(handle)
}

/// tokio panics where it cannot start a worker.
fn build(builder: &mut Builder) -> io::Result<Runtime> {
    catch_unwind(AssertUnwindSafe(|| builder.enable_all().build())).unwrap_or_else(|_| {
        Err(io::Error::other(
            "the system does not let this process start threads",
        ))
    })
}
