//! Role chaining: a session of a role that is assumed with another session's credentials.

use brs_core::{RefreshableSession, SessionBuilder};

use crate::request::params::Params;

/// Assuming roles from a session.
///
/// ```no_run
/// # mod brs { pub use brs_core::*; pub use brs_sts as sts; }
/// use brs::sts::AssumeExt as _;
///
/// # async fn example(base: brs::RefreshableSession) -> Result<(), brs::Error> {
/// let hub = base.assume("arn:aws:iam::123456789012:role/hub").await?;
/// let role = brs::sts::Params::new("arn:aws:iam::210987654321:role/reader")
///     .external_id("partner-17");
/// let spoke = hub.assume(role).region("eu-central-1").await?;
/// # Ok(())
/// # }
/// ```
pub trait AssumeExt: sealed::Sealed {
    /// A session of the method `sts` on top of this one; `role` is an ARN or [`Params`].
    ///
    /// Region, endpoint and the settings of the STS client are inherited. Each of the two has its
    /// own engine, so each hop is refreshed when *it* nears its end. AWS grants a role that
    /// is assumed with a role's credentials an hour at most.
    fn assume(&self, role: impl Into<Params>) -> SessionBuilder;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for brs_core::RefreshableSession {}
}

impl AssumeExt for RefreshableSession {
    fn assume(&self, role: impl Into<Params>) -> SessionBuilder {
        Self::with(role.into()).base_session(self)
    }
}
