//! What AWS refuses, and which of its settings to look at.
//!
//! AWS distinguishes its refusals by message alone: several share one code.

use super::error::Call;

/// The meaning of an answer that is not 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    ThingNotAttached,
    NotAllowed,
    CertificateNotActive,
    NoRoleAlias,
    CannotAssume,
    DurationTooLong,
    Throttled,
    Trouble,
    /// Something on the way, or at the endpoint, that is not AWS IoT.
    NotAws,
    /// A web server's page about rejecting the device's certificate.
    CertificatePage,
    Other,
}

impl Refusal {
    pub(crate) fn of(status: u16, code: Option<&str>, message: Option<&str>, body: &[u8]) -> Self {
        let says =
            |part: &str| message.is_some_and(|text| text.to_ascii_lowercase().contains(part));
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
            403 if says("thing name") => Self::ThingNotAttached,
            403 if says("certificate is invalid") => Self::CertificateNotActive,
            403 if says("access denied") => Self::NotAllowed,
            404 if says("role alias") => Self::NoRoleAlias,
            400 if says("unable to assume") => Self::CannotAssume,
            400 if says("durationseconds") => Self::DurationTooLong,
            // Anybody may answer with a `message`.
            400.. if code.is_some() => Self::Other,
            400 if is_certificate_page(body) => Self::CertificatePage,
            _ => Self::NotAws,
        }
    }

    /// Message and remedy.
    pub(crate) fn text(self, status: u16, message: Option<&str>, call: &Call<'_>) -> String {
        let (alias, endpoint, certificate) = (
            call.role_alias,
            call.target.endpoint,
            call.device.certificate_sha256(),
        );
        match self {
            Self::ThingNotAttached => match call.thing_name {
                Some(thing) => format!(
                    "thing `{thing}` is not attached to the device's certificate ({status}): check `aws iot \
                     list-thing-principals --thing-name {thing}`, attach it (`aws iot attach-thing-principal`), or \
                     leave `thing_name` out"
                ),
                None => format!(
                    "the thing's name was not accepted ({status}): check which things the certificate is attached to, \
                     `aws iot list-principal-things --principal <the certificate's ARN>`"
                ),
            },
            Self::NotAllowed => format!(
                "the certificate's policies do not allow `iot:AssumeRoleWithCertificate` for role alias `{alias}` \
                 ({status}): check `aws iot list-attached-policies --target <the certificate's ARN>`; its id is \
                 {certificate}"
            ),
            Self::CertificateNotActive => format!(
                "the device's certificate is not registered or not active in the account and \
                 region of `{endpoint}` ({status}): check `aws iot describe-certificate \
                 --certificate-id {certificate}`, activate it (`aws iot update-certificate \
                 --new-status ACTIVE`), and check that the endpoint belongs to that account"
            ),
            Self::NoRoleAlias => {
                format!(
                    "role alias `{alias}` does not exist ({status}): check `aws iot list-role-aliases`"
                )
            }
            Self::CannotAssume => format!(
                "the role of role alias `{alias}` does not exist or cannot be assumed ({status}): \
                 check `aws iot describe-role-alias --role-alias {alias}`, and that the trust \
                 policy of that role (`aws iam get-role`) allows `credentials.iot.amazonaws.com` \
                 to call `sts:AssumeRole`"
            ),
            Self::DurationTooLong => {
                let asked = match call.duration {
                    Some(seconds) => format!("the duration of {seconds} s"),
                    None => format!("the duration that role alias `{alias}` sets"),
                };
                format!(
                    "{asked} is longer than the role's maximum session duration ({status}): check \
                     `MaxSessionDuration` of the role (`aws iam get-role`) and \
                     `credentialDurationSeconds` of the alias (`aws iot describe-role-alias \
                     --role-alias {alias}`), or set a shorter `duration`"
                )
            }
            Self::Throttled => format!(
                "`{endpoint}` throttled the call ({status}): call from fewer devices at once, or \
                 request a higher limit for the credentials provider (Service Quotas, AWS IoT \
                 Core)"
            ),
            Self::Trouble => format!(
                "`{endpoint}` failed ({status}): the call is retried; see \
                 https://health.aws.amazon.com"
            ),
            Self::NotAws => format!(
                "the server that answered for `{endpoint}` ({status}) is not AWS IoT: check \
                 `endpoint`, the proxy, and whether the network requires a login"
            ),
            Self::CertificatePage => format!(
                "the server that answered for `{endpoint}` ({status}) is not AWS IoT but a web \
                 server that rejected the device's certificate: check `endpoint` and which \
                 authority that server requires; the certificate's subject is `{}`, its id is \
                 {certificate}",
                call.device.certificate_subject()
            ),
            Self::Other => match message {
                Some(message) => {
                    format!("`{endpoint}` refused role alias `{alias}` ({status}): {message}")
                }
                None => format!("`{endpoint}` refused role alias `{alias}` ({status})"),
            },
        }
    }
}

/// nginx completes the handshake with unknown clients and rejects them with a page.
fn is_certificate_page(body: &[u8]) -> bool {
    let said: [&[u8]; 2] = [
        b"SSL certificate error",
        b"No required SSL certificate was sent",
    ];
    said.iter()
        .any(|said| body.windows(said.len()).any(|part| part == *said))
}
