//! The table from AWS's codes and statuses to what they mean, and what to do about each.
//!
//! Owns the classes and their texts; `error.rs` builds the errors.

use super::{Call, Operation};

/// What an answer's code and status mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    AccessDenied,
    /// The MFA code is wrong, old, or has been used.
    WrongCode,
    /// The user has no such MFA device.
    UnknownDevice,
    ExpiredCredentials,
    UnknownCredentials,
    BadSignature,
    /// The signature is for another region or service than the endpoint's.
    WrongScope,
    RegionDisabled,
    MalformedPolicy,
    PolicyTooLarge,
    Invalid,
    /// The web identity token is not taken.
    BadToken,
    Throttled,
    ServiceTrouble,
    /// A refusal without a code: AWS's own have one.
    Foreign,
    Other,
}

impl Class {
    /// What an answer means. MFA has no codes of its own, only messages.
    pub(super) fn of(code: Option<&str>, status: u16, message: Option<&str>) -> Self {
        match (Self::by_code(code, status), message) {
            (Self::AccessDenied, Some(message))
                if message.contains("invalid MFA one time pass code") =>
            {
                Self::WrongCode
            }
            (Self::AccessDenied, Some(message))
                if message.contains("unable to validate MFA code") =>
            {
                Self::UnknownDevice
            }
            // Quoted, so not where the message may quote the request.
            (Self::BadSignature, Some(message))
                if message.contains("should be scoped to") && !message.contains("Canonical") =>
            {
                Self::WrongScope
            }
            (class, _) => class,
        }
    }

    /// The code decides; where there is none, the status does.
    fn by_code(code: Option<&str>, status: u16) -> Self {
        let Some(code) = code else {
            return match status {
                408 | 429 => Self::Throttled,
                500.. => Self::ServiceTrouble,
                _ => Self::Foreign,
            };
        };
        match code {
            "AccessDenied" | "AccessDeniedException" => Self::AccessDenied,
            "ExpiredToken" | "ExpiredTokenException" => Self::ExpiredCredentials,
            "InvalidClientTokenId" | "UnrecognizedClientException" => Self::UnknownCredentials,
            "SignatureDoesNotMatch"
            | "InvalidSignatureException"
            | "IncompleteSignature"
            | "IncompleteSignatureException"
            | "RequestExpired"
            | "RequestTimeTooSkewed" => Self::BadSignature,
            "RegionDisabledException" | "RegionDisabled" | "OptInRequired" => Self::RegionDisabled,
            "MalformedPolicyDocument" | "MalformedPolicyDocumentException" => Self::MalformedPolicy,
            "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => Self::PolicyTooLarge,
            "InvalidIdentityToken"
            | "InvalidIdentityTokenException"
            | "IDPRejectedClaim"
            | "IDPRejectedClaimException" => Self::BadToken,
            "IDPCommunicationError" | "IDPCommunicationErrorException" => Self::ServiceTrouble,
            "ValidationError" | "ValidationException" | "InvalidParameterValue" => Self::Invalid,
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "SlowDown" => Self::Throttled,
            _ => match status {
                429 => Self::Throttled,
                500.. => Self::ServiceTrouble,
                _ => Self::Other,
            },
        }
    }

    /// Whether trying again soon may help; whether only a person can. When in doubt, neither.
    pub(super) fn recovery(self) -> (bool, bool) {
        match self {
            Self::Throttled | Self::ServiceTrouble => (true, false),
            Self::AccessDenied
            | Self::WrongCode
            | Self::UnknownDevice
            | Self::BadToken
            | Self::UnknownCredentials
            | Self::WrongScope
            | Self::RegionDisabled
            | Self::MalformedPolicy
            | Self::PolicyTooLarge
            | Self::Invalid => (false, true),
            // Expired base credentials are often renewed by what provides them, a clock is often
            // set by itself, and a network that wants a login first is often left.
            Self::ExpiredCredentials | Self::BadSignature | Self::Foreign | Self::Other => {
                (false, false)
            }
        }
    }

    /// Whether AWS's own message may be repeated. For a signature it quotes the signed headers, the
    /// session token among them.
    pub(super) fn is_quotable(self) -> bool {
        self != Self::BadSignature
    }

