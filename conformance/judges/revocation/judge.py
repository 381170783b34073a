"""Real MCP servers in Rust, Python and TypeScript, which refuse the next call after a revocation.

    python judge.py [rust | python | typescript]...

The client of the Python SDK calls a tool in a loop; an administrator revokes a token, a grant, an agent. What is
measured begins when the answer to the revocation has been read and ends when the first refusal has. The servers
refuse everybody while they do not hear of revocations, so nothing here is found out by asking.
"""

import asyncio
import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "durability")]

import httpx2
from judging import ROOT, Judge, claims, http
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from node import Node
from postgres import bounded, free_port
from scene import secret
from wire import basic

logging.getLogger("mcp").setLevel(logging.CRITICAL)  # refusals are what is wanted

ROUNDS = 5
SOON = 1000  # milliseconds within which it has to hold (checks 43 and 50)
CALLS = 3  # before anything is revoked
DELIVERIES = {"feed": "feed", "poll": "poll", "push": "/.writ/events"}
OPEN = {"WRIT_FETCH__ALLOW_PRIVATE_ADDRESSES_FOR_TESTS": "true"}  # the servers are on loopback
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "judge", "version": "1"}}}
SERVERS = {
    "rust": [os.environ.get("RUST_SERVER", ROOT / "target/release/examples/revocation")],
    "python": [sys.executable, HERE / "server.py"],
    "typescript": ["node", HERE / "server.mjs"],
}


class Scene:
    """Writ, an MCP server's registration for each server and delivery, agents, and an administrator."""

    def __init__(self, directory, languages):
        common = {"profile": "strict", "token_endpoint_auth_method": "client_secret_basic",
                  "grant_types": ["client_credentials"]}
        self.places = {(language, delivery): f"http://127.0.0.1:{free_port()}/mcp"
                       for language in languages for delivery in DELIVERIES}
        names = {place: "-".join(place) for place in self.places}
        agents = [f"agent-{number}" for number in range(ROUNDS)] + ["bystander"]
        self.secrets = {name: secret() for name in [*agents, *names.values()]}
        resources = [{"id": names[place], "resource": uri, "name": names[place],
                      "tools": [{"name": tool, "description": tool} for tool in ("forecast", "alert")],
                      "default_scopes": ["tool:forecast", "tool:alert"]} for place, uri in self.places.items()]
        access = [{"resource": name, "scopes": ["*"]} for name in names.values()]
        clients = [{"client_id": name, "name": name, "client_secret": self.secrets[name]} | common
                   | ({"access": access} if name in agents else {"serves": name}) for name in self.secrets]
        self.names, self.clients = names, clients
        self.node = Node(directory / "writ", {"resources": resources, "clients": clients}, OPEN)
        self.node.start()
        self.http = httpx2.AsyncClient(timeout=20, trust_env=False)
        who = self.node.credentials()
        known = http("GET", f"{self.node.address}/.well-known/oauth-protected-resource/admin").json()
        form = {"grant_type": "client_credentials", "resource": who["resource"],
                "scope": " ".join(known["scopes_supported"])}
        answer = http("POST", f"{self.node.address}/token", basic(who["client_id"], who["client_secret"]), form)
        self.admin = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def token(self, agent, resource):
        form = {"grant_type": "client_credentials", "resource": resource}
        answer = await self.http.post(f"{self.node.address}/token", data=form,
                                      headers=basic(agent, self.secrets[agent]))
        return answer.raise_for_status().json()["access_token"]

    async def end(self, **what):
        """Revokes as an administrator; when the answer had been read."""
        answer = await self.http.post(f"{self.node.address}/admin/revocations", json=what, headers=self.admin)
        at = time.monotonic()
        answer.raise_for_status()
        return at

    async def end_token(self, agent, token):
        """RFC 7009, by the agent itself."""
        answer = await self.http.post(f"{self.node.address}/revoke", data={"token": token},
                                      headers=basic(agent, self.secrets[agent]))
        at = time.monotonic()
        answer.raise_for_status()
        return at

    async def allow(self, agent, place, scopes):
        """Declares an agent anew, which may do only this at one of the servers."""
        client = next(one for one in self.clients if one["client_id"] == agent)
        access = [one if one["resource"] != self.names[place] else one | {"scopes": scopes}
                  for one in client["access"]]
        answer = await self.http.post(f"{self.node.address}/admin/apply", headers=self.admin,
                                      json={"clients": [client | {"access": access}]})
        at = time.monotonic()
        answer.raise_for_status()
        return at


