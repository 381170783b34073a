//! The authorization server, as its administrator and its receivers use it.

use std::path::Path;

use reqwest::{RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use writ_resource::jws::KeySet;

use super::Failure;

/// The secret of all clients of a case.
pub(super) const SECRET: &str = "a-secret-that-only-a-benchmark-knows";
/// The client of the real server.
pub(super) const RECEIVER: &str = "called";
/// The agent that calls it.
pub(super) const AGENT: &str = "caller";
/// What it may call there.
pub(super) const TOOL: &str = "forecast";
/// What is declared in one request.
const TOGETHER: usize = 250;
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

/// What is declared for a case.
pub(super) struct Scene<'a> {
    /// The real server's.
    pub(super) resource: &'a str,
    /// Resources with a client each.
    pub(super) others: usize,
    /// Agents to disable.
    pub(super) agents: usize,
    pub(super) algorithm: Option<&'a str>,
}

/// The administrator, on a connection that stays open.
pub(super) struct Administrator {
    pub(super) http: reqwest::Client,
    pub(super) issuer: String,
    authorization: String,
}

/// A moment before a request, and the one when its answer was there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) at: Instant,
    pub(super) answered: Instant,
}

/// A stream that was made.
#[derive(Debug, Deserialize)]
pub(super) struct Stream {
    pub(super) stream_id: String,
    pub(super) delivery: Delivery,
}

#[derive(Debug, Deserialize)]
pub(super) struct Delivery {
    pub(super) endpoint_url: String,
}

#[derive(Deserialize)]
struct Credentials {
    client_id: String,
    client_secret: String,
    resource: String,
}

impl Administrator {
    pub(super) async fn connect(issuer: &str, credentials: &Path) -> Result<Self, Failure> {
        let known: Credentials = serde_json::from_slice(&std::fs::read(credentials)?)?;
        let mut this = Self {
            http: reqwest::Client::builder().no_proxy().build()?,
            issuer: issuer.to_owned(),
            authorization: String::new(),
        };
        let form = [
            ("resource", known.resource.as_str()),
            (
                "scope",
                "writ:read writ:resources writ:clients writ:revocations",
            ),
        ];
        let token = this
            .ask(&known.client_id, &known.client_secret, &form)
            .await?;
        this.authorization = format!("Bearer {token}");
        Ok(this)
    }

    /// Declares the resources, their clients and the agents.
    pub(super) async fn declare(&self, scene: &Scene<'_>) -> Result<(), Failure> {
        let resource = |id: &str, uri: &str| {
            json!({ "id": id, "resource": uri, "name": id, "access_token_lifetime": 3600,
                "signing_algorithm": "EdDSA", "tools": [{ "name": TOOL, "description": "Bench" }] })
        };
        let client = |id: &str, serves: &str| {
            let mut client = json!({ "client_id": id, "name": id, "client_secret": SECRET,
                "serves": serves });
            if let Some(algorithm) = scene.algorithm {
                client["receiver"] = json!({ "signing_algorithm": algorithm });
            }
            client
        };
        let agent = |id: &str| {
            let access = json!([{ "resource": RECEIVER, "scopes": [format!("tool:{TOOL}")] }]);
            json!({ "client_id": id, "name": id, "client_secret": SECRET, "access": access })
        };
        let mut clients = vec![client(RECEIVER, RECEIVER), agent(AGENT)];
        clients.extend((0..scene.agents).map(|n| agent(&kill_switch(n))));
        let resources = vec![resource(RECEIVER, scene.resource)];
        self.apply(&json!({ "resources": resources, "clients": clients }))
            .await?;
        let others: Vec<String> = (0..scene.others).map(other).collect();
        for some in others.chunks(TOGETHER) {
            let uri = |id: &String| format!("https://{id}.example/mcp");
            let resources: Vec<_> = some.iter().map(|id| resource(id, &uri(id))).collect();
            let clients: Vec<_> = some.iter().map(|id| client(id, id)).collect();
            self.apply(&json!({ "resources": resources, "clients": clients }))
                .await?;
        }
        Ok(())
    }

    async fn apply(&self, declaration: &Value) -> Result<(), Failure> {
        self.post("/admin/apply", declaration).await.map(drop)
    }

    /// A token with which an agent may call the real server.
    pub(super) async fn token(&self, agent: &str, resource: &str) -> Result<String, Failure> {
        let scope = format!("tool:{TOOL}");
        self.ask(agent, SECRET, &[("resource", resource), ("scope", &scope)])
            .await
    }

    /// A token for the streams of a receiver.
    pub(super) async fn receivers_token(&self, client_id: &str) -> Result<String, Failure> {
        self.ask(client_id, SECRET, &[("scope", "ssf.manage")])
            .await
    }

    /// Makes a stream, as the receiver with this token.
    pub(super) async fn stream(&self, token: &str, delivery: &Value) -> Result<Stream, Failure> {
        let request = self.http.post(format!("{}/ssf/streams", self.issuer));
        let wanted = json!({ "events_requested": [SESSION_REVOKED], "delivery": delivery });
        let answer = good(request.bearer_auth(token).json(&wanted)).await?;
        Ok(answer.json().await?)
    }

    /// Ends a token.
    pub(super) async fn revoke(&self, token: &str) -> Result<Asked, Failure> {
        self.post("/admin/revocations", &json!({ "token": token }))
            .await
    }

    /// Ends an agent everywhere.
    pub(super) async fn disable(&self, agent: &str) -> Result<Asked, Failure> {
        self.post(&format!("/admin/clients/{agent}/disable"), &json!({}))
            .await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Asked, Failure> {
        let request = self.http.post(format!("{}{path}", self.issuer));
        let request = request
            .header("authorization", &self.authorization)
            .json(body);
        let at = Instant::now();
        let answer = good(request).await?;
        let answered = Instant::now();
        // To its end, so that the connection serves again.
        answer.bytes().await?;
        Ok(Asked { at, answered })
    }

    /// Client credentials (RFC 6749 §4.4).
    async fn ask(
        &self,
        client_id: &str,
        secret: &str,
        form: &[(&str, &str)],
    ) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let mut all = vec![("grant_type", "client_credentials")];
        all.extend(form);
        let request = self.http.post(format!("{}/token", self.issuer));
        let request = request.basic_auth(client_id, Some(secret)).form(&all);
        let answer: Answer = good(request).await?.json().await?;
        Ok(answer.access_token)
    }

    /// What signatures are checked with.
    pub(super) async fn keys(&self) -> Result<KeySet, Failure> {
        let answer = good(self.http.get(format!("{}/jwks.json", self.issuer))).await?;
        Ok(KeySet::from_jwks(&answer.bytes().await?)?)
    }
}

/// The name of an agent that is disabled.
pub(super) fn kill_switch(number: usize) -> String {
    format!("agent-{number}")
}

/// The name of a resource, and of the client that serves it.
pub(super) fn other(number: usize) -> String {
    format!("receiver-{number}")
}

/// An answer that is as it should be.
async fn good(request: RequestBuilder) -> Result<Response, Failure> {
    let answer = request.send().await?;
    if matches!(answer.status(), StatusCode::OK | StatusCode::CREATED) {
        return Ok(answer);
    }
    let (url, status) = (answer.url().clone(), answer.status());
    Err(format!("{url} answered {status}: {}", answer.text().await?).into())
}
