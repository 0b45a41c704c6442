//! Times as texts, for messages and for what other programs read.

use std::time::SystemTime;

use aws_smithy_types::date_time::{DateTime, Format};

/// `2026-01-31T12:00:00Z`; instants beyond the calendar's four-digit years are shown as seconds.
pub fn iso8601(at: SystemTime) -> String {
    let at = DateTime::from(at);
    at.fmt(Format::DateTime)
        .unwrap_or_else(|_| format!("{} s", at.secs()))
}
