//! A protected server that receives events, its transmitter, and somebody who
//! calls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, State};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use writ_resource::events::Trouble;
use writ_resource::{
    AccessClaims, Events, Health, ManualClock, Protect, ProtectLayer, Revoked, WhenStale,
};

use super::transmitter::{Channel, POLL, PUSH, Transmitter, caep};
use crate::support::{ED, NOW, RSA, Reply, b64};

pub(crate) const PATH: &str = "/.writ/events";

/// How SETs get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Feed,
    Poll,
    Push,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Feed, Self::Poll, Self::Push];

    pub(crate) fn events(self) -> Events {
        let events = Events::with_credentials("rs", "secret").instance("rs");
        match self {
            Self::Feed => events.feed(),
            Self::Poll => events.poll(),
            Self::Push => events.push(PATH),
        }
    }

    pub(crate) const fn method(self) -> &'static str {
        match self {
            Self::Feed | Self::Poll => POLL,
            Self::Push => PUSH,
        }
    }
}

pub(crate) struct Stage {
    pub(crate) transmitter: Transmitter,
    pub(crate) clock: ManualClock,
    pub(crate) resource: String,
    pub(crate) origin: String,
    pub(crate) layer: ProtectLayer,
    pub(crate) http: reqwest::Client,
    /// The ends of the event streams that the server has open.
    pub(crate) open: Streams,
    serving: tokio::task::JoinHandle<()>,
}

pub(crate) type Streams = Arc<Mutex<Vec<mpsc::Sender<Bytes>>>>;

impl Stage {
    /// With a stream from before, so that all is known; what is not known is
    /// refused.
    pub(crate) async fn new() -> Self {
        Self::with(Way::Push, |events| events.when_stale(WhenStale::Refuse)).await
    }

    pub(crate) async fn with(way: Way, settings: impl FnOnce(Events) -> Events) -> Self {
        Self::before(way, |_| {}, settings).await.ready().await
    }

