//! Streams of security events: receivers of one kind and the other, and what they hear.

mod access;
mod agreement;
mod declared;
mod feed;
mod manage;
mod metadata;
mod nodes;
mod poll;
mod push;
mod status;
mod subjects;
mod told;
mod verification;

use serde_json::{Value, json};
use writ::{
    signals::KINDS,
    streams::{queue, set},
};

use crate::support::{Answer, Call, TestApp, parts, verify};

pub(crate) const PUSH: &str = "urn:ietf:rfc:8935";
pub(crate) const POLL: &str = "urn:ietf:rfc:8936";
pub(crate) const SESSION_REVOKED: &str =
    "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
pub(crate) const CREDENTIAL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/credential-change";
pub(crate) const VERIFICATION: &str =
    "https://schemas.openid.net/secevent/ssf/event-type/verification";
pub(crate) const STREAM_UPDATED: &str =
    "https://schemas.openid.net/secevent/ssf/event-type/stream-updated";

/// The receiver that is the weather server.
pub(crate) const SERVER: &str = "weather-server";
/// The receiver that is nobody's server.
pub(crate) const MONITOR: &str = "monitor";

/// The weather scene with two receivers.
pub(crate) struct Receivers {
    pub(crate) app: TestApp,
    server: String,
    monitor: String,
}

impl Receivers {
    pub(crate) async fn new() -> Self {
        Self::in_scene(TestApp::weather().await).await
    }

    pub(crate) async fn in_scene(app: TestApp) -> Self {
        app.client(SERVER, json!({ "serves": "weather" })).await;
        let access = json!([{ "resource": "writ-events", "scopes": ["ssf.manage"] }]);
        app.client(MONITOR, json!({ "access": access })).await;
        let token = async |client| app.ask(client, &[("scope", "ssf.manage")]).await.token();
        Self {
            server: token(SERVER).await,
            monitor: token(MONITOR).await,
            app,
        }
    }

    /// A call of the API by one of them.
    pub(crate) fn call(&self, client: &str, method: &str, path: &str) -> Call {
        let token = match client {
            SERVER => &self.server,
            MONITOR => &self.monitor,
            other => panic!("{other} has no token"),
        };
        self.app.call(method, &format!("/ssf{path}")).bearer(token)
    }

    /// A stream as it is created by this body.
    pub(crate) async fn created(&self, client: &str, body: Value) -> Value {
        let call = self.call(client, "POST", "/streams").json(&body);
        call.await.with(http::StatusCode::CREATED)
    }

    /// A polled stream of the server that hears of ends; its id.
    pub(crate) async fn stream(&self) -> String {
        let body = json!({ "events_requested": [SESSION_REVOKED, CREDENTIAL_CHANGE] });
        id(&self.created(SERVER, body).await)
    }

    /// A stream as it is read.
    pub(crate) async fn read(&self, client: &str, id: &str) -> Value {
        let path = format!("/streams?stream_id={id}");
        self.call(client, "GET", &path).await.ok()
    }

    /// Sets the status of a stream of the server.
    pub(crate) async fn set(&self, id: &str, status: &str) -> Answer {
        let body = json!({ "stream_id": id, "status": status });
        self.call(SERVER, "POST", "/status").json(&body).await
    }

    /// Ends everything of the agent, which the weather server is to hear of.
    pub(crate) async fn end_agent(&self) {
        let call = self.app.admin("POST", "/revocations").await;
        call.json(&json!({ "client": "agent" })).await.ok();
    }

    /// The claims of what waits for a stream, as it would be delivered now.
    pub(crate) async fn waiting(&self, id: &str) -> Vec<Value> {
        let (app, tenant) = (&self.app.state, self.app.tenant(None));
        let stream = tenant.stream(id).unwrap();
        let step = queue::progress(app, &stream).await.unwrap().unwrap();
        let (after, settled) = (step.position, step.settled);
        let waiting = queue::waiting(app, &tenant, &stream, after, &settled, 100).await;
        let keys = self.app.get("/jwks.json").await.ok();
        let claims = waiting.unwrap().signals.into_iter().map(|signal| {
            let (_, set) = set::mint(&tenant, &stream, &signal, self.app.now()).unwrap();
            verify(&set, &keys)
        });
        claims.collect()
    }

    /// The event types of what waits for a stream.
    pub(crate) async fn kinds(&self, id: &str) -> Vec<String> {
        let waiting = self.waiting(id).await;
        let kinds = waiting.iter().map(|claims| {
            let events = claims["events"].as_object().unwrap();
            assert_eq!(events.len(), 1, "{claims}");
            events.keys().next().unwrap().clone()
        });
        kinds.collect()
    }
}

