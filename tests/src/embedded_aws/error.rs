//! Errors as the AWS query protocol words them.
//!
//! Owns status, code and message of every refusal; `xml` turns them into a body, `server` into an
//! answer.

use std::time::SystemTime;

use super::signature::amz_date;

/// A refusal on its way to the client.
#[derive(Debug)]
pub(crate) struct AwsError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl AwsError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    /// Whose fault the answer says it is.
    pub(crate) fn fault(&self) -> &'static str {
        if self.status < 500 {
            "Sender"
        } else {
            "Receiver"
        }
    }

    /// The body that a JSON service answers with; its code goes into a header.
    pub(crate) fn json(&self) -> String {
        serde_json::json!({ "message": self.message }).to_string()
    }

    /// The same of the token service, which speaks as OAuth does.
    pub(crate) fn oauth(&self) -> String {
        let mut error = String::new();
        for c in self.code.trim_end_matches("Exception").chars() {
            if c.is_ascii_uppercase() && !error.is_empty() {
                error.push('_');
            }
            error.push(c.to_ascii_lowercase());
        }
        serde_json::json!({ "error": error, "error_description": self.message }).to_string()
    }

    pub(crate) fn missing_authentication() -> Self {
        Self::new(
            403,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        )
    }

    pub(crate) fn incomplete_signature(what: &str) -> Self {
        Self::new(
            400,
            "IncompleteSignature",
            format!("Authorization header requires {what}."),
        )
    }

    pub(crate) fn invalid_token() -> Self {
        Self::new(
            403,
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        )
    }

    pub(crate) fn expired_token() -> Self {
        Self::new(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        )
    }

    pub(crate) fn wrong_signature() -> Self {
        Self::signature(
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        )
    }

    pub(crate) fn signature(message: impl Into<String>) -> Self {
        Self::new(403, "SignatureDoesNotMatch", message)
    }

    /// STS reports a wrong clock under the code of a wrong signature; `RequestExpired` belongs to
    /// other services.
    pub(crate) fn signature_expired(signed: SystemTime, earliest: SystemTime) -> Self {
        let (signed, earliest) = (amz_date(signed), amz_date(earliest));
        Self::signature(format!(
            "Signature expired: {signed} is now earlier than {earliest}"
        ))
    }

    pub(crate) fn signature_not_yet_current(signed: SystemTime, latest: SystemTime) -> Self {
        let (signed, latest) = (amz_date(signed), amz_date(latest));
        Self::signature(format!(
            "Signature not yet current: {signed} is still later than {latest}"
        ))
    }

    pub(crate) fn invalid_action(action: &str, version: &str) -> Self {
        Self::new(
            400,
            "InvalidAction",
            format!("Could not find operation {action} for version {version}"),
        )
    }

    pub(crate) fn missing_action() -> Self {
        Self::new(
            400,
            "MissingAction",
            "The request must contain the parameter Action",
        )
    }

    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationError", message)
    }

    /// A single failed constraint, worded as AWS's validator does.
    pub(crate) fn constraint(member: &str, value: Option<&str>, constraint: &str) -> Self {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        Self::validation(format!(
            "1 validation error detected: Value {value} at '{member}' failed to satisfy constraint: {constraint}"
        ))
    }

    /// A session that was revoked. The resource that AWS names depends on the action; here it is
    /// any.
    pub(crate) fn explicitly_denied(principal_arn: &str, action: &str) -> Self {
        let message = format!(
            "User: {principal_arn} is not authorized to perform: {action} on resource: * with an explicit deny in an \
             identity-based policy"
        );
        Self::new(403, "AccessDenied", message)
    }

    pub(crate) fn access_denied(principal_arn: &str, action: &str, resource_arn: &str) -> Self {
        let message = format!(
            "User: {principal_arn} is not authorized to perform: sts:{action} on resource: {resource_arn}"
        );
        Self::new(403, "AccessDenied", message)
    }

    /// As AWS refuses somebody of whom it knows no more than a provider's token.
    pub(crate) fn not_authorized(action: &str) -> Self {
        Self::new(
            403,
            "AccessDenied",
            format!("Not authorized to perform sts:{action}"),
        )
    }

    /// As the portal refuses a role or an account.
    pub(crate) fn no_access() -> Self {
        Self::new(403, "ForbiddenException", "No access")
    }

    pub(crate) fn wrong_mfa_code() -> Self {
        Self::new(
            403,
            "AccessDenied",
            "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
        )
    }

    pub(crate) fn half_an_mfa() -> Self {
        let message = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code. ";
        Self::new(403, "AccessDenied", message)
    }

    pub(crate) fn unknown_mfa_device() -> Self {
        Self::new(
            403,
            "AccessDenied",
            "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is \
             valid and associated with this user.",
        )
    }

    pub(crate) fn throttled() -> Self {
        Self::new(400, "Throttling", "Rate exceeded")
    }

    pub(crate) fn too_large() -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            "The request is larger than this server reads.",
        )
    }

    /// An error with nothing known but its status.
    pub(crate) fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            403 => ("AccessDenied", "Access denied"),
            404 => ("NotFound", "Not found"),
            408 => ("RequestTimeout", "Request timed out"),
            429 => ("TooManyRequestsException", "Too many requests"),
            502..=504 => ("ServiceUnavailable", "Service is unable to handle request."),
            500.. => ("InternalFailure", "An internal error occurred."),
            _ => ("InvalidRequest", "The request is invalid"),
        };
        Self::new(status, code, message)
    }
}
