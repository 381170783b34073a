"""What a request must show before the MCP server sees it."""

import json

import anyio
import httpx2
import pytest
from kit import NOW, RESOURCE, SECRET, sign, transmitting

from writ_resource import Events, Introspect, Protect, Push, SetupError, Verifier, current_claims, tool_scope
from writ_resource.rpc import RpcError, read_calls

pytestmark = pytest.mark.anyio
CHALLENGE = 'resource_metadata="http://127.0.0.1:8000/.well-known/oauth-protected-resource/mcp"'


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
async def transmitter():
    async with transmitting() as transmitter:
        yield transmitter


async def application(scope, receive, send):
    """Tells what it was given."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [name.decode() for name, _ in scope["headers"]]
    told = {"body": body.decode(), "headers": headers, "caller": current_claims().caller}
    told["user"] = scope["user"].access_token.client_id
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(told).encode()})


class Stage:
    def __init__(self, transmitter, app=application, events=None, introspect=None, leeway=30, **settings):
        settings = {"tools": ["forecast", "alert"]} | settings
        more = {"events": events, "introspect": introspect, "leeway": leeway, "clock": transmitter.clock}
        self.verifier = Verifier(resource=RESOURCE, issuer=transmitter.issuer, **more)
        self.app = Protect(app, self.verifier, **settings)
        transport = httpx2.ASGITransport(self.app)
        self.client = httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000")
        self.token = transmitter.token()

    async def call(self, body=None, token=None, headers=(), path="/mcp", tool="forecast"):
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}} if body is None else body
        content = body if isinstance(body, (str, bytes)) else json.dumps(body)
        sent = [("authorization", f"Bearer {token or self.token}"), ("content-type", "application/json"), *headers]
        return await self.client.post(path, content=content, headers=sent)


@pytest.fixture
async def stage(transmitter):
    transmitter.clock.now = NOW
    transmitter.down.clear()
    made = Stage(transmitter)
    yield made
    await made.client.aclose()
    await made.verifier._web.close()


async def test_passes_on_without_the_token(stage):
    answer = await stage.call()
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert json.loads(told["body"])["params"] == {"name": "forecast"}
    assert "authorization" not in told["headers"]
    assert told["caller"] == told["user"] == "agent"


async def test_no_token(stage):
    answer = await stage.client.post("/mcp")
    assert answer.status_code == 401
    scopes = 'scope="tool:alert tool:forecast"'
    assert answer.headers["www-authenticate"] == f"Bearer {scopes}, {CHALLENGE}"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["resource_metadata"].endswith("/.well-known/oauth-protected-resource/mcp")


async def test_bad_token(stage, transmitter):
    answer = await stage.call(token=transmitter.token(exp=NOW - 60))
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer error="invalid_token", error_description="the token has expired", scope=')
    assert challenge.endswith(CHALLENGE)


async def test_insufficient_scope(stage):
    answer = await stage.call(tool="alert")
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert f'scope="tool:alert", {CHALLENGE}' in answer.headers["www-authenticate"]
    batch = [
        {"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": name}}
        for n, name in enumerate(["forecast", "alert", "two words"])
    ]
    answer = await stage.call(batch)
    assert answer.json()["scope"] == "tool:alert tool:forecast tool:two%20words"


async def test_unavailable(transmitter):
    transmitter.down.add("jwks")
    stage = Stage(transmitter)
    answer = await stage.call()
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert "www-authenticate" not in answer.headers
    transmitter.down.clear()


async def test_where_the_token_may_be(stage):
    assert (await stage.call(path="/mcp?access_token=x")).status_code == 400
    twice = [("authorization", "Bearer x")]
    assert (await stage.call(headers=twice)).status_code == 400
    assert (await stage.client.post("/mcp", headers={"authorization": "Bearer "})).status_code == 400
    assert (await stage.client.post("/mcp", headers={"authorization": "Basic eDp5"})).status_code == 401
    bearer = {"authorization": f"bearer {stage.token}"}
    assert (await stage.client.get("/mcp", headers=bearer)).status_code == 200


async def test_bodies_that_are_not_read(stage):
    assert (await stage.call(headers=[("content-encoding", "gzip")])).status_code == 415
    form = {"authorization": f"Bearer {stage.token}", "content-type": "application/x-www-form-urlencoded"}
    assert (await stage.client.post("/mcp", headers=form, content="a=b")).status_code == 400
    utf16 = {"authorization": f"Bearer {stage.token}", "content-type": "application/json; charset=utf-16"}
    assert (await stage.client.post("/mcp", headers=utf16, content="{}")).status_code == 415
    assert (await stage.call(b" " * (4 * 1024 * 1024 + 1))).status_code == 413


MESSAGES = {
    "not JSON": ("{", -32700),
    "not UTF-8": (b'{"method":"\xff"}', -32700),
    "nested": ("[" * 100_000, -32700),
    "NaN": ('{"method":"ping","params":{"a":NaN}}', -32700),
    "a number": ("7", -32600),
    "an empty batch": ("[]", -32600),
    "a long batch": ([{"method": "ping"}] * 65, -32600),
    "a repeated member": ('{"method":"ping","method":"tools/call"}', -32600),
    "a repeated member below": ('{"method":"tools/call","params":{"name":"a","name":"b"}}', -32600),
    "another letter case": ({"Method": "tools/call", "method": "ping"}, -32600),
    "another letter case below": ({"method": "tools/call", "params": {"name": "a", "Name": "b"}}, -32600),
    "a method that may be folded": ({"method": "Tools/Call", "params": {"name": "alert"}}, -32600),
    "a method that may be trimmed": ({"method": " tools/call", "params": {"name": "alert"}}, -32600),
    "a method that is a number": ({"method": 7}, -32600),
    "no method": ({"id": 1}, -32600),
    "both": ({"method": "ping", "result": {}}, -32600),
    "no tool": ({"method": "tools/call"}, -32600),
    "a tool by position": ({"method": "tools/call", "params": ["alert"]}, -32600),
    "params a text": ({"method": "tools/call", "params": "alert"}, -32600),
    "a long name": ({"method": "tools/call", "params": {"name": "x" * 129}}, -32600),
    "half a character": ('{"method":"tools/call","params":{"name":"\\ud800"}}', -32600),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_refused_messages(stage, name):
    body, code = MESSAGES[name]
    answer = await stage.call(body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == code


async def test_headers_that_repeat_the_body(stage):
    agree = [("mcp-method", "tools/call"), ("mcp-name", "=?base64?Zm9yZWNhc3Q=?=")]
    assert (await stage.call(headers=agree)).status_code == 200
    for header in (("mcp-method", "tools/list"), ("mcp-name", "alert"), ("mcp-name", "=?base64?%?=")):
        assert (await stage.call(headers=[header])).status_code == 400


def test_what_needs_no_scope():
    assert read_calls(b'{"jsonrpc":"2.0","id":1,"result":{}}', [])[0].method is None
    assert read_calls(b'[{"method":"ping"},{"method":"tools/list","params":[]}]', [])[1].tool is None
    with pytest.raises(RpcError):
        read_calls(b"null", [])


async def test_policy(transmitter):
    stage = Stage(
        transmitter,
        tools={"forecast": "weather:read"},
        methods={"resources/read": "docs:read"},
        scope_includes={"weather:all": ["weather:read"], "everything": ["weather:all"]},
        challenge_scopes=[],
    )
    assert (await stage.call()).json()["scope"] == "weather:read"
    read = {"method": "resources/read", "params": {"uri": "a:b"}}
    assert (await stage.call(read)).json()["scope"] == "docs:read"
    assert (await stage.call(token=transmitter.token(scope="everything"))).status_code == 200
    assert (await stage.call({"method": "tools/list"})).status_code == 200
    assert (await stage.client.post("/mcp")).headers["www-authenticate"] == f"Bearer {CHALLENGE}"


async def test_metadata(stage, transmitter):
    for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"):
        answer = await stage.client.get(path)
        assert answer.json() == {
            "resource": RESOURCE,
            "authorization_servers": [transmitter.issuer],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["tool:alert", "tool:forecast"],
        }
        assert answer.headers["access-control-allow-origin"] == "*"
        assert (await stage.client.options(path)).status_code == 204
        assert (await stage.client.post(path)).status_code == 405


def test_scopes():
    assert tool_scope("día 100%") == "tool:d%C3%ADa%20100%25"
    verifier = Verifier(resource=RESOURCE, issuer="https://auth.example")
    for scope in ("offline_access", "a b", "", 'a"b', "é"):
        with pytest.raises(SetupError):
            Protect(application, verifier, scopes=[scope])


async def test_push(transmitter):
    events = Events("weather", SECRET, delivery=Push("/.writ/events"))
    stage = Stage(transmitter, events=events)
    receiver = stage.verifier.receiver
    subject = {"format": "iss_sub", "iss": transmitter.issuer, "sub": "ada"}
    _, token = transmitter.set("caep/session-revoked", subject)
    headers = {"authorization": receiver.push_secret, "content-type": "application/secevent+jwt"}

    async def push(content=token, **changes):
        return await stage.client.post("/.writ/events", content=content, headers=headers | changes)

    for changes in ({"authorization": "Bearer wrong"}, {"authorization": ""}):
        answer = await push(**changes)
        assert (answer.status_code, answer.json()["err"]) == (400, "authentication_failed")
        assert answer.headers["content-language"] == "en"
    assert (await push(**{"content-type": "application/jwt"})).json()["err"] == "invalid_request"
    assert (await push(b"x" * 65537)).json()["err"] == "invalid_request"
    assert receiver.status().markers == 0
    for _ in range(2):  # RFC 8935 §2: a repetition is answered as if it were new
        answer = await push()
        assert (answer.status_code, answer.content) == (202, b"")
    assert receiver.status().markers == 1
    assert (await stage.call()).status_code == 401
    assert (await stage.client.get("/.writ/events")).status_code == 405


async def test_pushed_sets_wait_for_keys(transmitter):
    stage = Stage(transmitter, events=Events("weather", SECRET, delivery=Push("/.writ/events")))
    transmitter.down.add("jwks")
    headers = {"authorization": stage.verifier.receiver.push_secret, "content-type": "application/secevent+jwt"}
    content = sign({"typ": "secevent+jwt"}, {})
    assert (await stage.client.post("/.writ/events", content=content, headers=headers)).status_code == 503
    transmitter.down.clear()


async def test_a_server_without_a_lifespan_is_told(transmitter, caplog):
    stage = Stage(transmitter, events=Events("weather", SECRET))
    for _ in range(2):
        await stage.client.post("/mcp")
    assert caplog.text.count("runs no ASGI lifespan") == 1
    heard = Stage(transmitter)
    await heard.client.post("/mcp")
    assert caplog.text.count("runs no ASGI lifespan") == 1


class Endless:
    """An application that begins an answer and never ends it."""

    def __init__(self):
        self.begun = anyio.Event()
        self.ended = []

    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        self.begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            self.ended.append("cancelled")


async def test_what_is_being_answered_ends_with_its_token(transmitter):
    endless = Endless()
    stage = Stage(transmitter, endless, Events("weather", SECRET, when_stale="introspect"))
    accept = stage.verifier.receiver.accept
    user = {"format": "iss_sub", "iss": transmitter.issuer}
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            answers = []

            async def listen():
                answers.append(await stage.call())

            tasks.start_soon(listen)
            await endless.begun.wait()
            await accept(transmitter.set("caep/session-revoked", user | {"sub": "somebody else"})[1])
            assert not endless.ended
            await accept(transmitter.set("caep/session-revoked", user | {"sub": "ada"})[1])
    assert endless.ended == ["cancelled"]
    assert answers[0].text == "data: 1\n\n"
    assert (await stage.call()).status_code == 401


async def test_an_open_answer_ends_when_its_token_expires(transmitter):
    transmitter.clock.now = NOW
    endless = Endless()
    stage = Stage(transmitter, endless, leeway=0)
    with anyio.fail_after(5):
        token = transmitter.token(exp=NOW + 1)
        answer = await stage.client.get("/mcp", headers={"authorization": f"Bearer {token}"})
    assert (endless.ended, answer.text) == (["cancelled"], "data: 1\n\n")
    await stage.verifier._web.close()


async def test_a_call_that_outlives_its_token_is_answered(transmitter):
    transmitter.clock.now = NOW

    async def slow(scope, receive, send):
        transmitter.clock.now += 400
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await anyio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"done"})

    stage = Stage(transmitter, slow)
    assert (await stage.call()).text == "done"
    await stage.verifier._web.close()


async def slow_call(stage, meanwhile):
    """The answer to a call whose last octet comes after `meanwhile`."""

    async def body():
        yield b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"forecast"}'
        await meanwhile()
        yield b"}"

    headers = {"authorization": f"Bearer {stage.token}", "content-type": "application/json"}
    return await stage.client.post("/mcp", content=body(), headers=headers)


async def test_a_token_that_ends_while_the_body_is_sent(stage, transmitter):
    async def expire():
        transmitter.clock.now += 400

    async def nothing():
        pass

    assert (await slow_call(stage, nothing)).status_code == 200
    answer = await slow_call(stage, expire)
    assert (answer.status_code, answer.json()["error_description"]) == (401, "the token has expired")


@pytest.mark.parametrize(
    ("kind", "event", "status"),
    [("session-revoked", {}, 401), ("token-claims-change", {"claims": {"scope": "tool:alert"}}, 403)],
)
async def test_a_token_that_is_revoked_while_the_body_is_sent(transmitter, kind, event, status):
    transmitter.clock.now = NOW
    stage = Stage(transmitter, events=Events("weather", SECRET))
    subject = {"format": "iss_sub", "iss": transmitter.issuer, "sub": "ada"}

    async def revoke():
        await stage.verifier.receiver.accept(transmitter.set(f"caep/{kind}", subject, event)[1])

    assert (await slow_call(stage, revoke)).status_code == status
    await stage.verifier._web.close()


async def test_who_is_asked_about_each_token_is_asked_again_after_a_slow_body(transmitter, monkeypatch):
    transmitter.clock.now = NOW
    monkeypatch.setattr("writ_resource.verifier.ASK_AGAIN", 0)
    stage = Stage(transmitter, introspect=Introspect("weather", SECRET))
    stage.token = transmitter.token(jti="revoked-meanwhile")

    async def revoke():
        transmitter.inactive.add("revoked-meanwhile")

    assert (await slow_call(stage, revoke)).status_code == 401
    await stage.verifier._web.close()


async def test_websockets_are_refused(stage):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await stage.app({"type": "websocket", "path": "/mcp"}, receive, send)
    assert sent[0]["type"] == "websocket.close"
