//! The exact lines that the author of an MCP server pastes.
//!
//! Clients compare issuer and resource byte for byte, so nobody should have to type them.

use serde_json::{Value, json};
use url::Url;

use super::{
    Failure,
    http::Http,
    token_request::{discover, inserted},
};
/// The issuer goes in as text: `AnyHttpUrl` adds a slash to one without a path, and clients then
/// refuse it.
const PYTHON: &str = r#"import asyncio, jwt
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

ISSUER, RESOURCE = {issuer}, {resource}  # plain text, not AnyHttpUrl(...)
KEYS = jwt.PyJWKClient({jwks_uri})

class Verifier(TokenVerifier):
    async def verify_token(self, token):
        try:
            key = await asyncio.to_thread(KEYS.get_signing_key_from_jwt, token)
            claims = jwt.decode(
                token, key, algorithms=["RS256", "ES256", "EdDSA"], issuer=ISSUER, audience=RESOURCE,
                options={"require": ["iss", "sub", "aud", "exp", "client_id"]},
            )
        except jwt.PyJWTError:
            return None
        return AccessToken(
            token=token, client_id=claims["client_id"], subject=claims["sub"], resource=RESOURCE,
            scopes=claims.get("scope", "").split(), expires_at=claims["exp"], claims=claims,
        )

server = MCPServer({name}, token_verifier=Verifier(), auth=AuthSettings(
    issuer_url=ISSUER, resource_server_url=RESOURCE, validate_token_resource=True,
))
# In a tool NAME: "tool:NAME" must be in get_access_token().scopes (mcp.server.auth.middleware.auth_context)."#;

/// What a server's code has to know.
#[derive(Debug)]
pub(super) struct Paste {
    issuer: String,
    jwks_uri: String,
    resource: String,
    name: String,
    tools: Vec<String>,
    metadata_url: String,
    document: Value,
}

impl Paste {
    /// Asks the server for what it publishes about a resource.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) async fn new(
        http: &Http,
        resource: String,
        name: String,
        tools: Vec<String>,
        metadata_url: String,
    ) -> Result<Self, Failure> {
        let answer = http.get(&metadata_url).await;
        let document: Value = answer
            .and_then(|answer| answer.json())
            .map_err(|why| Failure::new(format!("{metadata_url}: {why}")))?;
        let issuer = document["authorization_servers"][0]
            .as_str()
            .unwrap_or_default();
        let server = discover(http, issuer).await?;
        Ok(Self {
            issuer: server.issuer,
            jwks_uri: server.jwks_uri,
            resource,
            name,
            tools,
            metadata_url,
            document,
        })
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": self.jwks_uri,
            "metadata": self.document,
        })
    }

    /// The strings alone.
    pub(super) fn short(&self) -> String {
        format!(
            "\nFor the author of {name}, byte for byte:\n\n  \
             resource  {resource}\n  \
             issuer    {issuer}\n  \
             jwks_uri  {jwks}\n  \
             metadata  {metadata}",
            name = if self.name.is_empty() {
                &self.resource
            } else {
                &self.name
            },
            resource = self.resource,
            issuer = self.issuer,
            jwks = self.jwks_uri,
            metadata = self.metadata_url,
        )
    }

    /// The strings, the code around them, and the document a server publishes.
    pub(super) fn whole(&self) -> String {
        let published = Url::parse(&self.resource)
            .map(|url| inserted(&url, "oauth-protected-resource"))
            .unwrap_or_default();
        let document = serde_json::to_string_pretty(&self.document).unwrap_or_default();
        format!(
            "{}\n\nRust (writ-resource)\n\n{}\n\nPython (mcp 2.3)\n\n{}\n\n\
             Both publish a document like this at {published}; with another library, serve it \
             there:\n\n{}",
            self.short(),
            indent(&self.rust()),
            indent(&self.python()),
            indent(&document),
        )
    }

    fn rust(&self) -> String {
        let path =
            Url::parse(&self.resource).map_or_else(|_| "/".to_owned(), |url| url.path().to_owned());
        let service = match path.as_str() {
            "/" => "fallback_service(mcp)".to_owned(),
            path => format!("nest_service({path:?}, mcp)"),
        };
        let mut lines = vec![
            format!(
                "let protect = writ_resource::Protect::resource({:?})",
                self.resource
            ),
            format!("    .issuer({:?})", self.issuer),
        ];
        if !self.tools.is_empty() {
            lines.push(format!("    .tools({:?})", self.tools));
        }
        lines.push("    .build()?;".to_owned());
        lines.push(format!(
            "let app = axum::Router::new().{service}.layer(protect);"
        ));
        lines.join("\n")
    }

    fn python(&self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let name = if self.name.is_empty() {
            "server"
        } else {
            &self.name
        };
        PYTHON
            .replace("{issuer}", &text(&self.issuer))
            .replace("{resource}", &text(&self.resource))
            .replace("{jwks_uri}", &text(&self.jwks_uri))
            .replace("{name}", &text(name))
    }
}

fn indent(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paste(resource: &str) -> Paste {
        Paste {
            issuer: "https://auth.example".into(),
            jwks_uri: "https://auth.example/jwks.json".into(),
            resource: resource.into(),
            name: "Say \"hi\"".into(),
            tools: vec!["a\"b".into()],
            metadata_url: "https://auth.example/resources/x/oauth-protected-resource".into(),
            document: json!({ "resource": resource }),
        }
    }

    #[test]
    fn what_is_pasted_is_quoted_and_exact() {
        let text = paste("https://mcp.example/mcp").whole();
        for expected in [
            r#"Protect::resource("https://mcp.example/mcp")"#,
            r#".issuer("https://auth.example")"#,
            r#".tools(["a\"b"])"#,
            r#"nest_service("/mcp", mcp)"#,
            r#"ISSUER, RESOURCE = "https://auth.example", "https://mcp.example/mcp""#,
            r#"MCPServer("Say \"hi\"""#,
            "https://mcp.example/.well-known/oauth-protected-resource/mcp; with",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(!text.contains("auth.example/\"") && !text.contains("{issuer}"));
    }

    #[test]
    fn a_server_at_the_root_is_a_fallback() {
        assert!(
            paste("https://mcp.example")
                .rust()
                .contains("fallback_service(mcp)")
        );
    }
}
