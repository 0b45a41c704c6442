//! What AWS refuses, and which of its settings to look at.
//!
//! AWS distinguishes its refusals by message alone: nearly all of them are `AccessDeniedException`.

use brs_iot::__private::Refused;

use super::call::Call;

/// The meaning of an answer without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The signature's date is too far from AWS's clock.
    Time,
    Revoked,
    /// The certificate has expired, or is not valid yet.
    OutOfTime,
    /// The certificate lacks what AWS wants of one.
    Unfit,
    /// No chain leads to the trust anchor.
    Untrusted,
    Signature,
    SessionName,
    Duration,
    /// Attributes of the certificate cannot be session tags.
    Attributes,
    InstanceProperties,
    AnchorDisabled,
    ProfileDisabled,
    RoleNotInProfile,
    /// The role does not let itself be assumed.
    RoleTrust,
    Region,
    NoAnchor,
    NoProfile,
    Throttled,
    Trouble,
    /// Something on the way that is not AWS.
    NotAws,
    Other,
}

impl Refusal {
    pub(crate) fn of(status: u16, code: Option<&str>, message: Option<&str>) -> Self {
        let message = message.unwrap_or_default().to_ascii_lowercase();
        let says = |part: &str| message.contains(part);
        let is_disabled = says("disabled") || says("not enabled");
        match status {
            429 => Self::Throttled,
            _ if code.is_some_and(|code| {
                code.starts_with("Throttl") || code == "TooManyRequestsException"
            }) =>
            {
                Self::Throttled
            }
            // RFC 9110 and RFC 8470: the request came too late, or too early.
            408 | 425 | 500.. => Self::Trouble,
            // Anybody may answer with a `message`.
            _ if code.is_none() => Self::NotAws,
            _ if says("signature expired") || says("not yet current") => Self::Time,
            _ if says("revoked") => Self::Revoked,
            _ if says("untrusted signing certificate") => Self::Untrusted,
            _ if says("certificate") && (says("expired") || says("not yet valid")) => {
                Self::OutOfTime
            }
            _ if says("untrusted certificate") || says("insufficient certificate") => Self::Unfit,
            _ if says("rolesessionname") => Self::SessionName,
            _ if says("durationseconds") || says("maxsessionduration") => Self::Duration,
            _ if says("session tags") => Self::Attributes,
            _ if says("instance propert") || says("instancepropert") => Self::InstanceProperties,
            _ if says("trust anchor") && is_disabled => Self::AnchorDisabled,
            _ if says("profile") && is_disabled => Self::ProfileDisabled,
            _ if says("region") => Self::Region,
            _ if says("unable to assume role") => Self::RoleTrust,
            404 if says("trust anchor") || says("trustanchor") => Self::NoAnchor,
            404 if says("profile") => Self::NoProfile,
            _ if says("role") && says("profile") => Self::RoleNotInProfile,
            _ if says("signature") => Self::Signature,
            _ => Self::Other,
        }
    }

    /// Whether another certificate may be accepted.
    pub(crate) fn refused(self) -> Refused {
        match self {
            Self::Revoked | Self::OutOfTime | Self::Unfit | Self::Untrusted | Self::Signature => {
                Refused::Device
            }
            _ => Refused::Nobody,
        }
    }

