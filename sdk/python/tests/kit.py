"""A real transmitter and authorization server on a loopback port, and what signs for it."""

from __future__ import annotations

import base64
import copy
import hmac
import json
import socket
import time
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
NOW = 1_795_000_000
RESOURCE = "http://127.0.0.1:8000/mcp"
SECRET = "s3cret-._~"
SESSION_REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
VERIFICATION = "https://schemas.openid.net/secevent/ssf/event-type/verification"

PRIVATE = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PRIVATE["Ed25519"] = PRIVATE["EdDSA"]
PRIVATE["PS256"] = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
_TO_JWK = {"RS256": RSAAlgorithm, "PS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}
_TO_JWK["Ed25519"] = OKPAlgorithm
JWS = jwt.PyJWS()
JWS.register_algorithm("Ed25519", OKPAlgorithm())


class Clock:
    """Moves when it is told to."""

    def __init__(self):
        self.now = NOW
        self.begun = None

    def run(self):
        """Has it go on by itself."""
        self.begun = time.monotonic()

    def __call__(self):
        return self.now + (0 if self.begun is None else time.monotonic() - self.begun)


def published(algorithm):
    jwk = _TO_JWK[algorithm].to_jwk(PRIVATE[algorithm].public_key(), as_dict=True)
    return {k: v for k, v in jwk.items() if k != "key_ops"} | {"kid": algorithm, "alg": algorithm, "use": "sig"}


def segment(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(header, claims, how="RS256"):
    """A compact JWS; `how` also knows the ways in which attackers sign."""
    header = {"kid": "RS256" if how in ("other", "none", "HS256", "RS512") else how} | header
    header = {k: v for k, v in header.items() if v is not None}
    payload = json.dumps(claims).encode()
    if how in ("none", "HS256"):
        head = f"{segment(json.dumps(header | {'alg': how}).encode())}.{segment(payload)}"
        secret = json.dumps(published("RS256")).encode()
        return f"{head}.{segment(hmac.digest(secret, head.encode(), 'sha256'))}"
    if how == "other":
        made = jwt.PyJWS().encode(payload, OTHER, "RS256", header | {"alg": "RS256"})
    else:
        key = PRIVATE["RS256" if how == "RS512" else how]
        made = JWS.encode(payload, key, how, header | {"alg": how})
    return made


def laid(over, base):
    """`base` with the members of `over`; None removes one."""
    return {k: v for k, v in (base | (over or {})).items() if v is not None}


def filled(vector, issuer):
    """A vector with the test's own names in it."""
    text = json.dumps(vector).replace("$issuer", issuer).replace("$resource", RESOURCE).replace("$es256", "ES256")
    return json.loads(text)


def vectors(name):
    return json.loads((VECTORS / name).read_text())


class Transmitter:
    """One issuer with its metadata, tokens, streams and all deliveries, over HTTP."""

    def __init__(self, clock):
        self.clock = clock
        self.issuer = ""
        self.algorithms = ["RS256", "PS256", "ES256", "EdDSA"]
        self.metadata = {}  # what the SSF configuration says differently
        self.stream_says = {}  # what streams say differently
        self.streams = {}
        self.queues = {}  # stream → {jti: SET}, until acknowledged
        self.log = {}  # stream → every SET ever
        self.errors = {}
        self.inactive = set()  # tokens that introspection denies
        self.down = set()  # endpoints that answer 503
        self.mute = False  # verifications are taken, and never echoed
        self.dribbles = False  # the keys come an octet at a time, and never all
        self.cuts_replays = False  # ends them before all is told
        self.most_streams = 16
        self.meanwhile = None  # happens while introspection is under way
        self.requests = []
        self.pushed = []
        self.changed = anyio.Event()
        self.feeds = {}  # stream → how often its feed was opened or ended
        self.jti = 0

    # --- what tests do

    def set(self, kind, sub_id, payload=None, **claims):
        """A signed SET; the last of `kind` decides, `caep/session-revoked` for short."""
        self.jti += 1
        base, _, name = kind.partition("/")
        event = f"https://schemas.openid.net/secevent/{base}/event-type/{name}"
        body = {
            "iss": self.issuer,
            "aud": RESOURCE,
            "iat": int(self.clock()),
            "jti": f"set-{self.jti}",
            "txn": "cause",
            "sub_id": sub_id,
            "events": {event: payload or {}},
        } | claims
        return body["jti"], sign({"typ": "secevent+jwt"}, body)

    def token(self, how="RS256", header=None, **claims):
        """An access token."""
        self.jti += 1
        now = int(self.clock())
        base = {
            "iss": self.issuer,
            "sub": "ada",
            "aud": RESOURCE,
            "client_id": "agent",
            "jti": f"token-{self.jti}",
            "grant_id": "grant-1",
            "iat": now,
            "exp": now + 300,
            "scope": "tool:forecast",
        }
        return sign({"typ": "at+jwt"} | (header or {}), laid(claims, base), how)

    def revoke(self, user="ada"):
        """Ends everything of a user, for every stream."""
        self.emit("caep/session-revoked", {"format": "iss_sub", "iss": self.issuer, "sub": user})

    def emit(self, kind, sub_id, payload=None, **claims):
        jti, token = self.set(kind, sub_id, payload, **claims)
        for stream in self.streams:
            self._offer(stream, jti, token)

    def _offer(self, stream, jti, token):
        if self.streams[stream]["status"] != "disabled":
            self.queues[stream][jti] = token
        self.log[stream][jti] = token
        self.notify()

    def notify(self):
        self.changed.set()
        self.changed = anyio.Event()

    async def until(self, condition, seconds=5):
        """Waits for traffic to have made `condition` true."""
        with anyio.fail_after(seconds):
            while not condition():
                await anyio.sleep(0.005)

    # --- what receivers see

    def app(self):
        ssf = ["configuration", "status", "verification", "poll", "feed"]
        return Starlette(
            routes=[
                Route("/.well-known/oauth-authorization-server", self._as),
                Route("/.well-known/ssf-configuration", self._ssf),
                Route("/jwks", self._jwks),
                Route("/token", self._token, methods=["POST"]),
                Route("/introspect", self._introspect, methods=["POST"]),
                *(
                    Route(f"/ssf/{name}", self._guarded(name), methods=["GET", "POST", "PATCH", "DELETE"])
                    for name in ssf
                ),
            ]
        )

    async def _as(self, _request):
        ends = {"jwks_uri": "jwks", "token_endpoint": "token", "introspection_endpoint": "introspect"}
        return JSONResponse({"issuer": self.issuer} | {k: f"{self.issuer}/{v}" for k, v in ends.items()})

    async def _ssf(self, _request):
        if "ssf" in self.down:
            return Response(status_code=503)
        names = ["configuration", "status", "verification", "feed"]
        document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"}
        document |= {f"{name}_endpoint": f"{self.issuer}/ssf/{name}" for name in names}
        return JSONResponse({k: v for k, v in (document | self.metadata).items() if v is not None})

    async def _jwks(self, _request):
        self.requests.append("jwks")
        if self.dribbles:
            return StreamingResponse(self._dribble())
        if "jwks" in self.down:
            return Response(status_code=503)
        return JSONResponse({"keys": [published(algorithm) for algorithm in self.algorithms]})

    async def _dribble(self):
        yield b"{"
        while self.dribbles:
            yield b" "
            await anyio.sleep(0.01)

    def _known(self, request):
        expected = base64.b64encode(f"weather:{SECRET}".encode()).decode()
        return request.headers.get("authorization") == f"Basic {expected}"

    async def _token(self, request):
        form = (await request.body()).decode()
        if not self._known(request) or form != "grant_type=client_credentials&scope=ssf.manage":
            return JSONResponse({"error": "invalid_client"}, 401)
        return JSONResponse({"access_token": "api-token", "token_type": "Bearer", "expires_in": 300})

    async def _introspect(self, request):
        self.requests.append("introspect")
        if self.meanwhile is not None:
            await self.meanwhile()
        if "introspect" in self.down:
            return Response(status_code=503)
        assert self._known(request)
        token = dict(part.split("=") for part in (await request.body()).decode().split("&"))["token"]
        claims = jwt.decode(token, options={"verify_signature": False})
        active = claims["jti"] not in self.inactive
        return JSONResponse({"active": active} | ({"scope": claims.get("scope", "")} if active else {}))

    def _guarded(self, name):
        async def endpoint(request):
            self.requests.append(f"{request.method} {name}")
            if name in self.down:
                return Response(status_code=503)
            if request.headers.get("authorization") != "Bearer api-token":
                return JSONResponse({"error": "invalid_token"}, 401)
            body = await request.body()
            said = json.loads(body) if body else {}
            stream = request.query_params.get("stream_id") or said.get("stream_id")
            if stream is not None and stream not in self.streams:
                return JSONResponse({}, 404)
            return await getattr(self, f"_{name}")(request, said, stream)

        return endpoint

    async def _configuration(self, request, said, stream):
        if request.method == "GET":
            return JSONResponse([self._shown(known) for known in self.streams])
        if request.method == "DELETE":
            del self.streams[stream]
            return Response(status_code=204)
        if request.method == "POST":
            if len(self.streams) == self.most_streams:
                return JSONResponse({"error": "access_denied"}, 403)
            stream = f"stream-{len(self.log) + 1}"
            self.streams[stream] = {"status": "enabled"}
            self.queues[stream], self.log[stream] = {}, {}
        self.streams[stream] |= said
        return JSONResponse(self._shown(stream), 201 if request.method == "POST" else 200)

    def _shown(self, stream):
        kept = copy.deepcopy(self.streams[stream])
        delivery = kept["delivery"]
        delivery.pop("authorization_header", None)
        if delivery["method"].endswith("8936"):
            delivery["endpoint_url"] = f"{self.issuer}/ssf/poll?stream_id={stream}"
        del kept["status"]
        return {"stream_id": stream, "iss": self.issuer, "aud": RESOURCE} | kept | self.stream_says

    async def _status(self, request, said, stream):
        if request.method == "POST":
            self.streams[stream]["status"] = said["status"]
            self.notify()
        return JSONResponse({"stream_id": stream, "status": self.streams[stream]["status"]})

    async def _verification(self, _request, said, stream):
        sub_id = {"format": "opaque", "id": stream}
        jti, token = self.set("ssf/verification", sub_id, {"state": said["state"]})
        delivery = self.streams[stream]["delivery"]
        if delivery["method"].endswith("8935"):
            self.pushed.append((delivery, token))
        elif not self.mute:
            self._offer(stream, jti, token)
        return Response(status_code=204)

    def _take(self, stream, said):
        for jti in [*said.get("ack", []), *said.get("setErrs", {})]:
            self.queues[stream].pop(jti, None)
        self.errors |= said.get("setErrs", {})

    async def _poll(self, _request, said, stream):
        self._take(stream, said)
        if said.get("maxEvents") == 0:
            return JSONResponse({"sets": {}})
        while not self.queues[stream] and self.streams[stream]["status"] == "enabled":
            await self.changed.wait()
        is_enabled = self.streams[stream]["status"] == "enabled"
        most = said.get("maxEvents")
        return JSONResponse({"sets": dict(list(self.queues[stream].items())[:most]) if is_enabled else {}})

    async def _feed(self, request, _said, stream):
        last = request.headers.get("last-event-id")
        queue = self.queues[stream]
        if last in queue:
            for jti in list(queue)[: list(queue).index(last) + 1]:
                del queue[jti]
        replay = self.log[stream] if "replay" in request.query_params else {}
        pushes = self.streams[stream]["delivery"]["method"].endswith("8935")
        number = self.feeds[stream] = self.feeds.get(stream, 0) + 1
        return StreamingResponse(self._events(stream, number, dict(replay), pushes), media_type="text/event-stream")

    async def _events(self, stream, number, replay, pushes):
        sent = set(replay)
        yield b":\n\nevent: news\nid: news-1\ndata: of a kind that\ndata: nobody knows\n\nevent: set\n\n"
        for jti, token in replay.items():
            yield f"id: {jti}\nevent: set\ndata: {token}\n\n".encode()
        if pushes and not self.cuts_replays:
            yield b"event: end\ndata: {}\n\n"
        while not pushes and number == self.feeds[stream] and stream in self.streams:
            changed = self.changed
            for jti, token in list(self.queues[stream].items()):
                if jti not in sent and self.streams[stream]["status"] == "enabled":
                    sent.add(jti)
                    yield f"id: {jti}\nevent: set\ndata: {token}\n\n".encode()
            await changed.wait()

    def disable(self):
        """Stops every stream; what arises meanwhile is kept for none, but can be told again."""
        for known in self.streams.values():
            known["status"] = "disabled"

    def end_feeds(self):
        """As when the access token of a feed has expired."""
        self.feeds = {stream: number + 1 for stream, number in self.feeds.items()}
        self.notify()


@asynccontextmanager
async def serving(app):
    """An ASGI application on a loopback port, while the block runs; gives its origin."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # uvicorn ends with a task of its own for the lifespan, which is what the middleware needs.
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        while not server.started:
            await anyio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            server.force_exit = True


@asynccontextmanager
async def transmitting(clock=None):
    """A transmitter that runs."""
    transmitter = Transmitter(clock or Clock())
    async with serving(transmitter.app()) as origin:
        transmitter.issuer = origin
        yield transmitter
        transmitter.end_feeds()


def plain_client():
    return httpx2.AsyncClient(trust_env=False, timeout=5)
