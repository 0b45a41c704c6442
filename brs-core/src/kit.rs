//! What authors of methods need, and all of brs is built on.
//!
//! Checks of values that mean the same everywhere, texts of others made fit to be shown, times as
//! texts, bounded reading of files, sources of secrets, brs's own runtime, and values that belong
//! to one process.

pub(crate) mod blocking;
pub(crate) mod channel;
pub(crate) mod check;
pub(crate) mod clock;
pub(crate) mod default_http;
pub(crate) mod error;
pub mod files;
mod first_line;
pub(crate) mod iso8601;
pub(crate) mod lifetimes;
pub(crate) mod limiter;
pub mod path;
pub(crate) mod per_process;
pub(crate) mod runtime;
pub(crate) mod secret;
pub(crate) mod secret_source;
pub(crate) mod shown;
pub(crate) mod turns;

pub use check::{is_account_id, is_endpoint_url, is_region};
pub use default_http::{HTTP_CLIENT, default_http_client, http_client_per_runtime};
pub use first_line::mistaken;
pub use iso8601::iso8601;
pub use lifetimes::{default_advisory_window, fitting_window, slack};
pub use per_process::PerProcess;
pub use runtime::own as own_runtime;
pub use secret::zeroize_value;
pub use secret_source::Purpose;
pub use shown::{MAX_TEXT, any_in_chain, causes, clean, find, origin, with_cause};
