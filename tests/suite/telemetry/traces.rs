//! Traces, as a collector receives them.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use reqwest::Client;
use tokio::net::TcpListener;

use super::Running;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector on loopback that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let take = |State(collector): State<Self>, body: Bytes| async move {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let resources = request.resource_spans.into_iter();
            let scopes = resources.flat_map(|resource| resource.scope_spans);
            let mut spans = collector.0.lock().unwrap();
            spans.extend(scopes.flat_map(|scope| scope.spans));
        };
        let table = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, table).await });
        (collector, url)
    }

    fn named(&self, name: &str) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().filter(|s| s.name == name).cloned().collect()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|a| a.key == key)?;
    found.value.clone()?.value
}

fn text(value: &str) -> Option<Value> {
    Some(Value::StringValue(value.to_owned()))
}

async fn token(server: &Running, traceparent: Option<&str>) -> u16 {
    let resource = format!("{}/admin", server.issuer);
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", &resource),
        ("scope", "writ:read"),
    ];
    let request = Client::new()
        .post(format!("{}/token", server.issuer))
        .basic_auth("admin", Some(server.admin_secret()))
        .form(&form);
    let request = match traceparent {
        Some(value) => request.header("traceparent", value),
        None => request,
    };
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_request_is_a_span_of_its_callers_trace() {
    let (collector, url) = Collector::start().await;
    let mut server = Running::start(&[
        ("WRIT_TELEMETRY__OTLP_ENDPOINT", url.as_str()),
        ("WRIT_TELEMETRY__OTLP_SAMPLE", "0"),
    ])
    .await;
    let recorded = format!("00-{TRACE}-00f067aa0ba902b7-01");
    assert_eq!(token(&server, Some(&recorded)).await, 200);
    // Neither a caller that does not record, nor one without a trace when none is sampled.
    let unrecorded = format!("00-{TRACE}-00f067aa0ba902b7-00");
    assert_eq!(token(&server, Some(&unrecorded)).await, 200);
    assert_eq!(token(&server, None).await, 200);
    // Whatever was recorded is sent before the end.
    server.terminate();
    assert!(server.ended().await.success());

    let spans = collector.named("POST /token");
    let [span] = spans.as_slice() else {
        panic!("{spans:?}");
    };
    assert_eq!(hexadecimal(&span.trace_id), TRACE);
    assert_eq!(hexadecimal(&span.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(span.kind, i32::from(SpanKind::Server));
    assert!(span.start_time_unix_nano < span.end_time_unix_nano);
    let status = attribute(span, "http.response.status_code");
    assert_eq!(status, Some(Value::IntValue(200)));
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/token"),
        ("writ.tenant", "default"),
        ("writ.client_id", "admin"),
        ("writ.grant_type", "client_credentials"),
    ] {
        assert_eq!(attribute(span, key), text(value), "{key}");
    }
    let commits = collector.named("journal commit");
    let [commit] = commits.as_slice() else {
        panic!("{commits:?}");
    };
    assert_eq!(commit.parent_span_id, span.span_id);
    assert_eq!(commit.trace_id, span.trace_id);
    assert!(span.start_time_unix_nano <= commit.start_time_unix_nano);
    assert!(commit.end_time_unix_nano <= span.end_time_unix_nano);
}

#[tokio::test]
async fn a_share_of_the_traces_that_begin_here_is_recorded() {
    let (collector, url) = Collector::start().await;
    let mut server = Running::start(&[
        ("WRIT_TELEMETRY__OTLP_ENDPOINT", url.as_str()),
        ("WRIT_TELEMETRY__OTLP_SAMPLE", "5000"),
    ])
    .await;
    let client = Client::new();
    for _ in 0..400 {
        let url = format!("{}/jwks.json", server.issuer);
        client.get(url).send().await.unwrap();
    }
    server.terminate();
    assert!(server.ended().await.success());
    // Ten standard deviations around the half.
    let recorded = collector.named("GET /jwks.json").len();
    assert!((100..300).contains(&recorded), "{recorded}");
}

#[tokio::test]
async fn a_collector_that_is_gone_holds_nobody_up() {
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let variables = [
        ("WRIT_TELEMETRY__OTLP_ENDPOINT", url.as_str()),
        ("WRIT_TELEMETRY__FORMAT", "json"),
    ];
    let mut server = Running::start(&variables).await;
    let client = Client::new();
    let began = tokio::time::Instant::now();
    for _ in 0..2000 {
        let url = format!("{}/healthz", server.issuer);
        assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    }
    assert!(began.elapsed().as_secs() < 60);
    let began = tokio::time::Instant::now();
    server.terminate();
    assert!(server.ended().await.success());
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    let warned = server.lines().into_iter();
    let warned = warned.filter(|l| l["message"] == "the collector takes no traces");
    assert_eq!(warned.count(), 1);
}
