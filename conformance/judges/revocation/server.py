"""An MCP server of the Python SDK behind `sdk/python`, which hears of revocations.

    WRIT_CLIENT_SECRET=... python server.py ISSUER RESOURCE CLIENT_ID [feed|poll|/PATH]

It refuses everybody while it does not hear (503), so whoever is let in is let in by what it has heard.
"""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "sdk/python/src"))

import uvicorn
from mcp.server.mcpserver import MCPServer
from writ_resource import Events, Protect, Push, Verifier, current_claims

server = MCPServer("Weather")


@server.tool()
def forecast() -> str:
    """Tomorrow's weather."""
    return f"Sunny, {current_claims().caller}."


@server.tool()
def alert() -> str:
    """Warns everybody."""
    return "Everybody is warned."


def main(issuer, resource, client_id, delivery="feed"):
    how = delivery if delivery in ("feed", "poll") else Push(delivery)
    events = Events(client_id, os.environ["WRIT_CLIENT_SECRET"], how, when_stale="refuse", token_lifetime=600)
    app = Protect(server.streamable_http_app(), Verifier(resource=resource, issuer=issuer, events=events),
                  tools=["forecast", "alert"])
    uvicorn.run(app, host="127.0.0.1", port=urlsplit(resource).port, log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
