//! A thread's jobs, time limits and end, without any token.

use std::sync::mpsc;

use futures_util::FutureExt as _;

use super::*;
use crate::pkcs11::asking::block_on;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

impl TokenThread {
    fn call_blocking<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(&mut Desk) -> T + Send + 'static,
    ) -> Result<T, Error> {
        block_on(self.call(limit, job))
    }
}

fn enter(name: &str) -> TokenThread {
    TokenThread::enter(Place {
        module: name.into(),
        token: None,
    })
    .unwrap()
}

fn is_known(name: &str) -> bool {
    THREADS.get().lock().unwrap().contains_key(&Place {
        module: name.into(),
        token: None,
    })
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::yield_now();
    }
}

/// A job that runs until the sender is dropped, and begins before this returns.
fn hang(thread: &TokenThread, limit: Duration) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (began, begin) = mpsc::channel();
    let run = Box::new(move |_: &mut Desk| {
        let _ = began.send(());
        let _ = released.recv();
    });
    assert!(thread.queue(limit, run).is_ok());
    begin.recv().unwrap();
    release
}

#[test]
fn users_of_one_place_share_a_thread_that_ends_with_the_last() {
    let (one, two) = (enter("shared"), enter("shared"));
    let id = |thread: &TokenThread| {
        thread
            .call_blocking(LONG, |_| std::thread::current().id())
            .unwrap()
    };
    assert_eq!(id(&one), id(&two.clone()));
    drop(one);
    assert_eq!(id(&two), id(&two));
    assert!(is_known("shared"));
    drop(two);
    until(|| !is_known("shared"));
}

#[test]
fn a_hung_job_fails_all_that_come_after_at_once_until_it_returns() {
    let thread = enter("hung");
    let release = hang(&thread, SHORT);
    let queued = thread.clone();
    let waiter = std::thread::spawn(move || queued.call_blocking(LONG, |_| 1));
    until(|| !thread.0.lock().queue.is_empty());
    until(|| thread.0.lock().is_hung());
    let error = thread.call_blocking(LONG, |_| ()).unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("still running"),
        "{error}"
    );
    // Another session that opens the token finds the same thread.
    assert!(enter("hung").call_blocking(LONG, |_| ()).is_err());
    drop(release);
    // Whose own limit has not passed is served.
    assert_eq!(waiter.join().unwrap().unwrap(), 1);
    assert_eq!(thread.call_blocking(LONG, |_| 1).unwrap(), 1);
}

#[test]
fn a_hung_thread_without_users_is_found_again() {
    let thread = enter("left");
    let release = hang(&thread, SHORT);
    until(|| thread.0.lock().is_hung());
    drop(thread);
    let thread = enter("left");
    assert!(
        thread
            .call_blocking(LONG, |_| ())
            .unwrap_err()
            .to_string()
            .contains("still running")
    );
    drop((thread, release));
    until(|| !is_known("left"));
}

#[test]
fn an_impatient_caller_fails_nobody_but_itself() {
    let thread = enter("slow");
    let release = hang(&thread, LONG);
    let queued = thread.clone();
    let patient = std::thread::spawn(move || queued.call_blocking(LONG, |_| 1));
    until(|| thread.0.lock().queue.len() == 1);
    let error = thread
        .call_blocking(SHORT, |_| panic!("its caller has left"))
        .unwrap_err();
    assert!(
        error.is_retryable() && error.to_string().contains("busy"),
        "{error}"
    );
    assert!(!thread.0.lock().is_hung());
    drop(release);
    assert_eq!(patient.join().unwrap().unwrap(), 1);
}

#[test]
fn a_job_that_begins_late_is_not_hung_when_its_caller_leaves() {
    let thread = enter("late");
    let (first, second) = (hang(&thread, LONG), mpsc::channel::<()>());
    let (release, released) = second;
    let (queued, began) = (thread.clone(), mpsc::channel::<()>());
    let (begin, begun) = began;
    let impatient = std::thread::spawn(move || {
        let job = Box::new(move |_: &mut Desk| {
            let _ = begin.send(());
            let _ = released.recv();
        });
        let id = queued.queue(LONG, job).unwrap();
        begun.recv().unwrap();
        queued.0.time_is_up(id, SHORT)
    });
    until(|| thread.0.lock().queue.len() == 1);
    drop(first);
    let error = impatient.join().unwrap();
    assert!(error.to_string().contains("has not answered"), "{error}");
    let mut next = Box::pin(thread.call(LONG, |_| 1));
    assert!(next.as_mut().now_or_never().is_none());
    drop(release);
    assert_eq!(block_on(next).unwrap(), 1);
}

#[test]
fn a_panic_is_an_error_and_the_thread_goes_on() {
    let thread = enter("panic");
    let error = thread
        .call_blocking(LONG, |_| panic!("as the test wants"))
        .unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    assert!(thread.call_blocking(LONG, |_| ()).is_ok());
}

#[tokio::test]
async fn an_async_caller_may_leave_and_has_its_limit() {
    let thread = enter("async");
    let release = hang(&thread, SHORT);
    let mut left = Box::pin(thread.call(LONG, |_| panic!("its caller has left")));
    assert!(left.as_mut().now_or_never().is_none());
    assert_eq!(thread.0.lock().queue.len(), 1);
    drop(left);
    assert!(thread.0.lock().queue.is_empty());
    until(|| thread.0.lock().is_hung());
    let error = thread.call(SHORT, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("still running"), "{error}");
    drop(release);
    until(|| thread.0.lock().running.is_none());
    assert_eq!(thread.call(LONG, |_| 1).await.unwrap(), 1);
}
