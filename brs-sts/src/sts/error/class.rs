//! The table from AWS's codes and statuses to what they mean, and what to do about each.
//!
//! Owns the classes and their texts; `words` has what AWS's messages say, `error.rs` builds the
//! errors.

use super::words::{ACTIONS, ASSERTIONS, POLICIES, SIGNATURE, TOKENS, find};
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
    /// The signature cannot be read.
    Incomplete,
    /// The signature was made too early or too late.
    Clock,
    /// The signature is for another region than the endpoint's.
    WrongRegion,
    /// The signature is for another service than the endpoint's.
    WrongService,
    RegionDisabled,
    /// The caller's account is not signed up.
    NotSubscribed,
    MalformedPolicy,
    PolicyTooLarge,
    Invalid,
    /// The web identity token was not issued for this use, or cannot be verified.
    BadToken,
    /// IAM has no identity provider for the issuer of the web identity token, or not the SAML
    /// provider that was named.
    UnknownIssuer,
    /// The identity provider rejected the web identity token, or the login.
    RejectedToken,
    /// STS could not reach the identity provider.
    ProviderUnreached,
    Throttled,
    ServiceTrouble,
    /// A refusal without a code: AWS's own have one.
    Foreign,
    Other,
}

impl Class {
    /// What an answer means. MFA has no codes of its own, only messages.
    pub(super) fn of(code: Option<&str>, status: u16, message: Option<&str>) -> Self {
        let by_code = Self::by_code(code, status);
        match (by_code, message) {
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
            // AWS's own trouble with the provider's keys passes by itself.
            (Self::BadToken, Some(message)) if message.contains("retrieve verification key") => {
                Self::ProviderUnreached
            }
            (Self::BadToken, Some(message))
                if message.contains("No OpenIDConnect provider")
                    || message.contains("Specified provider doesn't exist") =>
            {
                Self::UnknownIssuer
            }
            (Self::BadSignature | Self::Incomplete, Some(message)) => {
                Self::by_signature(message).unwrap_or(by_code)
            }
            (class, _) => class,
        }
    }

