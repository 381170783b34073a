//! Receivers of one kind and the other, which manage their streams themselves.

use serde_json::{Value, json};
use writ::streams::{queue, set};

use crate::support::{Answer, Call, TestApp, verify};

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
