//! An MCP server in Rust behind Writ: two tools, one scope each.

use std::sync::Arc;

use axum::Router;
use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{tool, tool_router};
use writ_resource::{AccessClaims, Protect};

struct Weather;

#[tool_router(server_handler)]
impl Weather {
    #[tool(description = "Tomorrow's weather")]
    async fn forecast(&self, Extension(parts): Extension<Parts>) -> String {
        let claims = parts.extensions.get::<Arc<AccessClaims>>();
        let caller = claims.map_or("nobody", |claims| claims.caller());
        format!("Sunny, {caller}.")
    }

    #[tool(description = "Warns everybody")]
    async fn alert(&self) -> String {
        "Everybody is warned.".into()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protect = Protect::resource("http://127.0.0.1:8000/mcp")
        .issuer("http://127.0.0.1:4455")
        .tools(["forecast", "alert"])
        .build()?;
    let mcp = StreamableHttpService::new(
        || Ok(Weather),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let app = Router::new().nest_service("/mcp", mcp).layer(protect);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
    Ok(axum::serve(listener, app).await?)
}
