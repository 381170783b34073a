//! The MCP server of `weather.rs`, which hears of revocations as they happen.
//!
//! ```sh
//! WRIT_CLIENT_SECRET=... revocation ISSUER RESOURCE CLIENT_ID [feed|poll|/PATH]
//! ```
//!
//! The credentials are this server's own at the authorization server. With a path, events are
//! pushed there. While they may be missing, nobody is let in (503).

use std::env;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{tool, tool_router};
use url::Url;
use writ_resource::{AccessClaims, Events, Protect, WhenStale};

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
    let mut arguments = env::args().skip(1);
    let mut next = |name: &str| arguments.next().ok_or(format!("{name} is missing"));
    let (issuer, resource, client) = (next("ISSUER")?, next("RESOURCE")?, next("CLIENT_ID")?);
    let events = Events::with_credentials(client, env::var("WRIT_CLIENT_SECRET")?)
        .when_stale(WhenStale::Refuse)
        .token_lifetime(Duration::from_secs(600));
    let events = match next("delivery").as_deref() {
        Ok("poll") => events.poll(),
        Ok(path) if path.starts_with('/') => events.push(path),
        _ => events.feed(),
    };
    let protect = Protect::resource(&resource)
        .issuer(issuer)
        .tools(["forecast", "alert"])
        .events(events)
        .build()?;
    protect.verifier().load_keys().await?;
    let mcp = StreamableHttpService::new(
        || Ok(Weather),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    let url = Url::parse(&resource)?;
    let app = Router::new().nest_service(url.path(), mcp).layer(protect);
    let address = url.socket_addrs(|| None)?;
    let listener = tokio::net::TcpListener::bind(address.as_slice()).await?;
    Ok(axum::serve(listener, app).await?)
}