    /// What is wrong with a signature. A message that may quote the request, with its session
    /// token, begins otherwise.
    fn by_signature(message: &str) -> Option<Self> {
        SIGNATURE
            .into_iter()
            .find_map(|(begin, class)| message.trim_start().starts_with(begin).then_some(class))
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
            "SignatureDoesNotMatch" | "InvalidSignatureException" => Self::BadSignature,
            "IncompleteSignature" | "IncompleteSignatureException" => Self::Incomplete,
            "RequestExpired" | "RequestTimeTooSkewed" => Self::Clock,
            "RegionDisabledException" | "RegionDisabled" => Self::RegionDisabled,
            "OptInRequired" => Self::NotSubscribed,
            "MalformedPolicyDocument" | "MalformedPolicyDocumentException" => Self::MalformedPolicy,
            "PackedPolicyTooLarge" | "PackedPolicyTooLargeException" => Self::PolicyTooLarge,
            "InvalidIdentityToken" | "InvalidIdentityTokenException" => Self::BadToken,
            "IDPRejectedClaim" | "IDPRejectedClaimException" => Self::RejectedToken,
            "IDPCommunicationError" | "IDPCommunicationErrorException" => Self::ProviderUnreached,
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
            Self::Throttled | Self::ServiceTrouble | Self::ProviderUnreached => (true, false),
            Self::AccessDenied
            | Self::WrongCode
            | Self::UnknownDevice
            | Self::WrongRegion
            | Self::WrongService
            | Self::RegionDisabled
            | Self::NotSubscribed
            | Self::UnknownIssuer
            | Self::MalformedPolicy
            | Self::PolicyTooLarge
            | Self::Invalid => (false, true),
            // Credentials that expired or were replaced are often renewed by what provides them,
            // and so is a web identity token, whose provider may also have servers with different
            // certificates; a clock is often set by itself, and a network that
            // wants a login first is often left.
            Self::ExpiredCredentials
            | Self::UnknownCredentials
            | Self::BadToken
            | Self::RejectedToken
            | Self::BadSignature
            | Self::Incomplete
            | Self::Clock
            | Self::Foreign
            | Self::Other => (false, false),
        }
    }

    /// Whether AWS's own message may be repeated. For a signature it quotes the signed headers, the
    /// session token among them.
    pub(super) fn is_quotable(self) -> bool {
        !matches!(self, Self::BadSignature | Self::Incomplete)
    }

    /// What went wrong and what to do about it.
    pub(super) fn text(self, call: &Call<'_>, status: u16, says: Says<'_>) -> String {
        let (place, credentials) = (call.place, call.credentials);
        let aws = says.shown;
        let says_so = |text: String| match aws {
            Some(aws) => format!("{text} ({aws})"),
            None => text,
        };
        match (self, &call.operation) {
            (Self::AccessDenied, _) => denied(call, says),
            (Self::WrongCode, _) => wrong_code(call),
            (Self::UnknownDevice, _) => format!(
                "AWS does not know MFA device `{}` as one of the caller's: check {} against `aws iam \
                 list-mfa-devices`",
                call.device.unwrap_or_default(),
                call.origins.name("serial_number")
            ),
            (Self::ExpiredCredentials, Operation::WebIdentity { token, .. }) => {
                format!("{token} has expired: check what renews it")
            }
            (Self::ExpiredCredentials, Operation::Saml { assertion, .. }) => says_so(format!(
                "{assertion} is too old: AWS takes it within five minutes of its issue, so check that its source asks \
                 the identity provider each time, and both clocks"
            )),
            (Self::ExpiredCredentials, _) => {
                format!(
                    "the credentials that sign the call to STS ({credentials}) have expired: renew them"
                )
            }
            (Self::UnknownCredentials, _) => format!(
                "STS in {place} does not know the credentials that sign the call ({credentials}): check the access key \
                 id, its session token if it has one, that the key is active, and that its account has this region \
                 enabled"
            ),
            (Self::BadSignature, _) => match call.skew() {
                Some(_) => clock(call),
                None => format!(
                    "STS refused the signature made with {credentials}: check the secret access key"
                ),
            },
            (Self::Clock, _) => clock(call),
            (Self::Incomplete, _) => format!(
                "STS in {place} cannot read the signature made with {credentials}: check that the access key id has \
                 no other characters in it, and that no proxy changes the request's headers"
            ),
            (Self::WrongRegion, _) => says_so(format!(
                "STS in {place} refused the signature since it is for another region: check `client.region` and the \
                 session's region against the endpoint URL"
            )),
            (Self::WrongService, _) => says_so(format!(
                "what answered in {place} is another AWS service than STS: check the endpoint URL"
            )),
            (Self::RegionDisabled, _) => says_so(format!(
                "STS is not active in {place} for the account of {}: activate it in the account settings of IAM, \
                 enable the region, or call STS in another one (`client.region`)",
                whose(call)
            )),
            (Self::NotSubscribed, _) => says_so(format!(
                "the account of {} is not signed up for STS in {place}: finish its sign-up with AWS (payment method, \
                 verification), which can take a day to come into effect, enable the region, or call STS in another \
                 one (`client.region`)",
                whose(call)
            )),
            (Self::MalformedPolicy | Self::PolicyTooLarge, Operation::Root { policy, .. }) => says_so(
                format!("AWS does not accept the task policy `{policy}`: check `task_policy_arn`"),
            ),
            (Self::MalformedPolicy, _) => says_so(
                "AWS does not accept the session policy: correct the policy document in `policy`, or `policy_arns`"
                    .into(),
            ),
            (Self::PolicyTooLarge, operation) => {
                let size = says
                    .raw
                    .and_then(percentage)
                    .map(|size| format!(" ({size} % of what AWS allows)"));
                let shorten = match operation {
                    Operation::WebIdentity { .. } => {
                        "`policy` or `policy_arns`, or the session tags in the token"
                    }
                    Operation::Saml { .. } => {
                        "`policy` or `policy_arns`, or the session tags (`PrincipalTag`) in the assertion"
                    }
                    _ => "`policy`, `policy_arns` or `tags`",
                };
                says_so(format!(
                    "session policies and tags are too large together{}: shorten {shorten}",
                    size.unwrap_or_default()
                ))
            }
            (Self::Invalid, _) => invalid(call, says),
            (Self::BadToken, Operation::Saml { assertion, .. }) => says_so(format!(
                "STS rejected {assertion}: {}",
                says.raw.and_then(|raw| find(&ASSERTIONS, raw)).unwrap_or(
                    "check `provider_arn`, and the assertion's issuer, audience, signature and attributes against \
                     the SAML provider in IAM"
                )
            )),
            (Self::BadToken, _) => says_so(format!(
                "STS rejected {}: {}",
                token(call),
                says.raw.and_then(|raw| find(&TOKENS, raw)).unwrap_or(
                    "check that it is a whole JSON web token, and check its issuer and audience against the \
                     identity provider in IAM"
                )
            )),
            (Self::UnknownIssuer, Operation::Saml { role_arn, .. }) => says_so(format!(
                "IAM has no SAML provider of that ARN in the account of role `{role_arn}`: correct `provider_arn` \
                 (`aws iam list-saml-providers`), or add the provider (`aws iam create-saml-provider`)"
            )),
            (Self::UnknownIssuer, operation) => says_so(format!(
                "IAM has no identity provider for the issuer of {}: add one with exactly the issuer's URL to the \
                 account of {} (`aws iam create-open-id-connect-provider`), or correct the role or the token's issuer",
                token(call),
                match operation {
                    Operation::WebIdentity { role_arn, .. } => format!("role `{role_arn}`"),
                    _ => "the role".into(),
                }
            )),
            (Self::RejectedToken, Operation::Saml { assertion, .. }) => says_so(format!(
                "the identity provider reports that the login in {assertion} is not good: log in again, and check \
                 there that the account is active and still has this role"
            )),
            (Self::RejectedToken, _) => says_so(format!(
                "the identity provider rejected {}: renew the token if it has expired or was revoked, and check its \
                 claims against the role's trust policy",
                token(call)
            )),
            (Self::ProviderUnreached, _) => says_so(format!(
                "STS in {place} could not reach the identity provider of {}: check that AWS can read the provider's \
                 discovery document and keys over the internet",
                token(call)
            )),
            (Self::Throttled, _) => format!(
                "STS in {place} is throttling: there are too many calls for this account and region"
            ),
            (Self::ServiceTrouble, _) => says_so(format!(
                "STS in {place} failed with an error on its side ({status})"
            )),
            (Self::Foreign, _) => format!(
                "what answered for STS in {place} is not STS, a {status} without an AWS error code: check the proxy, \
                 the endpoint URL, and whether the network wants a login first"
            ),
            (Self::Other, _) => says_so(format!("STS in {place} refused the call")),
        }
    }
}

