//! `whoami()`: who the credentials are, and an end for every trouble on the way to know it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use brs::{ErrorKind, RefreshableSession};
use brs_tests::EmbeddedAws;
use brs_tests::embedded_aws::Failure;

use super::*;

const ACTION: &str = "GetCallerIdentity";

fn at(aws: &EmbeddedAws) -> SessionBuilder {
    RefreshableSession::builder("sts", role()).base(hand_made(aws).build())
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_with_the_sessions_limit() {
    let aws = EmbeddedAws::start();
    let session = at(&aws).refresh_timeout(seconds(2)).build().await.unwrap();
    aws.fail_next_of(ACTION, [Failure::Hang]);
    let error = session.whoami().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.method()),
        (ErrorKind::Connection, Some("sts")),
        "{error:?}"
    );
    assert!(
        session.whoami().await.unwrap().caller.is_some(),
        "and the next one is answered"
    );
}

#[tokio::test]
async fn each_trouble_has_its_own_error() {
    let aws = EmbeddedAws::start();
    let session = at(&aws).build().await.unwrap();
    // The session's STS client tries once, and so does this one.
    for (failure, kind, message) in [
        (
            Failure::Oversized,
            ErrorKind::Credential,
            "more than 256 KiB",
        ),
        (Failure::EmptyBody, ErrorKind::Credential, "cannot be read"),
        (
            Failure::MalformedXml,
            ErrorKind::Credential,
            "cannot be read",
        ),
        (
            Failure::AccessDenied,
            ErrorKind::Request,
            "are not allowed to call GetCallerIdentity",
        ),
        (Failure::Page(403), ErrorKind::Request, "is not STS"),
        (
            Failure::DropConnection,
            ErrorKind::Connection,
            "was not reached",
        ),
    ] {
        aws.fail_next_of(ACTION, [failure.clone()]);
        let error = session.whoami().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{failure:?}: {error:?}");
        assert!(error.to_string().contains(message), "{failure:?}: {error}");
    }
    assert!(session.whoami().await.unwrap().caller.is_some());
}

#[test]
fn it_needs_no_runtime_of_the_callers() {
    let aws = EmbeddedAws::start();
    let identity = block_on(async {
        let session = at(&aws).build().await.unwrap();
        session.whoami().await.unwrap()
    });
    assert!(
        identity
            .caller
            .unwrap()
            .arn
            .ends_with(":assumed-role/demo/brs-session")
    );
}

/// Runs a future on this thread, with no runtime around it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}