    /// The parameter that the refusal is about.
    pub(crate) fn param(self) -> Option<&'static str> {
        Some(match self {
            Self::Revoked | Self::OutOfTime | Self::Unfit | Self::Untrusted | Self::Attributes => {
                "certificate"
            }
            Self::SessionName => "role_session_name",
            Self::Duration => "duration",
            Self::InstanceProperties => "instance_properties",
            Self::AnchorDisabled | Self::NoAnchor => "trust_anchor_arn",
            Self::ProfileDisabled | Self::NoProfile => "profile_arn",
            Self::RoleNotInProfile | Self::RoleTrust => "role_arn",
            Self::Region => "region",
            _ => return None,
        })
    }

    /// Message and remedy.
    pub(crate) fn text(self, status: u16, message: Option<&str>, call: &Call<'_>) -> String {
        let endpoint = call.target.endpoint;
        let (anchor, profile, role) = (call.trust_anchor_arn, call.profile_arn, call.role_arn);
        let (anchor_id, profile_id, region) = (call.trust_anchor_id, call.profile_id, call.region);
        let subject = call.device.certificate_subject();
        let serial = &call.presented.serial;
        match self {
            Self::Time => format!(
                "`{endpoint}` refused the date of the signature ({status}), and the one of its own \
                 answer, too: check this machine's clock, and that nothing on the way answers in AWS's \
                 place"
            ),
            Self::Revoked => format!(
                "the certificate of `{subject}` is revoked ({status}): its serial number {serial} is in \
                 a revocation list of the trust anchor (`aws rolesanywhere list-crls --region {region}`); \
                 give another certificate"
            ),
            Self::OutOfTime => format!(
                "the certificate of `{subject}`, or one of its authorities, is not valid now \
                 ({status}): check `openssl x509 -noout -dates`, and renew it"
            ),
            Self::Unfit => format!(
                "the certificate of `{subject}` is not one that IAM Roles Anywhere accepts ({status}): \
                 it needs X.509 version 3, `CA:FALSE`, the key usage `digitalSignature`, and a signature \
                 with SHA-256 or better (`openssl x509 -noout -text`)"
            ),
            Self::Untrusted => format!(
                "the certificate of `{subject}` was not issued by trust anchor `{anchor}` ({status}): \
                 check which authority that is (`aws rolesanywhere get-trust-anchor --region {region} \
                 --trust-anchor-id {anchor_id}`), and give the certificates between, after the \
                 certificate or as `intermediates`"
            ),
            Self::Signature => format!(
                "`{endpoint}` found the signature wrong ({status}): check that nothing on the way \
                 changes the request, its `Host` for instance, and that key and certificate (subject \
                 `{subject}`) belong together"
            ),
            Self::SessionName => format!(
                "profile `{profile}` does not accept a role session name ({status}): leave \
                 `role_session_name` out, or allow it (`aws rolesanywhere update-profile --region \
                 {region} --profile-id {profile_id} --accept-role-session-name`)"
            ),
            Self::Duration => format!(
                "the duration is longer than what is allowed ({status}): check `MaxSessionDuration` of \
                 role `{role}` (`aws iam get-role`) and `durationSeconds` of the profile (`aws \
                 rolesanywhere get-profile --region {region} --profile-id {profile_id}`), or set a \
                 shorter `duration`"
            ),
            Self::Attributes => format!(
                "attributes of the certificate of `{subject}` cannot be session tags ({status}): check \
                 the profile's attribute mappings (`aws rolesanywhere get-profile --region {region} \
                 --profile-id {profile_id}`)"
            ),
            Self::InstanceProperties => format!(
                "the instance properties were not accepted ({status}): check `requireInstanceProperties` \
                 of the profile (`aws rolesanywhere get-profile --region {region} --profile-id \
                 {profile_id}`) and `instance_properties`"
            ),
            Self::AnchorDisabled => format!(
                "trust anchor `{anchor}` is disabled ({status}): `aws rolesanywhere \
                 enable-trust-anchor --region {region} --trust-anchor-id {anchor_id}` enables it"
            ),
            Self::ProfileDisabled => format!(
                "profile `{profile}` is disabled ({status}): `aws rolesanywhere enable-profile --region \
                 {region} --profile-id {profile_id}` enables it"
            ),
            Self::RoleNotInProfile => format!(
                "role `{role}` is not in profile `{profile}` ({status}): check its `roleArns` (`aws \
                 rolesanywhere get-profile --region {region} --profile-id {profile_id}`)"
            ),
            Self::RoleTrust => format!(
                "role `{role}` cannot be assumed ({status}): check that it exists, and that its trust \
                 policy (`aws iam get-role`) allows `rolesanywhere.amazonaws.com` to call \
                 `sts:AssumeRole`, `sts:TagSession` and `sts:SetSourceIdentity`, with conditions that \
                 the certificate of `{subject}` meets"
            ),
            Self::Region => format!(
                "`{endpoint}` does not serve region `{region}` of trust anchor `{anchor}` ({status}): \
                 check the region in `trust_anchor_arn` and `endpoint_url`"
            ),
            Self::NoAnchor => format!(
                "trust anchor `{anchor}` does not exist ({status}): check `aws rolesanywhere \
                 list-trust-anchors --region {region}`"
            ),
            Self::NoProfile => format!(
                "profile `{profile}` does not exist ({status}): check `aws rolesanywhere list-profiles \
                 --region {region}`"
            ),
            Self::Throttled => format!(
                "`{endpoint}` throttled the call ({status}): call from fewer machines at once, or \
                 request a higher quota for CreateSession (Service Quotas, IAM Roles Anywhere: 10 a \
                 second)"
            ),
            Self::Trouble => format!(
                "`{endpoint}` failed ({status}): the call is retried; see \
                 https://health.aws.amazon.com"
            ),
            Self::NotAws => format!(
                "the server that answered for `{endpoint}` ({status}) is not IAM Roles Anywhere: check \
                 `endpoint_url`, the proxy, and whether the network requires a login"
            ),
            Self::Other => match message {
                Some(message) => {
                    format!("`{endpoint}` refused role `{role}` ({status}): {message}")
                }
                None => format!("`{endpoint}` refused role `{role}` ({status})"),
            },
        }
    }
}
