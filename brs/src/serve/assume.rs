//! Roles that are asked for by their ARN: rules, and a pool of sessions for each.

#[cfg(feature = "sts")]
use std::time::Duration;

use brs_core::{Error, PoolStatus, RefreshableSession, SessionPool};

use super::consumer::check_name;
use super::pattern::Pattern;

/// As [`Kept`](super::kept::Kept) has it for named sessions.
#[cfg(feature = "sts")]
const ADVISORY_WINDOW: Duration = Duration::from_secs(20 * 60);
/// How many roles a rule keeps sessions of.
#[cfg(feature = "sts")]
const CAPACITY: usize = 1000;

/// Which roles requests may ask for by ARN, and with whose credentials they are assumed.
///
/// A consumer gets a role if its own [`roles`](super::Consumer::roles) and a rule allow it; the
/// first rule that does counts. It needs the feature `sts`.
#[derive(Clone, Debug)]
pub struct AssumeRule {
    /// The name of the session whose credentials assume the roles.
    pub from: String,
    /// ARNs in which `*` stands for any characters and `?` for one, neither of them for a colon;
    /// `*` alone is every role.
    pub roles: Vec<String>,
    /// The region of STS. Default: that of the session.
    pub region: Option<String>,
}

impl AssumeRule {
    /// A rule without a region of its own.
    pub fn new<S: Into<String>>(
        from: impl Into<String>,
        roles: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            from: from.into(),
            roles: roles.into_iter().map(Into::into).collect(),
            region: None,
        }
    }

    /// Another region's STS.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }
}

/// A rule at work.
#[derive(Debug)]
pub(super) struct Assuming {
    pub(super) from: String,
    roles: Vec<Pattern>,
    pool: SessionPool<String>,
}

impl Assuming {
    pub(super) fn new(rule: &AssumeRule, hub: &RefreshableSession) -> Result<Self, Error> {
        Ok(Self {
            from: rule.from.clone(),
            roles: patterns(rule)?,
            pool: pool(rule, hub)?,
        })
    }

    pub(super) fn allows(&self, role_arn: &str) -> bool {
        self.roles.iter().any(|role| role.matches(role_arn))
    }

    /// The role's session: the same one while it is used. Nothing is fetched.
    pub(super) fn session(&self, role_arn: &str) -> Result<RefreshableSession, Error> {
        self.pool.get(&role_arn.to_owned())
    }

    pub(super) fn status(&self) -> PoolStatus {
        self.pool.status()
    }
}

/// Checks a rule before there is a session for it.
pub(super) fn check(rule: &AssumeRule) -> Result<(), Error> {
    check_name("session", &rule.from)?;
    patterns(rule).map(drop)
}

fn patterns(rule: &AssumeRule) -> Result<Vec<Pattern>, Error> {
    rule.roles
        .iter()
        .map(|role| Pattern::new(role, "assume.roles"))
        .collect()
}

#[cfg(feature = "sts")]
fn pool(rule: &AssumeRule, hub: &RefreshableSession) -> Result<SessionPool<String>, Error> {
    let region = rule.region.clone();
    let pool = SessionPool::builder(|arn: &String| brs_sts::Params::new(arn.as_str()))
        .assume_from(hub)
        .capacity(CAPACITY)
        .options(|session| {
            let session = session.advisory_window(ADVISORY_WINDOW);
            match region {
                Some(region) => session.region(region),
                None => session,
            }
        });
    Ok(pool.build())
}

#[cfg(not(feature = "sts"))]
fn pool(_: &AssumeRule, _: &RefreshableSession) -> Result<SessionPool<String>, Error> {
    Err(
        Error::configuration("this build cannot assume roles: enable the feature `sts` of `brs`")
            .with_param("assume")
            .unrecoverable(),
    )
}