    /// What went wrong and what to do about it.
    pub(super) fn text(self, call: &Call<'_>, status: u16, aws: Option<&str>) -> String {
        let (place, credentials) = (call.place, call.credentials);
        let says = |text: String| match aws {
            Some(aws) => format!("{text}: {aws}"),
            None => text,
        };
        match (self, &call.operation) {
            (Self::AccessDenied, _) => denied(call, aws),
            (Self::WrongCode, _) => wrong_code(call),
            (Self::UnknownDevice, _) => format!(
                "AWS does not know MFA device `{}` as one of the caller's: check `serial_number` against `aws iam \
                 list-mfa-devices`",
                call.device.unwrap_or_default()
            ),
            (Self::ExpiredCredentials, Operation::WebIdentity { token_file, .. }) => {
                format!(
                    "the web identity token in `{token_file}` has expired: check what renews it"
                )
            }
            (Self::ExpiredCredentials, _) => {
                format!(
                    "the credentials that sign the call to STS ({credentials}) have expired: renew them"
                )
            }
            (Self::UnknownCredentials, _) => format!(
                "STS in {place} does not know the credentials that sign the call ({credentials}): check the \
                 access key, that it is active, and that the region is enabled for its account"
            ),
            (Self::BadSignature, _) => match call.skew() {
                Some(difference) => format!(
                    "STS refused the signature made with {credentials}: this machine's clock is {difference} of AWS's, \
                     set it"
                ),
                None => format!(
                    "STS refused the signature made with {credentials}: check the secret access key"
                ),
            },
            (Self::WrongScope, _) => says(format!(
                "STS in {place} refused the signature since it is for another region: check `client.region` and the \
                 session's region against the endpoint URL"
            )),
            (Self::RegionDisabled, _) => {
                format!(
                    "STS is not active in {place} for this account: activate it in the account settings of IAM"
                )
            }
            (Self::MalformedPolicy, _) => {
                says("STS cannot read the session policy `policy`".into())
            }
            (Self::PolicyTooLarge, _) => {
                let size = aws
                    .and_then(percentage)
                    .map(|size| format!(" ({size} % of what AWS takes)"));
                says(format!(
                    "session policies and tags are too large together{}: shorten `policy`, `policy_arns` or `tags`",
                    size.unwrap_or_default()
                ))
            }
            (Self::Invalid, _) => invalid(aws),
            (Self::BadToken, Operation::WebIdentity { token_file, .. }) => says(format!(
                "STS does not take the web identity token in `{token_file}`: check its issuer and audience against the \
                 identity provider in IAM, and the role's trust policy"
            )),
            (Self::BadToken, _) => says("STS does not take the identity token".into()),
            (Self::Throttled, _) => {
                format!("STS in {place} is throttling: too many calls for this account and region")
            }
            (Self::ServiceTrouble, _) => says(format!("STS in {place} has trouble of its own")),
            (Self::Foreign, _) => format!(
                "what answered for STS in {place} is not STS, a {status} without an AWS error code: check the proxy, \
                 the endpoint URL, and whether the network wants a login first"
            ),
            (Self::Other, _) => says(format!("STS in {place} refused the call")),
        }
    }
}

/// Where a refusal comes from by AWS's own words, and what to look at; a trust policy is a
/// resource-based policy there.
const DENIED_BY: [(&str, &str); 9] = [
    (
        "sts:TagSession",
        "session tags need `sts:TagSession` in the role's trust policy and the caller's permissions",
    ),
    (
        "sts:SetSourceIdentity",
        "a source identity needs `sts:SetSourceIdentity` in the role's trust policy and the caller's permissions",
    ),
    (
        "service control policy",
        "a service control policy of the organization does not allow it: ask who manages that",
    ),
    (
        "resource control policy",
        "a resource control policy of the organization does not allow it: ask who manages that",
    ),
    (
        "permissions boundary",
        "the caller's permissions boundary does not allow it",
    ),
    (
        "session policy",
        "the session policy of the caller's own session does not allow it",
    ),
    (
        "VPC endpoint policy",
        "the policy of the VPC endpoint that the call goes through does not allow it",
    ),
    (
        "explicit deny in an identity-based policy",
        "a policy of the caller's own denies it explicitly",
    ),
    (
        "explicit deny in a resource-based policy",
        "the role's trust policy denies it explicitly",
    ),
];

fn denied(call: &Call<'_>, aws: Option<&str>) -> String {
    match &call.operation {
        Operation::AssumeRole {
            role_arn,
            with_external_id,
        } => {
            let by = aws.and_then(|aws| {
                DENIED_BY
                    .iter()
                    .find(|(words, _)| aws.contains(words))
                    .map(|(_, by)| (by, aws))
            });
            if let Some((by, aws)) = by {
                return format!(
                    "role `{role_arn}` may not be assumed with {}: {by} ({aws})",
                    call.credentials
                );
            }
            let id = if *with_external_id {
                "its external id"
            } else {
                "whether it asks for an external id"
            };
            let mfa = match call.device {
                Some(_) => "",
                None => {
                    ", and whether it asks for MFA (`serial_number` with an MFA token provider)"
                }
            };
            format!(
                "role `{role_arn}` may not be assumed with {}: check the role's trust policy, {id}, the caller's \
                 sts:AssumeRole permission{mfa}",
                call.credentials
            )
        }
        Operation::SessionToken => format!(
            "GetSessionToken was denied to {}: it takes an IAM user's own access key, not one of a role or of \
             another session",
            call.credentials
        ),
        Operation::WebIdentity {
            role_arn,
            token_file,
        } => format!(
            "role `{role_arn}` may not be assumed with the web identity token in `{token_file}`: check the role's \
             trust policy, its identity provider, audience and subject"
        ),
        Operation::CallerIdentity => match aws {
            Some(aws) => format!("the credentials may not ask STS who they are: {aws}"),
            None => "the credentials may not ask STS who they are".into(),
        },
    }
}

fn wrong_code(call: &Call<'_>) -> String {
    let device = call.device.unwrap_or_default();
    let clock = match call.skew() {
        Some(difference) => format!(", and this machine's clock, which is {difference} of AWS's"),
        None => String::new(),
    };
    format!(
        "AWS refused the code of MFA device `{device}`: check that the codes are this device's and that nothing else \
         uses them{clock}"
    )
}

fn invalid(aws: Option<&str>) -> String {
    let Some(aws) = aws else {
        return "STS refused a value of the request".into();
    };
    if aws.contains("role chaining") {
        format!(
            "the base credentials are themselves a role's, and AWS grants a role assumed with them an hour at most: \
             set `duration` to 3600 s or less ({aws})"
        )
    } else if aws.contains("MaxSessionDuration") {
        format!(
            "`duration` is more than the role's maximum session duration: lower it, or raise the role's (`aws iam \
             update-role --max-session-duration`) ({aws})"
        )
    } else {
        format!("STS refused a value of the request: {aws}")
    }
}

/// The number before the first `%`.
pub(super) fn percentage(text: &str) -> Option<u32> {
    let before = &text[..text.find('%')?];
    let digits = before
        .trim_end()
        .rsplit(|c: char| !c.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}
