//! Which process a connection belongs to.
//!
//! The driver does not follow a fork: in a child its answers never come, and locks stay as another
//! thread held them. So calls look first, and touch nothing of the parent's.

/// The process in which something was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn current() -> Self {
        Self(std::process::id())
    }

    /// Whether this is still the same, and not a forked child.
    pub(crate) fn is_here(self) -> bool {
        self.0 == std::process::id()
    }
}
