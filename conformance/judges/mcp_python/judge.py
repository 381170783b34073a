"""The Python SDK's own client and server with Writ between them (`mcp`, client credentials)."""

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx2
import jwt
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from judging import Judge, background, claims, demo_server, http, scene, token
from mcp.client.auth import OAuthFlowError, OAuthTokenError
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

# What the SDK logs about refused requests is what the checks below assert.
logging.getLogger("mcp").setLevel(logging.CRITICAL)


class Memory:
    """The SDK's token storage, in memory."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Wire:
    """What went over the wire, for the log and for checking which authentication was really used."""

    def __init__(self):
        self.exchanges = []

    async def on_response(self, answer):
        request = answer.request
        body = request.content.decode() if request.url.path.endswith("/token") else ""
        self.exchanges.append((request.method, str(request.url), answer.status_code, body, request.headers))

    def token_request(self):
        return next(exchange for exchange in self.exchanges if exchange[1].endswith("/token"))


@asynccontextmanager
async def connect(provider, resource, wire):
    hooks = {"response": [wire.on_response]}
    async with httpx2.AsyncClient(auth=provider, event_hooks=hooks, timeout=20, trust_env=False) as http_client:
        async with Client(streamable_http_client(resource, http_client=http_client)) as client:
            yield client


def leaf(error):
    """The SDK's task groups wrap the error of the flow; this is the flow's own."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def flow_error(provider, resource):
    try:
        async with connect(provider, resource, Wire()):
            return None
    except BaseException as error:  # noqa: BLE001 -- a group carries the SDK's error
        return leaf(error)


def pem(jwk):
    key = jwt.PyJWK(jwk, jwk["alg"]).key
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def main():
    judge, stage = Judge("mcp-python"), scene()
    issuer, weather = stage["issuer"], stage["resources"]["weather"]
    resource = weather["resource"]

    def with_secret(client, method, **changes):
        party = stage["clients"][client] | changes
        return ClientCredentialsOAuthProvider(
            server_url=resource, storage=Memory(), client_id=party["client_id"], client_secret=party["client_secret"],
            token_endpoint_auth_method=method, issuer=party.get("issuer", issuer),
        )

    def with_key(algorithm):
        signing = SignedJWTParameters(
            issuer="agent-key", subject="agent-key",
            signing_key=pem(stage["keys"][algorithm]), signing_algorithm=algorithm,
        )
        return PrivateKeyJWTOAuthProvider(
            server_url=resource, storage=Memory(), client_id="agent-key", issuer=issuer,
            assertion_provider=signing.create_assertion_provider(),
        )

    def used_basic(body, headers):
        return headers.get("authorization", "").startswith("Basic ") and "client_secret" not in body

    def used_post(body, headers):
        return "client_secret=" in body and "authorization" not in headers

    def used_assertion(body, headers):
        return "client_assertion=" in body and "client_secret" not in body and "authorization" not in headers

    ways = {
        "client_secret_basic": ("agent-basic", with_secret("agent-basic", "client_secret_basic"), used_basic),
        "client_secret_post": ("agent-post", with_secret("agent-post", "client_secret_post"), used_post),
        **{
            f"private_key_jwt with {algorithm}": ("agent-key", with_key(algorithm), used_assertion)
            for algorithm in ("RS256", "PS256", "ES256", "EdDSA")
        },
    }
    for way, (client_id, provider, used) in ways.items():
        print(f"-- {way}")
        wire = Wire()
        async with connect(provider, resource, wire) as client:
            tools = sorted(tool.name for tool in (await client.list_tools()).tools)
            judge.equal("tools/list through the SDK's client", tools, ["alert", "forecast"])
            result = await client.call_tool("forecast", {"city": "Lund"})
            said = json.loads(result.content[0].text)
            judge.check("tools/call forecast succeeds", not result.is_error, said)
            judge.equal("the MCP server saw this client", said.get("asked_by"), client_id)
            judge.equal("with the one scope asked for", said.get("scopes"), ["tool:forecast"])
            result = await client.call_tool("alert", {"city": "Lund"})
            words = result.content[0].text
            judge.check("the other tool is refused", result.is_error and "insufficient_scope" in words, words)
        for method, url, status, *_ in wire.exchanges[:6]:
            judge.note(f"{status} {method} {url}")
        judge.equal("the first request was refused", wire.exchanges[0][2], 401)
        _, _, status, body, headers = wire.token_request()
        judge.check("the token request was authenticated that way", used(body, headers) and status == 200)
        stored = await provider.context.storage.get_tokens()
        payload = claims(stored.access_token)
        judge.equal("aud is the resource", payload["aud"], resource)
        judge.equal("iss is the issuer", payload["iss"], issuer)
        judge.check("expires_in is the token's lifetime", stored.expires_in == payload["exp"] - payload["iat"])

    print("-- what has to be refused")
    initialize = (
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        b'"capabilities":{},"clientInfo":{"name":"judge","version":"1"}}}'
    )

    def call(bearer=None):
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        return http("POST", resource, headers, body=initialize)

    good = token(stage, "agent-basic", "weather", "tool:forecast")
    judge.equal("a good token is accepted (so the refusals below mean something)", call(good).status, 200)
    answer = call()
    challenge = answer.headers.get("WWW-Authenticate", "")
    judge.equal("no token: 401", answer.status, 401)
    judge.check("the challenge is Bearer with resource_metadata", challenge.startswith("Bearer ")
                and 'resource_metadata="' in challenge, challenge)
    metadata = http("GET", challenge.split('resource_metadata="')[1].split('"')[0]).json()
    judge.equal("which names this issuer, byte for byte", metadata["authorization_servers"], [issuer])
    judge.equal("and this resource", metadata["resource"], resource)
    judge.equal("a token for another resource: 401",
                call(token(stage, "agent-basic", "notes", "tool:read_note")).status, 401)
    judge.equal("a token of another tenant: 401",
                call(token(stage, "bookkeeper", "ledger", "tool:read", tenant="acme")).status, 401)
    head, payload, signature = good.split(".")
    swapped = token(stage, "agent-basic", "weather", "tool:alert").split(".")[1]
    judge.equal("another token's claims under this signature: 401", call(f"{head}.{swapped}.{signature}").status, 401)
    judge.equal("a token without a signature: 401", call(f"{head}.{payload}.").status, 401)
    alert_only = token(stage, "agent-basic", "weather", "tool:alert")
    answer = call(alert_only)
    judge.check("a token without the scope: 403 insufficient_scope", answer.status == 403
                and 'error="insufficient_scope"' in answer.headers.get("WWW-Authenticate", ""), answer.status)

    wrong = await flow_error(with_secret("agent-basic", "client_secret_basic", client_secret="wrong"), resource)
    judge.check("a wrong secret ends the flow with invalid_client",
                isinstance(wrong, OAuthTokenError) and "401" in str(wrong) and "invalid_client" in str(wrong), wrong)
    slash = await flow_error(with_secret("agent-basic", "client_secret_basic", issuer=f"{issuer}/t/acme"), resource)
    judge.check("a client bound to another issuer sends its secret nowhere", isinstance(slash, OAuthFlowError), slash)
    await against_rust(judge, stage)
    judge.finish()


