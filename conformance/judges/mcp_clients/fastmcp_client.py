"""FastMCP's own client at FastMCP's own server; its environment is its own.

    python fastmcp_client.py URL [DOCUMENT]

Signs in, calls a tool, and calls it again when the token has run out. Prints one line of JSON: what the tool said each
time, and the requests for tokens. `BROWSER` is who is asked.
"""

import asyncio
import json
import logging
import sys

from fastmcp import Client
from fastmcp.client.auth import OAuth

requests = []


class Requests(logging.Handler):
    """The HTTP library says which requests it made."""

    def emit(self, record):
        requests.append(record.getMessage())


async def main(url, document=None):
    library = logging.getLogger("httpx2")
    library.setLevel(logging.INFO)
    library.addHandler(Requests())
    auth = OAuth(client_name="Assistant", client_metadata_url=document)
    async with Client(url, auth=auth) as client:
        first = (await client.call_tool("search", {"words": "dikes"})).data
        await asyncio.sleep(auth.context.current_tokens.expires_in + 1)
        second = (await client.call_tool("search", {"words": "dams"})).data
    print(json.dumps({
        "first": first, "second": second,
        "asked": [line for line in requests if "/authorize?" in line],
        "tokens": [line for line in requests if "/token " in line],
    }))


asyncio.run(main(*sys.argv[1:]))
