//! A role as the key of a pool.

use std::collections::BTreeMap;
use std::time::Duration;

/// What decides the credentials of an assumed role, as the key of a
/// [`SessionPool`](crate::SessionPool).
///
/// The region of a client is not part of it: one set serves all regions
/// ([`client_in`](crate::RefreshableSession::client_in)). `brs_sts::Params` can be made from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleKey {
    role_arn: String,
    external_id: Option<String>,
    role_session_name: Option<String>,
    source_identity: Option<String>,
    tags: BTreeMap<String, String>,
    policy: Option<String>,
    duration: Option<Duration>,
    endpoint_url: Option<String>,
}

impl RoleKey {
    /// The role with this ARN.
    pub fn new(role_arn: impl Into<String>) -> Self {
        Self {
            role_arn: role_arn.into(),
            external_id: None,
            role_session_name: None,
            source_identity: None,
            tags: BTreeMap::new(),
            policy: None,
            duration: None,
            endpoint_url: None,
        }
    }

    /// The external id that the role's trust policy asks for.
    #[must_use]
    pub fn with_external_id(mut self, external_id: impl Into<String>) -> Self {
        self.external_id = Some(external_id.into());
        self
    }

    /// The name of the role session. Default: one for each session.
    #[must_use]
    pub fn with_role_session_name(mut self, name: impl Into<String>) -> Self {
        self.role_session_name = Some(name.into());
        self
    }

    /// The source identity.
    #[must_use]
    pub fn with_source_identity(mut self, source_identity: impl Into<String>) -> Self {
        self.source_identity = Some(source_identity.into());
        self
    }

    /// A session tag.
    #[must_use]
    pub fn with_tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(key.into(), value.into());
        self
    }

    /// The session policy, as JSON.
    #[must_use]
    pub fn with_policy(mut self, policy: impl Into<String>) -> Self {
        self.policy = Some(policy.into());
        self
    }

    /// How long the credentials live.
    #[must_use]
    pub fn with_duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }

    /// The endpoint of STS.
    #[must_use]
    pub fn with_endpoint_url(mut self, endpoint_url: impl Into<String>) -> Self {
        self.endpoint_url = Some(endpoint_url.into());
        self
    }

    /// The ARN of the role.
    pub fn role_arn(&self) -> &str {
        &self.role_arn
    }

    /// The external id.
    pub fn external_id(&self) -> Option<&str> {
        self.external_id.as_deref()
    }

    /// The name of the role session.
    pub fn role_session_name(&self) -> Option<&str> {
        self.role_session_name.as_deref()
    }

    /// The source identity.
    pub fn source_identity(&self) -> Option<&str> {
        self.source_identity.as_deref()
    }

    /// The session tags.
    pub fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }

    /// The session policy.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// How long the credentials live.
    pub fn duration(&self) -> Option<Duration> {
        self.duration
    }

    /// The endpoint of STS.
    pub fn endpoint_url(&self) -> Option<&str> {
        self.endpoint_url.as_deref()
    }
}

impl From<String> for RoleKey {
    fn from(role_arn: String) -> Self {
        Self::new(role_arn)
    }
}

impl From<&str> for RoleKey {
    fn from(role_arn: &str) -> Self {
        Self::new(role_arn)
    }
}
