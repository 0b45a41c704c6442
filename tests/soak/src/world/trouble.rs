//! How each trouble of the schedule looks at the embedded servers.

use brs_tests::embedded_aws::Failure;
use brs_tests::machine_metadata::MachineMetadata;
use serde_json::json;

use crate::roster::LIFETIME;
use crate::schedule::Trouble;

/// The failure of an action of STS, of `iot` or of `anywhere`.
pub(crate) fn failure(trouble: Trouble, action: &str) -> Failure {
    match trouble {
        Trouble::ServerError => Failure::Status(500),
        Trouble::Unavailable => Failure::Status(503),
        Trouble::Throttled => Failure::Throttled,
        Trouble::Denied => Failure::AccessDenied,
        Trouble::Hangs => Failure::Hang,
        Trouble::Drops => Failure::DropConnection,
        Trouble::Malformed => Failure::MalformedXml,
        Trouble::Truncated => Failure::Truncated,
        Trouble::Empty => Failure::EmptyBody,
        Trouble::Expired => Failure::AlreadyExpired,
        Trouble::Oversized => Failure::Oversized,
        Trouble::Page => Failure::Page(200),
        Trouble::WrongDate => Failure::Body {
            status: 200,
            body: wrong_date(action),
        },
    }
}

/// A set that is complete, but for a date that is none.
fn wrong_date(action: &str) -> String {
    let (key, date) = ("ASIAWRONGDATE0000000", "in a while");
    let set = json!({
        "accessKeyId": key,
        "secretAccessKey": "x".repeat(40),
        "sessionToken": "y".repeat(300),
        "expiration": date,
    });
    match action {
        "iot" => json!({ "credentials": set }).to_string(),
        "anywhere" => json!({ "credentialSet": [{ "credentials": set }] }).to_string(),
        _ => format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
             <SessionToken>{}</SessionToken><Expiration>{date}</Expiration></Credentials>\
             </{action}Result></{action}Response>",
            "x".repeat(40),
            "y".repeat(300),
        ),
    }
}

/// Sets the trouble of the metadata services, or ends it.
pub(crate) fn of_metadata(machine: &MachineMetadata, trouble: Option<Trouble>) {
    /// More than are asked in one outage.
    const MANY: usize = 10_000;
    machine.recover();
    machine.hang(trouble == Some(Trouble::Hangs));
    let is_expired = trouble == Some(Trouble::Expired);
    machine.set_lifetime(if is_expired {
        Default::default()
    } else {
        LIFETIME
    });
    let status = match trouble {
        Some(Trouble::ServerError) => 500,
        Some(Trouble::Unavailable) => 503,
        Some(Trouble::Denied) => 403,
        _ => return,
    };
    machine.fail_next(std::iter::repeat_n(status, MANY));
}
