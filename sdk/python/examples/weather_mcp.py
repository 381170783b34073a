"""An MCP server made with the official SDK, behind Writ: two tools, one scope each.

    WRIT_CLIENT_SECRET=... python weather_mcp.py ISSUER RESOURCE CLIENT_ID [feed|poll|/push-path]

Without a client id it verifies tokens, and hears of no revocations.
"""

import os
import sys
from urllib.parse import urlsplit

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import MCPServer

from writ_resource import Events, Protect, Push, Verifier, current_claims

server = MCPServer("Weather")


@server.tool()
def forecast() -> str:
    """Tomorrow's weather."""
    claims = current_claims()
    return f"Sunny, {claims.caller if claims else 'nobody'}."


@server.tool()
def alert() -> str:
    """Warns everybody."""
    token = get_access_token()
    return f"Everybody is warned, by {token.client_id if token else 'nobody'}."


def main(issuer: str, resource: str, client_id: str = "", delivery: str = "feed") -> None:
    events = None
    if client_id:
        how = delivery if delivery in ("feed", "poll") else Push(delivery)
        events = Events(client_id, os.environ["WRIT_CLIENT_SECRET"], how, token_lifetime=600)
    app = Protect(
        server.streamable_http_app(),
        Verifier(resource=resource, issuer=issuer, events=events),
        tools=["forecast", "alert"],
        name="Weather",
    )
    uvicorn.run(app, host="127.0.0.1", port=urlsplit(resource).port or 8000, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
