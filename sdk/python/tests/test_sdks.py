"""Real MCP servers of both SDKs, called by the SDK's own client, until they are revoked."""

import importlib.util
import time
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2

# FastMCP imports this with the first request it answers. Python 3.11 fails to compile it (SystemError: AST constructor
# recursion depth mismatch) when another thread compiles at the same moment.
import key_value.aio.adapters.pydantic  # noqa: F401
import pytest
from fastmcp import FastMCP
from kit import RESOURCE, SECRET, plain_client, serving, transmitting
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

from writ_resource import Events, Protect, Verifier
from writ_resource.fastmcp import WritTokenVerifier as FastVerifier
from writ_resource.mcp import WritTokenVerifier as OfficialVerifier

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.server


def application(name):
    server = example(name)
    return server.http_app() if name == "weather_fastmcp" else server.streamable_http_app()


@asynccontextmanager
async def protected(transmitter, name):
    events = Events("weather", SECRET, token_lifetime=600, when_stale="refuse")
    verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer, events=events, clock=transmitter.clock)
    async with serving(Protect(application(name), verifier, tools=["forecast", "alert"])) as origin:
        await transmitter.until(lambda: verifier.receiver.status().live)
        yield verifier, origin


@pytest.mark.parametrize("name", ["weather_mcp", "weather_fastmcp"])
async def test_calls_until_the_token_is_revoked(name):
    async with transmitting() as transmitter, protected(transmitter, name) as (verifier, origin):
        bearer = {"authorization": f"Bearer {transmitter.token(scope='tool:forecast tool:alert')}"}
        refusals = []

        async def note(answer):
            if answer.status_code == 401:
                refusals.append(answer.headers["www-authenticate"])

        hooks = {"response": [note]}
        async with httpx2.AsyncClient(headers=bearer, trust_env=False, event_hooks=hooks) as http:
            async with Client(streamable_http_client(f"{origin}/mcp", http_client=http)) as client:
                assert {tool.name for tool in (await client.list_tools()).tools} == {"forecast", "alert"}
                assert (await client.call_tool("forecast", {})).content[0].text == "Sunny, agent."
                said = (await client.call_tool("alert", {})).content[0].text
                assert said == "Everybody is warned, by agent."
                assert not refusals
                transmitter.revoke()
                await transmitter.until(lambda: verifier.receiver.status().markers)
                with anyio.fail_after(5), pytest.raises(Exception, match=r"(?i)unauthorized|401|error"):
                    await client.call_tool("forecast", {})
        assert 'error="invalid_token", error_description="the token has been revoked"' in refusals[0]


@pytest.mark.parametrize("adapter", [OfficialVerifier, FastVerifier])
async def test_token_verifiers(adapter):
    async with transmitting() as transmitter:
        verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer, clock=transmitter.clock)
        token = transmitter.token()
        access = await adapter(verifier).verify_token(token)
        assert (access.client_id, access.scopes, access.subject) == ("agent", ["tool:forecast"], "ada")
        assert access.claims["grant_id"] == "grant-1"
        assert access.resource == RESOURCE
        assert await adapter(verifier).verify_token(f"{token}x") is None
        await verifier._web.close()


@pytest.mark.parametrize("adapter", [OfficialVerifier, FastVerifier])
async def test_a_token_that_cannot_be_judged_is_not_refused(adapter):
    async with transmitting() as transmitter:
        transmitter.clock = time.time
        transmitter.down.add("jwks")
        verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer)
        if adapter is FastVerifier:
            app = FastMCP("Weather", auth=adapter(verifier)).http_app()
        else:
            urls = {"issuer_url": transmitter.issuer, "resource_server_url": RESOURCE}
            auth = AuthSettings(**urls, validate_token_resource=False)
            app = MCPServer("Weather", auth=auth, token_verifier=adapter(verifier)).streamable_http_app()
        async with serving(app) as origin, plain_client() as client:
            bearer = {"authorization": f"Bearer {transmitter.token()}"}
            answer = await client.post(f"{origin}/mcp", json={"method": "ping"}, headers=bearer)
            assert answer.status_code == 500
            assert "www-authenticate" not in answer.headers
        await verifier._web.close()


async def test_fastmcp_without_the_middleware():
    async with transmitting() as transmitter:
        verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer)
        transmitter.clock = time.time
        app = FastMCP("Weather", auth=FastVerifier(verifier)).http_app()
        async with serving(app) as origin, plain_client() as client:
            url, body = f"{origin}/mcp", {"jsonrpc": "2.0", "id": 1, "method": "ping"}
            assert (await client.post(url, json=body)).status_code == 401
            bearer = {"authorization": f"Bearer {transmitter.token()}"}
            assert (await client.post(url, json=body, headers=bearer)).status_code != 401
        await verifier._web.close()
