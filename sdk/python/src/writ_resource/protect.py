"""The ASGI middleware: what a request must show before the MCP server sees it.

| check | POST and other methods with a body | GET, HEAD, DELETE, OPTIONS |
|---|---|---|
| metadata paths, without a token | 405 | the document; 405 to DELETE |
| path of pushed SETs, without a token | 202, 400, 503 | 405 |
| no token in the query | 400 | 400 |
| one `Authorization` header, scheme `Bearer` | 401, 400 | 401, 400 |
| the token verifies, and was not revoked | 401, 503 | 401, 503 |
| no content coding, no form, UTF-8 | 415, 400 | - |
| the body is within the limit | 413 | never passed on |
| the same token when the body is there | 401, 503 | - |
| one unambiguous JSON-RPC message or batch | 400 | - |
| the token allows every call in it | 403 | - |

Whatever is still being answered when its token is revoked ends there and then, and a stream that was opened by GET also
when its token expires.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import anyio

from .challenge import Entrance, Refusal, bad_rpc, unavailable, unreadable
from .claims import AccessClaims
from .errors import SetError, UnavailableError, VerifyError
from .rpc import RpcError, read_calls
from .scopes import Policy, checked_scope
from .sets import MAX_SET
from .stream import Push
from .verifier import Verifier
from .web import trusted_url

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

WELL_KNOWN = "/.well-known/oauth-protected-resource"
"""Where every resource's metadata is found (RFC 9728 §3)."""

BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")

log = logging.getLogger("writ_resource")

_caller: ContextVar[AccessClaims | None] = ContextVar("writ_resource_caller", default=None)


def current_claims() -> AccessClaims | None:
    """The claims of the token this call came with, for tools."""
    return _caller.get()


