"""Alice of the README lets a client in that nobody declared: the Python SDK's own, which registers itself.

    python readme_person.py ISSUER RESOURCE PASSWORD

Prints what the tool said.
"""

import asyncio
import sys

from python_client import Host


async def main():
    issuer, resource, password = sys.argv[1:]
    stage = {"issuer": issuer, "people": {"alice": {"username": "alice", "password": password}}}
    async with Host(stage, resource).connect() as client:
        result = await client.call_tool("forecast", {})
        print(result.content[0].text)


asyncio.run(main())