async def against_rust(judge, stage):
    """The client at an MCP server behind Writ's layer, whose challenges it follows."""
    print("-- at the MCP server in Rust")
    with demo_server(stage) as place:
        agent, resource = place["clients"]["agent"], place["resources"]["notes"]["resource"]
        provider = ClientCredentialsOAuthProvider(
            server_url=resource, storage=Memory(), client_id=agent["client_id"], client_secret=agent["client_secret"],
            issuer=place["issuer"],
        )
        wire = Wire()
        async with connect(provider, resource, wire) as client:
            found = await client.call_tool("search_notes", {"query": "ferry"})
            judge.check("tools/call search_notes succeeds", not found.is_error and "Texel" in found.content[0].text)
            granted = (await provider.context.storage.get_tokens()).scope
            judge.equal("with the scope the challenge named", granted, "tool:search_notes")
            seen = len(wire.exchanges)
            written = await client.call_tool("add_note", {"text": "from Python"})
            judge.check("add_note is refused first: 403", 403 in [status for _, _, status, *_ in wire.exchanges[seen:]])
            judge.check("then the client steps up by itself and succeeds", not written.is_error,
                        written.content[0].text)
            granted = (await provider.context.storage.get_tokens()).scope
            judge.equal("with both scopes in the new token", sorted(granted.split()),
                        ["tool:add_note", "tool:search_notes"])
            refusal = None
            try:
                await client.call_tool("delete_note", {"id": 1})
            except Exception as error:  # noqa: BLE001 -- what it raises is checked below
                refusal = leaf(error)
            judge.check("delete_note, which it was never given, is refused", refusal is not None, refusal)


if __name__ == "__main__":
    stage = scene()
    weather = stage["resources"]["weather"]
    server = [sys.executable, str(Path(__file__).with_name("server.py")), stage["issuer"], weather["resource"],
              str(weather["port"])]
    with background(server, weather["resource"], Path(stage["directory"]) / "mcp-server.log"):
        asyncio.run(main())
