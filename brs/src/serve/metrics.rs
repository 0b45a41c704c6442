//! `/metrics`: what a server and its sessions are doing, as OpenMetrics text.
//!
//! Everything is read when it is asked for. No label holds what a caller chose: names come from the
//! configuration, routes and codes from fixed tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::kept::Kept;
use super::shared::Shared;

/// The type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All of it.
pub(super) fn text(shared: &Arc<Shared>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(Arc::clone(shared))));
    registry.register(
        "brs_http_request_duration_seconds",
        "How long requests took",
        shared.durations.clone(),
    );
    let waiters = i64::try_from(shared.waiters.load(Relaxed)).unwrap_or(i64::MAX);
    registry.register(
        "brs_waiters",
        "Requests that wait for credentials",
        ConstGauge::new(waiters),
    );
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Metrics(Arc<Shared>);

type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// One metric with its samples.
struct Family<'a>(MetricEncoder<'a>);

impl<'a> Family<'a> {
    fn new<'e: 'a>(
        encoder: &'a mut DescriptorEncoder<'e>,
        kind: MetricType,
        name: &'a str,
        help: &str,
    ) -> Result<Self, fmt::Error> {
        encoder.encode_descriptor(name, help, None, kind).map(Self)
    }

    fn put<const N: usize>(
        &mut self,
        labels: Labels<'_, N>,
        value: &dyn EncodeMetric,
    ) -> fmt::Result {
        value.encode(self.0.encode_family(&labels)?)
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.sessions(&mut encoder)?;
        self.requests(&mut encoder)?;
        self.pools(&mut encoder)?;
        let mut info = Family::new(
            &mut encoder,
            MetricType::Gauge,
            "brs_build_info",
            "The version",
        )?;
        info.put(
            [("version", env!("CARGO_PKG_VERSION"))],
            &ConstGauge::new(1),
        )
    }
}

impl Metrics {
    fn sessions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        use MetricType::{Counter, Gauge, Histogram};
        let offer = self.0.offer();
        let sessions = || offer.sessions.values();
        let gauge = |encoder: &mut DescriptorEncoder<'_>,
                     name: &str,
                     help: &str,
                     value: &dyn Fn(&Kept) -> Option<i64>| {
            let mut family = Family::new(encoder, Gauge, name, help)?;
            for kept in sessions() {
                if let Some(value) = value(kept) {
                    family.put([("session", &kept.name)], &ConstGauge::new(value))?;
                }
            }
            Ok::<(), fmt::Error>(())
        };
        gauge(
            encoder,
            "brs_credentials_expiration_timestamp_seconds",
            "When the cached credentials expire",
            &|kept| kept.session.status().expiration().map(seconds),
        )?;
        gauge(
            encoder,
            "brs_refresh_consecutive_failures",
            "How many refreshes have failed in a row",
            &|kept| Some(kept.session.status().consecutive_failures().into()),
        )?;
        gauge(
            encoder,
            "brs_serving_expired",
            "Whether expired credentials are served because the source fails",
            &|kept| Some(kept.session.status().is_serving_expired().into()),
        )?;
        gauge(
            encoder,
            "brs_certificate_not_after_timestamp_seconds",
            "When the certificate that the session shows expires",
            &|kept| {
                let end = kept.history.certificate_end.load(Relaxed);
                i64::try_from(end).ok().filter(|end| *end > 0)
            },
        )?;
        let mut family = Family::new(encoder, Counter, "brs_refreshes", "Refreshes by outcome")?;
        for kept in sessions() {
            let counts = [
                ("success", &kept.history.succeeded),
                ("failure", &kept.history.failed),
            ];
            for (outcome, count) in counts {
                let labels = [("session", kept.name.as_str()), ("outcome", outcome)];
                family.put(labels, &ConstCounter::new(count.load(Relaxed)))?;
            }
        }
        let mut family = Family::new(
            encoder,
            Counter,
            "brs_invalidations",
            "Credentials that were declared unusable",
        )?;
        for kept in sessions() {
            let count = kept.history.invalidations.load(Relaxed);
            family.put([("session", kept.name.as_str())], &ConstCounter::new(count))?;
        }
        let mut family = Family::new(
            encoder,
            Counter,
            "brs_shared_operations",
            "Operations of the shared stores that failed",
        )?;
        let mut failed = BTreeMap::new();
        for (operation, count) in sessions().flat_map(|kept| kept.history.warnings()) {
            *failed.entry(operation).or_insert(0_u64) += count;
        }
        for (operation, count) in failed {
            let store = match operation.split('_').next() {
                Some("host") => "host",
                Some("fleet" | "shared") => "fleet",
                _ => continue,
            };
            let labels = [
                ("store", store),
                ("operation", operation),
                ("outcome", "failure"),
            ];
            family.put(labels, &ConstCounter::new(count))?;
        }
        let mut family = Family::new(
            encoder,
            Histogram,
            "brs_refresh_duration_seconds",
            "How long the source took",
        )?;
        for kept in sessions() {
            family.put([("session", kept.name.as_str())], &kept.history.durations)?;
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let offer = self.0.offer();
        let mut family = Family::new(
            encoder,
            MetricType::Counter,
            "brs_http_requests",
            "Requests by route, code and consumer",
        )?;
        let consumers = offer
            .clients
            .iter()
            .map(|client| (&*client.name, &*client.tally));
        let others = [("", &self.0.anonymous), ("", &self.0.metadata)];
        for (consumer, tally) in consumers.chain(others) {
            for (route, code, count) in tally.counts() {
                let code = code.to_string();
                let labels = [
                    ("route", route.name()),
                    ("code", &code),
                    ("consumer", consumer),
                ];
                family.put(labels, &ConstCounter::new(count))?;
            }
        }
        Ok(())
    }

    fn pools(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let offer = self.0.offer();
        let statuses: Vec<_> = offer.assume.iter().map(|rule| rule.status()).collect();
        if statuses.is_empty() {
            return Ok(());
        }
        let sum = |of: &dyn Fn(&brs_core::PoolStatus) -> usize| {
            i64::try_from(statuses.iter().map(of).sum::<usize>()).unwrap_or(i64::MAX)
        };
        let mut family = Family::new(
            encoder,
            MetricType::Gauge,
            "brs_pool_sessions",
            "Sessions of roles that are asked for by ARN",
        )?;
        for (state, count) in [
            ("idle", sum(&|status| status.idle)),
            ("used", sum(&|status| status.sessions - status.idle)),
            ("refreshing", sum(&|status| status.refreshing)),
        ] {
            family.put([("state", state)], &ConstGauge::new(count))?;
        }
        let mut family = Family::new(
            encoder,
            MetricType::Gauge,
            "brs_limiter_waiting",
            "Refreshes in line for the source",
        )?;
        for (class, count) in [
            ("awaited", sum(&|status| status.awaited)),
            ("unattended", sum(&|status| status.unattended)),
        ] {
            family.put([("class", class)], &ConstGauge::new(count))?;
        }
        Ok(())
    }
}

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}
