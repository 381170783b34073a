//! The real MCP server: behind the layer, on a socket.

use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use writ_resource::jws::Unverified;
use writ_resource::{AccessClaims, Events, Health, Protect, ProtectLayer};

use super::api::{RECEIVER, SECRET, TOOL};
use super::{Failure, Way};

/// How long the layer may take until its stream is proved.
const PATIENCE: Duration = Duration::from_secs(15);

/// A server that takes calls.
pub(super) struct Server {
    pub(super) resource: String,
    layer: ProtectLayer,
}

pub(super) async fn listener() -> Result<TcpListener, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0").await?)
}

/// The URL that it is known by.
pub(super) fn resource(listener: &TcpListener) -> Result<String, Failure> {
    Ok(format!("http://{}/mcp", listener.local_addr()?))
}

/// Serves until the process ends; returns when the layer's stream has proved itself.
pub(super) async fn serve(
    listener: TcpListener,
    issuer: &str,
    resource: &str,
    way: Way,
) -> Result<Server, Failure> {
    let events = Events::with_credentials(RECEIVER, SECRET);
    let events = match way {
        Way::Push => events.push("/.writ/events"),
        Way::Feed => events.feed(),
        Way::Poll => events.poll(),
    };
    let layer = Protect::resource(resource)
        .issuer(issuer)
        .tools([TOOL])
        .events(events)
        .build()?;
    let app = Router::new()
        .route("/mcp", post(answer))
        .layer(layer.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let server = Server {
        resource: resource.to_owned(),
        layer,
    };
    let began = Instant::now();
    while let Err(why) = server.knows() {
        if began.elapsed() > PATIENCE {
            return Err(why);
        }
        sleep(Duration::from_millis(20)).await;
    }
    // Tokens of the second in which it started count as older than it.
    sleep(Duration::from_secs(1)).await;
    Ok(server)
}

async fn answer(Json(call): Json<Value>) -> Json<Value> {
    let content = json!([{ "type": "text", "text": "Sunny." }]);
    Json(json!({ "jsonrpc": "2.0", "id": call["id"], "result": { "content": content } }))
}

impl Server {
    /// That a refusal of this token comes from an event: in any other state
    /// the layer asks the authorization server, and would refuse without one.
    pub(super) fn knows_of(&self, token: &str) -> Result<(), Failure> {
        let health = self.knows()?;
        let claims: AccessClaims = Unverified::parse(token)?.unverified_claims()?;
        match health.unknown_before {
            Some(start) if claims.iat < start => Err("the token is older than the layer".into()),
            _ => Ok(()),
        }
    }

    fn knows(&self) -> Result<Health, Failure> {
        let health = self.layer.health().ok_or("the layer receives no events")?;
        match health.trouble {
            None => Ok(health),
            Some(_) => Err(format!("the layer does not rely on its events: {health:?}").into()),
        }
    }
}
