//! Traces for an OpenTelemetry collector: OTLP over HTTP, protobuf.
//!
//! A request that is recorded makes one span, and its first commit another below it. Spans go
//! through a bounded queue to a task that sends them: where the collector is slow or gone, spans
//! are dropped and requests are not held up.

use std::time::{Duration, SystemTime};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode as Code,
    },
};
use prost::Message as _;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::Answered;
use crate::{
    config::Telemetry,
    context::{Request, Trace},
    entropy::Entropy,
    oauth::error_code::ErrorCode,
};

/// Spans that may wait; each is about half a kilobyte.
const QUEUE: usize = 8192;
/// Spans in one message.
const BATCH: usize = 512;
/// How long a message gathers.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether a collector can be there.
///
/// # Errors
/// What is wrong with its URL.
pub fn check(endpoint: &str) -> Result<(), &'static str> {
    if endpoint.is_empty() {
        return Ok(());
    }
    match url::Url::parse(endpoint) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => Err("is not an http or https URL"),
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            Err("has a query or a fragment")
        }
        Ok(_) => Ok(()),
        Err(_) => Err("is not a URL"),
    }
}

/// Takes spans and passes them on.
#[derive(Debug)]
pub struct Traces {
    sender: mpsc::Sender<Span>,
    /// Of 10 000.
    sample: u32,
    entropy: Entropy,
}

impl Traces {
    /// Starts sending, when a collector is configured. The task ends when this is dropped and
    /// what waited has been sent or given up.
    #[must_use]
    pub fn start(config: &Telemetry, entropy: &Entropy) -> Option<(Self, JoinHandle<()>)> {
        if config.otlp_endpoint.is_empty() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(QUEUE);
        let url = format!("{}/v1/traces", config.otlp_endpoint.trim_end_matches('/'));
        let task = tokio::spawn(send_all(url, receiver));
        let traces = Self {
            sender,
            sample: config.otlp_sample,
            entropy: entropy.clone(),
        };
        Some((traces, task))
    }

    /// Whether a trace is recorded: the caller decides for its own (W3C Trace Context §3.2.2.5),
    /// chance for those that begin here. Every server decides the same by the same id.
    #[must_use]
    pub fn records(&self, trace: &Trace) -> bool {
        if trace.parent().is_some() {
            return trace.is_sampled();
        }
        let tail = trace.id().get(24..).unwrap_or_default();
        let chance = u64::from(u32::from_str_radix(tail, 16).unwrap_or(u32::MAX));
        chance * 10_000 < u64::from(self.sample) << 32
    }

    /// Records a request that has been answered.
    pub fn record(&self, request: &Request, answered: &Answered) {
        let clock = Clock::now();
        let trace_id = bytes(request.trace().id());
        let own = self.entropy.bytes::<8>().to_vec();
        if let Some((began, ended)) = request.commit() {
            self.put(Span {
                trace_id: trace_id.clone(),
                span_id: self.entropy.bytes::<8>().to_vec(),
                parent_span_id: own.clone(),
                name: "journal commit".into(),
                kind: SpanKind::Internal.into(),
                start_time_unix_nano: clock.at(began),
                end_time_unix_nano: clock.at(ended),
                ..Span::default()
            });
        }
        let route = request.route();
        let failed = answered.status.is_server_error();
        self.put(Span {
            trace_id,
            span_id: own,
            parent_span_id: request.trace().parent().map(bytes).unwrap_or_default(),
            name: format!("{} {}", answered.method, route.as_str()),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: clock.at(request.began()),
            end_time_unix_nano: clock.at(request.began() + answered.took),
            attributes: attributes(request, answered, route.as_str()),
            // OpenTelemetry's conventions for HTTP: a refusal is no failure of the server.
            status: failed.then(|| Status {
                message: String::new(),
                code: Code::Error.into(),
            }),
            ..Span::default()
        });
    }

    fn put(&self, span: Span) {
        // Full: the collector is slow or gone.
        let _ = self.sender.try_send(span);
    }
}

/// Named as in OpenTelemetry's semantic conventions where they have a name.
fn attributes(request: &Request, answered: &Answered, route: &str) -> Vec<KeyValue> {
    let text = |key: &str, value: &str| attribute(key, Value::StringValue(value.to_owned()));
    let status = i64::from(answered.status.as_u16());
    let mut attributes = vec![
        text("http.request.method", answered.method),
        text("http.route", route),
        attribute("http.response.status_code", Value::IntValue(status)),
        text("writ.request_id", request.id().as_str()),
    ];
    let more = [
        ("error.type", answered.error.map(ErrorCode::as_str)),
        ("writ.tenant", request.tenant()),
        ("writ.client_id", request.client_id()),
        ("writ.grant_type", request.grant_type()),
    ];
    let more = more.into_iter();
    attributes.extend(more.filter_map(|(key, value)| Some(text(key, value?))));
    attributes
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let pairs = pairs.filter_map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect()
}

/// One moment on both clocks: durations are measured on the one, spans are dated on the other.
struct Clock {
    instant: Instant,
    unix: Duration,
}

impl Clock {
    fn now() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a span is dated by the machine's clock, to the nanosecond"
        )]
        let now = SystemTime::now();
        Self {
            instant: Instant::now(),
            unix: now
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }

    /// Unix nanoseconds of a moment in the past.
    fn at(&self, instant: Instant) -> u64 {
        let ago = self.instant.saturating_duration_since(instant);
        let nanos = self.unix.saturating_sub(ago).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

async fn send_all(url: String, mut receiver: mpsc::Receiver<Span>) {
    let client = match reqwest::Client::builder().timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "traces cannot be sent"),
    };
    let (mut spans, mut failing) = (Vec::with_capacity(BATCH), false);
    loop {
        let open = gather(&mut receiver, &mut spans).await;
        if !spans.is_empty() {
            let sent = send(&client, &url, std::mem::take(&mut spans)).await;
            // Said once, not with every message.
            match &sent {
                Err(why) if !failing => tracing::warn!(why, "the collector takes no traces"),
                Ok(()) if failing => tracing::info!("the collector takes traces again"),
                _ => {}
            }
            failing = sent.is_err();
        }
        // A server that stops does not wait for a collector that is gone.
        if !open && (failing || receiver.is_empty()) {
            return;
        }
    }
}

/// Waits for spans and gathers what comes with them; whether more can come.
async fn gather(receiver: &mut mpsc::Receiver<Span>, spans: &mut Vec<Span>) -> bool {
    if receiver.recv_many(spans, BATCH).await == 0 {
        return false;
    }
    let until = Instant::now() + GATHER;
    while spans.len() < BATCH {
        let room = BATCH - spans.len();
        match tokio::time::timeout_at(until, receiver.recv_many(spans, room)).await {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    true
}

async fn send(client: &reqwest::Client, url: &str, spans: Vec<Span>) -> Result<(), String> {
    let text = |key: &str, value: &str| attribute(key, Value::StringValue(value.to_owned()));
    let version = env!("CARGO_PKG_VERSION");
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![
                    text("service.name", "writ"),
                    text("service.version", version),
                ],
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "writ".into(),
                    version: version.into(),
                    ..InstrumentationScope::default()
                }),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }],
    };
    let sent = client
        .post(url)
        .header(http::header::CONTENT_TYPE, "application/x-protobuf")
        .body(request.encode_to_vec())
        .send()
        .await
        .and_then(reqwest::Response::error_for_status);
    // The URL may hold credentials.
    sent.map(drop).map_err(|why| why.without_url().to_string())
}
