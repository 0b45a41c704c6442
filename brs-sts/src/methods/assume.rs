//! Role chaining: a session of a role that is assumed with another session's credentials.

use brs_core::{RefreshableSession, SessionBuilder};

use crate::request::params::Params;

/// Assuming roles from a session.
///
/// ```no_run
/// use brs_sts::AssumeExt as _;
///
/// # async fn example(base: brs_core::RefreshableSession) -> Result<(), brs_core::Error> {
/// let hub = base.assume("arn:aws:iam::123456789012:role/hub").await?;
/// let role = brs_sts::AssumeRole::new("arn:aws:iam::210987654321:role/reader").external_id("partner-17");
/// let spoke = hub.assume(role).region("eu-central-1").advisory_window(std::time::Duration::from_secs(600)).await?;
/// # Ok(())
/// # }
/// ```
pub trait AssumeExt {
    /// A session of the method `sts` on top of this one; `role` is an ARN, an
    /// [`AssumeRole`](crate::AssumeRole) or [`Params`].
    ///
    /// Region, endpoint and the settings of the STS client are inherited. Each of the two has an
    /// engine of its own, so each hop is refreshed when *it* nears its end. AWS grants a role that
    /// is assumed with a role's credentials an hour at most.
    fn assume(&self, role: impl Into<Params>) -> SessionBuilder;
}

impl AssumeExt for RefreshableSession {
    fn assume(&self, role: impl Into<Params>) -> SessionBuilder {
        Self::builder("sts", role.into()).base_session(self)
    }
}
