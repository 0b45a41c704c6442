//! AWS's words, and what they mean: its messages say what its codes do not.
//!
//! Owns the tables; `class` asks them.

use super::Class;

/// How AWS begins to say what is wrong with a signature.
pub(super) const SIGNATURE: [(&str, Class); 6] = [
    ("Signature expired", Class::Clock),
    ("Signature not yet current", Class::Clock),
    ("Date in Credential scope", Class::Clock),
    (
        "Credential should be scoped to a valid region",
        Class::WrongRegion,
    ),
    (
        "Credential should be scoped to correct service",
        Class::WrongService,
    ),
    ("Credential should be scoped", Class::Incomplete),
];

/// The policies that AWS names as the reason of a refusal; a trust policy may be a resource-based
/// policy there.
pub(super) const POLICIES: [(&str, &str); 13] = [
    (
        "may not be assumed by root",
        "AWS lets no root user assume roles: use the keys of an IAM user, or a role",
    ),
    (
        "explicit deny in an identity-based policy",
        "an identity-based policy of the caller denies it explicitly",
    ),
    (
        "service control policy",
        "a service control policy of the organization does not allow it: ask its administrator",
    ),
    (
        "resource control policy",
        "a resource control policy of the organization does not allow it: ask its administrator",
    ),
    (
        "permissions boundary",
        "the caller's permissions boundary does not allow it",
    ),
    (
        "session policy",
        "the session policy of the caller's session does not allow it",
    ),
    (
        "sessions policy",
        "the session policy of the caller's session does not allow it",
    ),
    (
        "VPC endpoint policy",
        "the policy of the VPC endpoint that the call goes through does not allow it",
    ),
    (
        "explicit deny in the role trust policy",
        "the role's trust policy denies it explicitly",
    ),
    (
        "no role trust policy allows",
        "the role's trust policy does not allow it",
    ),
    (
        "explicit deny in a resource-based policy",
        "the role's trust policy denies it explicitly",
    ),
    (
        "no resource-based policy allows",
        "the role's trust policy does not allow it",
    ),
    (
        "no identity-based policy allows",
        "no identity-based policy of the caller allows it",
    ),
];

/// What is wrong with a web identity token, by the words of AWS's message.
pub(super) const TOKENS: [(&str, &str); 5] = [
    (
        "configured thumbprint",
        "the certificate of its identity provider matches no thumbprint in IAM: add the one of the authority that \
         signs it (`aws iam update-open-id-connect-provider-thumbprint`)",
    ),
    (
        "token audience",
        "its audience (`aud`) is none that the identity provider in IAM has: request the token for one of those, or \
         add its audience there (`aws iam add-client-id-to-open-id-connect-provider`)",
    ),
    (
        "must be issued within",
        "it was issued too long ago or in the future: renew it, and check the clock of its issuer",
    ),
    (
        "issued in the future",
        "it was issued in the future: check the clock of its issuer",
    ),
    (
        "not a valid JWT",
        "the file holds no JSON web token that STS can read: it must hold a whole identity token, an access token is \
         another one",
    ),
];

/// What is wrong with a SAML assertion, by the words of AWS's message (IAM's guide, "Troubleshoot
/// SAML federation").
pub(super) const ASSERTIONS: [(&str, &str); 8] = [
    (
        "Invalid base64",
        "give the field `SAMLResponse` of the identity provider's answer as it is",
    ),
    (
        "signature invalid",
        "its signature fits no certificate of the SAML provider: give IAM the identity provider's current metadata \
         (`aws iam update-saml-provider`)",
    ),
    (
        "Issuer not present",
        "its issuer is not the one in the SAML provider's metadata: correct `provider_arn`, or give IAM the identity \
         provider's current metadata (`aws iam update-saml-provider`)",
    ),
    (
        "requested Role and Metadata",
        "its attribute `https://aws.amazon.com/SAML/Attributes/Role` does not have this role with this provider: \
         assign the role at the identity provider, or correct `role_arn` and `provider_arn`",
    ),
    (
        "RoleSessionName",
        "its attribute `https://aws.amazon.com/SAML/Attributes/RoleSessionName` must have 2 to 64 of \
         `[a-zA-Z_0-9+=,.@-]`: set it at the identity provider, to the user's id for instance",
    ),
    (
        "Source Identity",
        "its attribute `https://aws.amazon.com/SAML/Attributes/SourceIdentity` must have 2 to 64 of \
         `[a-zA-Z_0-9+=,.@-]` and not begin with `aws:`: correct it at the identity provider",
    ),
    (
        "SubjectConfirm",
        "its `SubjectConfirmationData` must have `Recipient` and `NotOnOrAfter`: correct the application's settings \
         at the identity provider",
    ),
    (
        "audience",
        "its audience must be AWS's, `https://signin.aws.amazon.com/saml` or its partition's: correct it at the \
         identity provider",
    ),
];

/// The actions that a request needs beside its own.
pub(super) const ACTIONS: [(&str, &str); 2] = [
    (
        "sts:TagSession",
        "session tags need `sts:TagSession` in the role's trust policy and the caller's permissions",
    ),
    (
        "sts:SetSourceIdentity",
        "a source identity needs `sts:SetSourceIdentity` in the role's trust policy and the caller's permissions",
    ),
];

pub(super) fn find(table: &[(&str, &'static str)], raw: &str) -> Option<&'static str> {
    table
        .iter()
        .find_map(|(words, reason)| raw.contains(words).then_some(*reason))
}