    /// `arrange` changes the transmitter before anybody asks it.
    pub(crate) async fn before(
        way: Way,
        arrange: impl FnOnce(&Transmitter),
        settings: impl FnOnce(Events) -> Events,
    ) -> Self {
        let clock = ManualClock::at(NOW);
        let transmitter = Transmitter::start(clock.clone()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let resource = format!("{origin}/mcp");
        transmitter.world().resource.clone_from(&resource);
        transmitter.has_stream(way.method());
        arrange(&transmitter);
        Self::on(listener, transmitter, settings(way.events()))
    }

    fn on(listener: TcpListener, transmitter: Transmitter, events: Events) -> Self {
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let resource = format!("{origin}/mcp");
        let clock = transmitter.clock.clone();
        let layer = Protect::resource(&resource)
            .issuer(&transmitter.url)
            .tools(["forecast", "alert"])
            .clock(clock.clone())
            .events(events)
            .build()
            .unwrap();
        let open = Streams::default();
        let router = Router::new()
            .route("/mcp", any(claims))
            .route("/open", get(stream))
            .route("/slow", post(slow))
            .with_state(Arc::clone(&open))
            .layer(layer.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            transmitter,
            clock,
            resource,
            origin,
            layer,
            http: reqwest::Client::builder()
                .no_proxy()
                .pool_max_idle_per_host(0)
                .build()
                .unwrap(),
            open,
            serving,
        }
    }

    /// The same server again, in a process that knows nothing.
    pub(crate) async fn restarted(self, events: Events) -> Self {
        let address = self.origin.strip_prefix("http://").unwrap().to_owned();
        self.serving.abort();
        let _ = self.serving.await;
        drop(self.layer);
        let mut tries = 0;
        let listener = loop {
            match TcpListener::bind(&address).await {
                Ok(listener) => break listener,
                Err(error) if tries > 100 => panic!("{error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            tries += 1;
        };
        Self::on(listener, self.transmitter, events)
    }

    pub(crate) fn health(&self) -> Health {
        self.layer.health().unwrap()
    }

    pub(crate) async fn ready(self) -> Self {
        self.is_troubled_by(None).await;
        self
    }

    pub(crate) async fn is_troubled_by(&self, trouble: Option<Trouble>) {
        self.until(|health| health.trouble == trouble).await;
    }

    pub(crate) async fn until(&self, holds: impl Fn(&Health) -> bool) {
        eventually(|| holds(&self.health()), || format!("{:?}", self.health())).await;
    }

    /// The claims of an honest token, with these instead.
    pub(crate) fn claims(&self, changes: &Value) -> Value {
        let now = self.clock.now();
        let mut claims = json!({
            "iss": self.transmitter.url, "sub": "alice", "aud": self.resource,
            "exp": now + 300, "iat": now, "jti": "t1", "client_id": "agent",
            "scope": "tool:forecast tool:alert", "grant_id": "g1",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    pub(crate) fn token(&self, changes: &Value) -> String {
        ED.token(&self.claims(changes))
    }

    pub(crate) async fn ping(&self, token: &str) -> Reply {
        self.post(
            token,
            &json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }),
        )
        .await
    }

    pub(crate) async fn call(&self, token: &str, tool: &str) -> Reply {
        let params = json!({ "name": tool, "arguments": {} });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        self.post(token, &call).await
    }

    async fn post(&self, token: &str, body: &Value) -> Reply {
        let request = self.http.post(&self.resource).bearer_auth(token).json(body);
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let response = request.send().await.unwrap();
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.text().await.unwrap(),
        }
    }

    pub(crate) async fn lives(&self, changes: &Value) {
        let reply = self.ping(&self.token(changes)).await;
        assert_eq!(reply.status, 200, "{changes}: {reply:?}");
    }

    pub(crate) async fn is_dead(&self, changes: &Value) {
        let reply = self.ping(&self.token(changes)).await;
        assert_eq!(reply.status, 401, "{changes}: {reply:?}");
        reply.is_invalid_token("revoked");
        assert!(reply.challenge().contains("resource_metadata="));
    }

    pub(crate) async fn is_unknown(&self, changes: &Value) {
        let reply = self.ping(&self.token(changes)).await;
        assert_eq!(reply.status, 503, "{changes}: {reply:?}");
    }

    /// Pushes an honest SET, which is taken.
    pub(crate) async fn hears(&self, sub_id: &Value, event_type: &str, payload: &Value) {
        let claims = self.transmitter.set(sub_id, event_type, payload);
        let compact = self.transmitter.sign(&RSA, &claims);
        let (status, body) = self.transmitter.push(&compact).await;
        assert_eq!((status, &body), (202, &Value::Null), "{claims}");
    }

    /// The same, of a session that was revoked at that time.
    pub(crate) async fn hears_revoked(&self, sub_id: &Value, at: i64) {
        self.hears(
            sub_id,
            &caep("session-revoked"),
            &json!({ "event_timestamp": at }),
        )
        .await;
    }

    pub(crate) fn user(&self, sub: &str) -> Value {
        json!({ "format": "iss_sub", "iss": self.transmitter.url, "sub": sub })
    }

    pub(crate) fn jwt(&self, jti: &str) -> Value {
        json!({ "format": "jwt_id", "iss": self.transmitter.url, "jti": jti })
    }

    /// As Writ writes that a grant is over.
    pub(crate) fn grant(&self, id: &str) -> Value {
        json!({
            "format": "complex", "user": self.user("alice"), "application": self.user("agent"),
            "session": { "format": "opaque", "id": id },
        })
    }

    /// Whatever it is, altogether.
    pub(crate) fn agent(&self, client_id: &str) -> Value {
        json!({ "format": "complex", "application": self.user(client_id) })
    }
}

/// Waits for what happens in the background.
pub(crate) async fn eventually(holds: impl Fn() -> bool, words: impl Fn() -> String) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{}", words());
}

async fn claims(Extension(claims): Extension<Arc<AccessClaims>>) -> axum::Json<Value> {
    axum::Json(json!({ "scope": claims.scope, "sub": claims.sub }))
}

/// An event stream that goes on until somebody ends it.
async fn stream(State(open): State<Streams>) -> Body {
    let (sender, receiver) = mpsc::channel(4);
    sender
        .send(Bytes::from_static(b": open\n\n"))
        .await
        .unwrap();
    open.lock().unwrap().push(sender);
    Body::new(Channel(receiver))
}

/// A call that takes longer than the token holds.
async fn slow(Extension(revoked): Extension<Revoked>) -> String {
    revoked.wait().await;
    "stopped".to_owned()
}

/// A compact JWS of these texts, whose signature is nothing.
pub(crate) fn unsigned(header: &str, payload: &str) -> String {
    format!("{}.{}.{}", b64(header), b64(payload), b64("signature"))
}
