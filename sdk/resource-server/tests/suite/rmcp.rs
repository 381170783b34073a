//! A real MCP server of the official SDK behind the layer.

use std::sync::Arc;

use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{tool, tool_router};
use serde_json::{Value, json};
use writ_resource::AccessClaims;

use crate::support::{ED, Issuer, Reply, Scene, jwks, signers};

struct Weather;

#[tool_router(server_handler)]
impl Weather {
    #[tool(description = "Tells who asks, and through whom")]
    async fn forecast(&self, Extension(parts): Extension<Parts>) -> String {
        let claims = parts.extensions.get::<Arc<AccessClaims>>().unwrap();
        let actors: Vec<_> = claims.actors().map(|actor| actor.sub.as_str()).collect();
        format!("{} through {}", claims.sub, actors.join(", "))
    }

    #[tool(description = "Warns everybody")]
    async fn alert(&self) -> String {
        "warned".into()
    }
}

async fn weather() -> Scene {
    let mcp = StreamableHttpService::new(
        || Ok(Weather),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let router = axum::Router::new().nest_service("/mcp", mcp);
    let issuer = Issuer::start(jwks(&signers())).await;
    Scene::in_front_of(issuer, router, |protect| protect).await
}

fn request(
    scene: &Scene,
    token: &str,
    session: Option<&str>,
    body: &Value,
) -> reqwest::RequestBuilder {
    let request = scene
        .http
        .post(&scene.resource)
        .bearer_auth(token)
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(body.to_string());
    match session {
        Some(session) => request.header("mcp-session-id", session),
        None => request,
    }
}

/// The message in a reply of server-sent events.
fn message(reply: &Reply) -> Value {
    reply
        .body
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .find_map(|data| serde_json::from_str(data.trim()).ok())
        .unwrap_or_else(|| panic!("{reply:?}"))
}

#[tokio::test]
async fn a_session_from_beginning_to_end() {
    let scene = weather().await;
    let mut claims = scene.claims("tool:forecast");
    claims["sub"] = "alice".into();
    claims["act"] = json!({"sub": "sub-agent", "act": {"sub": "agent"}});
    let token = ED.token(&claims);

    let initialize = json!({
        "jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    });
    let begun = scene.send(request(&scene, &token, None, &initialize)).await;
    begun.is_ok();
    let session = begun.headers["mcp-session-id"].to_str().unwrap();
    let send = |token: &str, body: &Value| {
        let request = request(&scene, token, Some(session), body);
        scene.send(request)
    };

    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(send(&token, &ready).await.status, 202);

    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let tools = message(&send(&token, &list).await);
    let names: Vec<_> = tools["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["alert", "forecast"]);

    let call =
        |tool| json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": tool}});
    let forecast = message(&send(&token, &call("forecast")).await);
    assert_eq!(
        forecast["result"]["content"][0]["text"],
        "alice through sub-agent, agent"
    );
    let alert = send(&token, &call("alert")).await;
    assert_eq!(alert.status, 403);
    assert!(alert.challenge().contains("scope=\"tool:alert\""));
    let both = scene.token("tool:alert");
    assert_eq!(
        message(&send(&both, &call("alert")).await)["result"]["content"][0]["text"],
        "warned"
    );

    // Knowing a session is not enough for its stream, nor for ending it.
    for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
        let bare = scene
            .http
            .request(method, &scene.resource)
            .header("accept", "text/event-stream")
            .header("mcp-session-id", session);
        assert_eq!(scene.send(bare).await.status, 401);
    }
    let end = scene
        .http
        .delete(&scene.resource)
        .bearer_auth(&token)
        .header("mcp-session-id", session);
    assert!((200..300).contains(&scene.send(end).await.status));
    assert!(send(&token, &list).await.status >= 400);
}
