"""An ordinary MCP server in Python that accepts Writ's access tokens: the SDK, PyJWT and nothing of ours.

    python server.py ISSUER RESOURCE PORT

It knows the issuer and its own URL. Everything else comes from the issuer's metadata and JWKS.
"""

import asyncio
import sys

import httpx2
import jwt
import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError


class JwksVerifier(TokenVerifier):
    """Verifies JWT access tokens (RFC 9068) of one issuer for one resource."""

    def __init__(self, issuer, resource):
        self.issuer, self.resource = issuer, resource
        metadata = httpx2.get(f"{issuer}/.well-known/openid-configuration").raise_for_status().json()
        self.keys = jwt.PyJWKClient(metadata["jwks_uri"])

    async def verify_token(self, token):
        try:
            key = await asyncio.to_thread(self.keys.get_signing_key_from_jwt, token)
            decoded = jwt.decode_complete(
                token, key, algorithms=["RS256"], issuer=self.issuer, audience=self.resource,
                options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]},
            )
        except jwt.PyJWTError as refusal:
            print(f"refused a token: {refusal}", flush=True)
            return None
        if decoded["header"].get("typ") != "at+jwt":
            return None
        claims = decoded["payload"]
        return AccessToken(
            token=token, client_id=claims["client_id"], scopes=claims.get("scope", "").split(),
            expires_at=claims["exp"], resource=self.resource, subject=claims["sub"], claims=claims,
        )


def build(issuer, resource):
    server = MCPServer(
        "weather",
        token_verifier=JwksVerifier(issuer, resource),
        auth=AuthSettings(
            issuer_url=issuer, resource_server_url=resource,
            required_scopes=["tool:forecast"], validate_token_resource=True,
        ),
    )

    @server.tool()
    def forecast(city: str) -> dict:
        """Tomorrow's weather, and who asked for it."""
        asker = get_access_token()
        return {"city": city, "sky": "clear", "asked_by": asker.client_id, "scopes": asker.scopes}

    @server.tool()
    def alert(city: str) -> str:
        """Warn a city. Needs a scope of its own."""
        if "tool:alert" not in get_access_token().scopes:
            raise ToolError("insufficient_scope: tool:alert")
        return f"warned {city}"

    return server


if __name__ == "__main__":
    issuer, resource, port = sys.argv[1:]
    uvicorn.run(build(issuer, resource).streamable_http_app(), host="127.0.0.1", port=int(port), log_level="warning")
