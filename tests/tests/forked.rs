//! A forked child refreshes over connections of its own: the tasks of the parent's are not there.
//!
//! One process of its own, and one test: a fork copies the thread that forks, and what others hold
//! locked. brs's own locks are each process's own; those of the SDK and of libraries are not.

#![cfg(unix)]

use std::sync::atomic::{AtomicBool, Ordering};

use brs::sts::Params;
use brs::{Error, RefreshableSession};
use brs_tests::EmbeddedAws;
use forking::{block_on, in_a_fork};

#[path = "../../brs-core/tests/forking/mod.rs"]
mod forking;

const FORKS: usize = 25;

async fn refresh_and_call(session: &RefreshableSession) -> Result<(), Error> {
    session.refresh().await?;
    let client = aws_sdk_sts::Client::new(session.sdk_config());
    client
        .get_caller_identity()
        .send()
        .await
        .map(drop)
        .map_err(|error| Error::connection("no").with_source(error))
}

#[test]
fn a_forked_child_refreshes_and_calls_over_connections_of_its_own() {
    let aws = EmbeddedAws::start();
    let role = Params::new("arn:aws:iam::123456789012:role/demo");
    let session = RefreshableSession::builder("sts", role)
        .region("eu-west-1")
        .endpoint_url(aws.endpoint_url())
        .base_credentials(aws.credentials())
        .build();
    let session = block_on(session).expect("the session opens");
    block_on(refresh_and_call(&session)).expect("the parent refreshes");
    in_a_fork("the child", || block_on(refresh_and_call(&session)));
    assert_eq!(aws.calls("AssumeRole"), 2);
    block_on(refresh_and_call(&session)).expect("the parent goes on");

    // Amid the calls of other threads.
    let is_over = AtomicBool::new(false);
    let calls: [fn(&RefreshableSession); 4] = [
        |session| drop(session.status()),
        |session| drop(session.client(aws_sdk_sts::Client::new)),
        |session| drop(block_on(session.refresh()).expect("the parent refreshes")),
        |session| block_on(refresh_and_call(session)).expect("the parent calls"),
    ];
    std::thread::scope(|scope| {
        // Ends the threads if a fork fails the test, too.
        let _over = Over(&is_over);
        for call in calls {
            let (session, is_over) = (&session, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    call(session);
                }
            });
        }
        for number in 1..=FORKS {
            in_a_fork(&format!("child {number}"), || {
                block_on(refresh_and_call(&session))
            });
        }
    });
    block_on(refresh_and_call(&session)).expect("the parent goes on");
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