@dataclass(eq=False)
class _Open:
    """A request that is being answered."""

    claims: AccessClaims
    cancelled: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Protect:
    """Wraps an ASGI application, whole, so that it only sees requests with a token that allows them.

    `tools` are the tools to announce, or a mapping to the scopes they need in place of `tool:NAME`; those not
    named need `tool:NAME` too. `methods` need the scope they are mapped to, the others only a valid token.
    `scope_includes` maps wide scopes to the narrow ones they stand for. `challenge_scopes` is what a client
    without a token is told to ask for, every announced scope by default.
    """

    def __init__(
        self,
        app: App,
        verifier: Verifier,
        *,
        tools: Iterable[str] | Mapping[str, str] = (),
        methods: Mapping[str, str] | None = None,
        scopes: Iterable[str] = (),
        scope_includes: Mapping[str, Iterable[str]] | None = None,
        challenge_scopes: Iterable[str] | None = None,
        name: str | None = None,
        documentation: str | None = None,
        max_body: int = 4 * 1024 * 1024,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._max_body = max_body
        self._policy = Policy(tools, methods or {}, scope_includes or {})
        announced = sorted(self._policy.announced | {checked_scope(scope) for scope in scopes})
        challenged = announced if challenge_scopes is None else sorted(map(checked_scope, challenge_scopes))
        # RFC 9728 §3.1: inserted between host and path, without a final slash.
        parts = urlsplit(verifier.resource)
        path = WELL_KNOWN + parts.path.rstrip("/")
        self._metadata_paths = (unquote(path), WELL_KNOWN)
        self._entrance = Entrance(f"{parts.scheme}://{parts.netloc}{path}", " ".join(challenged))
        self.metadata: dict[str, Any] = {
            "resource": verifier.resource,
            "authorization_servers": [verifier.issuer],
            "bearer_methods_supported": ["header"],
            **({"scopes_supported": announced} if announced else {}),
            **({"resource_name": name} if name else {}),
            **({"resource_documentation": trusted_url("documentation", documentation)} if documentation else {}),
        }
        """The RFC 9728 document, for a server that publishes it elsewhere too."""
        delivery = verifier.events.delivery if verifier.events else None
        self._push_path = unquote(urlsplit(delivery.at(verifier.resource)).path) if isinstance(delivery, Push) else None
        self._has_warned = False
        self._open: set[_Open] = set()
        if verifier.receiver is not None:
            verifier.receiver.watch(self._end_what_was_revoked)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with self._verifier.running():
                await self._app(scope, receive, send)
        elif scope["type"] == "http":
            self._warn_of_a_missing_lifespan()
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "MCP is not spoken here"})

    def _warn_of_a_missing_lifespan(self) -> None:
        if self._verifier.receiver is None or self._verifier.was_started or self._has_warned:
            return
        self._has_warned = True
        log.error(
            "revocations are not heard of: the server runs no ASGI lifespan, or Protect is not the outermost "
            "application; enter `verifier.running()` where the program starts"
        )

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in self._metadata_paths:
            await _answer_metadata(scope["method"], self.metadata, send)
            return
        if self._push_path is not None and scope["path"] == self._push_path:
            await _answer_push(self._verifier, scope, receive, send)
            return
        try:
            token, claims, body = await self._admit(scope, receive)
        except Refusal as refusal:
            await _answer(send, refusal)
            return
        with _signed_in(token, claims, self._verifier.resource) as more:
            inner = _inner(scope, token, claims, body is None)
            await self._pass_on({**inner, **more}, _again(body, receive), send, claims)

    async def _admit(self, scope: Scope, receive: Receive) -> tuple[str, AccessClaims, bytes | None]:
        """The token, what it says, and the body if there may be one; or the `Refusal`."""
        headers: list[tuple[bytes, bytes]] = [(name.lower(), value) for name, value in scope["headers"]]
        token = self._presented(scope, headers)
        claims = await self._verified(self._verifier.verify(token))
        if scope["method"] in BODILESS:
            return token, claims, None
        _readable(headers)
        begun = time.monotonic()
        body = await _read(receive, self._max_body, _announced(headers))
        if body is None:
            raise unreadable(413, "the body is longer than this server reads")
        # Whoever sends slowly decides when this is. From the last decision on nothing is awaited until the request
        # is among the open ones, which a revocation ends.
        claims = await self._verified(self._verifier.verify_again(token, claims, time.monotonic() - begun))
        try:
            calls = read_calls(body, headers)
        except RpcError as error:
            raise bad_rpc(error.code, str(error)) from None
        if missing := self._policy.missing(claims, calls):
            log.debug("the token of %s does not allow the call: %s", claims.client_id, missing)
            raise self._entrance.insufficient_scope(" ".join(missing))
        return token, claims, body

    async def _verified(self, verdict: Awaitable[AccessClaims]) -> AccessClaims:
        try:
            return await verdict
        except UnavailableError as error:
            raise unavailable(str(error)) from None
        except VerifyError as error:
            raise self._entrance.invalid_token(str(error)) from None

    def _presented(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> str:
        """The token of the `Authorization` header, and of nowhere else (RFC 6750 §2.1)."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if any(name == "access_token" for name, _ in query):
            raise self._entrance.invalid_request("a token in the query is never accepted: use the Authorization header")
        presented = [value for name, value in headers if name == b"authorization"]
        if len(presented) > 1:
            raise self._entrance.invalid_request("more than one Authorization header")
        scheme, _, token = (presented[0] if presented else b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise self._entrance.no_token()
        if not token.strip(" "):
            raise self._entrance.invalid_request("the token is empty")
        return token.strip(" ")

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, claims: AccessClaims) -> None:
        """Lets the application answer, until its caller's token is revoked or has expired."""
        begun = finished = False
        listens = scope["method"] == "GET"

        async def watched(message: Message) -> None:
            nonlocal begun, finished
            # A call that takes longer than its token lives is still answered.
            if listens and not begun and (remaining := self._verifier.remaining(claims)) > 0:
                request.cancelled.deadline = anyio.current_time() + remaining
            begun = True
            finished = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        request = _Open(claims)
        self._open.add(request)
        caller = _caller.set(claims)
        try:
            with request.cancelled:
                await self._app(scope, receive, watched)
        finally:
            _caller.reset(caller)
            self._open.discard(request)
        if request.cancelled.cancelled_caught and not finished:
            if begun:
                await send({"type": "http.response.body", "body": b""})
            else:
                await _answer(send, self._entrance.invalid_token("the token has been revoked"))

    def _end_what_was_revoked(self) -> None:
        receiver = self._verifier.receiver
        for request in list(self._open) if receiver is not None else ():
            if receiver is not None and receiver.decide(request.claims).verdict == "denied":
                request.cancelled.cancel()


def _inner(scope: Scope, token: str, claims: AccessClaims, bodiless: bool) -> Scope:
    """The request as the application sees it: without the token, which MCP forbids passing on."""
    hidden = {b"authorization", *((b"content-length", b"transfer-encoding") if bodiless else ())}
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in hidden]
    return {**scope, "headers": headers, "writ_resource.claims": claims, "writ_resource.token": token}


