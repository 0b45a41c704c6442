//! Who the credentials are: what `whoami()` answers.
//!
//! A strategy tells its method, its source and whatever else identifies it; the caller's account
//! and ARN are asked from STS with the temporary credentials themselves, where the build has `sts`.

use std::collections::BTreeMap;

/// Who a session's current credentials belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The registry name of the method, `"sts"`.
    pub method: String,
    /// What the credentials come from: the SDK's provider name, or the name of a function or
    /// command.
    pub source: String,
    /// The access key id the answer is about.
    pub access_key_id: String,
    /// The account and ARN as STS reports them; `None` where the build has no `sts` feature.
    pub caller: Option<CallerIdentity>,
    /// The sessions whose credentials this one was assumed with, each with its own caller; the
    /// first is the one that stands on none. Empty for a session that does itself. A hop that could
    /// not be asked has no caller, and its details say why (`problem`).
    pub chain: Vec<Identity>,
    /// What else the strategy tells about itself, such as a certificate's subject. Never a secret.
    pub details: BTreeMap<String, String>,
}

impl Identity {
    /// An identity without a caller.
    pub fn new(
        method: impl Into<String>,
        source: impl Into<String>,
        access_key_id: impl Into<String>,
    ) -> Self {
        Self {
            method: method.into(),
            source: source.into(),
            access_key_id: access_key_id.into(),
            caller: None,
            chain: Vec::new(),
            details: BTreeMap::new(),
        }
    }

    /// Adds the caller.
    #[must_use]
    pub fn with_caller(mut self, caller: CallerIdentity) -> Self {
        self.caller = Some(caller);
        self
    }

    /// Adds a detail. Never a secret.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }
}

/// What STS GetCallerIdentity answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallerIdentity {
    /// The 12-digit account.
    pub account: String,
    /// The ARN of the role session or user.
    pub arn: String,
    /// The unique id, `AROA…:session-name` for a role session.
    pub user_id: String,
}

impl CallerIdentity {
    /// The three fields of the answer.
    pub fn new(
        account: impl Into<String>,
        arn: impl Into<String>,
        user_id: impl Into<String>,
    ) -> Self {
        Self {
            account: account.into(),
            arn: arn.into(),
            user_id: user_id.into(),
        }
    }
}