/// The id in a stream object.
pub(crate) fn id(stream: &Value) -> String {
    stream["stream_id"].as_str().unwrap().to_owned()
}

/// CAEP's URIs.
pub(crate) fn caep(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/caep/event-type/{name}")
}

/// A receiver with a stream, and a new token for every call.
pub(crate) struct Receiver<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) client: String,
    pub(crate) stream: String,
}

/// That SETs are fetched.
pub(crate) fn polled() -> Value {
    json!({ "method": POLL })
}

/// That SETs are posted to a URL.
pub(crate) fn pushed(endpoint_url: &str) -> Value {
    json!({ "method": PUSH, "endpoint_url": endpoint_url })
}

impl<'a> Receiver<'a> {
    /// The server of one of the scene's resources, with a stream.
    pub(crate) async fn of(app: &'a TestApp, resource: &str, delivery: Value) -> Self {
        let client = format!("{resource}-receiver");
        app.client(&client, json!({ "serves": resource })).await;
        Self::with(app, client, delivery).await
    }

    /// A receiver that is nobody's server.
    pub(crate) async fn plain(app: &'a TestApp) -> Self {
        let access = json!([{ "resource": "writ-events", "scopes": ["ssf.manage"] }]);
        app.client("plain", json!({ "access": access })).await;
        Self::with(app, "plain".to_owned(), polled()).await
    }

    async fn with(app: &'a TestApp, client: String, delivery: Value) -> Self {
        let all: Vec<&str> = KINDS.iter().map(|kind| kind.uri).collect();
        let body = json!({ "delivery": delivery, "events_requested": all });
        let mut receiver = Self {
            app,
            client,
            stream: String::new(),
        };
        let call = app.post("/ssf/streams").bearer(&receiver.token().await);
        let stream = call.json(&body).await.with(http::StatusCode::CREATED);
        receiver.stream = id(&stream);
        receiver
    }

    pub(crate) async fn token(&self) -> String {
        let form = [("scope", "ssf.manage")];
        self.app.ask(&self.client, &form).await.token()
    }

    /// A poll with this body.
    pub(crate) async fn poll(&self, body: &Value) -> Answer {
        let token = self.token().await;
        self.call(&token, body).await
    }

    pub(crate) fn call(&self, token: &str, body: &Value) -> Call {
        let path = format!("/ssf/poll/{}", self.stream);
        self.app.post(&path).bearer(token).json(body)
    }

    /// Sets the status of its stream itself.
    pub(crate) async fn set(&self, status: &str) {
        let body = json!({ "stream_id": self.stream, "status": status });
        let call = self.app.post("/ssf/status").bearer(&self.token().await);
        call.json(&body).await.ok();
    }

    /// Has an administrator `pause`, `disable` or `enable` its stream.
    pub(crate) async fn is_told_to(&self, verb: &str) {
        let path = format!("/streams/{}/{verb}", self.stream);
        let call = self.app.admin("POST", &path).await;
        call.json(&json!({})).await.ok();
    }

    /// What waits, without waiting: names and claims, in order.
    pub(crate) async fn waiting(&self) -> Vec<(String, Value)> {
        let answer = self.poll(&json!({ "returnImmediately": true })).await.ok();
        sets(&answer)
    }

    /// Takes what waits over, and says what it was.
    pub(crate) async fn take(&self) -> Vec<Value> {
        let waiting = self.waiting().await;
        let names: Vec<&String> = waiting.iter().map(|(jti, _)| jti).collect();
        let body = json!({ "ack": names, "maxEvents": 0 });
        assert_eq!(self.poll(&body).await.ok(), json!({ "sets": {} }));
        waiting.into_iter().map(|(_, claims)| claims).collect()
    }
}

/// The SETs of a poll's answer: names and claims.
pub(crate) fn sets(answer: &Value) -> Vec<(String, Value)> {
    let sets = answer["sets"].as_object().unwrap();
    let claims = |set: &Value| parts(set.as_str().unwrap()).1;
    sets.iter()
        .map(|(jti, set)| (jti.clone(), claims(set)))
        .collect()
}

/// Subject, type and members of the one event.
pub(crate) fn event(claims: &Value) -> (&Value, &str, &Value) {
    let events = claims["events"].as_object().unwrap();
    assert_eq!(events.len(), 1, "{claims}");
    let (uri, members) = events.iter().next().unwrap();
    (&claims["sub_id"], uri, members)
}

impl TestApp {
    /// Revokes as an administrator.
    pub(crate) async fn end(&self, what: Value) -> Value {
        let call = self.admin("POST", "/revocations").await;
        call.json(&what).await.ok()
    }
}
