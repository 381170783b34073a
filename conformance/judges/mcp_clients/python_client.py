"""The Python SDK's own client signs a person in: registered, known by its document, and declared.

    python python_client.py DOCUMENT_ORIGIN

Each way: a tool, a tool that needs more, and the first one again when the token has run out.
"""

import asyncio
import logging
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "people"))

import httpx2
from judging import Judge, claims, scene
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata
from user_agent import UserAgent

logging.getLogger("mcp").setLevel(logging.CRITICAL)
REDIRECT = "http://127.0.0.1:9/callback"  # nobody listens: the user agent stops before it


class Memory:
    """The SDK's token storage, in memory."""

    def __init__(self, client=None):
        self.tokens, self.client = None, client

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Host:
    """A host application with the SDK in it: its storage, what it sent, and the person in front of it."""

    def __init__(self, stage, resource, *, document=None, declared=None, deny=False):
        self.stage, self.resource, self.deny, self.exchanges, self.asked = stage, resource, deny, [], []
        self.storage = Memory(declared and OAuthClientInformationFull(**declared))
        metadata = OAuthClientMetadata(client_name="Assistant", redirect_uris=[REDIRECT], token_endpoint_auth_method="none")
        self.provider = OAuthClientProvider(
            server_url=resource, client_metadata=metadata, storage=self.storage, client_metadata_url=document,
            redirect_handler=self.ask, callback_handler=self.answer,
        )

    async def ask(self, url):
        agent = UserAgent(self.stage["issuer"], self.stage["people"]["alice"], deny=self.deny)
        self.asked.append(url)
        self.where = await asyncio.to_thread(agent.visit, url)

    async def answer(self):
        given = {name: values[0] for name, values in parse_qs(urlsplit(self.where).query).items()}
        if "error" in given:
            raise PermissionError(given["error"])
        return AuthorizationCodeResult(code=given["code"], state=given.get("state"), iss=given.get("iss"))

    async def on_response(self, answer):
        body = answer.request.content.decode() if answer.request.url.path.endswith("/token") else ""
        self.exchanges.append((answer.request.method, answer.request.url.path, answer.status_code, parse_qs(body)))

    def granted_by(self, grant):
        return [status for _, path, status, body in self.exchanges if path == "/token" and body["grant_type"] == [grant]]

    @asynccontextmanager
    async def connect(self):
        hooks = {"response": [self.on_response]}
        async with httpx2.AsyncClient(auth=self.provider, event_hooks=hooks, timeout=30, trust_env=False) as http:
            async with Client(streamable_http_client(self.resource, http_client=http)) as client:
                yield client


def scopes(text):
    return sorted(text.split())


async def way(judge, name, host, client_id=None):
    """One host at the Node server, whose tools each ask for a scope of their own."""
    async with host.connect() as client:
        tools = sorted(tool.name for tool in (await client.list_tools()).tools)
        judge.equal(f"{name}: the tools are listed after signing in", tools, ["read_note", "write_note"])
        read = await client.call_tool("read_note", {"name": "plan"})
        judge.check(f"{name}: a tool is called", not read.is_error, read.content[0].text[:100])
        first = claims(host.storage.tokens.access_token)
        judge.check(f"{name}: as this client", first["client_id"] == (client_id or host.storage.client.client_id),
                    first["client_id"])
        judge.check(f"{name}: the person is not the client", first["sub"] != first["client_id"])
        judge.equal(f"{name}: what is granted is what is in the token", "tool:read_note" in scopes(first["scope"])
                    and "tool:write_note" not in scopes(first["scope"]), True)
        judge.check(f"{name}: a refresh token came with it", host.storage.tokens.refresh_token)

        written = await client.call_tool("write_note", {"name": "plan", "text": "walk"})
        judge.check(f"{name}: a tool that needs more is refused first", 403 in [status for _, _, status, _ in host.exchanges])
        judge.equal(f"{name}: then the person is asked again, and it is done", (len(host.asked), written.content[0].text),
                    (2, "wrote plan"))
        second = claims(host.storage.tokens.access_token)
        judge.check(f"{name}: nothing that was granted is lost", {"tool:read_note", "tool:write_note"}
                    <= set(scopes(second["scope"])), second["scope"])
        judge.equal(f"{name}: it is the same person", second["sub"], first["sub"])

        rotated = host.storage.tokens.refresh_token
        # The SDK counts from when it got the token.
        await asyncio.sleep(max(0, host.provider.context.token_expiry_time - time.time()) + 1)
        late = await client.call_tool("write_note", {"name": "plan", "text": "run"})
        judge.equal(f"{name}: when the token has run out it is refreshed", (host.granted_by("refresh_token"), late.is_error),
                    ([200], False))
        judge.equal(f"{name}: without asking the person", len(host.asked), 2)
        third = claims(host.storage.tokens.access_token)
        judge.equal(f"{name}: with the same scopes, for the same resource", (scopes(third["scope"]), third["aud"]),
                    (scopes(second["scope"]), second["aud"]))
        judge.check(f"{name}: a public client's refresh token is another one", host.storage.tokens.refresh_token != rotated)


async def at_the_python_server(judge, host):
    async with host.connect() as client:
        said = await client.call_tool("forecast", {"city": "Lund"})
        judge.check("at the Python server: a tool is called", not said.is_error, said.content[0].text[:100])


async def refused(judge, what, host, *words):
    """The flow has to end, with some of `words`."""
    try:
        async with host.connect():
            judge.check(f"{what} is refused", False)
    except BaseException as error:  # noqa: BLE001 -- a group carries what the user agent or the SDK saw
        said = f"{type(leaf(error)).__name__}: {leaf(error)}"
        judge.check(f"{what} is refused", any(word in said for word in words), said[:160])


def leaf(error):
    """The SDK's task groups wrap the error of the flow; this is the flow's own."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def guarded(judge, name, work):
    try:
        await asyncio.wait_for(work, 150)
    except BaseException as error:  # noqa: BLE001 -- a group carries the SDK's error
        judge.check(f"{name} came to its end", False, f"{type(leaf(error)).__name__}: {leaf(error)}"[:800])


async def main():
    judge, stage, origin = Judge("python"), scene(), sys.argv[1]
    notes, weather = stage["resources"]["notes"]["resource"], stage["resources"]["weather"]["resource"]
    declared = {"client_id": "public-app", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
                "issuer": stage["issuer"]}
    document = f"{origin}/python.json"
    work = {
        "DCR": way(judge, "DCR", Host(stage, notes)),
        "CIMD": way(judge, "CIMD", Host(stage, notes, document=document), document),
        "declared": way(judge, "declared", Host(stage, notes, declared=declared), "public-app"),
        "the Python server": at_the_python_server(judge, Host(stage, weather)),
        "a denial": refused(judge, "what the person denies", Host(stage, weather, deny=True), "PermissionError: access_denied"),
    }
    for path, what in {
        "liar.json": "a document of another client", "secret.json": "a document with a secret in it",
        "none.json": "a document that is not there",
    }.items():
        # With a page: nobody is sent to a redirect URI that such a document names.
        work[path] = refused(judge, what, Host(stage, notes, document=f"{origin}/{path}"), "Lost: 400 ")
    await asyncio.gather(*(guarded(judge, name, task) for name, task in work.items()))
    judge.finish()


if __name__ == "__main__":
    asyncio.run(main())
