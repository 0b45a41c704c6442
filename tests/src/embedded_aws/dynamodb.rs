//! As much of DynamoDB as shows that a client's requests are signed and answered: JSON, with the
//! code of an error in its body.
//!
//! Every table exists, and the key of each is `id`.

use serde_json::{Value, json};

use super::call::Call;
use super::error::AwsError;
use super::gate::{Gate, enter};
use super::server::State;
use super::signature::authenticate;
use super::sts::Answer;

/// The name in credential scopes.
pub(super) const SERVICE: &str = "dynamodb";

/// The operation, as the header has it behind the version.
pub(super) fn action(call: &Call) -> &str {
    call.header("x-amz-target")
        .and_then(|target| target.split_once('.'))
        .map_or("", |(_, action)| action)
}

pub(super) async fn respond(state: &State, call: &Call) -> Result<Answer, AwsError> {
    let principal = authenticate(state, call, SERVICE).map_err(worded)?;
    if let Gate::Answered(answer) = enter(state, call, &principal.arn).await {
        return answer;
    }
    let request: Value = serde_json::from_slice(&call.body)
        .map_err(|_| AwsError::new(400, "SerializationException", "The body is not JSON."))?;
    let place = |item: &Value| format!("{}/{}", request["TableName"], item["id"]);
    let mut items = state.items();
    let answer = match action(call) {
        "ListTables" => json!({ "TableNames": ["demo"] }),
        "PutItem" => {
            items.insert(place(&request["Item"]), request["Item"].clone());
            json!({})
        }
        "GetItem" => match items.get(&place(&request["Key"])) {
            Some(item) => json!({ "Item": item }),
            None => json!({}),
        },
        _ => return Err(AwsError::new(400, "UnknownOperationException", "")),
    };
    Ok(Answer::Json(answer.to_string()))
}

/// The refusals of all services in DynamoDB's words.
fn worded(error: AwsError) -> AwsError {
    let code = match error.code {
        "ExpiredToken" => "ExpiredTokenException",
        "InvalidClientTokenId" => "UnrecognizedClientException",
        "SignatureDoesNotMatch" => "InvalidSignatureException",
        code => code,
    };
    AwsError::new(400, code, error.message)
}

/// The document of a refusal.
pub(super) fn error(error: &AwsError) -> String {
    json!({ "__type": format!("com.amazon.coral.service#{}", error.code), "message": error.message }).to_string()
}
