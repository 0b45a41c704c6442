//! Work on a token that may need a PIN first.
//!
//! A job that needs a login and has no PIN ends at once and reports it. Then the PIN is fetched
//! elsewhere, and the job is queued again with it: a person who takes two minutes to type it stops
//! no other session on the token.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use brs_core::{Clock as _, Error, SecretString, SystemClock};
use futures_util::future::{Either, select};

use super::failure::Failure;
use super::pin;
use super::thread::TokenThread;
use super::token::{Desk, KeyRef};

/// A job for the token's thread, which may run more than once; with the PIN, if there is one by
/// then.
pub(super) trait Work<T>:
    Fn(&mut Desk, Option<&SecretString>) -> Result<T, Failure> + Send + Sync + 'static
{
}

impl<T, W: Fn(&mut Desk, Option<&SecretString>) -> Result<T, Failure> + Send + Sync + 'static>
    Work<T> for W
{
}

/// The one time limit of several steps.
#[derive(Clone, Copy)]
pub(super) struct Until {
    end: Duration,
    limit: Duration,
}

impl Until {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            end: SystemClock::new().monotonic().saturating_add(limit),
            limit,
        }
    }

    /// The time left, in whole milliseconds, since errors state it.
    pub(super) fn left(self) -> Duration {
        let left = self.end.saturating_sub(SystemClock::new().monotonic());
        let up = Duration::from_nanos(u64::from(
            left.subsec_nanos().next_multiple_of(1_000_000) - left.subsec_nanos(),
        ));
        left.saturating_add(up)
    }

    /// Awaits the future as long as there is time; `late` begins the error's sentence.
    pub(super) async fn or_late<T>(
        self,
        future: impl Future<Output = T>,
        late: &str,
    ) -> Result<T, Error> {
        match select(pin!(future), SystemClock::new().sleep(self.left())).await {
            Either::Left((done, _)) => Ok(done),
            Either::Right(_) => Err(self.late(late)),
        }
    }

    fn late(self, what: &str) -> Error {
        Error::connection(format!(
            "{what} within {:?}: raise `signature_timeout` if that is too short",
            self.limit
        ))
    }
}

/// Does the work, and asks for the PIN where that is needed.
///
/// # Cancel safety
///
/// Work that has begun on the token's thread goes on.
pub(super) async fn work<T: Send + 'static>(
    thread: &TokenThread,
    key: &KeyRef,
    until: Until,
    work: Arc<impl Work<T>>,
) -> Result<Result<T, Failure>, Error> {
    let once = |pin: Option<SecretString>| {
        let work = Arc::clone(&work);
        thread.call(until.left(), move |desk| work(desk, pin.as_ref()))
    };
    let done = once(at_hand(key)).await?;
    let (Err(Failure::PinWanted), Some(pin)) = (&done, &key.pin) else {
        return Ok(done);
    };
    let late = format!("the PIN of {thread} was not given");
    let _turn = until.or_late(pin.turn(), &late).await?;
    // The previous holder of the turn may have logged in with the same PIN.
    let done = once(None).await?;
    let Err(Failure::PinWanted) = done else {
        return Ok(done);
    };
    let pin = until.or_late(pin::ask(pin), &late).await??;
    once(Some(pin)).await
}

/// Awaits a future on a thread that may block, whatever runtime it belongs to.
///
/// Nothing that is awaited here needs the caller's runtime, which may be the one that waits.
/// Unconstrained: within a task of tokio's that has used up its budget, the future would else be
/// polled for ever.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(tokio::task::unconstrained(future));
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

fn at_hand(key: &KeyRef) -> Option<SecretString> {
    key.pin.as_ref().and_then(pin::at_hand)
}
