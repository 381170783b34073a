//! Streams of security events: receivers of one kind and the other, and what they hear.

mod access;
mod agreement;
mod feed;
mod manage;
mod metadata;
mod nodes;
mod poll;
mod push;
pub(crate) mod receivers;
mod status;
mod subjects;
mod told;
mod verification;

use serde_json::{Value, json};
use writ::signals::KINDS;

use self::receivers::{POLL, PUSH, id};
use crate::support::{Answer, Call, TestApp, parts};

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