def ways(scene):
    """Kinds of revocation: what is asked for, given an agent and its token."""
    return {
        "token (RFC 7009)": scene.end_token,
        "token": lambda _agent, token: scene.end(token=claims(token)["jti"]),
        "grant": lambda _agent, token: scene.end(grant=claims(token)["grant_id"]),
        "agent": lambda agent, _token: scene.end(client=agent),
    }


@contextmanager
def running(scene, place, directory):
    language, delivery = place
    uri, name = scene.places[place], scene.names[place]
    log = directory / f"{name}.log"
    environment = os.environ | {"WRIT_CLIENT_SECRET": scene.secrets[name], "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*bounded(), *SERVERS[language], scene.node.issuer, uri, name, DELIVERIES[delivery]]
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    try:
        yield uri
    finally:
        process.kill()
        process.wait()


def raw(token, **more):
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream"} | more


async def hears(scene, uri, limit=30):
    """Waits until the server lets somebody in; the seconds that took."""
    token, begun = await scene.token("bystander", uri), time.monotonic()
    while True:
        try:
            answer = await scene.http.post(uri, json=INITIALIZE, headers=raw(token))
            if answer.status_code == 200:
                return time.monotonic() - begun
            last = f"{answer.status_code} {answer.text[:200]}"
        except httpx2.TransportError as error:
            last = repr(error)
        if time.monotonic() > begun + limit:
            raise RuntimeError(f"{uri} lets nobody in after {limit} s: {last}")
        await asyncio.sleep(0.1)


class Caller:
    """The SDK's client with one token, and what went over the wire."""

    def __init__(self, token):
        self.token, self.answers = token, []

    async def on_response(self, answer):
        self.answers.append((time.monotonic(), answer.request.method, answer.status_code,
                             answer.headers.get("www-authenticate", "")))

    @asynccontextmanager
    async def connected(self, uri):
        hooks = {"response": [self.on_response]}
        async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {self.token}"}, event_hooks=hooks,
                                      timeout=20, trust_env=False) as client:
            async with Client(streamable_http_client(uri, http_client=client)) as session:
                yield session


async def until_refused(scene, uri, agent, revoke):
    """Calls a tool in a loop, revokes meanwhile: milliseconds until refused, calls that were sent after the answer
    and succeeded all the same, and the challenge."""
    caller = Caller(await scene.token(agent, uri))
    sent, revoked, busy = [], None, asyncio.Event()

    async def revoking():
        await busy.wait()
        return await revoke(agent, caller.token)
    task = asyncio.create_task(revoking())
    limit = time.monotonic() + 20
    try:
        async with caller.connected(uri) as session:
            while time.monotonic() < limit:
                begun = time.monotonic()
                result = await session.call_tool("forecast", {})
                if result.is_error or agent not in result.content[0].text:
                    raise RuntimeError(f"the tool said {result}")
                sent.append(begun)
                if len(sent) == CALLS:
                    busy.set()
                await asyncio.sleep(0)
    except Exception:  # noqa: BLE001 -- the refusal, which is looked at on the wire
        if len(sent) < CALLS:
            raise
        if all(status != 401 for _, _, status, _ in caller.answers):
            # It came in the middle of a call, whose answer was cut off: this is the next one.
            await caller.on_response(await scene.http.post(uri, json=INITIALIZE, headers=raw(caller.token)))
    revoked = await task
    refusal = next((one for one in caller.answers if one[2] == 401), None)
    if refusal is None:
        return None
    after = sum(begun > revoked for begun in sent)
    return (refusal[0] - revoked) * 1000, after, refusal[3]


async def next_call(judge, scene, what, uri):
    for kind, revoke in ways(scene).items():
        times, after, challenges = [], 0, set()
        for number in range(ROUNDS):
            found = await until_refused(scene, uri, f"agent-{number}", revoke)
            if found is None:
                judge.check(f"{what}, {kind}: is refused", False)
                continue
            times.append(found[0])
            after += found[1]
            challenges.add('error="invalid_token"' in found[2])
        if kind == "agent":
            # A second later: what is issued in the second of the end of an agent ends with it.
            await asyncio.sleep(1.1)
        if times:
            judge.check(f"{what}, {kind}: the next call is refused, 401 invalid_token",
                        len(times) == ROUNDS and max(times) < SOON and challenges == {True},
                        f"ms after the answer: median {statistics.median(times):.1f}, at most {max(times):.1f}; "
                        f"{after} of the calls that were sent after it came through")
    async with Caller(await scene.token("bystander", uri)).connected(uri) as session:
        result = await session.call_tool("forecast", {})
        judge.check(f"{what}: another agent goes on", not result.is_error)


