"""An MCP server with FastMCP and its own verifier of tokens, as its documentation shows it.

    python fastmcp_server.py ISSUER RESOURCE PORT
"""

import sys

from fastmcp import FastMCP
from fastmcp.server.auth import RemoteAuthProvider
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.dependencies import get_access_token

issuer, resource, port = sys.argv[1:]
verifier = JWTVerifier(jwks_uri=f"{issuer}/jwks.json", issuer=issuer, audience=resource, required_scopes=["tool:search"])
# The issuer as it is: made an AnyHttpUrl it would get a slash, and clients would refuse it.
server = FastMCP("wiki", auth=RemoteAuthProvider(verifier, [issuer], resource.removesuffix("/mcp")))


@server.tool
def search(words: str) -> dict:
    """Searches the wiki, and says who asked."""
    asker = get_access_token()
    return {"words": words, "asked_by": asker.client_id, "scopes": asker.scopes}


server.run("http", host="127.0.0.1", port=int(port), show_banner=False, log_level="WARNING")
