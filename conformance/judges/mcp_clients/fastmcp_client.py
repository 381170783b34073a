"""FastMCP's own client at FastMCP's own server; its environment is its own.

    python fastmcp_client.py sign-in URL STORE [DOCUMENT]     signs in; keeps its tokens in STORE
    python fastmcp_client.py later URL STORE WHEN             three processes of one host: at WHEN (Unix seconds), at once

Prints one line of JSON: what the tool said, and the requests for tokens. `BROWSER` is who is asked.
"""

import asyncio
import json
import logging
import sys
import time
from pathlib import Path

from fastmcp import Client
from fastmcp.client.auth import OAuth
from key_value.aio.stores.filetree import (
    FileTreeStore,
    FileTreeV1CollectionSanitizationStrategy,
    FileTreeV1KeySanitizationStrategy,
)

requests = []


class Requests(logging.Handler):
    """The HTTP library says which requests it made."""

    def emit(self, record):
        requests.append(record.getMessage())


def shared(directory):
    """A store in files, as processes of one host share it."""
    Path(directory).mkdir(exist_ok=True)
    return FileTreeStore(
        data_directory=directory,
        key_sanitization_strategy=FileTreeV1KeySanitizationStrategy(directory),
        collection_sanitization_strategy=FileTreeV1CollectionSanitizationStrategy(directory),
    )


async def main(what, url, store, more=None):
    library = logging.getLogger("httpx2")
    library.setLevel(logging.INFO)
    library.addHandler(Requests())
    document = more if what == "sign-in" else None
    auth = OAuth(client_name="Assistant", token_storage=shared(store), client_metadata_url=document)
    if what == "later":
        await asyncio.sleep(float(more) - time.time())
    async with Client(url, auth=auth) as client:
        said = (await client.call_tool("search", {"words": "dikes"})).data
    tokens = auth.context.current_tokens
    print(json.dumps({
        "said": said, "refresh_token": tokens.refresh_token, "access_token": tokens.access_token,
        "token_requests": [line for line in requests if "/token " in line],
    }))


asyncio.run(main(*sys.argv[1:]))