async def siblings(judge, scene, what, uri):
    """Check 44: one token of a grant ends, the other one does not."""
    first, second = [await scene.token("agent-0", uri) for _ in range(2)]
    same = claims(first)["grant_id"] == claims(second)["grant_id"]
    await scene.end_token("agent-0", first)
    await asyncio.sleep(0.5)
    statuses = [(await scene.http.post(uri, json=INITIALIZE, headers=raw(one))).status_code
                for one in (first, second)]
    judge.check(f"{what}: of two tokens of one grant, the revoked one is refused", same and statuses == [401, 200],
                statuses)


def call_of(tool):
    return {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": tool, "arguments": {}}}


async def less_scope(judge, scene, what, uri, place):
    """Check 48: an agent may do less than its token says: that tool is 403, the other one works."""
    caller = Caller(await scene.token("agent-2", uri))
    async with caller.connected(uri) as session:
        both = [(await session.call_tool(tool, {})).is_error for tool in ("forecast", "alert")]
    reduced = await scene.allow("agent-2", place, ["tool:forecast"])
    answer = None
    while time.monotonic() < reduced + 5 and (answer is None or answer.status_code != 403):
        answer = await scene.http.post(uri, json=call_of("alert"), headers=raw(caller.token))
    took = (time.monotonic() - reduced) * 1000
    judge.check(f"{what}, scope reduced: the tool behind the lost scope is refused, 403 insufficient_scope",
                both == [False, False] and answer.status_code == 403 and took < SOON
                and 'error="insufficient_scope"' in answer.headers.get("www-authenticate", ""),
                f"{answer.status_code}, {took:.1f} ms after the answer")
    async with caller.connected(uri) as session:
        judge.check(f"{what}, scope reduced: the other tool works",
                    not (await session.call_tool("forecast", {})).is_error)
    await scene.allow("agent-2", place, ["*"])


async def open_stream(judge, scene, what, uri):
    """Check 50: an open stream (GET) of a revoked grant ends."""
    token = await scene.token("agent-1", uri)
    answer = await scene.http.post(uri, json=INITIALIZE, headers=raw(token))
    session = answer.headers.get("mcp-session-id")
    if session is None:
        judge.note(f"{what}: keeps no sessions, so there is no stream to open")
        return
    headers = raw(token, **{"Mcp-Session-Id": session, "Mcp-Protocol-Version": "2025-06-18"})
    await scene.http.post(uri, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    async with scene.http.stream("GET", uri, headers=headers | {"Accept": "text/event-stream"}) as stream:
        if stream.status_code == 405:
            judge.note(f"{what}: offers no stream")
            return

        async def ending():
            try:
                async for _ in stream.aiter_raw():
                    pass
            except httpx2.TransportError:
                pass  # cut off, which is an end too
            return time.monotonic()
        task = asyncio.create_task(ending())
        await asyncio.sleep(0.5)
        was_open = stream.status_code == 200 and not task.done()
        revoked = await scene.end(grant=claims(token)["grant_id"])
        done, _ = await asyncio.wait([task], timeout=5)
        took = (task.result() - revoked) * 1000 if done else None
        task.cancel()
        judge.check(f"{what}: an open stream of a revoked grant ends within {SOON} ms",
                    was_open and took is not None and took < SOON, f"{took} ms" if took is None else f"{took:.1f} ms")


async def run(judge, directory, languages):
    scene = Scene(directory, languages)
    try:
        for place in scene.places:
            what = f"{place[0]} by {place[1]}"
            print(f"-- {what}", flush=True)
            with running(scene, place, directory) as uri:
                try:
                    judge.note(f"it hears after {await hears(scene, uri):.2f} s")
                    for checks in (next_call, siblings, open_stream):
                        await checks(judge, scene, what, uri)
                    await less_scope(judge, scene, what, uri, place)
                except Exception as error:  # noqa: BLE001 -- the others are still judged
                    judge.check(f"{what} could be checked to its end", False, f"{type(error).__name__}: {error}")
    finally:
        await scene.http.aclose()
        judge.equal("Writ stops on SIGTERM", scene.node.stop(), 0)
        judge.check("and never panicked", "panicked at" not in scene.node.log())


def compiled():
    """The TypeScript SDK is what the compiler makes of it."""
    from sdk_typescript import SDK, install
    install()
    subprocess.run(["npx", "--no-install", "tsc"], cwd=SDK, check=True, timeout=300)


def main():
    languages = sys.argv[1:] or list(SERVERS)
    judge = Judge("revocation")
    if "typescript" in languages:
        compiled()
    directory = ROOT / "target/conformance/scenes/revocation"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    asyncio.run(run(judge, directory, languages))
    judge.finish()


if __name__ == "__main__":
    main()
