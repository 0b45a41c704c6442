//! The trap: with another identity at hand, SDKs sign with that and not with what the endpoint
//! gives, and say nothing. A program of `exec` signs with the session's identity or fails.

use brs_tests::clients::Client;
use brs_tests::embedded_aws::Failure;

use crate::bait::{Bait, Baits};
use crate::world::{Ran, SESSION, Way, World};

/// Each bait alone, and all of them.
fn layouts() -> Vec<Vec<Bait>> {
    let each = Bait::ALL.iter().map(|bait| vec![*bait]);
    each.chain([Bait::ALL.to_vec()]).collect()
}

/// What some do not take here: web identities go to the public STS endpoint, whatever endpoint is
/// set; metadata is asked for at other addresses; a profile's command comes after the endpoint.
const NOT_TAKEN: [(Client, Bait); 8] = [
    (Client::JavaScriptV2, Bait::WebIdentity),
    (Client::JavaScriptV2, Bait::ProfileProcess),
    (Client::AwsCliV2, Bait::WebIdentity),
    (Client::AwsCliV2, Bait::Metadata),
    (Client::Cpp, Bait::WebIdentity),
    (Client::Cpp, Bait::Metadata),
    (Client::Crt, Bait::WebIdentity),
    (Client::Go, Bait::WebIdentity),
];

/// The variables of an endpoint alone do not help: the client takes the bait. Or the other tests
/// would show nothing.
fn alone_takes_the_bait(client: Client) {
    for bait in Bait::ALL {
        if NOT_TAKEN.contains(&(client, bait)) {
            continue;
        }
        let world = World::new();
        let baits = Baits::new(&world);
        let (mut command, _serving) = match bait {
            // It comes after the endpoint: without one, it is what there is.
            Bait::Metadata => (world.alone(client, 1), None),
            _ => world.by(Way::Serve, client, 1),
        };
        baits.lay(&world, &[bait], &mut command);
        let ran = Ran::of(&mut command);
        assert!(ran.is_success, "{bait:?}: {ran:?}");
        let callers = world.callers();
        let is_other = |arn: &Option<String>| arn.as_deref().is_some_and(|arn| arn != SESSION);
        assert!(
            callers.iter().any(|(_, arn)| is_other(arn)),
            "{bait:?}: {callers:?} {ran:?}"
        );
    }
}

fn by_exec_signs_as_the_session(client: Client) {
    for layout in layouts() {
        let world = World::new();
        let baits = Baits::new(&world);
        let mut command = world.exec(&[], &[], client, 1);
        baits.lay(&world, &layout, &mut command);
        let ran = Ran::of(&mut command);
        assert!(ran.is_success, "{layout:?}: {ran:?}");
        assert_eq!(world.keys_of_session().len(), 1, "{layout:?}: {ran:?}");
        assert_eq!(baits.asked_of_machine(), [""; 0], "{layout:?}");
    }
}

/// The session has no credentials: so the program has none.
fn by_exec_fails_with_a_session_that_fails(client: Client) {
    for layout in layouts() {
        let world = World::new();
        let baits = Baits::new(&world);
        world.aws.fail_always(Some(Failure::AccessDenied));
        let mut command = world.exec(&["--lazy"], &[], client, 1);
        baits.lay(&world, &layout, &mut command);
        let ran = Ran::of(&mut command);
        assert!(!ran.is_success, "{layout:?}: {ran:?}");
        // The AWS SDK for C++ then calls without a signature.
        let signed: Vec<_> = world
            .callers()
            .into_iter()
            .filter(|(key, _)| !key.is_empty())
            .collect();
        assert_eq!(signed, [], "{layout:?}: {ran:?}");
        assert_eq!(baits.asked_of_machine(), [""; 0], "{layout:?}");
    }
}

/// A profile that is named within the program is not there.
fn by_exec_fails_with_a_profile_of_its_own(client: Client) {
    let world = World::new();
    let baits = Baits::new(&world);
    let mut command = world.exec(&[], &["env", "AWS_PROFILE=other"], client, 1);
    baits.lay(
        &world,
        &[Bait::DefaultKeys, Bait::ProfileKeys],
        &mut command,
    );
    let ran = Ran::of(&mut command);
    let callers = world.callers();
    let is_session = |arn: &Option<String>| arn.as_deref() == Some(SESSION);
    let signed = callers.iter().filter(|(key, _)| !key.is_empty());
    assert!(
        signed.into_iter().all(|(_, arn)| is_session(arn)),
        "{callers:?} {ran:?}"
    );
}

for_each_client!(
    trap: alone_takes_the_bait,
    by_exec_signs_as_the_session,
    by_exec_fails_with_a_session_that_fails,
    by_exec_fails_with_a_profile_of_its_own
);