def _signed_in(token: str, claims: AccessClaims, resource: str) -> AbstractContextManager[dict[str, Any]]:
    """What the official SDK, and FastMCP on it, know a caller by; nothing where neither is installed."""
    try:
        from .mcp import signed_in
    except ImportError:
        return nullcontext({})
    return signed_in(token, claims, resource)


def _again(body: bytes | None, receive: Receive) -> Receive:
    """What was read already, then whatever comes after it."""
    given = False

    async def first() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body or b"", "more_body": False}

    return first


async def _read(receive: Receive, limit: int, announced: int = 0) -> bytes | None:
    """The whole body; None when it is longer than `limit`, whatever its length claims to be."""
    if announced > limit:
        return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise unreadable(400, "the body could not be read")
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _announced(headers: list[tuple[bytes, bytes]]) -> int:
    lengths = [int(value) for name, value in headers if name == b"content-length" and value.isdigit()]
    return max(lengths, default=0)


def _readable(headers: list[tuple[bytes, bytes]]) -> None:
    """Whether the octets of the body are the octets the server will read."""
    for name, value in headers:
        said = value.decode("latin-1").strip().lower()
        if name == b"content-encoding" and said != "identity":
            raise unreadable(415, "a body with a content coding is not read")
        if name != b"content-type":
            continue
        media_type, *parameters = (part.strip() for part in said.split(";"))
        if media_type == "application/x-www-form-urlencoded":
            raise unreadable(400, "the body is JSON, and the token is in the Authorization header only")
        charsets = (part.removeprefix("charset=") for part in parameters if part.startswith("charset="))
        if any(charset.strip('"') not in ("utf-8", "utf8") for charset in charsets):
            raise unreadable(415, "JSON is in UTF-8")


async def _answer(send: Send, refusal: Refusal) -> None:
    headers, body = refusal.encoded()
    await _send(send, refusal.status, headers, body)


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _answer_metadata(method: str, document: Mapping[str, Any], send: Send) -> None:
    """The RFC 9728 document, for browsers of any origin too."""
    headers = [(b"access-control-allow-origin", b"*"), (b"allow", b"GET, HEAD, OPTIONS")]
    if method in ("GET", "HEAD"):
        body = json.dumps(document).encode()
        headers += [(b"content-type", b"application/json"), (b"cache-control", b"max-age=300")]
        headers.append((b"content-length", str(len(body)).encode()))
        await _send(send, 200, headers, body if method == "GET" else b"")
    elif method == "OPTIONS":
        headers.append((b"access-control-allow-methods", b"GET, HEAD, OPTIONS"))
        await _send(send, 204, [*headers, (b"access-control-allow-headers", b"*")])
    else:
        refused, body = unreadable(405, "metadata is only read").encoded()
        await _send(send, 405, headers + refused, body)


async def _answer_push(verifier: Verifier, scope: Scope, receive: Receive, send: Send) -> None:
    """Push delivery (RFC 8935 §2)."""
    if scope["method"] != "POST" or verifier.receiver is None:
        refused, body = unreadable(405, "SETs are delivered by POST").encoded()
        await _send(send, 405, [*refused, (b"allow", b"POST")], body)
        return
    headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    try:
        content = await _read(receive, MAX_SET)
        error = await verifier.receiver.push(headers.get(b"authorization"), headers.get(b"content-type"), content)
    except UnavailableError as away:
        await _answer(send, unavailable(str(away)))
    except Refusal as refusal:
        await _answer(send, refusal)
    else:
        await _answer_set(send, error)


async def _answer_set(send: Send, error: SetError | None) -> None:
    if error is None:
        await _send(send, 202, [(b"content-length", b"0")])
        return
    body = {"err": error.err, "description": error.description}
    await _answer(send, Refusal(400, body, [("content-language", "en")]))
