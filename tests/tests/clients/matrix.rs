//! Each client by each way: it goes on calling, in one process, while sets expire, and every call
//! is signed with the session's credentials.
//!
//! The AWS's latency is the pace: so many calls take longer than a set lives. A call that is signed
//! with an expired set would be answered by an error, and the client would fail.

use std::time::Duration;

use brs_tests::clients::Client;

use crate::world::{Ran, SHORT, Way, World};

const LATENCY: Duration = Duration::from_millis(200);
/// Together they take longer than a set lives.
const CALLS: usize = 35;

fn goes_on_through_expirations(way: Way, client: Client) {
    let world = World::new();
    world.aws.set_lifetime(Some(SHORT));
    world.aws.set_latency(LATENCY);
    // s5cmd makes two calls at once.
    let calls = if client == Client::GoV1 {
        2 * CALLS
    } else {
        CALLS
    };
    let (mut command, serving) = world.by(way, client, calls);
    let ran = Ran::of(&mut command);
    drop(serving);
    assert!(ran.is_success, "{ran:?}");
    let keys = world.keys_of_session();
    assert!(world.callers().len() >= calls, "{ran:?}");
    assert!(keys.len() >= 2, "{keys:?}");
    // A process that stays asks the source once a set, and for the next one in advance.
    let fetched = world.aws.calls("AssumeRole");
    let is_one_process = way != Way::CredentialProcess;
    assert!(
        !is_one_process || fetched <= keys.len() + 2,
        "{fetched} fetched, used: {keys:?}"
    );
}

fn by_credential_process(client: Client) {
    goes_on_through_expirations(Way::CredentialProcess, client);
}

fn by_exec(client: Client) {
    goes_on_through_expirations(Way::Exec, client);
}

fn by_serve(client: Client) {
    goes_on_through_expirations(Way::Serve, client);
}

for_each_client!(matrix: by_credential_process, by_exec, by_serve);
