//! Messages on stderr: for people, or as JSON.
//!
//! Other crates' messages are left out unless many are asked for, and never below `info`: what they
//! trace may hold secrets.

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{FilterFn, LevelFilter, Targets, dynamic_filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::{Global, LogFormat};
use crate::terminal;

/// Whether warnings are left out for now.
static IS_MUTED: AtomicBool = AtomicBool::new(false);

/// Leaves warnings out for now: they were given before.
pub(crate) fn mute(is_muted: bool) {
    IS_MUTED.store(is_muted, Ordering::Relaxed);
}

/// Starts the log. `one_shot`: a refresh that fails is the command's own failure, which is
/// reported at its end, and not twice.
pub(crate) fn start(global: &Global, one_shot: bool) {
    let (own, foreign) = match (global.quiet, global.verbose) {
        (true, _) => (LevelFilter::ERROR, LevelFilter::OFF),
        (false, 0) => (LevelFilter::WARN, LevelFilter::OFF),
        (false, 1) => (LevelFilter::INFO, LevelFilter::OFF),
        (false, 2) => (LevelFilter::DEBUG, LevelFilter::WARN),
        (false, _) => (LevelFilter::TRACE, LevelFilter::INFO),
    };
    let levels = Targets::new().with_default(foreign).with_target("brs", own);
    let hides_failures = one_shot && global.verbose == 0;
    let failures = FilterFn::new(move |event| {
        let is_failed_refresh = event.fields().field("unrecoverable").is_some();
        !(hides_failures && is_failed_refresh)
    });
    let warnings = dynamic_filter_fn(|event, _| {
        *event.level() == Level::ERROR || !IS_MUTED.load(Ordering::Relaxed)
    });
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match global.log_format {
        LogFormat::Text => {
            let format = Text {
                colours: terminal::has_colours(),
            };
            layer.event_format(format).boxed()
        }
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(
            layer
                .with_filter(levels)
                .with_filter(failures)
                .with_filter(warnings),
        )
        .init();
}

/// `brs: warning: message (name=value, …)`.
struct Text {
    colours: bool,
}

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (name, colour) = match *event.metadata().level() {
            Level::ERROR => ("error", "31"),
            Level::WARN => ("warning", "33"),
            Level::INFO => ("info", "32"),
            Level::DEBUG => ("debug", "34"),
            Level::TRACE => ("trace", "35"),
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        if self.colours {
            write!(
                writer,
                "brs: \u{1b}[{colour}m{name}\u{1b}[0m: {}",
                fields.message
            )?;
        } else {
            write!(writer, "brs: {name}: {}", fields.message)?;
        }
        if !fields.others.is_empty() {
            write!(writer, " ({})", fields.others)?;
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
            return;
        }
        let separator = if self.others.is_empty() { "" } else { ", " };
        let _ = write!(self.others, "{separator}{}={value:?}", field.name());
    }
}