/// What AWS says: as it was sent, and in the form that can be shown.
#[derive(Clone, Copy, Default)]
pub(super) struct Says<'a> {
    pub(super) raw: Option<&'a str>,
    pub(super) shown: Option<&'a str>,
}

/// Why a call was denied, if AWS says so. AWS names the policy after the action and the resource,
/// so the kind of policy says more.
fn reason(says: Says<'_>) -> Option<String> {
    let raw = says.raw?;
    let action = find(&ACTIONS, raw);
    let reason = match (find(&POLICIES, raw), action) {
        (Some(policy), Some(action)) => format!("{policy}; {action}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => return None,
    };
    Some(reason)
}

/// With AWS's own sentence.
fn denied(call: &Call<'_>, says: Says<'_>) -> String {
    let text = refused(call, reason(says));
    match says.shown {
        Some(shown) => format!("{text} ({shown})"),
        None => text,
    }
}

fn refused(call: &Call<'_>, reason: Option<String>) -> String {
    match &call.operation {
        Operation::AssumeRole {
            role_arn,
            with_external_id,
        } => {
            let credentials = call.credentials;
            if let Some(reason) = reason {
                return format!("role `{role_arn}` cannot be assumed with {credentials}: {reason}");
            }
            let id = if *with_external_id {
                format!("its external id ({})", call.origins.name("external_id"))
            } else {
                "whether it asks for an external id".to_owned()
            };
            let mfa = match (call.device, call.origins.profile()) {
                (Some(_), _) => "",
                (None, Some(_)) => {
                    ", and whether it asks for MFA (the profile's `mfa_serial` with an MFA token provider)"
                }
                (None, None) => {
                    ", and whether it asks for MFA (`serial_number` with an MFA token provider)"
                }
            };
            format!(
                "role `{role_arn}` cannot be assumed with {credentials}: check the role's trust policy, {id}, the \
                 caller's sts:AssumeRole permission{mfa}"
            )
        }
        Operation::SessionToken => {
            let reason = reason.unwrap_or_else(|| {
                "it needs an IAM user's own access key, not one of a role or of another session"
                    .into()
            });
            format!(
                "GetSessionToken was denied to {}: {reason}",
                call.credentials
            )
        }
        Operation::WebIdentity { role_arn, .. } => {
            let reason = reason.unwrap_or_else(|| {
                "check the role's trust policy, its identity provider, audience and subject".into()
            });
            format!(
                "role `{role_arn}` cannot be assumed with {}: {reason}",
                token(call)
            )
        }
        Operation::Saml {
            role_arn,
            assertion,
        } => {
            let reason = reason.unwrap_or_else(|| {
                "check that it names this role and this provider, and the role's trust policy"
                    .into()
            });
            format!("role `{role_arn}` cannot be assumed with {assertion}: {reason}")
        }
        Operation::Root { target, policy } => {
            let reason = reason.unwrap_or_else(|| {
                "check that they are of the organization's management account or its delegated administrator for \
                 IAM, that privileged root actions are enabled (`aws iam enable-organizations-root-sessions`), and \
                 the caller's sts:AssumeRoot permission"
                    .into()
            });
            format!(
                "the task `{policy}` in the account `{target}` cannot be done with {}: {reason}",
                call.credentials
            )
        }
        Operation::CallerIdentity => match reason {
            Some(reason) => {
                format!("the credentials are not allowed to call GetCallerIdentity: {reason}")
            }
            None => "the credentials are not allowed to call GetCallerIdentity".into(),
        },
    }
}

/// Whose account a call is judged by: nobody signs one that brings its own proof.
fn whose(call: &Call<'_>) -> String {
    match call.operation {
        Operation::WebIdentity { role_arn, .. } | Operation::Saml { role_arn, .. } => {
            format!("role `{role_arn}`")
        }
        _ => format!("the caller ({})", call.credentials),
    }
}

/// The web identity token of a call, in words.
fn token<'a>(call: &Call<'a>) -> &'a str {
    match call.operation {
        Operation::WebIdentity { token, .. } => token,
        Operation::Saml { assertion, .. } => assertion,
        _ => "the identity token",
    }
}

