//! A forked child refreshes over connections of its own: the tasks of the parent's are not there.
//!
//! One process of its own: a fork copies the thread that forks, and what other tests hold locked.

#![cfg(unix)]

use brs::sts::Params;
use brs::{Error, RefreshableSession};
use brs_tests::EmbeddedAws;
use fork::{Fork, fork, waitpid};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(future)
}

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
    match fork().expect("the process forks") {
        Fork::Child => {
            let ended = block_on(refresh_and_call(&session));
            if let Err(error) = &ended {
                eprintln!("the child: {error}: {:?}", std::error::Error::source(error));
            }
            std::process::exit(i32::from(ended.is_err()));
        }
        // The refresh has a time limit of its own.
        Fork::Parent(child) => assert_eq!(waitpid(child).expect("the child ends"), 0),
    }
    assert_eq!(aws.calls("AssumeRole"), 2);
    block_on(refresh_and_call(&session)).expect("the parent goes on");
}
