//! Streams of security events, as their receivers see them.

mod feed;
mod poll;
mod push;
mod told;

use serde_json::{Value, json};
use writ::{
    keys::SigningAlgorithm,
    registry::{Delivery, StreamDocument, SubjectStyle},
    signals::KINDS,
    store::Change,
};

use crate::support::{Answer, CALENDAR, Call, NOW, TestApp, WEATHER, parts};

/// CAEP's URIs.
pub(crate) fn caep(name: &str) -> String {
    format!("https://schemas.openid.net/secevent/caep/event-type/{name}")
}

/// A receiver with a stream.
pub(crate) struct Receiver<'a> {
    pub(crate) app: &'a TestApp,
    pub(crate) client: String,
    pub(crate) stream: String,
}

/// How a stream is delivered.
pub(crate) fn pushed(endpoint_url: &str) -> Delivery {
    Delivery::Push {
        endpoint_url: endpoint_url.to_owned(),
    }
}

impl<'a> Receiver<'a> {
    /// The server of one of the scene's resources, with a stream.
    pub(crate) async fn of(app: &'a TestApp, resource: &str, delivery: Delivery) -> Self {
        let client = format!("{resource}-receiver");
        app.client(&client, json!({ "serves": resource })).await;
        let uri = if resource == "weather" {
            WEATHER
        } else {
            CALENDAR
        };
        Self::with(app, &client, &[uri], SubjectStyle::Oauth, delivery).await
    }

    /// A receiver that is nobody's server.
    pub(crate) async fn plain(app: &'a TestApp) -> Self {
        let access = json!([{ "resource": "writ-events", "scopes": ["ssf.manage"] }]);
        app.client("plain", json!({ "access": access })).await;
        Self::with(app, "plain", &[], SubjectStyle::Plain, Delivery::Poll).await
    }

    async fn with(
        app: &'a TestApp,
        client: &str,
        resources: &[&str],
        subjects: SubjectStyle,
        delivery: Delivery,
    ) -> Self {
        let id = app.state.entropy.id();
        let aud = if resources.is_empty() {
            &[client][..]
        } else {
            resources
        };
        let document = StreamDocument {
            aud: aud.iter().map(|uri| (*uri).to_owned()).collect(),
            resources: resources.iter().map(|uri| (*uri).to_owned()).collect(),
            subjects,
            algorithm: SigningAlgorithm::RS256,
            delivery,
            events_requested: Some(KINDS.iter().map(|kind| kind.uri.to_owned()).collect()),
            description: None,
            excluded: Vec::new(),
        };
        let row = entity::stream::Model {
            tenant: "default".into(),
            id: id.clone(),
            client_id: client.to_owned(),
            document: serde_json::to_string(&document).unwrap(),
            authorization: None,
            status: "enabled".into(),
            reason: None,
            created_at: NOW,
            updated_at: NOW * 1000,
        };
        app.commit(vec![Change::PutStream { row, before: None }])
            .await
            .unwrap();
        Self {
            app,
            client: client.to_owned(),
            stream: id,
        }
    }

    pub(crate) async fn token(&self) -> String {
        self.app
            .ask(&self.client, &[("scope", "ssf.manage")])
            .await
            .token()
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

/// Subject and members of the one event.
pub(crate) fn event(claims: &Value) -> (&Value, &str, &Value) {
    let events = claims["events"].as_object().unwrap();
    assert_eq!(events.len(), 1, "{claims}");
    let (uri, members) = events.iter().next().unwrap();
    (&claims["sub_id"], uri, members)
}

impl TestApp {
    /// Revokes as an administrator.
    pub(crate) async fn end(&self, what: Value) -> Value {
        self.admin("POST", "/revocations")
            .await
            .json(&what)
            .await
            .ok()
    }
}