fn clock(call: &Call<'_>) -> String {
    let credentials = call.credentials;
    match call.skew() {
        Some(difference) => format!(
            "STS refused the signature made with {credentials}: this machine's clock is {}, set it",
            difference.compared()
        ),
        None => format!(
            "STS refused the signature made with {credentials} as too old or too new: check this machine's clock"
        ),
    }
}

fn wrong_code(call: &Call<'_>) -> String {
    let device = call.device.unwrap_or_default();
    let clock = match call.skew() {
        Some(difference) => format!(
            ", and this machine's clock, which is {}",
            difference.compared()
        ),
        None => String::new(),
    };
    format!(
        "AWS refused the code of MFA device `{device}`: check that the codes are this device's and that nothing else \
         uses them{clock}"
    )
}

fn invalid(call: &Call<'_>, says: Says<'_>) -> String {
    let duration = call.origins.name("duration");
    let (Some(raw), Some(aws)) = (says.raw, says.shown) else {
        return "STS refused a value of the request".into();
    };
    if raw.contains("role chaining") {
        format!(
            "the base credentials are those of a role, and AWS grants a role assumed with them an hour at most: \
             set {duration} to at most 3600 s ({aws})"
        )
    } else if raw.contains("MaxSessionDuration") {
        format!(
            "{duration} is more than the role's maximum session duration: lower it, or raise the role's (`aws iam \
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
