//! Numbers for Prometheus, in the OpenMetrics text format.
//!
//! Labels come from small sets that are ours: routes of the URL table, registered methods, codes
//! and grant types. Nothing a caller sends becomes a label.

use std::{fmt::Write as _, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use super::{Answered, process::Process};
use crate::{
    context::{Request, Route},
    oauth::error_code::ErrorCode,
    registry::Sizes,
};

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds of a request: a token takes less than a millisecond where the disk is fast.
const REQUEST: [f64; 13] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// Seconds of a commit.
const COMMIT: [f64; 11] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];
/// Commands in a commit.
const COMMANDS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    method: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    grant_type: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(self.as_str())
    }
}

/// Every number of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
    tokens: Family<TokenLabels, Counter>,
    authentication_failures: Counter,
    /// Connections that are open.
    pub connections: Open,
    /// Feeds of security events that are open.
    pub feeds: Open,
    /// Security events on their way to receivers.
    pub deliveries: Deliveries,
    journal: Journal,
    queue: Gauge,
    entries: Family<Kind, Gauge>,
    outbox_lag: Gauge<f64, AtomicU64>,
    early: Gauge,
}

/// What the journal's writer counts.
#[derive(Clone, Debug)]
pub struct Journal {
    commands: Histogram,
    durations: Histogram,
    failures: Family<Reason, Counter>,
    audit_events: Counter,
    revocations: Family<Kind, Counter>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            commands: Histogram::new(COMMANDS),
            durations: Histogram::new(COMMIT),
            failures: Family::default(),
            audit_events: Counter::default(),
            revocations: Family::default(),
        }
    }
}

impl Journal {
    /// Counts a transaction of so many commands, which remembered so many events.
    pub(crate) fn committed(&self, commands: usize, events: usize, took: Duration) {
        self.commands.observe(commands as f64);
        self.durations.observe(took.as_secs_f64());
        self.audit_events.inc_by(events as u64);
    }

    /// Counts a command that was not committed.
    pub(crate) fn not_committed(&self, reason: &'static str) {
        self.failures.get_or_create(&Reason { reason }).inc();
    }

    /// Counts tokens or grants that were revoked.
    pub(crate) fn revoked(&self, kind: &'static str, count: usize) {
        let counter = self.revocations.get_or_create(&Kind { kind });
        counter.inc_by(count as u64);
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: &'static str,
}

/// What becomes of security events, by method: `push`, `poll` or `feed`.
#[derive(Debug)]
pub struct Deliveries {
    outcomes: Family<DeliveryLabels, Counter>,
    lag: Family<Method, Histogram, fn() -> Histogram>,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            outcomes: Family::default(),
            lag: Family::new_with_constructor(|| Histogram::new(REQUEST)),
        }
    }
}

impl Deliveries {
    /// Counts an event that a receiver was told, so many milliseconds after it arose.
    pub(crate) fn told(&self, method: &'static str, millis: i64) {
        self.count(method, "told");
        let lag = self.lag.get_or_create(&Method { method });
        lag.observe(millis.max(0) as f64 / 1000.0);
    }

    /// Counts an attempt that failed.
    pub(crate) fn failed(&self, method: &'static str) {
        self.count(method, "failed");
    }

    /// Counts an event that was given up.
    pub(crate) fn refused(&self, method: &'static str) {
        self.count(method, "refused");
    }

    fn count(&self, method: &'static str, outcome: &'static str) {
        let labels = DeliveryLabels { method, outcome };
        self.outcomes.get_or_create(&labels).inc();
    }
}

/// What is only looked at when somebody asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Commands that wait for the journal's writer.
    pub queue: usize,
    /// What the registry holds.
    pub sizes: Sizes,
    /// Since when changes of other nodes may be unknown here.
    pub lag: Duration,
    /// Security events that wait for one before them.
    pub early: usize,
}

