//! As much of S3 as shows that a client's requests are signed and answered: REST, with errors in
//! XML without a namespace, and HEAD without any body.
//!
//! Every bucket exists. Addresses are of the path style, which SDKs use for a host that is an IP
//! address.

use bytes::Bytes;
use http::Method;

use super::call::Call;
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::server::State;
use super::signature::authenticate;
use super::sts::Answer;
use super::xml::{element, nested};

/// The name in credential scopes.
pub(super) const SERVICE: &str = "s3";

/// The operation that method and path stand for, empty for one that is not known here.
pub(super) fn action(call: &Call) -> &'static str {
    let has_key = object(call).is_some();
    match (&call.parts.method, has_key) {
        (&Method::GET, false) if call.parts.uri.path() == "/" => "ListBuckets",
        (&Method::GET, true) => "GetObject",
        (&Method::HEAD, true) => "HeadObject",
        (&Method::PUT, true) => "PutObject",
        _ => "",
    }
}

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let principal = authenticate(state, call, SERVICE).map_err(worded)?;
    if let Gate::Answered(answer) = enter(state, call, &principal.arn).await {
        return answer;
    }
    let mut objects = state.objects();
    match (action(call), object(call)) {
        ("ListBuckets", _) => Ok(Answer::Raw(200, list().into())),
        ("PutObject", Some(object)) => {
            objects.insert(object.to_owned(), call.body.clone());
            Ok(Answer::Raw(200, Bytes::new()))
        }
        ("GetObject" | "HeadObject", Some(object)) => match objects.get(object) {
            Some(body) => Ok(Answer::Raw(200, body.clone())),
            None => Err(AwsError::new(
                404,
                "NoSuchKey",
                "The specified key does not exist.",
            )),
        },
        _ => Err(AwsError::new(
            501,
            "NotImplemented",
            "This server has no such operation.",
        )),
    }
}

/// Bucket and key of a request that is about an object.
fn object(call: &Call) -> Option<&str> {
    let object = call.parts.uri.path().strip_prefix('/')?;
    object
        .split_once('/')
        .filter(|(_, key)| !key.is_empty())
        .map(|_| object)
}

fn list() -> String {
    let mut out = String::new();
    nested(&mut out, "ListAllMyBucketsResult", |out| {
        nested(out, "Buckets", |out| {
            nested(out, "Bucket", |out| element(out, "Name", "demo"))
        });
    });
    out
}

/// The refusals of all services in S3's words.
fn worded(error: AwsError) -> AwsError {
    match error.code {
        "ExpiredToken" => AwsError::new(400, "ExpiredToken", "The provided token has expired."),
        "InvalidClientTokenId" => AwsError::new(403, "InvalidAccessKeyId", error.message),
        _ => error,
    }
}

/// The document of a refusal.
pub(super) fn error(error: &AwsError, request_id: &str) -> String {
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    nested(&mut out, "Error", |out| {
        element(out, "Code", error.code);
        element(out, "Message", &error.message);
        element(out, "RequestId", request_id);
    });
    out
}
