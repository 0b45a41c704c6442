//! brs's own runtime: where refreshes and timers run, whatever the callers run on.
//!
//! One per process, two worker threads, started at the first need. It sits in a static and is never dropped, and its
//! threads keep no process alive. A process that cannot start threads gets an error, and another try at the next
//! refresh.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Builder, Handle, Runtime};

static OWN: Mutex<Option<Runtime>> = Mutex::new(None);

/// The handle of brs's own runtime.
pub(crate) fn own() -> io::Result<Handle> {
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*own {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("brs").enable_all().build()?;
    let handle = runtime.handle().clone();
    *own = Some(runtime);
    Ok(handle)
}