impl Metrics {
    /// Everything at zero but what the journal has counted.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(REQUEST)),
            tokens: Family::default(),
            authentication_failures: Counter::default(),
            connections: Open::default(),
            feeds: Open::default(),
            deliveries: Deliveries::default(),
            journal,
            queue: Gauge::default(),
            entries: Family::default(),
            outbox_lag: Gauge::default(),
            early: Gauge::default(),
        };
        metrics.describe();
        metrics
    }

    /// Gives every number its name and its sentence.
    fn describe(&mut self) {
        self.registry.register_collector(Box::new(Process));
        let to = self.registry.sub_registry_with_prefix("writ");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "The build that runs", build);
        to.register(
            "http_requests",
            "Requests answered, by route, method and class of status",
            self.requests.clone(),
        );
        to.register_with_unit(
            "http_request_duration",
            "Time from a request's headers to its answer's, by route",
            Unit::Seconds,
            self.durations.clone(),
        );
        to.register(
            "token_requests",
            "Answers of the token endpoint, by grant type; the outcome is issued or an error code",
            self.tokens.clone(),
        );
        to.register(
            "client_authentication_failures",
            "Requests refused with invalid_client",
            self.authentication_failures.clone(),
        );
        to.register(
            "connections_open",
            "Connections that are open",
            self.connections.gauge.clone(),
        );
        to.register(
            "event_feeds_open",
            "Feeds of security events that are open",
            self.feeds.gauge.clone(),
        );
        to.register(
            "event_deliveries",
            "Security events handed to receivers, by method; the outcome is told, failed (and \
             tried again) or refused (and given up)",
            self.deliveries.outcomes.clone(),
        );
        to.register_with_unit(
            "event_delivery_lag",
            "Time from what happened until a receiver was told, by method",
            Unit::Seconds,
            self.deliveries.lag.clone(),
        );
        to.register(
            "journal_queue",
            "Commands that wait for the writer",
            self.queue.clone(),
        );
        to.register(
            "journal_commit_commands",
            "Commands in one commit",
            self.journal.commands.clone(),
        );
        to.register_with_unit(
            "journal_commit_duration",
            "Time of one commit",
            Unit::Seconds,
            self.journal.durations.clone(),
        );
        to.register(
            "journal_failures",
            "Commands that were not committed, by reason",
            self.journal.failures.clone(),
        );
        to.register(
            "revocations",
            "Tokens and grants revoked, by kind",
            self.journal.revocations.clone(),
        );
        to.register(
            "audit_events",
            "Audit events committed",
            self.journal.audit_events.clone(),
        );
        to.register(
            "registry_entries",
            "What is held in memory, by kind, in all tenants",
            self.entries.clone(),
        );
        to.register_with_unit(
            "outbox_lag",
            "Time since this node last knew every change of the others; 0 for a node alone",
            Unit::Seconds,
            self.outbox_lag.clone(),
        );
        to.register(
            "events_early",
            "Security events that wait for one before them, which another node has committed; 0 \
             but for moments, and no receiver is told of what comes while it is not",
            self.early.clone(),
        );
    }

    /// Counts a request that has been answered.
    pub(crate) fn answered(&self, request: &Request, answered: &Answered) {
        let route = request.route();
        if route.as_str() == "/token" {
            let outcome = answered.error.map_or("issued", ErrorCode::as_str);
            let labels = TokenLabels {
                grant_type: request.grant_type().unwrap_or("none"),
                outcome,
            };
            self.tokens.get_or_create(&labels).inc();
        }
        if answered.error == Some(ErrorCode::InvalidClient) {
            self.authentication_failures.inc();
        }
        let seconds = answered.took.as_secs_f64();
        let label = RouteLabel {
            route: route.clone(),
        };
        self.durations.get_or_create(&label).observe(seconds);
        let labels = RequestLabels {
            route,
            method: answered.method,
            status: class(answered.status),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Everything as text.
    #[must_use]
    pub fn text(&self, now: &Now) -> String {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.queue.set(number(now.queue));
        self.outbox_lag.set(now.lag.as_secs_f64());
        self.early.set(number(now.early));
        for (kind, count) in [
            ("tenants", now.sizes.tenants),
            ("clients", now.sizes.clients),
            ("resources", now.sizes.resources),
            ("grants", now.sizes.grants),
        ] {
            self.entries
                .get_or_create(&Kind { kind })
                .set(number(count));
        }
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Counts what is open while its guard lives.
#[derive(Clone, Debug, Default)]
pub struct Open {
    gauge: Gauge,
}

impl Open {
    /// One more, until the guard is dropped.
    #[must_use]
    pub fn one(&self) -> OpenGuard {
        self.gauge.inc();
        OpenGuard(self.gauge.clone())
    }
}

/// One that is open.
#[derive(Debug)]
pub struct OpenGuard(Gauge);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn class(status: http::StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
